"""Conjugate gradients against dense solves."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.solvers import Iteration, cg


def _system(
    n: int = 12, batch: tuple[int, ...] = (), seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(*batch, n, n, dtype=torch.complex128, generator=generator)
    matrix = a @ a.mH + torch.eye(n, dtype=torch.complex128)
    return matrix, torch.randn(*batch, n, dtype=torch.complex128, generator=generator)


def test_it_solves_a_dense_system() -> None:
    matrix, b = _system()
    result = cg(lambda x: matrix @ x, b, tolerance=1e-12, iterations=200)
    assert result.converged
    assert torch.allclose(result.solution, torch.linalg.solve(matrix, b), atol=1e-9)


def test_the_objective_is_the_quadratic_and_never_rises() -> None:
    matrix, b = _system()
    seen: list[float] = []

    def note(state: Iteration) -> None:
        x = state.solution
        value = 0.5 * torch.vdot(x, matrix @ x).real - torch.vdot(x, b).real + 3.0
        assert state.objective == pytest.approx(float(value), rel=1e-9)
        seen.append(float(value))

    cg(lambda x: matrix @ x, b, tolerance=1e-10, iterations=100, constant=3.0, callback=note)
    assert seen == sorted(seen, reverse=True)


def test_a_batch_equals_its_systems_one_by_one() -> None:
    matrix, b = _system(batch=(3,))
    b = b * torch.tensor([1.0, 1e3, 0.0])[:, None]
    together = cg(lambda x: (matrix @ x[..., None])[..., 0], b, tolerance=1e-6, batch_ndim=1)
    for i in range(2):
        alone = cg(lambda x, i=i: matrix[i] @ x, b[i], tolerance=1e-6)  # type: ignore[misc]
        assert torch.allclose(together.solution[i], alone.solution, rtol=1e-9)
    assert torch.equal(together.solution[2], torch.zeros_like(b[2]))


def test_the_exact_preconditioner_needs_one_step() -> None:
    matrix, b = _system()
    inverse = torch.linalg.inv(matrix)
    result = cg(lambda x: matrix @ x, b, preconditioner=lambda r: inverse @ r, tolerance=1e-10)
    assert result.iterations == 1


def test_a_warm_start_at_the_solution_stays_there() -> None:
    matrix, b = _system()
    solution = torch.linalg.solve(matrix, b)
    result = cg(lambda x: matrix @ x, b, initial=solution, tolerance=1e-8)
    assert torch.allclose(result.solution, solution, atol=1e-12)


def test_gradients_with_respect_to_the_right_hand_side_are_those_of_the_inverse() -> None:
    matrix, b = _system(6)
    b.requires_grad_()
    result = cg(lambda x: matrix @ x, b, tolerance=0, iterations=6)
    weights = torch.arange(6, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((weights * result.solution.real).sum(), b)
    expected = torch.linalg.solve(matrix.mH, weights.to(torch.complex128))
    assert torch.allclose(gradient, expected, atol=1e-6)


def test_the_callback_stops_it_and_names_the_reason() -> None:
    matrix, b = _system()
    result = cg(
        lambda x: matrix @ x, b, tolerance=0, callback=lambda s: "enough" if s.number == 3 else None
    )
    assert (result.iterations, result.stopping_reason) == (3, "enough")


def test_an_indefinite_operator_is_an_error() -> None:
    with pytest.raises(DataError, match="positive definite"):
        cg(lambda x: -x, torch.ones(3))


def test_a_zero_right_hand_side_has_the_zero_solution() -> None:
    assert not cg(lambda x: 2 * x, torch.zeros(3)).solution.any()
