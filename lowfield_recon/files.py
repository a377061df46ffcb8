"""Writing that leaves either the whole file or none, and hashing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lowfield_recon.errors import DataError

_CHUNK_BYTES = 1 << 20


@contextmanager
def atomic_path(path: str | Path, *, staging: Path | None = None) -> Iterator[Path]:
    """Give a temporary name beside `path` that becomes `path` when the block ends well.

    The name keeps all suffixes, so that a writer that looks at them works. What is written there, a
    file or a folder, is flushed to the disk and renamed over `path` in one step; a folder that is
    already there is put aside first and removed after. When the block fails or is interrupted, the
    temporary file or folder is removed and `path` stays as it was.

    Parameters
    ----------
    path
        Final name of the file or folder.
    staging
        Folder on the same file system for the temporary name; None takes that of `path`.

    Yields
    ------
        The temporary name; nothing exists there yet.

    Raises
    ------
    DataError
        If the folder of `path` is missing, `path` is a device or pipe, or nothing was written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "note.txt") as temporary:
    ...     _ = temporary.write_text("done")
    >>> [entry.name for entry in folder.iterdir()]
    ['note.txt']
    """
    target = check_output_path(path)
    if target.is_symlink():
        target = target.resolve()
    suffixes = "".join(target.suffixes)[-80:]
    temporary = (staging or target.parent) / f".tmp-{secrets.token_hex(6)}{suffixes}"
    try:
        yield temporary
        if not temporary.exists():
            raise DataError(f"{target.name}: nothing was written; this is a fault of its writer.")
        _flush(temporary)
        _move_over(temporary, target)
        _sync(target.parent)
    finally:
        _remove(temporary)


def check_output_path(path: str | Path) -> Path:
    """Check, before long work begins, that something can be written under this name.

    Parameters
    ----------
    path
        Name of the file or folder to be written.

    Returns
    -------
        The same as a `Path`.

    Raises
    ------
    DataError
        If its folder is missing or may not be written to, or `path` is a device or pipe.

    Examples
    --------
    >>> check_output_path("no/such/a.png")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.DataError: a.png: its folder no/such does not exist; create it first.
    """
    target = Path(path)
    folder = target.parent
    if not target.name:
        raise DataError(f"{path}: expected the name of a file to write, got a bare folder.")
    if not folder.exists():
        raise DataError(f"{target.name}: its folder {folder} does not exist; create it first.")
    if not folder.is_dir():
        raise DataError(f"{target.name}: {folder} is not a folder; choose another place.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DataError(f"{target.name}: no permission to write into {folder}; choose another one.")
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise DataError(f"{target}: is a device or pipe; expected the name of a file to write.")
    return target


def sha256_of(path: str | Path) -> str:
    """Hash a file, or a folder's files with their names in sorted order.

    Parameters
    ----------
    path
        File or folder to read.

    Returns
    -------
        SHA-256 as 64 hexadecimal digits.

    Raises
    ------
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> empty = Path(tempfile.mkdtemp()) / "empty"
    >>> empty.touch()
    >>> sha256_of(empty)[:16]
    'e3b0c44298fc1c14'
    """
    path = Path(path)
    digest = hashlib.sha256()
    if path.is_dir():
        for entry in sorted(path.rglob("*")):
            if entry.is_file():
                digest.update(
                    f"{entry.relative_to(path).as_posix()}\0{sha256_of(entry)}\n".encode()
                )
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    for entry in [path, *path.rglob("*")] if path.is_dir() else [path]:
        _sync(entry)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_over(temporary: Path, target: Path) -> None:
    """Rename, with a folder that is in the way put aside until the new one is in its place."""
    if not (temporary.is_dir() and target.is_dir()):
        temporary.replace(target)
        return
    aside = temporary.with_name(f".old-{secrets.token_hex(6)}")
    target.replace(aside)
    try:
        temporary.replace(target)
    except OSError:
        aside.replace(target)
        raise
    shutil.rmtree(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def require_file(path: Path, what: str = "file") -> Path:
    """Check that an input exists before anything heavy is loaded.

    Parameters
    ----------
    path
        File or folder that the user named.
    what
        What it is, for the message.

    Returns
    -------
        The same path.

    Raises
    ------
    DataError
        If there is nothing, or the file is empty.

    Examples
    --------
    >>> require_file(Path("no-such-scan.h5"), "scan")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.DataError: no-such-scan.h5: no such scan; check the path.
    """
    if not path.exists() and not Path(f"{path}.cfl").exists():
        raise DataError(f"{path}: no such {what}; check the path.")
    if path.is_file() and path.stat().st_size == 0:
        raise DataError(f"{path}: is empty (0 bytes); expected a {what}. Copy or export it again.")
    return path
