"""Shading: its range, smoothness, and where it enters a scan."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.simulation import Recipe, simulate_kspace
from lowfield_recon.simulation.bias_field import bias_field
from lowfield_recon.simulation.fields import smooth_field, stream


def test_its_logarithm_is_the_smooth_field_of_the_stated_size() -> None:
    found = bias_field((1, 20, 30), strength=0.7, order=3, generator=stream(0, "bias-field"))
    expected = 0.7 * smooth_field((1, 20, 30), order=3, generator=stream(0, "bias-field"))
    torch.testing.assert_close(found.log(), expected.float(), atol=1e-6, rtol=0)
    assert float(found.log().abs().max()) == pytest.approx(0.7, rel=1e-5)
    assert float(found.log().diff(dim=-1).abs().max()) < 0.3


def test_a_scan_and_its_image_are_shaded_alike() -> None:
    x = torch.rand(1, 1, 1, 16, 18, generator=torch.Generator().manual_seed(0)) + 0.1
    scan = simulate_kspace(x, Recipe(bias_field=0.5, seed=3))
    shading = (scan.image / x).real
    assert float(shading.log().abs().max()) == pytest.approx(0.5, rel=1e-4)
    assert float(shading.max()) <= math.exp(0.5) * 1.0001
    torch.testing.assert_close(
        centred_ifft(scan.kspace, (-3, -2, -1)), scan.image, atol=1e-5, rtol=0
    )
