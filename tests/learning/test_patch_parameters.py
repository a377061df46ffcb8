"""Smooth basis, penalised basis and dictionary of raw parameters, against plain linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.learning.patch_parameters import (
    cosine_rows,
    orthonormal_rows,
    penalised_basis,
    scaled_factors,
    spectral_norm,
)

DOUBLE = torch.float64


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def conditioned(condition: float, q: int = 120, p: int = 169) -> torch.Tensor:
    """Return rows of zero mean with singular values from 1 down to 1 / condition."""
    left = torch.linalg.qr(gaussian(q, q))[0]
    right = torch.linalg.qr(gaussian(p, q, seed=1) - gaussian(p, q, seed=1).mean(0))[0]
    singular = torch.logspace(0, -np.log10(condition), q, dtype=DOUBLE)
    return (left * singular) @ right.mT


def error_of(rows: torch.Tensor) -> float:
    return float((rows @ rows.mT - torch.eye(len(rows), dtype=rows.dtype)).abs().max())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fresh_free_atoms_become_orthonormal_with_zero_means(seed):
    rows = orthonormal_rows(gaussian(120, 169, seed=seed) / 3000)
    assert error_of(rows) <= 1e-14
    assert float(rows.mean(dim=1).abs().max()) <= 1e-15


@pytest.mark.parametrize("condition", [30.0, 100.0])
def test_the_smooth_basis_is_the_polar_factor(condition):
    matrix = conditioned(condition)
    rows = orthonormal_rows(matrix)
    left, _, right = np.linalg.svd((matrix - matrix.mean(1, keepdim=True)).numpy(), False)
    assert error_of(rows) <= 1e-14
    assert np.abs(rows.numpy() - left @ right).max() <= 1e-12 * condition


@pytest.mark.parametrize("condition", [300.0, 1000.0])
def test_nearly_dependent_free_atoms_are_refused_with_the_remedy(condition):
    with pytest.raises(DataError, match=r"not orthonormal after 15 steps .*nearly dependent"):
        orthonormal_rows(conditioned(condition))
    assert error_of(orthonormal_rows(conditioned(condition), steps=40)) <= 1e-14


def test_dependent_and_infinite_free_atoms_are_refused():
    matrix = gaussian(6, 25)
    matrix[3] = matrix[2]
    with pytest.raises(DataError, match="nearly dependent"):
        orthonormal_rows(matrix, steps=60)
    with pytest.raises(DataError, match="nearly dependent"):
        orthonormal_rows(torch.zeros(3, 9, dtype=DOUBLE))


def test_single_precision_is_orthonormal_to_rounding():
    rows = orthonormal_rows(gaussian(120, 169).float() / 3000)
    assert rows.dtype == torch.float32
    assert error_of(rows) <= 1e-6


def test_cosine_rows_are_those_of_the_cosine_transform():
    rows = cosine_rows(5, 24, dtype=DOUBLE)
    pairs = sorted(np.ndindex(5, 5), key=lambda f: (f[0] ** 2 + f[1] ** 2, f[0]))[1:]
    for row, (fy, fx) in zip(rows.numpy(), pairs, strict=True):
        unit = np.zeros((5, 5))
        unit[fy, fx] = 1
        expected = scipy.fft.idctn(unit, norm="ortho")
        assert np.abs(row.reshape(5, 5) - expected).max() <= 1e-14
    assert torch.equal(cosine_rows(5, 7, dtype=DOUBLE), rows[:7])
    assert cosine_rows(5, 0, dtype=DOUBLE).shape == (0, 25)


def test_the_penalised_basis_completes_the_smooth_one():
    smooth = orthonormal_rows(gaussian(12, 25))
    basis = penalised_basis(smooth, 5)
    whole = torch.cat([torch.full((1, 25), 0.2, dtype=DOUBLE), smooth, basis])
    assert error_of(whole) <= 1e-14


def test_the_penalised_basis_does_not_depend_on_the_basis_of_the_smooth_subspace():
    smooth = orthonormal_rows(gaussian(12, 25))
    turned = torch.linalg.qr(gaussian(12, 12, seed=3))[0] @ smooth
    basis = penalised_basis(smooth, 5)
    assert torch.equal(basis, penalised_basis(smooth.clone(), 5))
    assert float((basis - penalised_basis(turned, 5)).abs().max()) <= 1e-10
    assert float((basis.float() - penalised_basis(smooth.float(), 5)).abs().max()) <= 1e-4


def test_without_learned_atoms_the_penalised_basis_is_made_of_cosines():
    rest = cosine_rows(5, 24, dtype=DOUBLE)[10:]
    overlap = (penalised_basis(cosine_rows(5, 10, dtype=DOUBLE), 5) @ rest.mT).abs()
    assert torch.allclose(overlap.sort(dim=0).values[-1], torch.ones(14, dtype=DOUBLE))
    assert torch.allclose(overlap.sum(dim=0), torch.ones(14, dtype=DOUBLE), atol=1e-10)


def test_the_penalised_basis_moves_with_the_smooth_one():
    """Its projector has the derivative that finite differences of the plain projector have."""
    matrix, step = gaussian(12, 25), gaussian(12, 25, seed=4)
    weights = gaussian(25, 25, seed=5)

    def projected(t: torch.Tensor) -> torch.Tensor:
        basis = penalised_basis(orthonormal_rows(matrix + t * step), 5)
        return (basis.mT @ basis * weights).sum()

    def plain(t: float) -> float:
        moved = (matrix + t * step).numpy()
        span = np.linalg.qr(np.vstack([np.ones(25), moved]).T)[0]
        return float(((np.eye(25) - span @ span.T) * weights.numpy()).sum())

    t = torch.zeros((), dtype=DOUBLE, requires_grad=True)
    (slope,) = torch.autograd.grad(projected(t), t)
    assert float(slope) == pytest.approx((plain(1e-5) - plain(-1e-5)) / 2e-5, rel=1e-8)


def test_the_spectral_norm_is_the_largest_singular_value_with_its_gradient():
    for shape in ((6, 9), (9, 6)):
        matrix = gaussian(*shape).requires_grad_()
        value = spectral_norm(matrix)
        left, singular, right = np.linalg.svd(matrix.detach().numpy(), full_matrices=False)
        value.backward()
        assert float(value.detach()) == pytest.approx(singular[0], rel=1e-13)
        assert np.abs(matrix.grad.numpy() - np.outer(left[:, 0], right[0])).max() <= 1e-12


def test_the_spectral_norm_of_a_tight_frame_has_a_finite_gradient():
    matrix = torch.eye(4, dtype=DOUBLE, requires_grad=True)
    spectral_norm(matrix).backward()
    assert float(matrix.grad.square().sum()) == pytest.approx(1)


def test_atoms_in_the_smooth_subspace_are_refused():
    smooth = orthonormal_rows(gaussian(12, 25))
    basis = penalised_basis(smooth, 5)
    atoms = gaussian(14, 25, seed=6)
    assert scaled_factors(basis, atoms, 1.0).shape == (12, 14)
    for index, atom in ((3, smooth[0] + 0.5), (5, torch.zeros(25)), (7, torch.full((25,), np.nan))):
        broken = atoms.clone()
        broken[index] = atom
        with pytest.raises(DataError, match=f"atom {index} of the dictionary"):
            scaled_factors(basis, broken, 1.0)
