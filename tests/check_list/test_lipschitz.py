"""Checks 2 and 2b: the exact Lipschitz constant, never below an estimate and never too small."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers.convolutional_model import (
    analyse,
    filter_spectra,
    lipschitz_constant,
    synthesise,
    weighted_sum,
)


def _mask(size: tuple[int, int], seed: int = 3) -> torch.Tensor:
    return (torch.rand(*size, generator=torch.Generator().manual_seed(seed)) < 0.5).double()


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(
        *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128
    )


def _dense(kernels: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return ``P F D`` as a matrix, column by column from rolled filters and a DFT matrix."""
    n_y, n_x = mask.shape
    half = kernels.shape[-1] // 2
    atoms = torch.zeros(kernels.shape[0], n_y, n_x, dtype=torch.complex128)
    for i in range(kernels.shape[-2]):
        for j in range(kernels.shape[-1]):
            atoms[:, (i - half) % n_y, (j - half) % n_x] += kernels[:, i, j]
    rolls = [(a, b) for a in range(n_y) for b in range(n_x)]
    columns = torch.stack([atoms.roll(r, (-2, -1)).flatten(1) for r in rolls], dim=1)
    y, x = (torch.fft.fft(torch.eye(n, dtype=torch.float64), norm="ortho") for n in (n_y, n_x))
    fourier = torch.kron(y, x)
    return mask.flatten()[:, None] * (fourier @ columns.reshape(-1, n_y * n_x).T)


@pytest.mark.parametrize("size", [(16, 16), (12, 15), (9, 9)])
@pytest.mark.parametrize("filter_size", [5, 11])
def test_it_is_the_largest_singular_value_squared(random_kernels, size, filter_size):
    """A filter of 11 on a grid of 9 wraps round."""
    kernels = random_kernels(2, filter_size)
    spectra = filter_spectra(kernels, size)
    for mask in (torch.ones(size, dtype=torch.float64), _mask(size)):
        largest = float(torch.linalg.matrix_norm(_dense(kernels, mask), ord=2)) ** 2
        assert float(lipschitz_constant(spectra, mask)) == pytest.approx(largest, rel=1e-10)


def test_single_precision_loses_no_more_than_its_own(learned_kernels):
    one = torch.ones(64, 60, dtype=torch.float64)
    exact = float(lipschitz_constant(filter_spectra(learned_kernels, (64, 60)), one))
    single = filter_spectra(learned_kernels.float(), (64, 60))
    assert float(lipschitz_constant(single, one.float())) == pytest.approx(exact, rel=1e-5)


def test_no_power_method_finds_more(random_kernels, learned_kernels):
    """And a long one comes near, so that the constant is no mere bound."""
    size, mask = (24, 21), _mask((24, 21))
    for kernels in (random_kernels(6, 5), random_kernels(4, 11), learned_kernels):
        spectra = filter_spectra(kernels, size)
        exact, best = float(lipschitz_constant(spectra, mask)), 0.0
        for seed in range(3):
            z = _random(kernels.shape[0], 1, *size, seed=seed)
            for _ in range(100):
                z = z / torch.linalg.vector_norm(z)
                k = mask * torch.fft.fft2(synthesise(spectra, z))
                new = analyse(spectra, torch.fft.ifft2(k))
                estimate = float(torch.vdot(z.flatten(), new.flatten()).real)
                assert estimate <= exact * (1 + 1e-14)
                best, z = max(best, estimate), new
        assert best >= 0.98 * exact


def test_the_estimate_of_mrpro_is_below(random_kernels):
    from mrpro.operators import ConvSynthesisDictionaryOp

    kernels = random_kernels(5, 9).float()
    operator = ConvSynthesisDictionaryOp(kernels.flip(-1, -2), pad_mode="circular")
    exact = float(lipschitz_constant(filter_spectra(kernels, (20, 20)), torch.ones(20, 20)))
    for seed in range(3):
        start = _random(5, 1, 20, 20, seed=seed).to(torch.complex64).requires_grad_()
        norm = float(operator.operator_norm(start, dim=None).detach())
        assert 0.7 * exact <= norm**2 <= exact * (1 + 1e-5)


def test_a_step_of_one_over_it_descends(random_kernels, sparse_coding):
    r"""``f(z - grad f(z) / L) <= f(z) - ||grad f(z)||^2 / (2 L)`` for dense random codes."""
    size, mask = (18, 15), _mask((18, 15))
    kernels = random_kernels(5, 7)
    problem = sparse_coding(_random(1, *size, seed=9), kernels, torch.ones(5, 1, 1, 1), mask)
    n_pixels = size[0] * size[1]

    def value(z: torch.Tensor) -> float:
        left = mask * weighted_sum(problem.spectra, z) - problem.rhs
        return 0.5 * float(left.abs().square().sum()) / n_pixels

    def gradient(z: torch.Tensor) -> torch.Tensor:
        left = mask * weighted_sum(problem.spectra, z) - problem.rhs
        return analyse(problem.spectra, torch.fft.ifft2(left))

    lipschitz = float(problem.lipschitz())
    for seed in range(5):
        z = _random(5, 1, *size, seed=seed)
        g = gradient(z)
        before, square = value(z), float(g.abs().square().sum())
        after = value(z - g / lipschitz)
        assert after <= before - square / (2 * lipschitz) + 1e-12 * before
    # The direction of the largest eigenvalue leaves no room: a longer step promises too much.
    z = g
    for _ in range(200):
        z = gradient(z) - gradient(torch.zeros_like(z))
        z = z / torch.linalg.vector_norm(z)
    z = 1e3 * z
    g = gradient(z)
    short = 0.9 * lipschitz
    assert value(z - g / short) > value(z) - float(g.abs().square().sum()) / (2 * short)


def test_what_it_does_not_depend_on(random_kernels):
    size, mask = (14, 17), _mask((14, 17))

    def constant(kernels: torch.Tensor) -> float:
        return float(lipschitz_constant(filter_spectra(kernels, size), mask))

    kernels = random_kernels(6, 5)
    signs = torch.tensor([1.0, -1, 1, -1, -1, 1], dtype=torch.float64)[:, None, None]
    exact = constant(kernels)
    assert constant(signs * kernels) == exact
    assert constant(torch.cat([kernels, torch.zeros(3, 5, 5)])) == exact
    assert constant(kernels.flip(0)) == pytest.approx(exact, rel=1e-14)
    assert constant(torch.cat([kernels, kernels])) == pytest.approx(2 * exact, rel=1e-14)


def test_unit_norms_bound_it_from_below(random_kernels, learned_kernels):
    """The mean over the frequencies of ``sum_k |d_k|^2`` is K, so the largest is at least K."""
    for kernels in (random_kernels(7, 9), learned_kernels):
        power = filter_spectra(kernels, (40, 33)).power
        assert float(power.mean()) == pytest.approx(kernels.shape[0], rel=1e-5)
        assert float(power.max()) >= kernels.shape[0]
