"""The intensity scale is robust, and in the unit of the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.prepare import intensity_scale


def head(n: int = 200, radius: float = 0.6) -> torch.Tensor:
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    inside = x**2 + y**2 < radius**2
    return torch.from_numpy(inside * (1.0 + 0.2 * np.sin(20 * x)))[None, None, None]


def test_it_is_the_percentile_over_the_object() -> None:
    image = head()
    values = image[image > 0].numpy()
    assert intensity_scale(image) == pytest.approx(np.quantile(values, 0.995), rel=1e-3)


@pytest.mark.parametrize("factor", [1e-9, 3.0, 1e12])
def test_it_is_in_the_unit_of_the_data_and_sees_magnitudes_only(factor: float) -> None:
    image = head() * torch.exp(1j * head())
    assert intensity_scale(factor * image) == pytest.approx(factor * intensity_scale(image))


def test_a_few_bright_voxels_hardly_change_it() -> None:
    image = head()
    spoilt = image.clone()
    spoilt.view(-1)[torch.randperm(image.numel())[:20]] = 1000
    assert intensity_scale(spoilt) == pytest.approx(intensity_scale(image), rel=0.01)


def test_air_around_the_object_does_not_change_it() -> None:
    small = torch.nn.functional.pad(head(), (400, 400, 400, 400))
    assert intensity_scale(small + 0.01) == pytest.approx(intensity_scale(head() + 0.01), rel=0.02)


def test_nothing_to_measure() -> None:
    for bad in (torch.zeros(4, 4), torch.full((4, 4), torch.nan)):
        with pytest.raises(DataError, match="expected finite values that are not all zero"):
            intensity_scale(bad)
