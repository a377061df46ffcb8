"""FISTA, PDHG and ADMM against SciPy's optima and against their optimality conditions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from mrpro.operators import IdentityOp

from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.solvers import (
    LeastSquares,
    SolverResult,
    admm,
    fista,
    group_norm,
    pdhg,
    project_groups,
    shrink_modulus,
)
from lowfield_recon.solvers.normal_equations import NormalEquations

WEIGHT = 0.4


def _matrix(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(
        rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def _lasso() -> tuple[torch.Tensor, torch.Tensor, LeastSquares, float]:
    a = _matrix(8, 12)
    y = a @ torch.tensor([1.0, 0, 0, -2, 0, 0, 0.5, 0, 0, 0, 0, 3], dtype=torch.float64)
    smooth = LeastSquares(lambda x: a.T @ (a @ x), a.T @ y, 0.5 * float(y @ y))
    return a, y, smooth, float(torch.linalg.matrix_norm(a, ord=2) ** 2)


def _lasso_optimum(a: torch.Tensor, y: torch.Tensor) -> float:
    """Solve the LASSO as a bounded smooth problem in positive and negative parts with SciPy."""
    m, b = a.numpy(), y.numpy()
    n = m.shape[1]

    def value(v: np.ndarray) -> tuple[float, np.ndarray]:
        residual = m @ (v[:n] - v[n:]) - b
        gradient = m.T @ residual
        return 0.5 * residual @ residual + WEIGHT * v.sum(), np.concatenate(
            (gradient + WEIGHT, -gradient + WEIGHT)
        )

    found = scipy.optimize.minimize(
        value, np.zeros(2 * n), jac=True, bounds=[(0, None)] * (2 * n), method="L-BFGS-B",
        options={"maxiter": 20000, "ftol": 1e-15, "gtol": 1e-12},
    )  # fmt: skip
    return float(found.fun)


@pytest.mark.parametrize("restart", [True, False])
def test_fista_reaches_scipys_lasso_optimum(restart: bool) -> None:
    a, y, smooth, lipschitz = _lasso()
    result = fista(
        smooth,
        lambda v, tau: shrink_modulus(v, WEIGHT * tau),
        initial=torch.zeros(12, dtype=torch.float64),
        lipschitz=lipschitz,
        penalty=lambda x: WEIGHT * float(x.abs().sum()),
        iterations=20000,
        tolerance=1e-12,
        restart=restart,
    )
    assert result.objective[-1] == pytest.approx(_lasso_optimum(a, y), rel=1e-8)
    gradient = a.T @ (a @ result.solution - y)
    support = result.solution != 0
    assert torch.allclose(gradient[support], -WEIGHT * result.solution[support].sign(), atol=1e-6)
    assert bool((gradient.abs() <= WEIGHT + 1e-6).all())


def test_restart_needs_fewer_iterations() -> None:
    _, _, smooth, lipschitz = _lasso()

    def iterations(restart: bool) -> int:
        return fista(
            smooth, lambda v, tau: shrink_modulus(v, WEIGHT * tau),
            initial=torch.zeros(12, dtype=torch.float64), lipschitz=lipschitz,
            iterations=50000, tolerance=1e-10, restart=restart,
        ).iterations  # fmt: skip

    assert iterations(True) < 0.5 * iterations(False)


def test_pdhg_reaches_scipys_lasso_optimum() -> None:
    a, y, smooth, lipschitz = _lasso()
    result = pdhg(
        smooth, IdentityOp(), lambda p, _: p.clamp(-WEIGHT, WEIGHT),
        initial=torch.zeros(12, dtype=torch.float64), lipschitz=lipschitz, transform_norm=1.0,
        penalty=lambda x: WEIGHT * float(x.abs().sum()), iterations=20000, tolerance=1e-8,
    )  # fmt: skip
    assert result.objective[-1] == pytest.approx(_lasso_optimum(a, y), rel=1e-5)


def test_pdhg_with_a_constraint_reaches_scipys_nonnegative_least_squares() -> None:
    a, y, smooth, lipschitz = _lasso()
    result = pdhg(
        smooth, IdentityOp(), lambda p, _: torch.zeros_like(p),
        initial=torch.zeros(12, dtype=torch.float64), lipschitz=lipschitz, transform_norm=1.0,
        primal_prox=lambda x, _: x.clamp(min=0), penalty=lambda _: 0.0,
        iterations=20000, tolerance=1e-9,
    )  # fmt: skip
    _, distance = scipy.optimize.nnls(a.numpy(), y.numpy())
    assert result.objective[-1] == pytest.approx(0.5 * distance**2, rel=1e-6)


def _tv_problem() -> tuple[torch.Tensor, GradientOp, torch.Tensor, LeastSquares]:
    """A small complex denoising and deblurring problem whose Gram is diagonal in Fourier space."""
    generator = torch.Generator().manual_seed(3)
    x = torch.zeros(1, 1, 1, 8, 10, dtype=torch.complex128)
    x[..., 2:6, 3:8] = 1 + 1j
    eigenvalues = 0.2 + torch.rand(1, 1, 1, 8, 10, dtype=torch.float64, generator=generator)
    noisy = x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=generator)

    def gram(v: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(torch.fft.fft2(v) * eigenvalues)

    gradient = GradientOp((-2, -1))
    return eigenvalues, gradient, noisy, LeastSquares(gram, gram(noisy), 0.0)


def _run_admm(exact: bool) -> tuple[SolverResult, LeastSquares, GradientOp]:
    eigenvalues, gradient, noisy, smooth = _tv_problem()
    symbol = gradient.gram_symbol(noisy.shape)
    near = eigenvalues if exact else eigenvalues.mean().reshape(1, 1, 1)
    solve = NormalEquations(smooth.gram, near, symbol, exact=exact, inner_iterations=2)
    weight = 0.05

    def objective(x: torch.Tensor) -> float:
        return smooth.value(x, smooth.gram(x)) + weight * float(group_norm(gradient(x)[0]).sum())

    result = admm(
        solve, smooth.rhs, gradient, lambda t, rho: project_groups(t, weight / rho),
        initial=smooth.rhs, rho=1.0, objective=objective, iterations=3000, tolerance=1e-7,
    )  # fmt: skip
    return result, smooth, gradient


@pytest.mark.parametrize("exact", [True, False])
def test_admm_reaches_the_optimum_that_pdhg_reaches(exact: bool) -> None:
    result, smooth, gradient = _run_admm(exact)
    weight = 0.05
    reference = pdhg(
        smooth, gradient, lambda p, _: project_groups(p, weight),
        initial=smooth.rhs, lipschitz=1.2, transform_norm=8**0.5,
        penalty=lambda x: weight * float(group_norm(gradient(x)[0]).sum()),
        iterations=4000, tolerance=1e-9,
    )  # fmt: skip
    assert result.converged
    assert result.objective[-1] == pytest.approx(reference.objective[-1], rel=1e-6)
    assert torch.allclose(result.solution, reference.solution, atol=1e-4)


def test_admm_satisfies_the_optimality_conditions_of_total_variation() -> None:
    result, smooth, gradient = _run_admm(exact=True)
    x, weight = result.solution, 0.05
    pull = smooth.rhs - smooth.gram(x)  # must be K^H p with |p| <= w, p = w Kx / |Kx| where Kx != 0
    (differences,) = gradient(x)
    length = group_norm(differences)
    # <K^H p, x> = w TV(x) for such a p, and <K^H p, v> <= w TV(v) for every other v.
    assert float(torch.vdot(pull.flatten(), x.flatten()).real) == pytest.approx(
        weight * float(length.sum()), rel=1e-6
    )
    generator = torch.Generator().manual_seed(5)
    for _ in range(20):
        v = torch.randn(x.shape, dtype=x.dtype, generator=generator)
        bound = weight * float(group_norm(gradient(v)[0]).sum())
        assert float(torch.vdot(pull.flatten(), v.flatten()).real) <= bound * (1 + 1e-6)


def test_the_inexact_linear_solve_equals_the_exact_one_after_enough_steps() -> None:
    eigenvalues, gradient, noisy, smooth = _tv_problem()
    symbol = gradient.gram_symbol(noisy.shape)
    exact = NormalEquations(smooth.gram, eigenvalues, symbol, exact=True)
    near = NormalEquations(
        smooth.gram, eigenvalues.mean().reshape(1, 1, 1), symbol, exact=False, inner_iterations=25
    )
    x = near(noisy, 0.7, torch.zeros_like(noisy))
    assert torch.allclose(x, exact(noisy, 0.7, x), atol=1e-8)
    x = near(2 * noisy, 0.3, x)
    assert torch.allclose(x, exact(2 * noisy, 0.3, x), atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_proximal_operators_minimise_what_they_are_defined_by(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(3, 4, dtype=dtype, generator=generator)
    shrunk = shrink_modulus(z, 0.3)
    isotropic = z - project_groups(z.clone(), 0.3)
    for _ in range(200):
        step = 1e-3 * torch.randn(z.shape, dtype=dtype, generator=generator)

        def value(u: torch.Tensor, groups: bool) -> float:
            penalty = group_norm(u).sum() if groups else u.abs().sum()
            return float(0.5 * (u - z).abs().square().sum() + 0.3 * penalty)

        assert value(shrunk, False) <= value(shrunk + step, False)
        assert value(isotropic, True) <= value(isotropic + step, True)


def test_fista_lets_gradients_through() -> None:
    a, y, _, lipschitz = _lasso()
    start = torch.zeros(12, dtype=torch.float64)
    threshold = torch.tensor(WEIGHT, dtype=torch.float64, requires_grad=True)

    def run(weight: torch.Tensor) -> torch.Tensor:
        smooth = LeastSquares(lambda x: a.T @ (a @ x), a.T @ y)
        return fista(
            smooth, lambda v, tau: v.sign() * (v.abs() - weight * tau).clamp(min=0),
            initial=start, lipschitz=lipschitz, iterations=30, tolerance=0, restart=False,
        ).solution.square().sum()  # fmt: skip

    (gradient,) = torch.autograd.grad(run(threshold), threshold)
    step = 1e-5
    with torch.no_grad():
        difference = (run(threshold + step) - run(threshold - step)) / (2 * step)
    assert float(gradient) == pytest.approx(float(difference), rel=1e-5)
