"""Sparse coding by sweeps over the filters: its optimum, its symmetries, its speed of approach."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
import torch

from lowfield_recon.evaluation.benchmark.cdl_speed_problem import (
    bank_kernels,
    benchmark_image,
    coding_problem,
)
from lowfield_recon.solvers.convolutional_model import (
    FilterSpectra,
    analyse,
    filter_spectra,
    weighted_sum,
)
from lowfield_recon.solvers.sparse_coding import (
    SparseCodingProblem,
    sparse_codes_admm,
    sparse_codes_descent,
)


def _problem(shape=(12, 15), n=4, penalty="modulus", low=0.05, high=0.4, seed=1):
    g = torch.Generator().manual_seed(seed)
    d = torch.randn(n, 5, 5, generator=g, dtype=torch.float64)
    mask = (torch.rand(*shape, generator=g) < 0.6).double()
    y = torch.randn(1, *shape, generator=g, dtype=torch.complex128) * mask
    weights = low + (high - low) * torch.rand(n, 1, *shape, generator=g, dtype=torch.float64)
    return SparseCodingProblem(
        spectra=filter_spectra(d / d.flatten(1).norm(dim=1)[:, None, None], shape),
        rhs=y * (shape[0] * shape[1]) ** 0.5,
        energy=0.5 * float(y.abs().square().sum()),
        weights=weights,
        eigenvalues=mask,
        penalty=penalty,
    )


def _with_filters(problem, values: torch.Tensor, weights: torch.Tensor) -> SparseCodingProblem:
    spectra = FilterSpectra(values=values, power=values.abs().square().sum(dim=(0, 1)))
    return dataclasses.replace(problem, spectra=spectra, weights=weights)


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


@pytest.mark.parametrize("penalty", ["components", "modulus"])
def test_it_reaches_the_optimality_condition(penalty):
    problem = _problem(penalty=penalty)
    s = sparse_codes_descent(problem, iterations=600).codes
    x = weighted_sum(problem.spectra, s)
    g = analyse(problem.spectra, torch.fft.ifft2(problem.normal(x) - problem.rhs))
    weights = problem.weights
    if penalty == "components":
        g, s, weights = torch.view_as_real(g), torch.view_as_real(s), weights[..., None]
    on = s != 0
    active = g + weights * s / s.abs().clamp(min=1e-300)
    assert float(active.abs()[on].max()) <= 1e-5 * float(weights.max())
    assert float((g.abs() - weights)[~on].max()) <= 1e-5 * float(weights.max())


def test_without_extrapolation_no_sweep_raises_the_objective():
    values = sparse_codes_descent(
        _problem(low=1e-3, high=1e-2), iterations=60, momentum="none", objective_every=1
    ).objective
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(values))
    assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("n", [1, 2, 6])
def test_dense_codes_in_a_few_filters_do_not_make_it_swing(n):
    """A single filter with long accelerated steps would diverge by a factor of 2 a sweep."""
    problem = _problem(n=n, low=1e-3, high=1e-2)
    values = sparse_codes_descent(problem, iterations=400, objective_every=20).objective
    plain = sparse_codes_descent(problem, iterations=400, momentum="none", objective_every=400)
    assert values[-1] <= plain.objective[-1] * (1 + 1e-6)
    assert max(values) <= 1.5 * problem.energy


def test_the_order_of_the_filters_does_not_matter():
    problem = _problem(n=7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    other = _with_filters(problem, problem.spectra.values[order], problem.weights[order])
    codes = sparse_codes_descent(problem, iterations=20).codes
    assert _differ(codes[order], sparse_codes_descent(other, iterations=20).codes) <= 1e-12


def test_the_signs_of_the_filters_do_not_matter():
    problem = _problem(n=7)
    signs = torch.where(torch.arange(7) % 3 == 0, -1.0, 1.0).double()[:, None, None, None]
    other = _with_filters(problem, problem.spectra.values * signs, problem.weights)
    codes = sparse_codes_descent(problem, iterations=20).codes
    assert torch.equal(codes, signs * sparse_codes_descent(other, iterations=20).codes)


def test_transposed_filters_are_told_apart():
    """On a square grid a filter and its transpose have the same norms and the same peaks."""
    d = torch.zeros(2, 3, 3, dtype=torch.float64)
    d[0, 0], d[1, :, 0] = torch.tensor([0.6, 0.0, -0.8]), torch.tensor([0.6, 0.0, -0.8])
    problem = _problem((12, 12), n=2)
    values = filter_spectra(d, (12, 12)).values
    one = _with_filters(problem, values, problem.weights)
    other = _with_filters(problem, values.flip(0), problem.weights.flip(0))
    codes = sparse_codes_descent(one, iterations=5).codes
    assert _differ(codes, sparse_codes_descent(other, iterations=5).codes.flip(0)) <= 1e-12


def test_filters_that_are_zero_change_nothing():
    problem = _problem()
    values = torch.cat([problem.spectra.values, torch.zeros_like(problem.spectra.values[:2])])
    padded = _with_filters(problem, values, torch.cat([problem.weights, problem.weights[:2]]))
    codes = sparse_codes_descent(problem, iterations=20).codes
    found = sparse_codes_descent(padded, iterations=20).codes
    assert torch.equal(found[:4], codes)
    assert not found[4:].any()


def test_large_weights_give_exact_zeros():
    assert not sparse_codes_descent(_problem(low=1e3, high=1e3), iterations=3).codes.any()


def test_an_operator_with_a_bound_only_has_the_same_optimum():
    known = _problem()
    general = dataclasses.replace(
        known, eigenvalues=None, gram=lambda k: known.eigenvalues * k, norm_squared=1.0
    )
    expected = sparse_codes_admm(known, iterations=1500, objective_every=1500).objective[-1]
    found = sparse_codes_descent(general, iterations=600, objective_every=600).objective[-1]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_tolerance_stops_early():
    found = sparse_codes_descent(_problem(), iterations=3000, tolerance=1e-3)
    assert found.stopping_reason == "tolerance"
    assert found.iterations < 300
    assert found.residual[-1] <= 1e-3


def test_64_iterations_come_within_1e_3_of_the_optimum_of_a_real_image():
    image, _ = benchmark_image((), 64)
    problem = coding_problem(image, bank_kernels(16, 9), noise=0.06)
    found = sparse_codes_descent(problem, iterations=64, objective_every=64).objective[-1]
    optimum = min(sparse_codes_admm(problem, iterations=300, objective_every=100).objective)
    assert found <= optimum * (1 + 1e-3)
