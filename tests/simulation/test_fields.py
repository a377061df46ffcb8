"""Smooth fields and random streams."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from lowfield_recon.simulation.fields import smooth_field, stream


@pytest.mark.parametrize("shape", [(1, 16, 17), (7, 8, 9), (1, 1, 12)])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_field_is_a_polynomial_of_its_order_without_constant(shape, order) -> None:
    field = smooth_field(shape, order=order, generator=torch.Generator().manual_seed(1)).numpy()
    assert np.abs(field).max() == pytest.approx(1)
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    monomials = [
        (z**a * y**b * x**c).ravel()
        for a, b, c in product(range(order + 1), repeat=3)
        if a + b + c <= order
    ]
    basis = np.stack(monomials, axis=1)
    weights = np.linalg.lstsq(basis, field.ravel(), rcond=None)[0]
    np.testing.assert_allclose(basis @ weights, field.ravel(), atol=1e-9)
    if order == 1:
        assert abs(weights[0]) < 1e-9


def test_a_single_voxel_has_no_field() -> None:
    assert float(smooth_field((1, 1, 1), order=3, generator=torch.Generator())) == 0


def test_streams_are_reproducible_and_apart() -> None:
    names = ("phase", "off-resonance", "noise", "noise-readout", "interference", "mask")
    names += ("motion", "bias-field", "spikes")
    seeds = {stream(seed, name).initial_seed() for seed in (0, 1, 2**62) for name in names}
    assert len(seeds) == 27
    draws = [torch.rand(3, generator=stream(5, "noise")) for _ in range(2)]
    assert torch.equal(*draws)
