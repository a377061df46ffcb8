"""The image for given differences, against dense solves and its own two ways."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from lowfield_recon.solvers.gradient_fit import FieldData, GradientFit

SHAPE = (1, 2, 1, 6, 5)
AXES, WEIGHTS = (-2, -1, -4), (1.0, 1.0, 0.3)


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _matrix(apply, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> np.ndarray:
    n = int(np.prod(shape))
    basis = torch.eye(n, dtype=dtype).reshape(n, *shape)
    return np.stack([apply(column).reshape(-1).numpy() for column in basis], axis=1)


def _differences(axis: int, n: int, *, periodic: bool) -> np.ndarray:
    D = np.roll(np.eye(n), 1, axis=1) - np.eye(n)
    if not periodic:
        D[-1] = 0
    sizes = [1] * len(SHAPE)
    matrix = np.eye(1)
    for place, size in enumerate(SHAPE):
        sizes[place] = size
        own = D if place == len(SHAPE) + axis else np.eye(size)
        matrix = np.kron(matrix, own)
    return matrix


def _stacked(*, periodic: bool) -> list[np.ndarray]:
    return [_differences(axis, SHAPE[axis], periodic=periodic) for axis in AXES]


def _dense(
    gram: np.ndarray, rhs: torch.Tensor, fields: torch.Tensor, strength: float, *, periodic: bool
) -> np.ndarray:
    """Solve the normal equations with matrices."""
    normal, right = gram.astype(complex), rhs.reshape(-1).numpy().astype(complex)
    for D, weight, field in zip(_stacked(periodic=periodic), WEIGHTS, fields, strict=True):
        normal = normal + strength * weight * D.T @ D
        right = right + strength * weight * D.T @ field.reshape(-1).numpy()
    return np.linalg.solve(normal, right).reshape(SHAPE)


def _identity(rhs: torch.Tensor) -> FieldData:
    return FieldData(
        rhs=rhs, gram=lambda x: x, eigenvalues=torch.ones(1, 1, 1, dtype=torch.float64),
        is_exact=True,
    )  # fmt: skip


def _fit(data: FieldData, *, strength: float = 0.7, periodic: bool = True) -> GradientFit:
    return GradientFit(
        data, axes=AXES, weights=WEIGHTS, strength=strength, periodic=periodic, iterations=200
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("periodic", [True, False])
def test_noisy_pixels_and_differences_meet_where_a_dense_solve_says(dtype, periodic) -> None:
    rhs, fields = _random(*SHAPE, dtype=dtype), _random(3, *SHAPE, seed=1, dtype=dtype)
    found = _fit(_identity(rhs), periodic=periodic)(fields, torch.zeros_like(rhs))
    expected = _dense(np.eye(rhs.numel()), rhs, fields, 0.7, periodic=periodic)
    assert found.dtype == dtype
    assert np.abs(found.numpy() - expected).max() <= 1e-10


def test_division_and_conjugate_gradients_agree() -> None:
    rhs, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    exact = _identity(rhs)
    near = dataclasses.replace(exact, is_exact=False, eigenvalues=torch.full((1, 1, 1), 0.4))
    start = _random(*SHAPE, seed=2)
    divided, iterated = (_fit(data)(fields, start) for data in (exact, near))
    assert torch.allclose(divided, iterated, atol=1e-10)


def test_the_exact_circulant_preconditions_to_a_single_step() -> None:
    rhs, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    exact = _identity(rhs)
    same = dataclasses.replace(exact, is_exact=False)
    one_step = _fit(same)(fields, torch.zeros_like(rhs), iterations=1)
    assert torch.allclose(one_step, _fit(exact)(fields, rhs), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("periodic", [True, False])
def test_pixels_that_are_known_stay_and_the_rest_is_the_constrained_minimum(
    dtype: torch.dtype, periodic: bool
) -> None:
    x, fields = _random(*SHAPE, dtype=dtype), _random(3, *SHAPE, seed=1, dtype=dtype)
    seen = torch.rand(SHAPE, generator=torch.Generator().manual_seed(2)) < 0.3
    data = FieldData(
        rhs=x * seen, gram=lambda v: v * seen, is_exact=False, observed=seen,
        eigenvalues=torch.full((1, 1, 1), 0.3, dtype=torch.float64),
    )  # fmt: skip
    found = _fit(data, periodic=periodic)(fields, _random(*SHAPE, seed=3, dtype=dtype))
    assert torch.equal(found[seen], x[seen])
    normal = np.zeros((x.numel(), x.numel()))
    pull = np.zeros(x.numel(), dtype=complex)
    for D, weight, field in zip(_stacked(periodic=periodic), WEIGHTS, fields, strict=True):
        normal += weight * D.T @ D
        pull += weight * D.T @ field.reshape(-1).numpy()
    free, known = ~seen.reshape(-1).numpy(), seen.reshape(-1).numpy()
    values = x.reshape(-1).numpy().astype(complex)
    values[free] = np.linalg.solve(
        normal[np.ix_(free, free)], pull[free] - normal[np.ix_(free, known)] @ values[known]
    )
    assert np.abs(found.reshape(-1).numpy() - values).max() <= 1e-8


def test_a_start_at_the_solution_stays_there() -> None:
    rhs, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    fit = _fit(dataclasses.replace(_identity(rhs), eigenvalues=torch.tensor(2.0), is_exact=False))
    solution = fit(fields, torch.zeros_like(rhs))
    assert torch.allclose(fit(fields, solution, iterations=3), solution, atol=1e-13)


def test_iterations_of_a_call_come_before_those_of_the_fit() -> None:
    rhs, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    near = dataclasses.replace(_identity(rhs), is_exact=False, eigenvalues=torch.tensor(9.0))
    start = _random(*SHAPE, seed=2)
    few, many = (_fit(near)(fields, start, iterations=n) for n in (0, 4))
    assert torch.equal(few, start)
    assert float((many - _fit(near)(fields, start)).norm()) > 1e-9


def test_nothing_asked_for_gives_nothing() -> None:
    zero = torch.zeros(SHAPE, dtype=torch.float64)
    fields = torch.zeros(3, *SHAPE, dtype=torch.float64)
    for periodic in (True, False):
        assert not _fit(_identity(zero), periodic=periodic)(fields, zero).any()


def test_a_frequency_that_nobody_determines_is_zero() -> None:
    data = FieldData(
        rhs=torch.zeros(SHAPE, dtype=torch.float64), gram=torch.zeros_like, is_exact=True,
        eigenvalues=torch.zeros(1, 1, 1, dtype=torch.float64),
    )  # fmt: skip
    x = _random(*SHAPE)
    fit = _fit(data)
    found = fit(fit.differences(x), x)
    assert torch.allclose(found, x - x.mean(), atol=1e-12)


@pytest.mark.parametrize("periodic", [True, False])
def test_energy_divergence_and_laplacian_are_those_of_the_matrices(periodic: bool) -> None:
    fit = _fit(_identity(_random(*SHAPE)), periodic=periodic)
    x, fields = _random(*SHAPE, seed=4), _random(3, *SHAPE, seed=5)
    matrices = _stacked(periodic=periodic)
    laplacian = sum(w * D.T @ D for w, D in zip(WEIGHTS, matrices, strict=True))
    assert np.allclose(_matrix(fit.laplacian, SHAPE), laplacian, atol=1e-12)
    pull = sum(
        w * D.T @ f.reshape(-1).numpy() for w, D, f in zip(WEIGHTS, matrices, fields, strict=True)
    )
    assert np.allclose(fit.divergence(fields).reshape(-1).numpy(), pull, atol=1e-12)
    energy = 0.5 * sum(w * float(f.square().sum()) for w, f in zip(WEIGHTS, fields, strict=True))
    assert fit.energy(fields) == pytest.approx(energy, rel=1e-12)
    for D, difference in zip(matrices, fit.differences(x), strict=True):
        assert np.array_equal(difference.reshape(-1).numpy(), D @ x.reshape(-1).numpy())
