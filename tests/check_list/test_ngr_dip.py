"""The check list of the NGR and DIP specification (its section 13), by number.

20, 21 and 22 stand in ../learning/networks/test_skip_network.py, 19 in
../operators/test_gradient.py, 2 in ../operators/test_every_operator.py, 24 in
../learning/untrained/test_gradient_fields.py, 30 in ../learning/untrained/test_guided_input.py. 23
and from 26 on in test_ngr_dip_methods.py. 17 and 18 name what is not built (18: conjugate gradients
against a dense solve instead); the photograph of 25 does not ship.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from mrpro.operators import FiniteDifferenceOp

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    kspace_operator,
)
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import ngr_splitting
from lowfield_recon.reconstructors.data_term import data_term, preconditioner_eigenvalues
from lowfield_recon.reconstructors.ngr_splitting import Splitting
from lowfield_recon.solvers.gradient_fit import FieldData, GradientFit

SHAPE = (1, 3, 1, 12, 10)
AXES, WEIGHTS = (-2, -1, -4), (1.0, 1.0, 0.5)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.3


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _differ(found: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray) -> float:
    found, expected = np.asarray(found).ravel(), np.asarray(expected).ravel()
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _dense(apply: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], dtype) -> Any:
    n = math.prod(shape)
    basis = torch.eye(n, dtype=dtype).reshape(n, *shape)
    return np.stack([apply(e).reshape(-1).numpy() for e in basis], axis=1)


def _sparse_difference(axis: int, shape: tuple[int, ...] = SHAPE) -> scipy.sparse.csr_matrix:
    """Periodic difference as a product of Kronecker factors."""
    matrix = scipy.sparse.eye(1)
    for place, n in enumerate(shape):
        one = scipy.sparse.eye(n)
        shifted = scipy.sparse.csr_matrix((np.ones(n), (np.arange(n), (np.arange(n) + 1) % n)))
        own = shifted - one if place == len(shape) + axis else one
        matrix = scipy.sparse.kron(matrix, own)
    return matrix.tocsr()


def _laplacian() -> scipy.sparse.csr_matrix:
    differences = [_sparse_difference(axis) for axis in AXES]
    return sum(w * D.T @ D for w, D in zip(WEIGHTS, differences, strict=True))


def _pull(fields: torch.Tensor) -> np.ndarray:
    parts = zip(WEIGHTS, AXES, fields, strict=True)
    return sum(w * _sparse_difference(axis).T @ f.reshape(-1).numpy() for w, axis, f in parts)


def _constrained(y: torch.Tensor, fields: torch.Tensor) -> np.ndarray:
    """``argmin sum_d l_d/2 ||D_d x - F_d||^2`` with x = y on the mask."""
    normal, known = _laplacian(), MASK.reshape(-1).numpy()
    x = np.where(known, y.reshape(-1).numpy(), 0.0)
    right = (_pull(fields) - normal @ x)[~known]
    x[~known] = scipy.sparse.linalg.spsolve(normal[~known][:, ~known].tocsc(), right)
    return x


def _pixels(value: float, rhs: torch.Tensor) -> FieldData:
    """Data term ``value/2 ||x - y||^2``."""
    eigenvalues = torch.full((1, 1, 1), value, dtype=rhs.real.dtype)
    return FieldData(
        rhs=value * rhs, gram=lambda x: value * x, eigenvalues=eigenvalues, is_exact=True
    )


def _field_data(problem: InverseProblem) -> FieldData:
    term = data_term(problem)
    return FieldData(
        rhs=term.smooth.rhs * term.scale, gram=term.smooth.gram,
        eigenvalues=preconditioner_eigenvalues(problem, term), is_exact=term.fourier is not None,
    )  # fmt: skip


def _solver(data: FieldData, strength: float, *, axes=AXES, weights=WEIGHTS) -> GradientFit:
    return GradientFit(data, axes=axes, weights=weights, strength=strength, periodic=True)


def _inpainting_solver(y: torch.Tensor) -> GradientFit:
    data = FieldData(
        rhs=y * MASK, gram=lambda v: v * MASK, is_exact=False, observed=MASK,
        eigenvalues=torch.full((1, 1, 1), 0.3, dtype=torch.float64),
    )  # fmt: skip
    return _solver(data, 1.0)


def _coils() -> InverseProblem:
    dtype = torch.complex128
    maps = _random(1, 4, 1, 12, 10, seed=1, dtype=dtype)
    mask = torch.rand(1, 1, 1, 12, 1, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[..., 6, :] = True
    A = kspace_operator(mask=mask, coil_maps=maps)
    (y,) = A(_random(1, 1, 1, 12, 10, seed=2, dtype=dtype))
    return InverseProblem(data=y, operator=A)


def _one_coil(ny: int, nx: int) -> InverseProblem:
    mask = torch.rand(1, 1, 1, ny, nx, generator=torch.Generator().manual_seed(1)) < 0.5
    mask[..., ny // 2, nx // 2] = True
    A = kspace_operator(mask=mask)
    (y,) = A(_random(1, 1, 1, ny, nx, seed=2, dtype=torch.complex128))
    return InverseProblem(data=y, operator=A)


# 1, 3: differences


@pytest.mark.parametrize("axis", AXES)
def test_01_differences_have_their_adjoint(axis: int) -> None:
    D = GradientOp((axis,))
    x, y = _random(*SHAPE), _random(1, *SHAPE, seed=1)
    left, right = torch.vdot(D(x)[0].flatten(), y.flatten()), torch.vdot(
        x.flatten(), D.adjoint(y)[0].flatten()
    )  # fmt: skip
    assert abs(float(left - right)) <= 1e-12 * x.numel()


@pytest.mark.parametrize("axis", AXES)
def test_03_differences_are_kronecker_products_and_those_of_mrpro(axis: int) -> None:
    x = _random(*SHAPE)
    (found,) = GradientOp((axis,))(x)
    assert np.array_equal(found.reshape(-1).numpy(), _sparse_difference(axis) @ x.reshape(-1))
    assert torch.equal(found[0], torch.roll(x, -1, axis) - x)
    (theirs,) = FiniteDifferenceOp(dim=(axis,), mode="forward", pad_mode="circular")(x)
    assert torch.equal(found, theirs)


# 4, 5: the image step in Fourier space


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_04_division_in_fourier_space_is_the_sparse_direct_solve(dtype, tolerance) -> None:
    mu = 0.37
    rhs, fields = _random(*SHAPE, dtype=dtype), _random(3, *SHAPE, seed=1, dtype=dtype)
    found = _solver(_pixels(mu, rhs), 1.0)(fields, torch.zeros_like(rhs))
    right = mu * rhs.double().reshape(-1).numpy() + _pull(fields.double())
    normal = (mu * scipy.sparse.eye(rhs.numel()) + _laplacian()).tocsc()
    expected = scipy.sparse.linalg.spsolve(normal, right)
    assert _differ(found, expected) <= tolerance


def test_05_a_denominator_without_the_third_weight_is_wrong() -> None:
    mu, rhs = 0.37, _random(*SHAPE)
    fields = _random(3, *SHAPE, seed=1)
    right = mu * rhs.reshape(-1).numpy() + _pull(fields)
    unweighted = sum(_sparse_difference(a).T @ _sparse_difference(a) for a in AXES)
    wrong = scipy.sparse.linalg.spsolve((mu * scipy.sparse.eye(360) + unweighted).tocsc(), right)
    found = _solver(_pixels(mu, rhs), 1.0)(fields, torch.zeros_like(rhs))
    assert _differ(found, wrong) > 1e-2


# 6, 7, 8: the published splitting


def _split(y: torch.Tensor) -> Splitting:
    generator = torch.Generator().manual_seed(3)
    return Splitting(y * MASK, MASK, AXES, WEIGHTS, generator=generator)


@pytest.mark.parametrize(
    ("penalty", "iterations", "tolerance"),
    [
        (0.5, 200, 1e-6), (50.0, 200, 1e-2), (50.0, 1000, 1e-9),
        (None, 200, 1e-3), (None, 1000, 1e-9),
    ],
)  # fmt: skip
def test_06_with_frozen_fields_the_splitting_finds_the_constrained_minimum(
    monkeypatch: pytest.MonkeyPatch, penalty: float | None, iterations: int, tolerance: float
) -> None:
    y, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    splitting = _split(y)
    if penalty is not None:
        monkeypatch.setattr(ngr_splitting, "_GROWTH", 1.0)
        splitting.penalty = penalty
    x = splitting.start
    for _ in range(iterations):
        x = splitting(fields, x)
    assert _differ(x, _constrained(y, fields)) <= tolerance


def test_07_the_multiplier_vanishes_off_the_mask() -> None:
    splitting = _split(_random(*SHAPE))
    x = splitting.start
    for step in range(30):
        x = splitting(_random(3, *SHAPE, seed=step), x)
        assert not splitting.multiplier[~MASK].any()
        assert splitting.multiplier[MASK].any()


def test_08_the_penalty_damps_the_unobserved_pixels() -> None:
    y = _random(*SHAPE) * MASK
    splitting = _split(y)
    x = splitting(_random(3, *SHAPE), splitting.start)
    for step in range(1, 20):
        fields, mu, Lam = _random(3, *SHAPE, seed=step), splitting.penalty, splitting.multiplier
        normal = (mu * scipy.sparse.eye(360) + _laplacian()).tocsc()
        right = _pull(fields) + (mu * torch.where(MASK, y, x) + Lam).reshape(-1).numpy()
        x = splitting(fields, x)
        assert _differ(x, scipy.sparse.linalg.spsolve(normal, right)) <= 1e-12


# 9, 10, 11: pixels that are known


def test_09_masked_conjugate_gradients_find_the_constrained_minimum() -> None:
    y, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    solver = _inpainting_solver(y)
    expected = _constrained(y, fields)
    errors = [
        _differ(solver(fields, torch.zeros_like(y), iterations=n), expected) for n in (10, 20, 200)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] <= 1e-8


def test_10_known_pixels_are_exact_after_every_image_step() -> None:
    y = _random(*SHAPE)
    solver, x = _inpainting_solver(y), torch.zeros(SHAPE, dtype=torch.float64)
    for step in range(10):
        x = solver(_random(3, *SHAPE, seed=step), x)
        assert torch.equal(x[MASK], y[MASK])


def test_11_the_true_differences_give_the_true_image() -> None:
    x = _random(*SHAPE)
    solver = _inpainting_solver(x)
    found = solver(solver.differences(x), torch.zeros_like(x), iterations=300)
    assert _differ(found, x) <= 1e-6


def test_11_also_from_k_space_with_its_centre() -> None:
    x = _random(1, 1, 1, 12, 10, seed=2, dtype=torch.complex128)
    solver = _solver(_field_data(_coils()), 0.1, axes=(-2, -1), weights=(1, 1))
    found = solver(solver.differences(x), torch.zeros_like(x), iterations=200)
    assert _differ(found, x) <= 1e-6


# 12: denoising


def test_12_a_heavy_data_term_gives_the_data() -> None:
    y, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    found = _solver(_pixels(1e6, y), 1.0)(fields, y)
    assert _differ(found, y) <= 1e-5


def test_12_a_light_one_gives_the_integral_of_the_field_with_the_mean_of_the_data() -> None:
    y, fields = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    found = _solver(_pixels(1e-9, y), 1.0)(fields, y)
    assert abs(float(found.mean() - y.mean())) <= 1e-7
    expected = np.linalg.lstsq(_laplacian().toarray(), _pull(fields), rcond=None)[0]
    assert _differ(found - found.mean(), expected) <= 1e-5


# 13, 14, 15, 16: scans


def _normal(problem: InverseProblem, strength: float) -> np.ndarray:
    """Dense ``A^H A + w D^H D``."""
    shape = problem.shape
    A = _dense(lambda x: problem.operator(x)[0], shape, torch.complex128)
    D = _dense(lambda x: torch.stack([torch.roll(x, -1, d) - x for d in (-2, -1)]), shape,
               torch.complex128)  # fmt: skip
    return A.conj().T @ A + strength * D.conj().T @ D


def _right(problem: InverseProblem, strength: float, fields: torch.Tensor) -> np.ndarray:
    pulled = sum(torch.roll(f, 1, d) - f for f, d in zip(fields, (-2, -1), strict=True))
    (back,) = problem.operator.adjoint(problem.data)
    return (back + strength * pulled).reshape(-1).numpy()


def test_13_conjugate_gradients_of_several_coils_are_the_dense_solve() -> None:
    problem = _coils()
    fields = _random(2, *problem.shape, seed=5, dtype=torch.complex128)
    solver = _solver(_field_data(problem), 0.1, axes=(-2, -1), weights=(1, 1))
    expected = np.linalg.solve(_normal(problem, 0.1), _right(problem, 0.1, fields))
    start = torch.zeros(problem.shape, dtype=torch.complex128)
    errors = [_differ(solver(fields, start, iterations=n), expected) for n in (5, 40)]
    assert 1e-6 < errors[0] < 0.5
    assert errors[1] <= 1e-8


def test_13_their_system_is_hermitian_and_positive_with_the_centre_of_k_space() -> None:
    problem = _coils()
    solver = _solver(_field_data(problem), 0.1, axes=(-2, -1), weights=(1, 1))

    def normal(x: torch.Tensor) -> torch.Tensor:
        return solver.data.gram(x) + 0.1 * solver.laplacian(x)

    matrix = _dense(normal, problem.shape, torch.complex128)
    assert np.abs(matrix - matrix.conj().T).max() <= 1e-12 * np.abs(matrix).max()
    assert np.linalg.eigvalsh(matrix).min() > 0
    assert _differ(matrix, _normal(problem, 0.1)) <= 1e-12


@pytest.mark.parametrize("size", [(12, 10), (13, 9)])
def test_14_one_coil_is_divided_exactly(size: tuple[int, int]) -> None:
    problem = _one_coil(*size)
    data = _field_data(problem)
    assert data.is_exact
    near = FieldData(rhs=data.rhs, gram=data.gram, eigenvalues=torch.ones(1, 1, 1), is_exact=False)
    fields = _random(2, *problem.shape, seed=5, dtype=torch.complex128)
    start = torch.zeros(problem.shape, dtype=torch.complex128)
    divided, iterated = (
        _solver(one, 0.1, axes=(-2, -1), weights=(1, 1))(fields, start, iterations=300)
        for one in (data, near)
    )
    assert _differ(divided, iterated) <= 1e-8
    expected = np.linalg.solve(_normal(problem, 0.1), _right(problem, 0.1, fields))
    assert _differ(divided, expected) <= 1e-8


@pytest.mark.parametrize("size", [(12, 10), (13, 9)])
def test_15_centred_and_plain_transforms_give_the_same_image(size: tuple[int, int]) -> None:
    problem = _one_coil(*size)
    fields = _random(2, *problem.shape, seed=5, dtype=torch.complex128)
    solver = _solver(_field_data(problem), 0.1, axes=(-2, -1), weights=(1, 1))
    found = solver(fields, torch.zeros(problem.shape, dtype=torch.complex128))
    mask = np.fft.ifftshift(problem.operator.mask[0, 0, 0].numpy())
    symbol = sum(
        np.expand_dims(2 - 2 * np.cos(2 * np.pi * np.arange(n) / n), 1 - d)
        for d, n in enumerate(size)
    )
    right = _right(problem, 0.1, fields).reshape(size)
    expected = np.fft.ifft2(np.fft.fft2(right) / (mask + 0.1 * symbol))
    assert _differ(found, expected) <= 1e-10


def test_16_full_sampling_recovers_the_image_for_any_field() -> None:
    x = _random(1, 1, 1, 12, 10, seed=2, dtype=torch.complex128)
    fields = _random(2, 1, 1, 1, 12, 10, seed=5, dtype=torch.complex128)
    problem = InverseProblem(data=centred_fft(x, (-2, -1)), operator=kspace_operator())
    solver = _solver(_field_data(problem), 1e-9, axes=(-2, -1), weights=(1, 1))
    assert _differ(solver(fields, torch.zeros_like(x)), x) <= 1e-8


# 18: super-resolution, by conjugate gradients


def test_18_super_resolution_is_the_dense_solve() -> None:
    shape = (1, 1, 1, 12, 12)
    A: LinearOperator = downsample_operator(3, image_shape=shape) @ blur_operator(
        torch.rand(5, 5, generator=torch.Generator().manual_seed(0)) / 12, image_shape=shape
    )
    y = _random(1, 1, 1, 4, 4)
    problem = InverseProblem(data=y, operator=A, image_domain="real")
    fields = _random(2, *shape, seed=1)
    solver = _solver(_field_data(problem), 0.05, axes=(-2, -1), weights=(1, 1))
    found = solver(fields, torch.zeros(shape, dtype=torch.float64), iterations=400)
    matrix = _dense(lambda x: A(x)[0], shape, torch.float64)
    differences = [_sparse_difference(d, shape).toarray() for d in (-2, -1)]
    normal = matrix.T @ matrix + 0.05 * sum(D.T @ D for D in differences)
    right = matrix.T @ y.reshape(-1).numpy() + 0.05 * sum(
        D.T @ f.reshape(-1).numpy() for D, f in zip(differences, fields, strict=True)
    )
    assert _differ(found, np.linalg.solve(normal, right)) <= 1e-10


# 33: complex images


def test_33_complex_images_stay_complex_in_every_part() -> None:
    x = torch.complex(torch.zeros(SHAPE, dtype=torch.float64), _random(*SHAPE))
    y = _random(*SHAPE, dtype=torch.complex128)
    for solver in (_inpainting_solver(x), _solver(_pixels(2.0, x), 1.0)):
        fields = solver.differences(x)
        back = solver.divergence(fields)
        found = solver(fields, y, iterations=400)
        assert fields.dtype == back.dtype == found.dtype == torch.complex128
        assert _differ(found.imag, x.imag) <= 1e-6
