"""Fetching and verifying data sets from a server on this computer."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lowfield_recon.data import (
    DataManifest,
    Patience,
    fetch_dataset,
    fetching,
    load_manifest,
    verify_dataset,
)
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of


def manifest_of(*files: dict[str, Any], **more: Any) -> DataManifest:
    return DataManifest.model_validate(
        {
            "name": "trial",
            "title": "A trial",
            "description": "Random bytes.",
            "source": {"homepage": "https://example.org/trial"},
            "license": "CC0-1.0",
            "citation": "Nobody (2026).",
            "access": "open",
            "checksums_from": "This test.",
            "notes": ["Nothing else is known."],
            "files": files,
            **more,
        }
    )


@pytest.fixture
def two(site: Any, content: bytes, sha256: str) -> DataManifest:
    """Return a data set of one file with, and one without a checksum."""
    return manifest_of(
        {
            "name": "scans/a.h5",
            "url": site.add("a", content),
            "size_bytes": len(content),
            "sha256": sha256,
        },
        {"name": "b.txt", "url": site.add("b", b"words")},
    )


def test_fetch_brings_what_is_missing_and_writes_down_what_it_is(
    two: DataManifest, site: Any, content: bytes, sha256: str, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "trial"
    first = fetch_dataset(two, folder)
    assert [(file.status, file.is_checked) for file in first] == [
        ("fetched", True),
        ("fetched", False),
    ]
    assert (folder / "scans/a.h5").read_bytes() == content
    assert (folder / "b.txt").read_bytes() == b"words"
    record = json.loads((folder / "trial.json").read_text(encoding="utf-8"))
    assert record["license"] == "CC0-1.0"
    assert record["citation"] == "Nobody (2026)."
    assert record["files"]["scans/a.h5"]["sha256"] == sha256
    assert record["files"]["b.txt"] == {
        "url": site.url("b"),
        "size_bytes": 5,
        "sha256": hashlib.sha256(b"words").hexdigest(),
        "is_checked": False,
    }
    site.requests.clear()
    assert [file.status for file in fetch_dataset(two, folder)] == ["present", "present"]
    assert site.requests == []


def test_fetch_replaces_a_damaged_file_and_verify_finds_it(
    two: DataManifest, content: bytes, tmp_path: Path
) -> None:
    fetch_dataset(two, tmp_path)
    assert [check.status for check in verify_dataset(two, tmp_path)] == ["ok", "unchecked"]
    damaged = tmp_path / "scans/a.h5"
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (check,) = verify_dataset(two, tmp_path, patterns=["*.h5"])
    assert check.status == "damaged"
    assert check.detail is not None
    assert check.detail.startswith("sha256")
    damaged.write_bytes(content[:-1])
    assert verify_dataset(two, tmp_path)[0].detail == "299999 bytes, expected 300000"
    assert [file.status for file in fetch_dataset(two, tmp_path)] == ["replaced", "present"]
    assert damaged.read_bytes() == content


def test_a_failed_replacement_leaves_what_was_there(
    two: DataManifest, site: Any, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.h5").write_bytes(b"precious")
    site.add("a", content[::-1])
    with pytest.raises(DataError, match="not the expected file"):
        fetch_dataset(two, tmp_path)
    assert [path.name for path in (tmp_path / "scans").iterdir()] == ["a.h5"]
    assert (tmp_path / "scans/a.h5").read_bytes() == b"precious"


def test_verify_counts_what_has_arrived_of_a_missing_file(
    two: DataManifest, site: Any, tmp_path: Path
) -> None:
    site.files["/a"].breaks = [1000]
    with pytest.raises(DataError, match="is kept"):
        fetch_dataset(two, tmp_path, patience=Patience(attempts=1))
    first, second = verify_dataset(two, tmp_path)
    assert (first.status, second.status) == ("missing", "missing")
    assert first.detail == "1000 bytes have arrived; fetch again to continue"
    fetch_dataset(two, tmp_path)
    assert site.ranges[1] == "bytes=1000-"


def test_patterns_choose_files_by_name_or_by_its_last_part(
    two: DataManifest, tmp_path: Path
) -> None:
    assert [file.name for file in fetch_dataset(two, tmp_path, patterns=["a.*"])] == ["scans/a.h5"]
    assert [file.name for file in fetch_dataset(two, tmp_path, patterns=["scans/*"])] == [
        "scans/a.h5"
    ]
    with pytest.raises(UsageError, match=r"trial has no such file; it has scans/a\.h5, b\.txt"):
        fetch_dataset(two, tmp_path, patterns=["*.mat"])


def test_archives_are_unpacked_beside_themselves(site: Any, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("train/1.h5", "one")
        zipped.writestr("train/readme", "no")
    manifest = manifest_of(
        {
            "name": "all.zip",
            "url": site.add("all", packed.getvalue()),
            "archive": {"kind": "zip", "members": ["*.h5"]},
        }
    )
    (file,) = fetch_dataset(manifest, tmp_path)
    assert file.n_unpacked == 1
    assert (tmp_path / "train/1.h5").read_text() == "one"
    assert not (tmp_path / "train/readme").exists()


def test_registration_is_said_in_plain_words_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"registration needed\. Fill in the form at https://"):
        fetch_dataset(load_manifest("fastmri_knee"), tmp_path / "knee")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_an_address_sends_to_the_homepage(
    site: Any, content: bytes, tmp_path: Path
) -> None:
    manifest = manifest_of({"name": "a.h5", "url": site.add("a", content)}, {"name": "b.h5"})
    with pytest.raises(DataError, match=r"^b\.h5: .* by hand from https://example\.org/trial"):
        fetch_dataset(manifest, tmp_path)
    assert site.requests == []
    fetch_dataset(manifest, tmp_path, patterns=["a.h5"])


def test_a_disk_too_small_for_all_files_is_said_first(
    two: DataManifest, site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _folder: SimpleNamespace(free=9))
    with pytest.raises(DataError, match=r"^trial: needs 300 kB more, .* 9 B free"):
        fetch_dataset(two, tmp_path)
    assert site.requests == []


def test_samples_are_present_and_can_be_copied(tmp_path: Path) -> None:
    samples = load_manifest("samples")
    assert {file.status for file in fetch_dataset(samples)} == {"present"}
    (copied,) = fetch_dataset(samples, tmp_path, patterns=["camera.png"])
    assert copied.status == "fetched"
    assert sha256_of(tmp_path / "camera.png") == copied.sha256
    assert {check.status for check in verify_dataset(samples, tmp_path)} == {"ok", "missing"}
