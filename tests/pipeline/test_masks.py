"""Masks say which pixels are kept, of all channels or of each."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.pipeline.masks import check_mask, read_mask
from lowfield_recon.pipeline.photographs import read_degraded, write_photograph

KEPT = np.random.default_rng(0).random((3, 6, 7)) < 0.6


def _colours(path: Path, masks: np.ndarray) -> Path:
    Image.fromarray((np.moveaxis(masks, 0, -1) * 255).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_arrays_of_any_kind_hold_one_mask_or_one_for_each_channel(tmp_path: Path, dtype):
    path = tmp_path / "m.npy"
    for masks in (KEPT, KEPT[0]):
        np.save(path, masks.astype(dtype))
        expected = torch.from_numpy(masks if masks.ndim == 3 else masks[None])
        assert torch.equal(read_mask(path)[0, :, 0], expected)


def test_the_channels_of_a_picture_count_by_their_mean_unless_told(tmp_path: Path):
    path = _colours(tmp_path / "m.png", KEPT)
    assert torch.equal(read_mask(path, per_channel=True)[0, :, 0], torch.from_numpy(KEPT))
    assert torch.equal(read_mask(path)[0, 0, 0], torch.from_numpy(KEPT.mean(axis=0) >= 0.5))


def test_masks_may_be_one_pixel_wide(tmp_path: Path):
    for shape in ((5, 1), (1, 5), (1, 1), (3, 5, 1), (3, 1, 5)):
        np.save(tmp_path / "m.npy", np.ones(shape))
        assert read_mask(tmp_path / "m.npy").shape == (1, *(1, *shape)[-3:-2], 1, *shape[-2:])
        assert read_degraded(tmp_path / "m.npy").shape[-2:] == shape[-2:]


def test_photographs_one_pixel_wide_stay_upright(tmp_path: Path):
    tall = torch.rand(1, 3, 1, 5, 1, generator=torch.Generator().manual_seed(0))
    for name in ("a.png", "a.npy"):
        write_photograph(tmp_path / name, tall)
        found = read_degraded(tmp_path / name)
        assert found.shape == tall.shape
        assert torch.allclose(found, tall, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("masks", "per_channel", "words"),
    [
        (np.zeros((4, 4)), False, "keeps no pixel"),
        (np.zeros((3, 4, 4), dtype=bool), False, "keeps no pixel"),
        (np.ones((4, 4)), True, "has one channel"),
        (np.ones((2, 3, 4, 4)), False, r"got shape \(2, 3, 4, 4\)"),
        (np.full((4, 4), np.nan), False, "NaN"),
        (np.array([["a"]]), False, "dtype"),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, masks, per_channel, words):
    np.save(tmp_path / "m.npy", masks)
    with pytest.raises(DataError, match=words) as caught:
        read_mask(tmp_path / "m.npy", per_channel=per_channel)
    assert "\n" not in str(caught.value)


def test_a_channel_without_kept_pixels_is_named(tmp_path: Path, caplog):
    np.save(tmp_path / "m.npy", KEPT & np.array([True, False, True])[:, None, None])
    with caplog.at_level(logging.WARNING):
        read_mask(tmp_path / "m.npy")
    assert "keeps no pixel of channel 1" in caplog.text


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 1, 1, 8, 9), r"expected the size of the image \(8, 8\), got \(8, 9\)"),
        ((1, 2, 1, 8, 8), "has 2 channels, the image 3"),
    ],
)
def test_masks_of_another_size_are_refused_with_both_sizes(shape, words):
    with pytest.raises(DataError, match=words):
        check_mask(torch.ones(shape, dtype=torch.bool), torch.zeros(1, 3, 1, 8, 8))
