"""Unpacking archives that may be damaged or hostile."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from gzip import BadGzipFile
from pathlib import Path
from typing import IO, Literal

from lowfield_recon.data.checksums import human_size
from lowfield_recon.data.manifests import check_relative_name
from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path

_Opener = Callable[[], IO[bytes] | None]
_CHUNK_BYTES = 1 << 20
_LARGEST_RATIO = 20
_ALWAYS_ALLOWED_BYTES = 100_000_000
_FAULTS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    BadGzipFile,
    NotImplementedError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    name: str
    size_bytes: int
    is_plain: bool
    """Whether it is a file like any other: no link, no device, no password."""


def unpack(
    archive: str | Path,
    folder: str | Path,
    *,
    kind: Literal["zip", "tar"],
    members: Sequence[str] = ("*",),
) -> list[Path]:
    """Unpack the files of an archive; folders are made as needed.

    The whole archive is looked through before anything is written. Every file is written under a
    temporary name and renamed, and a file that is there already with its full size is left alone,
    so that an interrupted call can be repeated.

    Parameters
    ----------
    archive
        The archive.
    folder
        Where its files go.
    kind
        `"zip"`, or `"tar"` for plain and compressed tar archives.
    members
        Shell patterns; a member is unpacked when it matches one of them.

    Returns
    -------
        The files, in the archive's order.

    Raises
    ------
    DataError
        If a wanted member is a link or a device or leads out of the folder, the files are more than
        20 times larger than the archive (100 MB are always allowed), the disk is too small, nothing
        matches, or the archive is damaged.

    Examples
    --------
    >>> import tempfile
    >>> there = Path(tempfile.mkdtemp())
    >>> with zipfile.ZipFile(there / "a.zip", "w") as stream:
    ...     stream.writestr("images/one.txt", "1")
    >>> [path.relative_to(there).as_posix() for path in unpack(there / "a.zip", there, kind="zip")]
    ['images/one.txt']
    """
    archive, folder = Path(archive), Path(folder)
    with _explained(archive):
        targets = _check_members(archive, folder, kind, members)
        for member, opener in _entries(archive, kind):
            target = targets.get(member.name)
            if target is None or (target.is_file() and target.stat().st_size == member.size_bytes):
                continue
            _write(archive, member, opener, target)
    return list(targets.values())


def _check_members(
    archive: Path, folder: Path, kind: Literal["zip", "tar"], members: Sequence[str]
) -> dict[str, Path]:
    """Go through the whole archive before anything is written, and say where its files go."""
    allowed = max(_LARGEST_RATIO * archive.stat().st_size, _ALWAYS_ALLOWED_BYTES)
    targets: dict[str, Path] = {}
    total = 0
    for member, _opener in _entries(archive, kind):
        if not any(fnmatchcase(member.name, pattern) for pattern in members):
            continue
        targets[member.name] = _place(archive, folder, member)
        total += member.size_bytes
        if total > allowed:
            raise DataError(
                f"{archive.name}: unpacks to more than {human_size(allowed)}; expected at most "
                f"{_LARGEST_RATIO} times its own size; it was not unpacked."
            )
    if not targets:
        raise DataError(
            f"{archive.name}: holds none of the wanted files ({', '.join(members)}); it has "
            "changed at its source."
        )
    return targets


def _entries(archive: Path, kind: Literal["zip", "tar"]) -> Iterator[tuple[_Member, _Opener]]:
    """Go through the files of an archive in one pass; each is to be read before the next."""
    if kind == "zip":
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if info.is_dir():
                    continue
                mode = info.external_attr >> 16
                is_plain = not info.flag_bits & 1 and stat.S_IFMT(mode) in (0, stat.S_IFREG)
                member = _Member(name=info.filename, size_bytes=info.file_size, is_plain=is_plain)
                yield member, partial(zipped.open, info)
        return
    with tarfile.open(archive, mode="r:*") as tarred:
        for entry in tarred:
            if entry.isdir():
                continue
            name = entry.name.removeprefix("./")
            member = _Member(name=name, size_bytes=entry.size, is_plain=entry.isreg())
            yield member, partial(tarred.extractfile, entry)
        while tarred.fileobj is not None and tarred.fileobj.read(_CHUNK_BYTES):
            pass  # the checksum of a compressed archive stands at its end


def _place(archive: Path, folder: Path, member: _Member) -> Path:
    """Return where a member goes, or refuse it."""
    try:
        name = check_relative_name(member.name)
    except ValueError as error:
        raise DataError(f"{archive.name}: {error}; the archive is not to be trusted.") from error
    if not member.is_plain:
        raise DataError(
            f"{archive.name}: '{name}' is a link, a device or locked by a password; expected plain "
            "files; the archive is not to be trusted."
        )
    return folder / name


def _write(archive: Path, member: _Member, opener: _Opener, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if member.size_bytes > free:
        raise DataError(
            f"{archive.name}: '{member.name}' needs {human_size(member.size_bytes)}, and the disk "
            f"has {human_size(free)} free; free some space and run the same command again."
        )
    with atomic_path(target) as temporary, temporary.open("wb") as sink:
        source = opener()
        if source is not None:
            with source:
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
        if sink.tell() != member.size_bytes:
            raise EOFError(f"'{member.name}' ends early")


@contextmanager
def _explained(archive: Path) -> Iterator[None]:
    """Say in one line that an archive is damaged, whatever its reader calls it."""
    try:
        yield
    except _FAULTS as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise DataError(
            f"{archive.name}: is damaged ({said}); remove it and fetch it again."
        ) from error
