"""The image block: exact, by conjugate gradients, split for x >= 0, or a gradient step."""

from __future__ import annotations

import dataclasses

import pytest
import scipy.optimize
import torch

from lowfield_recon.solvers.patch_image_step import ImageGradientStep, ImageMinimisation
from lowfield_recon.solvers.patch_subspace import PatchSubspace

SIZE = (8, 6)
N = 48


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def quadratic(regularizer, patch_matrix) -> torch.Tensor:
    """Return ``sum_k P_k^T U^T U P_k`` from explicit patches, `(n, n)`."""
    rows = torch.einsum("ru,kuv->rkv", regularizer.basis.flatten(1), patch_matrix(SIZE, (5, 3)))
    return rows.flatten(0, 1).mT @ rows.flatten(0, 1)


def matrix_of(gram, planes: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return the matrix of a linear map between images `(planes, y, x)`."""
    basis = torch.eye(planes * N, dtype=dtype).reshape(-1, planes, *SIZE)
    return torch.stack([gram(e).flatten() for e in basis], 1)


def least(values: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return torch.linalg.solve(values.to(right.dtype), right.flatten()).reshape(right.shape)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_the_exact_step_is_a_dense_solve(small_prior, patch_matrix, stated, mirrored_gain, dtype):
    prior = small_prior()
    gains = torch.cat([mirrored_gain(SIZE, seed=s) for s in range(3)])
    problem = stated(draw(3, *SIZE, dtype=dtype), prior, gains)
    response = PatchSubspace(prior.basis, SIZE).response
    synthesis = draw(3, *SIZE, dtype=dtype, seed=1)
    found = ImageMinimisation(problem, response)(problem.rhs, synthesis)
    assert found.dtype == dtype
    h = quadratic(prior, patch_matrix)
    for plane in range(3):
        one = stated(problem.rhs[plane : plane + 1], prior, gains[plane : plane + 1])
        values = matrix_of(one.gram, dtype=dtype).real + prior.beta * h
        right = problem.rhs[plane] + prior.beta * synthesis[plane]
        assert torch.allclose(found[plane], least(values, right), rtol=0, atol=1e-10)


def test_what_nothing_determines_stays_zero(small_prior, stated):
    prior = small_prior()
    gain = torch.ones(1, *SIZE, dtype=torch.float64)
    gain[..., 0, 0] = 0
    problem = stated(draw(1, *SIZE), prior, gain)
    response = PatchSubspace(prior.basis, SIZE).response
    synthesis = draw(1, *SIZE, seed=1)
    image = ImageMinimisation(problem, response)(problem.rhs, synthesis - synthesis.mean())
    assert image.isfinite().all()
    assert abs(float(image.mean())) <= 1e-8


def test_a_constant_keeps_its_value_however_strong_the_prior(small_prior, stated):
    strong = dataclasses.replace(small_prior(), beta=1e4)
    problem = stated(torch.full((1, *SIZE), 2.0, dtype=torch.float64), strong)
    response = PatchSubspace(strong.basis, SIZE).response
    image = ImageMinimisation(problem, response)(problem.rhs, torch.zeros(1, *SIZE).double())
    assert float((image - 2).abs().max()) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_conjugate_gradients_end_at_the_dense_solve(small_prior, patch_matrix, stated, dtype):
    """A^H A mixes the frequencies, as that of coil maps does, and differs from plane to plane."""
    prior = small_prior()
    profile = 0.2 + torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(5)).double()
    mask = (torch.arange(SIZE[1]) % 2 == 0).double().expand(SIZE)

    def gram(x: torch.Tensor) -> torch.Tensor:
        seen = torch.fft.ifft2(mask * torch.fft.fft2(profile * x))
        back = seen if x.is_complex() else seen.real
        return profile * back + 0.05 * x

    problem = dataclasses.replace(
        stated(draw(2, *SIZE, dtype=dtype), prior), gram=gram, is_exact=False, lipschitz=1.5,
        eigenvalues=torch.full((1, *SIZE), 0.5, dtype=torch.float64),
    )  # fmt: skip
    step = ImageMinimisation(problem, PatchSubspace(prior.basis, SIZE).response)
    synthesis, image = draw(2, *SIZE, dtype=dtype, seed=1), problem.rhs
    h = prior.beta * quadratic(prior, patch_matrix)
    values = matrix_of(gram, 2, dtype) + torch.block_diag(h, h)
    expected = least(values, problem.rhs + prior.beta * synthesis)
    gaps = []
    for _ in range(30):
        image = step(image, synthesis)
        gaps.append(float((image - expected).norm() / expected.norm()))
    assert gaps[-1] <= 1e-9
    assert gaps[0] < 0.5


@pytest.mark.parametrize("is_exact", [True, False])
def test_the_splitting_ends_at_nonnegative_least_squares(
    small_prior, patch_matrix, stated, mirrored_gain, is_exact
):
    prior = small_prior()
    problem = stated(
        draw(1, *SIZE), prior, mirrored_gain(SIZE), is_exact=is_exact, is_nonnegative=True
    )
    step = ImageMinimisation(problem, PatchSubspace(prior.basis, SIZE).response)
    synthesis, image = draw(1, *SIZE, seed=1), problem.rhs.clamp(min=0)
    for _ in range(400):
        image = step(image, synthesis)
        assert float(image.min()) >= 0
    values = matrix_of(problem.gram) + prior.beta * quadratic(prior, patch_matrix)
    right = problem.rhs + prior.beta * synthesis
    root = torch.linalg.cholesky(values).mT  # |root x - root^-T right|^2 is the quadratic
    target = torch.linalg.solve_triangular(root.mT, right.reshape(-1, 1), upper=False)
    expected, _ = scipy.optimize.nnls(root.numpy(), target[:, 0].numpy())
    assert 5 < (expected == 0).sum() < 43
    assert float((image.flatten() - torch.from_numpy(expected)).abs().max()) <= 1e-6


@pytest.mark.parametrize("is_nonnegative", [False, True])
def test_the_gradient_step_is_the_published_one(
    small_prior, patch_matrix, stated, mirrored_gain, is_nonnegative
):
    prior = small_prior()
    problem = stated(draw(1, *SIZE), prior, mirrored_gain(SIZE), is_nonnegative=is_nonnegative)
    step = ImageGradientStep(problem, PatchSubspace(prior.basis, SIZE).response)
    image, synthesis = draw(1, *SIZE, seed=1), draw(1, *SIZE, seed=2)
    h = quadratic(prior, patch_matrix)
    largest = float(torch.linalg.eigvalsh(h)[-1])
    slope = problem.gram(image) - problem.rhs
    slope = slope + prior.beta * ((h @ image.flatten()).reshape(1, *SIZE) - synthesis)
    expected = image - slope / (1.01 * (prior.beta * largest + problem.lipschitz))
    if is_nonnegative:
        expected = expected.clamp(min=0)
    assert torch.allclose(step(image, synthesis), expected, rtol=0, atol=1e-13)
