"""The window and the lines within it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.prepare import undersampling_mask
from lowfield_recon.simulation.pattern import sampling_mask, window_size
from lowfield_recon.simulation.recipe import Recipe


@pytest.mark.parametrize("n", [320, 321])
def test_the_window_is_the_central_rectangle(n: int) -> None:
    mask = sampling_mask((1, n, n), Recipe(window=(1, 0.75, 0.5)), 0)
    assert mask.shape == (1, 1, 1, n, n)
    rows = np.flatnonzero(mask[0, 0, 0].any(dim=1))
    columns = np.flatnonzero(mask[0, 0, 0].any(dim=0))
    height, width = round(0.75 * n), round(0.5 * n)
    assert (rows[0], rows[-1]) == (n // 2 - height // 2, n // 2 - height // 2 + height - 1)
    assert (columns[0], columns[-1]) == (n // 2 - width // 2, n // 2 - width // 2 + width - 1)
    assert int(mask.sum()) == height * width


def test_half_of_320_is_the_low_field_papers_quarter_of_k_space() -> None:
    mask = sampling_mask((1, 320, 320), Recipe(window=0.5), 0)
    assert int(mask.sum()) == 160 * 160
    assert bool(mask[0, 0, 0, 80:240, 80:240].all())


def test_whole_readouts_have_no_readout_axis() -> None:
    assert sampling_mask((1, 8, 8), Recipe(), 0).shape == (1, 1, 1, 8, 1)
    assert sampling_mask((4, 8, 8), Recipe(), 0).shape == (1, 1, 4, 8, 1)
    assert sampling_mask((4, 8, 8), Recipe(encoding="slices"), 0).shape == (1, 1, 1, 8, 1)


def test_slices_keep_their_number() -> None:
    assert window_size((6, 8, 8), Recipe(window=0.5)) == (3, 4, 4)
    assert window_size((6, 8, 8), Recipe(window=0.5, encoding="slices")) == (6, 4, 4)


@pytest.mark.parametrize("kind", ["random", "regular", "poisson-disc", "fastmri-random"])
@pytest.mark.parametrize("shape", [(1, 120, 64), (20, 40, 16)])
def test_lines_are_those_of_the_undersampling_masks(kind, shape) -> None:
    recipe = Recipe(mask=kind, acceleration=3, calibration_lines=6)
    expected = undersampling_mask(shape, acceleration=3, calibration_lines=6, kind=kind, seed=5)
    assert torch.equal(sampling_mask(shape, recipe, 5), expected)


def test_the_acceleration_counts_within_the_window() -> None:
    recipe = Recipe(mask="random", acceleration=2, calibration_lines=8, window=0.5)
    mask = sampling_mask((1, 128, 128), recipe, 0)
    lines = mask[0, 0, 0].any(dim=1)
    assert int(lines.sum()) == 32
    assert not lines[:32].any()
    assert not lines[96:].any()
    assert int(mask.sum()) == 32 * 64


def test_a_mask_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="calibration_lines"):
        sampling_mask((1, 16, 16), Recipe(mask="random", acceleration=2), 0)
