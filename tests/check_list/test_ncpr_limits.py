"""Checks 13 to 15 of NCPR and CPR: scales without end, scales of zero, a constant added."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_solver import smooth_image, solve_patches
from lowfield_recon.solvers.patch_subspace import PatchSubspace

MODELS = pytest.mark.parametrize(
    "name", ["ncpr_sigma25", "cpr_sigma25", "ncpr_sigma5", "cpr_sigma5"]
)
SIZE = (14, 16)


@pytest.fixture
def noisy(photograph) -> torch.Tensor:
    noise = torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return photograph[180:194, 200:216] + 0.1 * noise


def differ(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def filtered(image: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    return torch.fft.ifft2(response * torch.fft.fft2(image)).real


@MODELS
def test_huge_scales_leave_the_smooth_part(published_model, patch_denoising, noisy, name):
    regularizer = published_model(name, base_scale=1e12)
    h = PatchSubspace(regularizer.basis, SIZE).response
    expected = filtered(noisy, 1 / (1 + regularizer.beta * h))
    problem = patch_denoising(noisy, regularizer)
    assert differ(solve_patches(problem, iterations=1).image, expected) <= 1e-10
    assert differ(smooth_image(problem), expected) <= 1e-10
    assert differ(noisy, expected) > 1e-2


@pytest.mark.parametrize("method", ["ipalm", "palm"])
def test_the_published_iteration_finds_the_smooth_part(
    published_model, patch_denoising, noisy, method
):
    # With a small beta the gradient steps, which move constants slowly, come to their end.
    regularizer = published_model("ncpr_sigma5", beta=0.02, base_scale=1e12)
    h = PatchSubspace(regularizer.basis, SIZE).response
    expected = filtered(noisy, 1 / (1 + 0.02 * h))
    problem = patch_denoising(noisy, regularizer)
    found = solve_patches(problem, method=method, iterations=150, tolerance=0).image
    assert differ(found, expected) <= 1e-10


@MODELS
def test_the_smooth_part_of_half_of_kspace(published_model, noisy, name):
    """``(H^T H + beta sum P^T P^ P) x = H^T y`` by a dense solve."""
    regularizer = published_model(name, beta=0.02)
    column = torch.arange(SIZE[1])
    mask = ((column % 2 == 0) | (column < 3) | (column > 13)).double().expand(1, *SIZE)
    problem = PatchProblem(
        regularizer=regularizer, rhs=filtered(noisy, mask), gram=lambda x: filtered(x, mask),
        eigenvalues=mask, is_exact=True, misfit=lambda x: 0.0, lipschitz=1.0,
    )  # fmt: skip
    h = PatchSubspace(regularizer.basis, SIZE).response
    n = SIZE[0] * SIZE[1]
    basis = torch.eye(n, dtype=torch.float64).reshape(n, *SIZE)
    matrix = filtered(basis, mask + 0.02 * h).reshape(n, n)
    expected = torch.linalg.solve(matrix, problem.rhs.flatten()).reshape(SIZE)
    assert differ(smooth_image(problem)[0], expected) <= 1e-10


@pytest.mark.parametrize(
    ("name", "method", "iterations"),
    [
        ("ncpr_sigma25", "ipalm", 600), ("ncpr_sigma25", "accelerated", 600),
        ("cpr_sigma25", "accelerated", 1500), ("ncpr_sigma5", "accelerated", 300),
        ("cpr_sigma5", "ipalm", 300), ("cpr_sigma5", "accelerated", 300),
    ],
)  # fmt: skip
def test_tiny_scales_leave_the_data(
    published_model, patch_denoising, noisy, name, method, iterations
):
    problem = patch_denoising(noisy, published_model(name, base_scale=1e-9))
    found = solve_patches(problem, method=method, iterations=iterations, tolerance=0).image
    assert float((found - noisy).abs().max()) <= 1e-4


@MODELS
@pytest.mark.parametrize("method", ["ipalm", "accelerated"])
def test_a_constant_passes_through(published_model, patch_denoising, noisy, name, method):
    regularizer = published_model(name)

    def solved(data: torch.Tensor) -> torch.Tensor:
        problem = patch_denoising(data, regularizer)
        return solve_patches(problem, method=method, iterations=200, tolerance=0).image

    expected = solved(noisy)
    assert float((solved(noisy + 0.75) - expected - 0.75).abs().max()) <= 1e-6
    assert differ(expected, noisy) > 1e-3
