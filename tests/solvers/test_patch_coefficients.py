"""A step of the coefficients against the formula on whole tensors, whatever the blocks."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers import patch_coefficients
from lowfield_recon.solvers.patch_coefficients import PatchCoefficients

PLANES, GROUPS = 2, 23


def gathered(coefficients: PatchCoefficients, members: int) -> torch.Tensor:
    """Return all coefficients, `(K, planes, members, groups)`."""
    found = torch.full((14, PLANES, members, GROUPS), torch.nan, dtype=torch.float64)
    for plane, groups, a in coefficients.maps():
        assert found[:, plane, :, groups].isnan().all()
        found[:, plane, :, groups] = a
    assert not found.isnan().any()
    return found


def in_parts(z: torch.Tensor) -> list[tuple[slice, torch.Tensor]]:
    """Return z in parts of four rows, of which the last is smaller."""
    return [(slice(i, i + 4), z[i : i + 4].clone()) for i in range(0, len(z), 4)]


@pytest.mark.parametrize("block_values", [1, 14 * 4 * 5, 65_536])
@pytest.mark.parametrize(("potential", "members"), [("power", 1), ("power", 2), ("group", 4)])
def test_steps_are_those_of_the_formula(small_prior, monkeypatch, block_values, potential, members):
    monkeypatch.setattr(patch_coefficients, "_BLOCK_VALUES", block_values)
    prior = small_prior(potential)
    C, beta = prior.factors, prior.beta
    generator = torch.Generator().manual_seed(0)
    coefficients = PatchCoefficients(prior, PLANES, members, GROUPS)
    a = before = torch.zeros(14, PLANES, members, GROUPS, dtype=torch.float64)
    for k, stretch in enumerate((3.0, 2.0, 1.0, 1.0, 1.0), start=1):
        z = torch.randn(9, PLANES, members, GROUPS, generator=generator, dtype=torch.float64)
        m = (k - 1) / (k + 2)
        w = torch.einsum("rk,kpmg->rpmg", C, a)
        rest = coefficients.aim(in_parts(z), momentum=m, with_rest=k != 2)
        if k == 2:
            assert rest != rest  # NaN where it was not asked for
        else:
            expected = 0.5 * beta * float((z - w).square().sum())
            assert rest == pytest.approx(expected, rel=1e-12)
        value = coefficients.step(stretch=stretch, with_value=k != 2)
        ahead = a + m * (a - before)
        v = ahead + beta * torch.einsum(
            "rk,rpmg->kpmg", C, z - torch.einsum("rk,kpmg->rpmg", C, ahead)
        )
        norm = v.norm(dim=2, keepdim=True)
        scale = (stretch * prior.scales)[:, None, None, None]
        if potential == "power":
            new = v * norm**1.8 / (scale**1.8 + norm**1.8)
        else:
            new = v * (1 - scale / norm).clamp(min=0)
        before, a = a, new
        assert torch.allclose(gathered(coefficients, members), a, rtol=0, atol=1e-12)
        w = torch.einsum("rk,kpmg->rpmg", C, a)
        assert torch.allclose(coefficients.products, w, rtol=0, atol=1e-12)
        if k == 2:
            assert value != value
        elif potential == "group":
            expected = float((scale[..., 0] * a.norm(dim=2)).sum())
            assert value == pytest.approx(expected, rel=1e-12)
        else:
            expected = float(prior.potential.value(v.movedim(1, 2).flatten(2), stretch
                                                   * prior.scales))  # fmt: skip
            assert value == pytest.approx(expected, rel=1e-12)


def test_they_start_at_zero(small_prior):
    coefficients = PatchCoefficients(small_prior(), PLANES, 1, GROUPS)
    assert not gathered(coefficients, 1).any()
    assert not coefficients.products.any()


def test_the_least_scale_of_single_precision_gives_no_nan(small_prior):
    coefficients = PatchCoefficients(small_prior("power", torch.float32), 1, 1, 4)
    coefficients.aim(in_parts(torch.zeros(9, 1, 1, 4)))
    value = coefficients.step(with_value=True)
    assert value == 0
    assert not coefficients.products.isnan().any()


def test_without_momentum_it_may_be_aimed_anew(small_prior):
    once, twice = (PatchCoefficients(small_prior(), PLANES, 1, GROUPS) for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    for k in range(3):
        z = torch.randn(9, PLANES, 1, GROUPS, generator=generator, dtype=torch.float64)
        if k == 2:
            twice.aim(in_parts(torch.ones_like(z)), momentum=0.4)
        for coefficients in (once, twice):
            coefficients.aim(in_parts(z), momentum=0.25 * (k == 1))
            coefficients.step()
    assert torch.equal(gathered(once, 1), gathered(twice, 1))
    assert torch.equal(once.products, twice.products)
