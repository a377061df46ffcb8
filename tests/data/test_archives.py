"""Archives, well-made, damaged and hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from lowfield_recon.data import archives, unpack
from lowfield_recon.errors import DataError

FILES = {"images/train/1.jpg": b"one" * 900, "images/test/2.jpg": b"two", "readme.txt": b"words"}


def make(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.mkdir("images")
            for name, content in files.items():
                zipped.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return path
    with tarfile.open(path, f"w:{path.suffix.removeprefix('.').replace('tar', '')}") as tarred:
        folder = tarfile.TarInfo("images")
        folder.type = tarfile.DIRTYPE
        tarred.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tarred.addfile(entry, io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def kind_of(path: Path) -> str:
    return "zip" if path.suffix == ".zip" else "tar"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_files_come_out_as_they_went_in(tmp_path: Path, name: str) -> None:
    archive, there = make(tmp_path / name, FILES), tmp_path / "there"
    unpacked = unpack(archive, there, kind=kind_of(archive))
    assert contents(there) == FILES
    assert [path.relative_to(there).as_posix() for path in unpacked] == list(FILES)


def test_only_the_wanted_members_come_out(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar", {"./" + name: text for name, text in FILES.items()})
    unpack(archive, tmp_path / "there", kind="tar", members=("images/*/*.jpg",))
    assert set(contents(tmp_path / "there")) == {"images/train/1.jpg", "images/test/2.jpg"}
    with pytest.raises(DataError, match=r"holds none of the wanted files \(\*\.h5\)"):
        unpack(archive, tmp_path / "there", kind="tar", members=("*.h5",))


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "C:/out", "a\\out"])
def test_names_that_lead_out_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = make(tmp_path / f"a.{kind}", {name: b"x"})
    inside = tmp_path / "in" / "side"
    with pytest.raises(DataError, match=r"leads out of its folder.*not to be trusted"):
        unpack(archive, inside, kind=kind)
    assert set(contents(tmp_path)) == {f"a.{kind}"}
    assert not Path("/out.txt").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tarred:
        entry = tarfile.TarInfo("innocent.h5")
        entry.type, entry.linkname = kind, "/etc/hostname"
        tarred.addfile(entry)
    with pytest.raises(DataError, match=r"'innocent\.h5' is a link, a device"):
        unpack(tmp_path / "a.tar", tmp_path / "there", kind="tar")
    assert not (tmp_path / "there").exists()


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        link = zipfile.ZipInfo("innocent.h5")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        zipped.writestr(link, "/etc/hostname")
    with pytest.raises(DataError, match="is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "there", kind="zip")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(archives, "_ALWAYS_ALLOWED_BYTES", 1000)
    archive = make(tmp_path / name, {"small": b"1", "zeros": bytes(4_000_000)})
    assert archive.stat().st_size * 20 < 4_000_000
    with pytest.raises(DataError, match=r"unpacks to more than .* at most 20 times"):
        unpack(archive, tmp_path / "there", kind=kind_of(archive))
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "text", "empty"])
def test_a_damaged_archive_is_said_to_be_damaged(tmp_path: Path, name: str, damage: str) -> None:
    payload = bytes(range(256)) * 400
    archive = make(tmp_path / name, {"a.h5": payload})
    whole = bytearray(archive.read_bytes())
    middle = len(whole) // 2
    whole[middle] ^= 0xFF
    archive.write_bytes(
        {"cut": whole[:middle], "flipped": whole, "text": b"<html>gone</html>", "empty": b""}[
            damage
        ]
    )
    if (name, damage) == ("a.tar", "flipped"):  # plain tar holds no checksum of its files
        unpack(archive, tmp_path / "there", kind="tar")
        return
    with pytest.raises(DataError, match=r"is damaged .*; remove it and fetch it again"):
        unpack(archive, tmp_path / "there", kind=kind_of(archive))
    assert not any(entry.is_file() for entry in (tmp_path / "there").rglob("*"))


def test_what_is_there_whole_is_left_alone_and_the_rest_is_added(tmp_path: Path) -> None:
    archive, there = make(tmp_path / "a.zip", FILES), tmp_path / "there"
    unpack(archive, there, kind="zip")
    (there / "readme.txt").write_bytes(b"WORDS")
    (there / "images/test/2.jpg").write_bytes(b"t")
    unpack(archive, there, kind="zip")
    assert contents(there) == {**FILES, "readme.txt": b"WORDS"}


def test_nothing_is_written_of_an_archive_that_turns_hostile_at_its_end(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.tar.gz", {**FILES, "../out": b"x"})
    with pytest.raises(DataError, match="not to be trusted"):
        unpack(archive, tmp_path / "there", kind="tar")
    assert set(contents(tmp_path)) == {"a.tar.gz"}


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make(tmp_path / "a.zip", FILES)
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(DataError, match=r"'images/train/1\.jpg' needs 2\.7 kB, .* 100 B free"):
        unpack(archive, tmp_path / "there", kind="zip")
