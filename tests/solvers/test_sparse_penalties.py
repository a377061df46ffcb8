"""l0, l1 and MCP: proximal operators against a search on a grid."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.sparse_penalties import PenaltyKind, SparsePenalty

KINDS: tuple[PenaltyKind, ...] = ("l0", "l1", "mcp")
THETA = 1.3


def scalar_value(kind: str, u: torch.Tensor) -> torch.Tensor:
    """psi of every entry, written out."""
    if kind == "l0":
        return (u != 0).double()
    if kind == "l1":
        return u.abs()
    a = u.abs()
    return torch.where(a <= THETA, a - a * a / (2 * THETA), torch.full_like(a, THETA / 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [0.05, 0.4])
def test_prox_is_no_worse_than_a_search_on_a_grid(kind: PenaltyKind, t: float) -> None:
    penalty = SparsePenalty(kind=kind, theta=THETA)
    grid = torch.linspace(-2, 2, 400_001, dtype=torch.float64)
    grid[200_000] = 0  # exactly
    for v in torch.linspace(-1.9, 1.9, 39, dtype=torch.float64):
        cost = t * scalar_value(kind, grid) + 0.5 * (grid - v).square()
        found = penalty.prox(v[None], t)
        value = float(t * scalar_value(kind, found) + 0.5 * (found - v).square())
        assert value <= float(cost.min()) + 1e-12
        assert value >= float(cost.min()) - 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_complex_prox_is_no_worse_than_a_search_on_a_disc(kind: PenaltyKind) -> None:
    penalty = SparsePenalty(kind=kind, theta=THETA)
    axis = torch.linspace(-1.6, 1.6, 801, dtype=torch.float64)
    axis[400] = 0  # exactly
    disc = torch.complex(*torch.meshgrid(axis, axis, indexing="ij")).flatten()
    for v in (0.3 + 0.2j, -0.9 + 0.5j, 1.1 - 1.0j):
        point = torch.tensor([v], dtype=torch.complex128)
        found = penalty.prox(point, 0.3)
        cost = 0.3 * scalar_value(kind, disc.abs()) + 0.5 * (disc - v).abs().square()
        value = 0.3 * scalar_value(kind, found.abs()) + 0.5 * (found - point).abs().square()
        assert float(value) <= float(cost.min()) + 1e-12
        assert float(value) >= float(cost.min()) - 1e-4  # the grid's spacing is 4e-3


@pytest.mark.parametrize("kind", KINDS)
def test_prox_commutes_with_a_global_phase(kind: PenaltyKind) -> None:
    penalty = SparsePenalty(kind=kind, theta=THETA)
    v = torch.randn(500, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    phase = torch.exp(torch.tensor(0.7j))
    expected = phase * penalty.prox(v, 0.4)
    torch.testing.assert_close(penalty.prox(phase * v, 0.4), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_value_is_the_sum_of_the_formula(kind: PenaltyKind) -> None:
    u = torch.randn(3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    u[0, :20] = 0
    expected = float(scalar_value(kind, u).sum())
    assert SparsePenalty(kind=kind, theta=THETA).value(u) == pytest.approx(expected, rel=1e-12)
    rotated = u * torch.exp(torch.tensor(0.3j))
    assert SparsePenalty(kind=kind, theta=THETA).value(rotated) == pytest.approx(expected)


def test_the_tie_of_l0_goes_to_zero() -> None:
    v = torch.tensor([1.0, math.nextafter(1.0, 2.0), -1.0], dtype=torch.float64)
    assert SparsePenalty(kind="l0").prox(v, 0.5).tolist() == [0.0, float(v[1]), 0.0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_weight_changes_nothing(kind: PenaltyKind) -> None:
    v = torch.tensor([0.0, -1e-9, 3.0])
    u = SparsePenalty(kind=kind, theta=THETA).prox(v, 0.0)
    assert torch.equal(u, v)
    assert u.data_ptr() != v.data_ptr()


def test_mcp_refuses_a_theta_that_is_too_small() -> None:
    with pytest.raises(UsageError, match="theta: expected a number > 0"):
        SparsePenalty(kind="mcp", theta=0.0)
    with pytest.raises(UsageError, match="needs theta > t, got 1 and 1"):
        SparsePenalty(kind="mcp", theta=1.0).prox(torch.ones(2), 1.0)
