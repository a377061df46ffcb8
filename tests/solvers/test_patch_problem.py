"""Coarse grids: spectra cut and padded, and the problem that they make."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers.patch_problem import (
    coarse_problem,
    coarse_size,
    cropped_spectrum,
    resized,
    with_low_frequencies,
)

PAIRS = [((11, 16), (8, 12)), ((12, 15), (8, 8)), ((13, 16), (7, 9)), ((16, 12), (16, 8))]


def draw(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def frequencies(n: int) -> list[int]:
    """Return the integer frequencies in FFT order; that of Nyquist is negative."""
    return [k if k < n - n // 2 else k - n for k in range(n)]


def interpolation(size: tuple[int, int], coarse: tuple[int, int]) -> torch.Tensor:
    """Return P as a matrix: the trigonometric sum of each coarse frequency on the full grid."""
    axes = []
    for n, c in zip(size, coarse, strict=True):
        k, pixel = torch.tensor(frequencies(c)).double(), torch.arange(n).double()
        to_spectrum = torch.exp(-2j * torch.pi * k[:, None] * pixel[:c] / c) / c
        to_fine = torch.exp(2j * torch.pi * pixel[:, None] * k / n)
        axes.append(to_fine @ to_spectrum)
    return torch.kron(*axes)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 368), (320, 184)), ((321, 481), (164, 244)), ((130, 130), (68, 68)),
        ((120, 640), None), ((129, 129), (68, 68)), ((128, 128), None),
    ],
)  # fmt: skip
def test_the_coarse_size_is_half_and_even(size, expected):
    assert coarse_size(size, (13, 13)) == expected


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_cropping_keeps_the_middle_frequencies(old, new):
    spectrum = draw(2, *old)
    rows = [frequencies(old[0]).index(k) for k in frequencies(new[0])]
    columns = [frequencies(old[1]).index(k) for k in frequencies(new[1])]
    assert torch.equal(cropped_spectrum(spectrum, new), spectrum[:, rows][:, :, columns])
    assert cropped_spectrum(spectrum[:, :1], new).shape == (2, 1, new[1])


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_resizing_up_is_interpolation_and_down_its_scaled_adjoint(fine, coarse):
    P = interpolation(fine, coarse)
    share = coarse[0] * coarse[1] / (fine[0] * fine[1])
    c, x = draw(*coarse), draw(*fine)
    up, down = resized(c, fine), resized(x, coarse)
    assert torch.allclose(up.flatten(), P @ c.flatten(), rtol=0, atol=1e-12)
    assert torch.allclose(down.flatten(), share * P.mH @ x.flatten(), rtol=0, atol=1e-12)
    assert torch.allclose(resized(up, coarse), c, rtol=0, atol=1e-12)
    real = draw(*coarse, dtype=torch.float64)
    assert not resized(real, fine).is_complex()
    assert torch.allclose(
        resized(real, fine).flatten(), (P @ real.flatten().to(P)).real, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_values_are_kept(fine, coarse):
    y = torch.arange(fine[0], dtype=torch.float64)[:, None] / fine[0]
    wave = 3 + torch.cos(2 * torch.pi * y).expand(fine)
    y = torch.arange(coarse[0], dtype=torch.float64)[:, None] / coarse[0]
    expected = 3 + torch.cos(2 * torch.pi * y).expand(coarse)
    assert torch.allclose(resized(wave, coarse), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
def test_low_frequencies_are_those_of_the_coarse_image_and_others_stay(fine, coarse):
    x, c = draw(2, *fine), draw(2, *coarse, seed=1)
    found = with_low_frequencies(x, c)
    assert torch.allclose(resized(found, coarse), c, rtol=0, atol=1e-12)
    P = interpolation(fine, coarse)
    share = coarse[0] * coarse[1] / (fine[0] * fine[1])
    high = torch.eye(P.shape[0]).to(P) - share * P @ P.mH
    assert torch.allclose(found.flatten(1) @ high.mT, x.flatten(1) @ high.mT, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("fine", "coarse"), PAIRS)
@pytest.mark.parametrize("is_exact", [True, False])
def test_the_coarse_gram_is_the_scaled_restriction(small_prior, stated, fine, coarse, is_exact):
    gain = torch.rand(1, *fine, generator=torch.Generator().manual_seed(0)).double()
    problem = stated(draw(1, *fine), small_prior(), gain, is_exact=is_exact)
    made = coarse_problem(problem, coarse)
    P = interpolation(fine, coarse)
    share = coarse[0] * coarse[1] / (fine[0] * fine[1])
    n, N = coarse[0] * coarse[1], fine[0] * fine[1]
    unit = torch.eye(N, dtype=torch.complex128).reshape(N, 1, *fine)
    G = torch.stack([problem.gram(e).flatten() for e in unit], 1)
    unit = torch.eye(n, dtype=torch.complex128).reshape(n, 1, *coarse)
    found = torch.stack([made.gram(e).flatten() for e in unit], 1)
    assert torch.allclose(found, found.mH, rtol=0, atol=1e-12)
    assert torch.allclose(found, share * P.mH @ G @ P, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(found)[-1] <= made.lipschitz + 1e-12
    expected = share * P.mH @ problem.rhs.flatten()
    assert torch.allclose(made.rhs.flatten(), expected, rtol=0, atol=1e-12)
    c = draw(1, *coarse, seed=2)
    # The coarse misfit is the full one of the interpolated image, less 1/2 |y|^2, times s.
    up = resized(c, fine)
    energy = problem.misfit(torch.zeros_like(up))
    assert made.misfit(c) == pytest.approx(share * (problem.misfit(up) - energy), rel=1e-9)
    assert (made.is_exact, made.size) == (is_exact, coarse)


@pytest.mark.parametrize("is_exact", [True, False])
def test_a_real_problem_stays_real_and_self_adjoint(small_prior, stated, mirrored_gain, is_exact):
    problem = stated(
        draw(1, 13, 18, dtype=torch.float64), small_prior(), mirrored_gain((13, 18)),
        is_exact=is_exact, is_nonnegative=True,
    )  # fmt: skip
    made = coarse_problem(problem, (8, 12))
    assert made.is_nonnegative
    assert not made.rhs.is_complex()
    unit = torch.eye(96, dtype=torch.float64).reshape(96, 1, 8, 12)
    found = torch.stack([made.gram(e).flatten() for e in unit], 1)
    assert not found.is_complex()
    assert torch.allclose(found, found.mT, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(found)[0] >= -1e-12
