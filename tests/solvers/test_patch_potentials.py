"""Potentials of patch coefficients: shrinkage, closed-form values, Jacobians, gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import hyp2f1

from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.patch_potentials import (
    GroupPotential,
    Potential,
    PowerPotential,
    make_potential,
)

POTENTIALS = [
    PowerPotential(order=1.8),
    PowerPotential(order=2.0),
    PowerPotential(order=3.0),
    GroupPotential(block=2),
]
MEMBERS = [1, 2, 4, 8]


def coefficients(
    members: int, *, atoms: int = 5, groups: int = 7, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return coefficients, some of them exactly zero, and scales of their size."""
    generator = torch.Generator().manual_seed(members)
    v = torch.randn(atoms, members, groups, generator=generator, dtype=torch.float64)
    v[:, :, 0] = 0
    scales = 0.2 + torch.rand(atoms, generator=generator, dtype=torch.float64)
    return v.to(dtype), scales.to(dtype)


def formula(potential: Potential, v: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return T(v) as the specification writes it, one norm at a time."""
    result = np.zeros_like(v)
    for i, scale in enumerate(scales):
        for j in range(v.shape[2]):
            n = np.linalg.norm(v[i, :, j])
            if n == 0:
                continue
            if isinstance(potential, PowerPotential):
                factor = n**potential.order / (scale**potential.order + n**potential.order)
            else:
                factor = max(1 - scale / n, 0)
            result[i, :, j] = v[i, :, j] * factor
    return result


@pytest.mark.parametrize("members", MEMBERS)
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 5e-7)])
def test_shrink_follows_the_formula(
    potential: Potential, members: int, dtype: torch.dtype, tolerance: float
) -> None:
    v, scales = coefficients(members, dtype=dtype)
    expected = formula(potential, v.double().numpy(), scales.double().numpy())
    before = v.clone()
    assert np.abs(potential.shrink(v, scales).numpy() - expected).max() <= tolerance
    assert torch.equal(v, before)
    recorded = potential.shrink(v, scales.clone().requires_grad_())
    assert np.abs(recorded.detach().numpy() - expected).max() <= tolerance
    norm = v.norm(dim=1)
    assert np.abs((potential.factor(norm, scales)[:, None] * v).numpy() - expected).max() <= (
        tolerance
    )


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_shrink_in_place_and_into_another_tensor(potential: Potential) -> None:
    v, scales = coefficients(2)
    expected = potential.shrink(v, scales)
    out = torch.full_like(v, torch.nan)
    assert potential.shrink(v, scales, out=out) is out
    assert torch.equal(out, expected)
    assert potential.shrink(v, scales, out=v) is v
    assert torch.equal(v, expected)


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_scales_and_coefficients_stay_finite(
    potential: Potential, dtype: torch.dtype
) -> None:
    v = torch.tensor([0.0, 1e-30, 1e-12, 1.0, 1e3, 1e13], dtype=dtype)[None, None].repeat(3, 1, 1)
    scales = torch.tensor([1e12, 1.0, 1e-12], dtype=dtype)
    shrunk = potential.shrink(v, scales)
    assert torch.isfinite(shrunk).all()
    assert shrunk[0, 0, :5].abs().max() <= 1e-12
    assert torch.allclose(shrunk[2, 0, 3:], v[2, 0, 3:], rtol=1e-6, atol=0)
    assert torch.isfinite(potential.value(v, scales))
    zero_scale = potential.shrink(v, torch.zeros(3, dtype=dtype))
    assert torch.allclose(zero_scale[:, :, 3:], v[:, :, 3:], rtol=1e-6, atol=0)
    assert torch.isfinite(zero_scale).all()
    for recorded in (v.clone().requires_grad_(), v.double().requires_grad_()):
        potential.shrink(recorded, scales.to(recorded.dtype)).sum().backward()
        assert torch.isfinite(recorded.grad).all()


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_shrink_is_odd_and_turns_with_the_members(potential: Potential) -> None:
    v, scales = coefficients(4)
    shrunk = potential.shrink(v, scales)
    assert torch.equal(potential.shrink(-v, scales), -shrunk)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=v.dtype, generator=torch.Generator()))[0]
    turned = potential.shrink(rotation @ v, scales)
    assert (turned - rotation @ shrunk).abs().max() <= 1e-14


@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_scaling_law(potential: Potential) -> None:
    v, scales = coefficients(2)
    scaled = potential.shrink(7 * v, 7 * scales)
    assert (scaled - 7 * potential.shrink(v, scales)).abs().max() <= 1e-13
    ratio = potential.value(7 * v, 7 * scales) / potential.value(v, scales)
    assert abs(float(ratio) - 49) <= 1e-10


@pytest.mark.parametrize("order", [1.2, 1.8, 2.0, 3.0])
def test_small_and_large_coefficients(order: float) -> None:
    potential = PowerPotential(order=order)
    scales = torch.tensor([0.5], dtype=torch.float64)
    small, large = torch.tensor([[[1e-6]], [[1e3]]], dtype=torch.float64)[:, None]
    leading = small * (small / 0.5) ** order
    assert torch.allclose(potential.shrink(small, scales), leading, rtol=1e-5, atol=0)
    bias = large - potential.shrink(large, scales)
    assert torch.allclose(bias, large * (0.5 / large) ** order, rtol=3e-3, atol=0)


@pytest.mark.parametrize("groups", [1, 400])
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_value_is_the_sum_over_all_rows(potential: Potential, groups: int) -> None:
    v, scales = coefficients(2, atoms=400, groups=groups)
    each = [potential.value(v[i : i + 1], scales[i : i + 1]) for i in range(400)]
    total = potential.value(v, scales)
    assert total.dtype == torch.float64
    assert abs(float(total / sum(each)) - 1) <= 1e-13 if groups > 1 else float(total) == 0
    single = potential.value(v.float(), scales.float())
    assert abs(float(single - total)) <= 1e-6 * float(total)


@pytest.mark.parametrize("order", [1.01, 1.1, 1.5, 1.8, 1.999, 2.0, 2.5, 4.0, 10.0])
def test_envelope_against_the_hypergeometric_function(order: float) -> None:
    potential = PowerPotential(order=order)
    scale = torch.tensor([0.3], dtype=torch.float64)
    for n in 0.3 * np.logspace(-6, 6, 49):
        v = torch.tensor([[[n]]], dtype=torch.float64)
        if order == 2:
            envelope = 0.3**2 / 2 * np.log1p((n / 0.3) ** 2)
        else:
            envelope = n**2 / 2 * hyp2f1(1, 2 / order, 1 + 2 / order, -((n / 0.3) ** order))
        distance = float((v - potential.shrink(v, scale)).square().sum()) / 2
        assert abs(float(potential.value(v, scale)) + distance - envelope) <= 1e-10 * envelope


@pytest.mark.parametrize("order", [1.1, 1.8, 1.999, 2.001, 3.0])
def test_value_of_small_coefficients_keeps_its_digits(order: float) -> None:
    n = 1e-5
    s = n**order
    w = s / (1 + s)
    b = 2 / order
    # The first terms of the series of M - (n - a)^2/2.
    expected = n**2 / 2 * w * (1 - w) * (1 + 1 / (1 + b) + 2 * w / ((1 + b) * (2 + b)))
    v, scale = torch.tensor([[[n]]], dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    value = float(PowerPotential(order=order).value(v, scale))
    assert abs(value / expected - 1) <= 1e-9


@pytest.mark.parametrize("difference", [1e-3, 1e-6, 1e-9, 1e-12])
def test_value_near_order_two(difference: float) -> None:
    v, scales = coefficients(1)
    at_two = float(PowerPotential(order=2.0).value(v, scales))
    for order in (2 - difference, 2 + difference):
        near = float(PowerPotential(order=order).value(v, scales))
        assert abs(near - at_two) <= (difference + 1e-13) * at_two
    above = float(PowerPotential(order=2 + difference).value(v, scales))
    below = float(PowerPotential(order=2 - difference).value(v, scales))
    assert abs((above + below) / 2 - at_two) <= (difference**2 + 1e-13) * at_two


def dense(apply: Callable[[torch.Tensor], torch.Tensor], v: torch.Tensor) -> torch.Tensor:
    """Return a linear map on the shape of v as a matrix."""
    basis = torch.eye(v.numel(), dtype=v.dtype)
    return torch.stack([apply(e.reshape(v.shape)).reshape(-1) for e in basis], dim=1)


@pytest.mark.parametrize("members", [1, 2, 4])
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_jacobian_is_the_derivative(potential: Potential, members: int) -> None:
    v, scales = coefficients(members, atoms=3, groups=3)
    expected = torch.autograd.functional.jacobian(lambda u: potential.shrink(u, scales), v)
    matrix = dense(potential.jacobian(v, scales), v)
    assert (matrix - expected.reshape(matrix.shape)).abs().max() <= 1e-14


@pytest.mark.parametrize("members", [1, 2, 4])
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_half_jacobian_is_its_symmetric_root(potential: Potential, members: int) -> None:
    v, scales = coefficients(members, atoms=3, groups=3)
    half = dense(potential.half_jacobian(v, scales), v)
    assert (half - half.mT).abs().max() <= 1e-15
    assert torch.linalg.eigvalsh(half).min() >= -1e-15
    matrix = dense(potential.jacobian(v, scales), v)
    assert matrix.abs().max() > 0.5
    assert (half @ half - matrix).abs().max() <= 1e-14


@pytest.mark.parametrize("members", [1, 2, 8])
@pytest.mark.parametrize("potential", POTENTIALS, ids=str)
def test_gradients_also_at_zero(potential: Potential, members: int) -> None:
    v, scales = coefficients(members, atoms=2, groups=3)
    assert (v[:, :, 0] == 0).all()
    v.requires_grad_()
    scales.requires_grad_()
    assert torch.autograd.gradcheck(potential.shrink, (v, scales))
    norm = torch.tensor([[0.0, 0.1, 3.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(potential.factor, (norm[:, 1:], scales[:1]))
    gradient = torch.autograd.grad(potential.factor(norm, scales[:1]).sum(), norm)[0]
    assert torch.isfinite(gradient).all()


def test_names_of_both_kinds() -> None:
    assert make_potential("power", order=1.8) == make_potential("l0norm", order=1.8, block=2)
    assert make_potential("group") == make_potential("l1norm", order=1.8) == GroupPotential(block=2)
    assert make_potential("l1norm", block=1).block == 1
    power = make_potential("power", order=2.0)
    assert (power.name, power.block, power.order) == ("power", 1, 2.0)
    assert make_potential("group").name == "group"


@pytest.mark.parametrize(
    ("name", "order", "block", "message"),
    [
        ("powr", 2.0, None, "Did you mean 'power'"),
        ("power", None, None, "got none"),
        ("power", 1.0, None, "above 1 .* got 1.0"),
        ("l0norm", float("nan"), None, "got nan"),
        ("power", float("inf"), None, "got inf"),
        ("group", None, 3, "expected 1 or 2"),
        ("group", None, 0, "expected 1 or 2"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    name: str, order: float | None, block: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make_potential(name, order=order, block=block)
    assert "\n" not in str(caught.value)
