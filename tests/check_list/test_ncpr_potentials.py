"""Checks 8 and 9 of the specification of NCPR and CPR: slopes, proximal optimality, values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.solvers.patch_potentials import GroupPotential, Potential, PowerPotential

CHECK_VALUES = [
    (1.8, 0.1, 0.0052302646, 0.0048599868, 0.0003693354),
    (1.8, 0.5, 0.25, 0.0849619698, 0.0537119698),
    (1.8, 2.0, 1.8476275518, 0.3900111600, 0.3784024785),
    (2.0, 0.1, 0.0038461538, 0.0049025891, 0.0002798081),
    (2.0, 0.5, 0.25, 0.0866433976, 0.0553933976),
    (2.0, 2.0, 1.8823529412, 0.3541516680, 0.3472312528),
]


def tensor(values: object) -> torch.Tensor:
    """Return a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("order", "v", "shrunk", "envelope", "value"), CHECK_VALUES)
def test_check_values(order: float, v: float, shrunk: float, envelope: float, value: float) -> None:
    potential, scale = PowerPotential(order=order), tensor([0.5])
    a = float(potential.shrink(tensor([[[v]]]), scale))
    r = float(potential.value(tensor([[[v]]]), scale))
    assert abs(a - shrunk) <= 1e-8
    assert abs(r - value) <= 1e-8
    assert abs(r + (v - a) ** 2 / 2 - envelope) <= 1e-8


@pytest.mark.parametrize(("order", "largest"), [(1.8, 1.088888889), (2.0, 1.125), (3.0, 4 / 3)])
def test_largest_slope_and_its_place(order: float, largest: float) -> None:
    potential, scale = PowerPotential(order=order), tensor([0.02])
    place = 0.02 * ((order + 1) / (order - 1)) ** (1 / order)
    v = place * torch.linspace(0.2, 5, 200_001, dtype=torch.float64)
    a = potential.shrink(v[None, None], scale)[0, 0]
    slopes = (a[2:] - a[:-2]) / (v[2:] - v[:-2])
    assert abs(float(slopes.max()) - largest) <= 1e-6
    assert abs(float(v[1:-1][slopes.argmax()]) / place - 1) <= 1e-2
    at_place = potential.jacobian(tensor([[[place]]]), scale)(tensor([[[1.0]]]))
    assert abs(float(at_place) - (1 + order) ** 2 / (4 * order)) <= 1e-12


@pytest.mark.parametrize("order", [1.8, 2.0])
def test_weak_convexity_modulus(order: float) -> None:
    potential, scale = PowerPotential(order=order), tensor([0.5])
    modulus = ((order - 1) / (order + 1)) ** 2
    # R' = v - a along a = T(v), so R'' = 1/T' - 1 by differences of neighbours.
    v = torch.linspace(0.05, 8, 400_001, dtype=torch.float64)
    a = potential.shrink(v[None, None], scale)[0, 0]
    second_derivative = torch.diff(v - a) / torch.diff(a)
    assert abs(float(second_derivative.min()) + modulus) <= 1e-6


def values_on_a_line(potential: Potential, a: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return R at the norms a (K = groups = 1), through R(T(v)) at a v with T(v) = a."""
    low, high = torch.zeros_like(a), a + 100
    for _ in range(200):
        middle = (low + high) / 2
        below = middle * potential.factor(middle[None], scale)[0] < a
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.stack([potential.value(v.reshape(1, 1, 1), scale) for v in high])


@pytest.mark.parametrize("direction", [[1.0], [0.6, -0.8], [0.5, -0.5, 0.5, 0.5], [8**-0.5] * 8])
@pytest.mark.parametrize(
    "potential",
    [PowerPotential(order=1.8), PowerPotential(order=2.0), GroupPotential()],
    ids=str,
)
def test_shrink_minimises_its_proximal_problem(
    potential: Potential, direction: list[float]
) -> None:
    scale, e = tensor([0.5]), tensor(direction)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(0, 4, 801, dtype=torch.float64)
    radial = values_on_a_line(potential, lengths, scale)
    for n in (0.05, 0.3, 0.5, 0.8, 1.5, 3.5):
        v = n * e
        best = potential.shrink(v[None, :, None], scale)
        reached = potential.value(v[None, :, None], scale) + (best[0, :, 0] - v).square().sum() / 2
        around = torch.randn(60, len(direction), generator=generator, dtype=torch.float64)
        around = torch.cat([e[None], around / around.norm(dim=1, keepdim=True)])
        a = lengths[None, :, None] * around[:, None]
        objective = radial + (a - v).square().sum(-1) / 2
        assert float(objective.min() - reached) >= -1e-12
        assert float(objective.min() - reached) <= 1e-4


def test_value_of_the_group_potential_is_the_scaled_norm() -> None:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(3, 4, 10, generator=generator, dtype=torch.float64)
    scales = tensor([0.5, 1.0, 2.0])
    a = GroupPotential().shrink(v, scales).numpy()
    expected = sum(scales[i] * np.linalg.norm(a[i, :, j]) for i in range(3) for j in range(10))
    assert abs(float(GroupPotential().value(v, scales) - expected)) <= 1e-12


@pytest.mark.parametrize("members", [1, 2, 4, 8])
def test_the_group_threshold_does_not_expand(members: int) -> None:
    generator = torch.Generator().manual_seed(members)
    v, w = torch.randn(2, 20, members, 500, generator=generator, dtype=torch.float64)
    scales = torch.rand(20, generator=generator, dtype=torch.float64) * 3
    potential = GroupPotential()
    gap = (potential.shrink(v, scales) - potential.shrink(w, scales)).norm(dim=1)
    assert (gap <= (v - w).norm(dim=1) + 1e-14).all()
    assert gap.max() > 0.5


def test_the_power_shrinkage_expands_by_no_more_than_its_largest_slope() -> None:
    generator = torch.Generator().manual_seed(0)
    v, w = torch.randn(2, 20, 2, 5000, generator=generator, dtype=torch.float64)
    scales = torch.rand(20, generator=generator, dtype=torch.float64) + 0.2
    potential = PowerPotential(order=2.0)
    gap = (potential.shrink(v, scales) - potential.shrink(w, scales)).norm(dim=1)
    growth = gap / (v - w).norm(dim=1)
    assert growth.max() <= 1.125 + 1e-12
    assert growth.max() > 1.1
