"""Writing leaves either the whole file or folder, or what was there before."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path, check_output_path, sha256_of


def test_the_file_appears_only_at_the_end_and_keeps_its_suffixes(tmp_path: Path):
    target = tmp_path / "brain.v2.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_a_failure_or_interrupt_leaves_what_was_there(tmp_path: Path, error: type[BaseException]):
    target = tmp_path / "image.png"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [target.name]


def test_a_folder_replaces_a_folder_or_leaves_it(tmp_path: Path):
    target = tmp_path / "series"
    for content in ("1", "2"):
        with atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / f"{content}.dcm").write_text(content)
    assert [entry.name for entry in target.iterdir()] == ["2.dcm"]
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.mkdir()
        (temporary / "3.dcm").write_text("3")
        raise RuntimeError
    assert [entry.name for entry in target.iterdir()] == ["2.dcm"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["series"]


def test_a_link_stays_a_link(tmp_path: Path):
    real = tmp_path / "real.txt"
    real.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    with atomic_path(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_permissions_follow_the_umask(tmp_path: Path):
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    (tmp_path / "b.txt").write_text("b")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "b.txt")]
    assert modes[0] == modes[1]


def test_places_that_cannot_be_written_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist; create it"):
        check_output_path(tmp_path / "missing" / "a.png")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        check_output_path(tmp_path / "file" / "a.png")
    with pytest.raises(DataError, match="device or pipe"), atomic_path(os.devnull):
        pass
    with pytest.raises(DataError, match="nothing was written"), atomic_path(tmp_path / "a.png"):
        pass
    assert Path(os.devnull).is_char_device()


def test_the_hash_is_sha256_of_content_and_of_a_folder_its_files(tmp_path: Path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 3_000_000)
    assert sha256_of(file) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    before = sha256_of(tmp_path)
    file.rename(tmp_path / "b.bin")
    assert sha256_of(tmp_path) != before


def test_the_temporary_name_may_lie_elsewhere(tmp_path: Path):
    staging = tmp_path / "staging"
    staging.mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").touch()
    with atomic_path(tmp_path / "set", staging=staging) as temporary:
        assert temporary.parent == staging
        temporary.mkdir()
        (temporary / "new").touch()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["new"]
    assert list(staging.iterdir()) == []
