"""Coil maps: normalisation, smoothness, symmetry, and the field of a loop on its axis."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon.simulation.coils import _loop, _transverse_field, loop_coil_maps


@pytest.mark.parametrize("shape", [(1, 24, 31), (9, 16, 15)])
@pytest.mark.parametrize("n_coils", [1, 2, 5, 8])
def test_squares_add_to_one(shape, n_coils) -> None:
    maps = loop_coil_maps(shape, (5e-3, 2e-3, 1e-3), n_coils=n_coils)
    assert maps.shape == (1, n_coils, *shape)
    assert maps.dtype == torch.complex64
    total = maps.abs().square().sum(dim=1)
    assert float((total - 1).abs().max()) < 2e-6


def test_a_single_coil_is_uniform() -> None:
    assert torch.equal(loop_coil_maps((2, 3, 4), (1, 1, 1), n_coils=1), torch.ones(1, 1, 2, 3, 4))


def test_maps_are_smooth_and_differ() -> None:
    maps = loop_coil_maps((1, 64, 64), (1e-3, 1e-3, 1e-3), n_coils=6)[0, :, 0]
    assert float(maps.diff(dim=-1).abs().max()) < 0.12
    assert float(maps.diff(dim=-2).abs().max()) < 0.12
    gram = torch.einsum("cyx,dyx->cd", maps.conj(), maps)
    assert float(torch.linalg.cond(gram)) < 1e3


def test_each_coil_sees_its_own_side() -> None:
    magnitude = loop_coil_maps((1, 65, 65), (1e-3, 1e-3, 1e-3), n_coils=4)[0, :, 0].abs()
    position = torch.arange(65.0) - 32
    for c in range(4):
        weight = magnitude[c].square()
        x = float((weight * position).sum())
        y = float((weight * position[:, None]).sum())
        expected = 2 * math.pi * (c + 0.5) / 4
        apart = math.remainder(math.atan2(y, x) - expected, 2 * math.pi)
        assert abs(apart) < 0.05


def test_a_ring_turned_by_one_loop_is_the_same_ring() -> None:
    maps = loop_coil_maps((1, 33, 33), (1e-3, 1e-3, 1e-3), n_coils=4)[0, :, 0].abs()
    turned = torch.rot90(maps, -1, (1, 2))  # from x to y is from one loop to the next
    torch.testing.assert_close(turned, maps.roll(-1, 0), atol=2e-6, rtol=0)


def test_the_peak_normalisation_keeps_the_shading() -> None:
    maps = loop_coil_maps((1, 32, 32), (1e-3, 1e-3, 1e-3), n_coils=4, normalization="peak")
    total = maps.abs().square().sum(dim=1).sqrt()
    assert float(total.max()) == pytest.approx(1)
    assert float(total.min()) < 0.9


def test_the_field_on_the_axis_of_a_loop_is_the_textbook_one() -> None:
    # A circular loop of radius a at x = -d: B = 2 pi a^2 / (a^2 + d^2)^(3/2) along its axis.
    a, d = 0.1, 0.15
    loop = _loop(d, math.pi, a, a)
    zero = torch.zeros(1, dtype=torch.float64)
    field = complex(_transverse_field(loop, zero, zero, zero)[0, 0, 0])
    expected = 2 * math.pi * a**2 / (a**2 + d**2) ** 1.5
    assert abs(field) == pytest.approx(expected, rel=5e-3)  # 48 straight pieces
    assert abs(field.imag) < 1e-9 * expected
