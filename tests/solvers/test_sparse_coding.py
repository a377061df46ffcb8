"""Convolutional sparse coding against mrpro, dense algebra and its own optimality conditions."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.solvers.convolutional_model import (
    analyse,
    filter_spectra,
    lipschitz_constant,
    low_pass_response,
    synthesise,
    weighted_sum,
)
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


def _gradient(problem: SparseCodingProblem, codes: torch.Tensor) -> torch.Tensor:
    x = weighted_sum(problem.spectra, codes)
    return analyse(problem.spectra, torch.fft.ifft2(problem.normal(x) - problem.rhs))


@pytest.mark.parametrize("shape", [(12, 15), (9, 9), (16, 16)])
@pytest.mark.parametrize("size", [5, 11, 17])
def test_the_filters_convolve_circularly(shape, size):
    kernels = _kernels(3, size)
    s = torch.randn(3, 2, *shape, dtype=torch.complex128)
    expected = torch.zeros(2, *shape, dtype=torch.complex128)
    half = size // 2
    for k in range(3):
        for i in range(size):
            for j in range(size):
                expected += kernels[k, i, j] * s[k].roll((i - half, j - half), (-2, -1))
    x = synthesise(filter_spectra(kernels, shape), s)
    assert torch.linalg.vector_norm(x - expected) <= 1e-12 * torch.linalg.vector_norm(expected)


def test_analysis_is_the_adjoint_of_synthesis():
    spectra = filter_spectra(_kernels(5, 7), (14, 11))
    s = torch.randn(5, 2, 14, 11, dtype=torch.complex128)
    x = torch.randn(2, 14, 11, dtype=torch.complex128)
    left = torch.vdot(synthesise(spectra, s).flatten(), x.flatten())
    right = torch.vdot(s.flatten(), analyse(spectra, x).flatten())
    assert abs(left - right) <= 1e-12 * s.norm() * x.norm()


@pytest.mark.parametrize("shape", [(8, 8), (7, 6)])
def test_the_lipschitz_constant_is_the_largest_singular_value_squared(shape):
    g = torch.Generator().manual_seed(3)
    mask = (torch.rand(*shape, generator=g) < 0.5).double()
    spectra = filter_spectra(_kernels(3, 5), shape)
    n = 3 * shape[0] * shape[1]
    columns = torch.eye(n, dtype=torch.complex128).reshape(n, 3, 1, *shape)
    dense = torch.stack(
        [(mask * torch.fft.fft2(synthesise(spectra, c), norm="ortho")).flatten() for c in columns]
    )
    largest = float(torch.linalg.svdvals(dense)[0]) ** 2
    assert lipschitz_constant(spectra, mask) == pytest.approx(largest, rel=1e-10)


def test_the_low_pass_solves_its_normal_equations():
    x = torch.randn(10, 13, dtype=torch.complex128)
    low = torch.fft.ifft2(low_pass_response(0.7, (10, 13)) * torch.fft.fft2(x))
    rough = sum(2 * low - low.roll(1, d) - low.roll(-1, d) for d in (0, 1))
    assert torch.linalg.vector_norm(low + 0.7 * rough - x) <= 1e-12 * x.norm()
    assert float((low_pass_response(0.0, (4, 4)) - 1).abs().max()) == 0


@pytest.mark.parametrize("shape", [(33, 27), (32, 48)])
@pytest.mark.parametrize("penalty", ["components", "modulus"])
def test_64_iterations_equal_mrpro_pgd(shape, penalty):
    from mrpro.algorithms.optimizers import pgd
    from mrpro.operators import ConvSynthesisDictionaryOp
    from mrpro.operators.functionals import L1Norm, L1NormViewAsReal, L2NormSquared

    problem = _problem(shape, n=4, size=7, penalty=penalty)
    mask = problem.eigenvalues

    class Sampling(LinearOperator):
        def forward(self, x):
            return (torch.fft.fft2(x, norm="ortho") * mask,)

        def adjoint(self, x):
            return (torch.fft.ifft2(x * mask, norm="ortho"),)

    y = problem.rhs / (shape[0] * shape[1]) ** 0.5
    d = ConvSynthesisDictionaryOp(_kernels(4, 7).flip(-1, -2), pad_mode="circular")
    norm = L1NormViewAsReal if penalty == "components" else L1Norm
    (expected,) = pgd(
        0.5 * L2NormSquared(target=y) @ (Sampling() @ d),
        norm(weight=problem.weights),
        torch.zeros(4, 1, *shape, dtype=torch.complex128),
        stepsize=1 / problem.lipschitz(),
        max_iterations=64,
        convergent_iterates_variant=True,
    )
    codes = sparse_codes_fista(problem, iterations=64, momentum="delayed").codes
    assert torch.linalg.vector_norm(codes - expected) <= 1e-12 * expected.norm()
    assert torch.equal(codes != 0, expected != 0)


@pytest.mark.parametrize("penalty", ["components", "modulus"])
def test_both_solvers_reach_the_optimality_condition(penalty):
    problem = _problem(penalty=penalty)
    fista = sparse_codes_fista(problem, iterations=4000, restart=True)
    admm = sparse_codes_admm(problem, iterations=4000)
    for found in (fista, admm):
        g, s = _gradient(problem, found.codes), found.codes
        if penalty == "components":
            g, s = torch.view_as_real(g), torch.view_as_real(s)
            weights = problem.weights[..., None]
        else:
            weights = problem.weights
        on = s != 0
        active = g + weights * s / s.abs().clamp(min=1e-300)
        assert float(active.abs()[on].max()) <= 1e-4 * float(weights.max())
        assert float((g.abs() - weights)[~on].max()) <= 1e-4 * float(weights.max())
    assert problem.objective(admm.codes) == pytest.approx(problem.objective(fista.codes), rel=1e-6)


def test_the_plain_method_never_raises_the_objective():
    problem = _problem()
    found = sparse_codes_fista(problem, iterations=60, momentum="none", objective_every=1)
    values = torch.tensor(found.objective, dtype=torch.float64)
    assert bool((values.diff() <= 1e-12 * values[0]).all())
    assert float(values[-1]) < 0.9 * problem.energy


def test_the_objective_is_what_it_says():
    problem = _problem(penalty="modulus")
    codes = torch.randn(4, 1, 12, 15, dtype=torch.complex128)
    k = torch.fft.fft2(synthesise(problem.spectra, codes), norm="ortho")
    y = problem.rhs / (12 * 15) ** 0.5
    expected = 0.5 * (problem.eigenvalues * k - y).abs().square().sum()
    expected += (problem.weights * codes.abs()).sum()
    assert problem.objective(codes) == pytest.approx(float(expected), rel=1e-12)


def test_a_large_weight_gives_exact_zeros():
    problem = _problem(low=1e3, high=1e3)
    assert not sparse_codes_fista(problem, iterations=3).codes.any()
    assert not sparse_codes_admm(problem, iterations=3).codes.any()


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
