"""Checks 4, 4b and 15: the optimum, found a second time by dense algebra, and the way to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lowfield_recon.solvers.convolutional_model import analyse, synthesise, weighted_sum
from lowfield_recon.solvers.sparse_coding import sparse_codes_admm, sparse_codes_fista

SIZE = (10, 9)
SOLVERS = pytest.mark.parametrize("solve", [sparse_codes_fista, sparse_codes_admm])


def _mask(keep: float) -> torch.Tensor:
    return (torch.rand(*SIZE, generator=torch.Generator().manual_seed(2)) < keep).double()


def _weights(kind: str, n: int) -> torch.Tensor:
    if kind == "scalar":
        return torch.full((n, 1, *SIZE), 0.15, dtype=torch.float64)
    generator = torch.Generator().manual_seed(8)
    return 0.05 + 0.2 * torch.rand(n, 1, *SIZE, generator=generator, dtype=torch.float64)


def _convolution_matrix(kernels: np.ndarray) -> np.ndarray:
    """Return D as a real matrix `(pixels, K pixels)`, from shifted filters alone."""
    columns = []
    half = kernels.shape[-1] // 2
    for kernel in kernels:
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                image = np.zeros(SIZE)
                for i, j in np.ndindex(*kernel.shape):
                    image[(y + i - half) % SIZE[0], (x + j - half) % SIZE[1]] += kernel[i, j]
                columns.append(image.ravel())
    return np.array(columns).T


def _sampling_matrix(mask: np.ndarray) -> np.ndarray:
    """Return the sampled rows of the orthonormal two-dimensional DFT."""
    y, x = (np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n) / n**0.5 for n in SIZE)
    return np.kron(y, x)[mask.ravel() > 0]


def _lasso(matrix: np.ndarray, data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Minimise ``1/2 ||M s - y||^2 + sum w |s|`` over real s; exact on the support that it finds.

    ``s = p - q`` with ``p, q >= 0`` is smooth, so that a quasi-Newton method with bounds applies.
    """
    n = matrix.shape[1]

    def split(pq: np.ndarray) -> tuple[float, np.ndarray]:
        left = matrix @ (pq[:n] - pq[n:]) - data
        gradient = matrix.T @ left
        value = 0.5 * left @ left + weights @ (pq[:n] + pq[n:])
        return value, np.concatenate([gradient + weights, weights - gradient])

    found = minimize(
        split, np.zeros(2 * n), jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * n),
        options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-16, "gtol": 1e-9, "maxcor": 30},
    )  # fmt: skip
    s = found.x[:n] - found.x[n:]
    on = np.abs(s) > 1e-5
    sub, sign = matrix[:, on], np.sign(s[on])
    exact = np.zeros(n)
    exact[on] = np.linalg.solve(sub.T @ sub, sub.T @ data - weights[on] * sign)
    gradient = matrix.T @ (matrix @ exact - data)
    # The oracle must itself be optimal, or it proves nothing.
    assert (np.sign(exact[on]) == sign).all()
    assert (np.abs(gradient[~on]) <= weights[~on] * (1 + 1e-9)).all()
    return exact


@SOLVERS
@pytest.mark.parametrize("kind", ["scalar", "weighted"])
def test_a_real_image_gets_the_dense_optimum(
    random_kernels, sparse_coding, real_slice, solve, kind
):
    kernels = random_kernels(3, 3)
    image = real_slice.abs()[60:70, 50:59]
    image = 5 * (image - image.mean())
    weights = _weights(kind, 3)
    matrix, w = _convolution_matrix(kernels.numpy()), weights.numpy().ravel()
    s = _lasso(matrix, image.numpy().ravel(), w)
    left = matrix @ s - image.numpy().ravel()
    best = 0.5 * left @ left + w @ np.abs(s)
    problem = sparse_coding((image + 0j)[None], kernels, weights, penalty="components")
    codes = solve(problem, iterations=2000).codes
    x = synthesise(problem.spectra, codes)[0]
    assert float(codes.imag.abs().max()) <= 1e-12
    assert problem.objective(codes) == pytest.approx(best, rel=1e-6)
    distance = np.linalg.norm(x.real.numpy().ravel() - matrix @ s)
    assert distance <= 1e-5 * np.linalg.norm(matrix @ s)


@SOLVERS
def test_a_complex_image_through_a_mask_gets_the_dense_optimum(
    random_kernels, sparse_coding, real_slice, solve
):
    """Only the objective and the sampled frequencies are unique here."""
    kernels, mask, weights = random_kernels(2, 5), _mask(0.6), _weights("weighted", 2)
    image = 5 * real_slice[60:70, 50:59]
    problem = sparse_coding(image[None], kernels, weights, mask, "components")
    sampling = _sampling_matrix(mask.numpy())
    matrix = sampling @ _convolution_matrix(kernels.numpy())
    y = sampling @ image.numpy().ravel()
    real = np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])
    w = np.tile(weights.numpy().ravel(), 2)
    s = _lasso(real, np.concatenate([y.real, y.imag]), w)
    left = real @ s - np.concatenate([y.real, y.imag])
    best = 0.5 * left @ left + w @ np.abs(s)
    codes = solve(problem, iterations=2000).codes
    assert problem.objective(codes) == pytest.approx(best, rel=1e-6)
    seen, n = matrix @ codes.numpy().ravel(), len(y)
    expected = (real @ s)[:n] + 1j * (real @ s)[n:]
    assert np.linalg.norm(seen - expected) <= 1e-5 * np.linalg.norm(expected)


def _optimality_gap(problem, codes) -> float:
    """Return the largest violation of the optimality condition, in units of the largest weight."""
    left = problem.normal(weighted_sum(problem.spectra, codes)) - problem.rhs
    g, s, weights = analyse(problem.spectra, torch.fft.ifft2(left)), codes, problem.weights
    if problem.penalty == "components":
        g, s, weights = torch.view_as_real(g), torch.view_as_real(s), weights[..., None]
    on = s != 0
    active = (g + weights * s / s.abs().clamp(min=1e-300)).abs()[on]
    silent = (g.abs() - weights)[~on]
    assert active.numel() > 0
    return max(float(active.max()), float(silent.max())) / float(weights.max())


@SOLVERS
@pytest.mark.parametrize("penalty", ["components", "modulus"])
def test_the_optimality_condition_holds(random_kernels, sparse_coding, real_slice, solve, penalty):
    image = 5 * real_slice[60:70, 50:59][None]
    problem = sparse_coding(
        image, random_kernels(4, 5), _weights("weighted", 4), _mask(0.6), penalty
    )
    assert _optimality_gap(problem, solve(problem, iterations=2000).codes) <= 1e-4


@pytest.mark.parametrize("penalty", ["components", "modulus"])
def test_learned_filters_on_a_real_slice_reach_the_optimality_condition(
    learned_kernels, sparse_coding, real_slice, penalty
):
    image = (real_slice - real_slice.mean())[40:64, 40:68][None]
    mask = (torch.rand(24, 28, generator=torch.Generator().manual_seed(1)) < 0.6).double()
    weights = torch.full((16, 1, 24, 28), 0.1, dtype=torch.float64)
    problem = sparse_coding(image, learned_kernels, weights, mask, penalty)
    codes = sparse_codes_admm(problem, iterations=1000).codes
    assert _optimality_gap(problem, codes) <= 1e-4


@pytest.mark.parametrize("penalty", ["components", "modulus"])
def test_the_plain_method_never_raises_the_objective(
    learned_kernels, sparse_coding, real_slice, penalty
):
    image = (real_slice - real_slice.mean())[40:88, 40:85][None]
    weights = torch.full((16, 1, 48, 45), 0.05, dtype=torch.float64)
    mask = (torch.rand(48, 45, generator=torch.Generator().manual_seed(1)) < 0.5).double()
    problem = sparse_coding(image, learned_kernels, weights, mask, penalty)
    found = sparse_codes_fista(problem, iterations=60, momentum="none", objective_every=1)
    values = torch.tensor([problem.energy, *found.objective], dtype=torch.float64)
    assert values.numel() == 61
    assert bool((values.diff() <= 1e-12 * values[0]).all())
    assert float(values[-1]) < 0.8 * problem.energy
