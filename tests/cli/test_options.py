"""Words of the command line become values, or an error that says what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowfield_recon.cli.options import (
    parse_fov,
    parse_matrix,
    parse_settings,
)
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import require_file
from lowfield_recon.pipeline.indices import parse_indices


def test_settings_become_what_they_look_like():
    words = ["a=1", "b=1e-3", "c=True", "d=none", "shift-invariant=false", "e=x=y"]
    assert parse_settings(words) == {
        "a": 1, "b": 0.001, "c": True, "d": None, "shift_invariant": False, "e": "x=y",
    }  # fmt: skip
    assert parse_settings(None) == {}


@pytest.mark.parametrize("words", [["iterations"], ["=3"], ["a=1", "a=2"]])
def test_settings_of_another_form_are_refused(words):
    with pytest.raises(UsageError):
        parse_settings(words)


@pytest.mark.parametrize("text", ["", "a", "3-1", "0,0", "4", "0-9", "-1", "1-2-3", "0,,1"])
def test_slices_that_are_not_there_are_refused(text):
    with pytest.raises(UsageError, match="--slices"):
        parse_indices(text, 4)


def test_slices_are_counted_from_zero_and_ranges_include_their_end():
    assert parse_indices("3,0-1", 4) == [3, 0, 1]
    assert parse_indices(None, 2) == [0, 1]


def test_lengths_are_given_in_mm_along_x_y_z_and_kept_in_m_along_z_y_x():
    assert parse_fov("220x200x5") == (0.005, 0.2, 0.22)
    assert parse_fov("220, 200") == (None, 0.2, 0.22)
    assert parse_fov(None) is None
    assert parse_matrix("64 48 10") == (10, 48, 64)


@pytest.mark.parametrize("text", ["", "a", "0", "-5", "nan", "1 2 3 4", "inf"])
def test_lengths_and_sizes_that_make_no_sense_are_refused(text):
    with pytest.raises(UsageError, match="--fov"):
        parse_fov(text)
    with pytest.raises(UsageError, match="--matrix"):
        parse_matrix(text)


def test_missing_and_empty_files_are_refused_and_a_bart_stem_is_found(tmp_path: Path):
    with pytest.raises(DataError, match="no such scan"):
        require_file(tmp_path / "a.h5", "scan")
    (tmp_path / "a.h5").touch()
    with pytest.raises(DataError, match="is empty"):
        require_file(tmp_path / "a.h5", "scan")
    (tmp_path / "b.cfl").write_bytes(b"x")
    assert require_file(tmp_path / "b") == tmp_path / "b"
