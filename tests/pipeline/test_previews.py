"""Previews are whole pictures of the running image, at their time, and never in the way."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.pipeline.previews import Preview, picture_of
from lowfield_recon.pipeline.watching import watched
from lowfield_recon.problem import ImageObserver


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _read(path: Path) -> tuple[np.ndarray, str]:
    with Image.open(path) as image:
        return np.asarray(image), image.info["shows"]


def test_pictures_come_no_faster_than_asked_for(tmp_path: Path):
    clock, path = Clock(), tmp_path / "p.png"
    preview = Preview(path, seconds=5.0, white=1.0, clock=clock)
    preview.begin("image 1 of 2")
    shown = []
    for i in range(1, 13):
        if preview.wants_image(i):
            preview.show_image(i, torch.full((1, 1, 1, 2, 3), i / 20))
            shown.append(i)
        clock.now += 1.0
    assert shown == [1, 6, 11]
    levels, what = _read(path)
    assert np.array_equal(levels, np.full((2, 3), round(255 * 11 / 20)))
    assert what == preview.last == "image 1 of 2, iteration 11"
    preview.begin("image 2 of 2")
    assert not preview.wants_image(1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.png"]


def test_scans_are_shown_as_magnitudes_up_to_their_brightest():
    image = torch.polar(torch.arange(1000.0).reshape(1, 1, 1, 25, 40), torch.ones(25, 40))
    levels = picture_of(image).astype(float)
    expected = np.arange(1000).reshape(25, 40) / 999 * 255
    assert np.abs(levels - expected).max() <= 1
    assert np.array_equal(picture_of(1e-9 * image), picture_of(image))


def test_of_a_volume_the_middle_plane_is_shown():
    planes = torch.rand(5, 1, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(picture_of(planes), picture_of(planes[2:3, :, 1:2]))


def test_photographs_keep_their_levels_and_colours(tmp_path: Path):
    colours = torch.tensor([0.0, 0.5, 2.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 1, 4, 5)
    assert picture_of(colours, 1.0)[0, 0].tolist() == [0, 128, 255]
    assert picture_of(torch.full((1, 1, 1, 4, 5), -1.0), 1.0).max() == 0
    Preview(tmp_path / "c.png", white=1.0).show_image(1, colours)
    assert _read(tmp_path / "c.png")[0].shape == (4, 5, 3)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_images_without_any_light_are_black(value):
    assert picture_of(torch.full((1, 1, 1, 3, 3), value, dtype=torch.complex64)).max() == 0


def test_a_preview_that_cannot_be_written_is_given_up_with_one_warning(tmp_path: Path, caplog):
    folder = tmp_path / "gone"
    folder.mkdir()
    preview = Preview(folder / "p.png", seconds=0.0)
    folder.rmdir()
    with caplog.at_level(logging.WARNING):
        preview.show_image(1, torch.rand(1, 1, 1, 4, 4))
    assert not preview.wants_image(2)
    assert preview.last is None
    assert preview.is_broken
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no further previews" in caplog.text


class Recorder:
    """A viewer that wants every k-th image."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.seen: list[int] = []

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        """Ignore the progress."""

    def wants_image(self, iteration: int) -> bool:
        return iteration % self.every == 0

    def show_image(self, iteration: int, _image: torch.Tensor) -> None:
        self.seen.append(iteration)


def test_each_viewer_is_shown_what_it_wants_and_the_progress_goes_on():
    told: list[tuple[int, int, float | None]] = []
    one, two = Recorder(2), Recorder(3)
    callback = watched(lambda *words: told.append(words), [one, two])
    assert isinstance(callback, ImageObserver)
    for i in range(1, 7):
        callback(i, 6, 0.5)
        if callback.wants_image(i):
            callback.show_image(i, torch.zeros(1))
    assert told == [(i, 6, 0.5) for i in range(1, 7)]
    assert (one.seen, two.seen) == ([2, 4, 6], [3, 6])
    inner = Recorder(5)
    nested = watched(inner, [one])
    assert isinstance(nested, ImageObserver)
    assert nested.wants_image(5)
    nested.show_image(5, torch.zeros(1))
    assert inner.seen == [5]
    assert watched(None, []) is None
