"""Convolutional sparse coding: its objective, its interfaces, when it stops.

What it must compute stands in `tests/check_list`.
"""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers.convolutional_model import filter_spectra, synthesise
from lowfield_recon.solvers.sparse_coding import (
    SparseCodingProblem,
    sparse_codes_admm,
    sparse_codes_fista,
)


def _kernels(n: int, size: int, seed: int = 0) -> torch.Tensor:
    d = torch.randn(n, size, size, generator=torch.Generator().manual_seed(seed)).double()
    return d / d.flatten(1).norm(dim=1)[:, None, None]


def _problem(shape=(12, 15), n=4, size=5, penalty="modulus", seed=1, low=0.05, high=0.4):
    g = torch.Generator().manual_seed(seed)
    mask = (torch.rand(*shape, generator=g) < 0.6).double()
    y = torch.randn(1, *shape, generator=g, dtype=torch.complex128) * mask
    weights = low + (high - low) * torch.rand(n, 1, *shape, generator=g, dtype=torch.float64)
    n_pixels = shape[0] * shape[1]
    return SparseCodingProblem(
        spectra=filter_spectra(_kernels(n, size), shape),
        rhs=y * n_pixels**0.5,
        energy=0.5 * float(y.abs().square().sum()),
        weights=weights,
        eigenvalues=mask,
        penalty=penalty,
    )


def test_the_objective_is_what_it_says():
    problem = _problem(penalty="modulus")
    codes = torch.randn(4, 1, 12, 15, dtype=torch.complex128)
    k = torch.fft.fft2(synthesise(problem.spectra, codes), norm="ortho")
    y = problem.rhs / (12 * 15) ** 0.5
    expected = 0.5 * (problem.eigenvalues * k - y).abs().square().sum()
    expected += (problem.weights * codes.abs()).sum()
    assert problem.objective(codes) == pytest.approx(float(expected), rel=1e-12)


def test_a_gram_without_eigenvalues_gives_the_same_codes():
    known = _problem()
    general = SparseCodingProblem(
        spectra=known.spectra, rhs=known.rhs, energy=known.energy, weights=known.weights,
        gram=lambda k: known.eigenvalues * k, norm_squared=1.0,
    )  # fmt: skip
    step = 1 / general.lipschitz()
    a = sparse_codes_fista(known, iterations=30, step=step).codes
    b = sparse_codes_fista(general, iterations=30).codes
    assert torch.equal(a, b)
    with pytest.raises(TypeError, match="eigenvalues"):
        sparse_codes_admm(general)


@pytest.mark.parametrize("solve", [sparse_codes_fista, sparse_codes_admm])
def test_a_tolerance_stops_early(solve):
    found = solve(_problem(), iterations=3000, tolerance=1e-3)
    assert found.stopping_reason == "tolerance"
    assert found.iterations < 3000
    assert found.residual[-1] <= 1e-3
