"""Check 12 of NCPR and CPR: scaling law, global phase, circular shifts, 30 iterations."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_solver import solve_patches

MODELS = pytest.mark.parametrize(
    "name", ["ncpr_sigma25", "cpr_sigma25", "ncpr_sigma5", "cpr_sigma5"]
)
METHODS = pytest.mark.parametrize("method", ["ipalm", "palm", "accelerated"])
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
SIZE = (20, 22)


def differ(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def iterated(problem: PatchProblem, method: str) -> torch.Tensor:
    return solve_patches(problem, method=method, iterations=30, tolerance=0).image


def piece(photograph: torch.Tensor, dtype: torch.dtype, *, is_complex: bool = False):
    """A noisy piece of the photograph, with a phase where it is complex."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(2, *SIZE, generator=generator, dtype=torch.float64)
    image = photograph[180:200, 200:222]
    if not is_complex:
        return (image + noise[0]).to(dtype)[None]
    angle = torch.linspace(0, 3, SIZE[1], dtype=torch.float64)
    turned = image * torch.exp(1j * angle) + torch.complex(noise[0], noise[1])
    return turned.to(dtype.to_complex())[None]


def with_scales(problem: PatchProblem, factor: float) -> PatchProblem:
    scaled = dataclasses.replace(problem.regularizer, scales=factor * problem.regularizer.scales)
    return dataclasses.replace(problem, regularizer=scaled)


@MODELS
@METHODS
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_data_and_scales_times_c_are_the_image_times_c(
    published_model, patch_denoising, photograph, name, method, dtype
):
    regularizer, noisy = published_model(name, dtype), piece(photograph, dtype)
    expected = iterated(patch_denoising(noisy, regularizer), method)
    louder = patch_denoising(3.7 * noisy, regularizer)
    assert differ(iterated(with_scales(louder, 3.7), method), 3.7 * expected) <= TOLERANCE[dtype]
    assert differ(iterated(louder, method), 3.7 * expected) > 1e-4


@MODELS
@METHODS
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_a_global_phase_passes_through(
    published_model, patch_denoising, photograph, name, method, dtype
):
    noisy = piece(photograph, dtype, is_complex=True)
    phase = torch.exp(torch.tensor(0.7j, dtype=torch.complex128)).to(noisy.dtype)
    regularizer = published_model(name, dtype)
    expected = iterated(patch_denoising(noisy, regularizer), method)
    found = iterated(patch_denoising(phase * noisy, regularizer), method)
    assert differ(found, phase * expected) <= TOLERANCE[dtype]
    assert differ(expected, noisy) > 1e-3


@MODELS
@METHODS
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_a_circular_shift_passes_through(
    published_model, patch_denoising, photograph, name, method, dtype
):
    regularizer, noisy = published_model(name, dtype), piece(photograph, dtype)
    expected = iterated(patch_denoising(noisy, regularizer), method)

    def change(shift: tuple[int, int]) -> float:
        moved = iterated(patch_denoising(noisy.roll(shift, (-2, -1)), regularizer), method)
        return differ(moved, expected.roll(shift, (-2, -1)))

    assert change((6, -8)) <= TOLERANCE[dtype]
    # The blocks of CPR stay where they are.
    if name.startswith("cpr"):
        assert change((3, 5)) > 1e-4
    else:
        assert change((3, 5)) <= TOLERANCE[dtype]


@pytest.mark.parametrize("method", ["ipalm", "palm", "accelerated"])
def test_the_scaling_law_holds_with_much_left_open(published_model, photograph, method):
    regularizer = published_model("ncpr_sigma25", beta=0.02, base_scale=2e-3)
    mask = (torch.arange(SIZE[1]) % 2 == 0).double().expand(SIZE)
    k = mask * torch.fft.fft2(piece(photograph, torch.float64, is_complex=True), norm="ortho")

    def stated(k: torch.Tensor, factor: float) -> PatchProblem:
        problem = PatchProblem(
            regularizer=regularizer, rhs=torch.fft.ifft2(k, norm="ortho"),
            gram=lambda x: torch.fft.ifft2(mask * torch.fft.fft2(x)), eigenvalues=mask[None],
            is_exact=True, lipschitz=1.0,
            misfit=lambda x: 0.5 * float((mask * torch.fft.fft2(x, norm="ortho") - k).norm()) ** 2,
        )  # fmt: skip
        return with_scales(problem, factor)

    expected = iterated(stated(k, 1.0), method)
    turned = complex(0.6, -0.8) * 250
    assert differ(iterated(stated(turned * k, 250.0), method), turned * expected) <= 1e-12
