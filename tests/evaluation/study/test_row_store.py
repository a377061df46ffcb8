"""Results that outlive an interruption at any byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.study.row_store import FILE_NAME, open_row_store


@pytest.mark.parametrize("n_bytes", [1, 12, 30])
def test_a_line_that_was_cut_off_is_forgotten_and_the_others_stay(tmp_path: Path, n_bytes: int):
    with open_row_store(tmp_path) as store:
        store.store("a", {"ssim": 0.5, "failure": None})
        store.store("b", {"ssim": None, "failure": "é, no"})
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[:-n_bytes])
    with open_row_store(tmp_path) as store:
        assert store.find("a") == {"ssim": 0.5, "failure": None}
        assert store.find("b") is None
        store.store("b", {"ssim": 0.25, "failure": None})
    with open_row_store(tmp_path) as store:
        assert store.find("b") == {"ssim": 0.25, "failure": None}
    assert path.read_bytes().count(b"\n") == 2


def test_a_fresh_store_has_forgotten_everything(tmp_path: Path):
    with open_row_store(tmp_path) as store:
        store.store("a", {"ssim": 0.5})
    with open_row_store(tmp_path, is_fresh=True) as store:
        assert store.find("a") is None
    assert (tmp_path / FILE_NAME).read_bytes() == b""


def test_one_store_is_for_one_process(tmp_path: Path):
    with (
        open_row_store(tmp_path),
        pytest.raises(DataError, match="another study"),
        open_row_store(tmp_path),
    ):
        pass
