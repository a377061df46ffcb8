"""Pictures show the arrays on scales that all methods of a panel share."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.evaluation.study_report.pictures import (
    error_colours,
    error_source,
    grey_source,
    map_colours,
    map_source,
    read_panel,
)

ENTRY = {"condition": "noise", "image": "sub-00", "file": "panel.npz", "seed": 3}


def _decoded(source: str) -> np.ndarray:
    header, data = source.split(",")
    assert header == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def _write(folder, **arrays):
    named = {key.replace("_", ":", 1): value for key, value in arrays.items()}
    np.savez(folder / "panel.npz", **named)
    return folder


def test_grey_is_linear_from_black_at_zero_to_white():
    shown = _decoded(grey_source(np.array([[-1.0, 0.0, 0.5], [1.0, 2.0, 4.0]]), 2.0))
    assert shown[..., 0].tolist() == [[0, 0, 64], [128, 255, 255]]
    assert (shown[..., :1] == shown).all()


def test_errors_are_black_at_zero_orange_above_and_blue_below():
    shown = _decoded(error_source(np.array([[-1.0, -0.25, 0.0, 0.25, 1.0, 9.0]]), 1.0))[0]
    assert shown[2].tolist() == [0, 0, 0]
    assert shown[1][2] > shown[1][0]
    assert shown[3][0] > shown[3][2]
    assert shown[0].tolist() == error_colours()[0].tolist()
    assert shown[4].tolist() == shown[5].tolist() == error_colours()[-1].tolist()


def test_maps_run_through_their_colours():
    shown = _decoded(map_source(np.linspace(0, 2, 65)[None], 2.0))[0]
    assert np.array_equal(shown, map_colours())


def test_scales_are_shared_by_all_methods_and_errors_are_against_the_reference(tmp_path):
    reference = np.full((4, 5), 0.5, np.float32)
    offsets = {"image_a": 0.02, "image_b:c": -0.1}
    images = {key: reference + np.float32(offset) for key, offset in offsets.items()}
    panel = read_panel(
        {**ENTRY, "data_range": 0.7}, _write(tmp_path, reference=reference, **images)
    )
    assert set(panel.images) == {"a", "b:c"}
    assert np.allclose(panel.errors["b:c"], -0.1)
    assert panel.error_limit == pytest.approx(0.1, rel=0.11)
    assert panel.error_limit >= 0.1 - 1e-6
    assert panel.white == 0.7
    assert panel.seed == "3"


def test_maps_of_several_filters_are_averaged_and_complex_images_are_magnitudes(tmp_path):
    maps = np.stack([np.zeros((3, 3)), np.full((3, 3), 2.0)])
    folder = _write(tmp_path, image_a=np.full((1, 1, 3, 3), 3 + 4j), lambda_a=maps)
    panel = read_panel(ENTRY, folder)
    assert np.array_equal(panel.images["a"], np.full((3, 3), 5.0))
    assert np.array_equal(panel.maps["a"], np.ones((3, 3)))
    assert panel.reference is None
    assert panel.errors == {}
    assert panel.white == 5.0


def test_an_image_of_another_size_has_no_error(tmp_path):
    folder = _write(tmp_path, reference=np.ones((4, 4)), image_a=np.ones((2, 2)))
    panel = read_panel(ENTRY, folder)
    assert panel.images["a"].shape == (2, 2)
    assert panel.errors == {}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "holds neither a reference nor images"),
        ({"reference": np.full((2, 2), np.nan)}, "reference is not a finite picture"),
        ({"image_a": np.ones(4)}, "image:a is not a finite picture (y, x), its shape is (4,)"),
        ({"image_a": np.ones((0, 4))}, "is not a finite picture"),
        ({"image_a": np.array([{}], dtype=object)}, "cannot be read (ValueError)"),
    ],
)
def test_what_cannot_be_shown_is_said(tmp_path, arrays, said):
    assert said in read_panel(ENTRY, _write(tmp_path, **arrays))


def test_files_that_are_missing_cut_short_or_elsewhere_are_said(tmp_path):
    assert read_panel(ENTRY, tmp_path) == "panel.npz: the file is missing"
    _write(tmp_path, reference=np.ones((9, 9)))
    stored = (tmp_path / "panel.npz").read_bytes()
    (tmp_path / "panel.npz").write_bytes(stored[: len(stored) // 2])
    assert "panel.npz: cannot be read" in read_panel(ENTRY, tmp_path)
    (tmp_path / "panel.npz").write_bytes(b"")
    assert "panel.npz: cannot be read" in read_panel(ENTRY, tmp_path)
    inner = tmp_path / "inner"
    inner.mkdir()
    outside = {**ENTRY, "file": "../panel.npz"}
    assert read_panel(outside, inner) == "panel.npz: the file is missing"
