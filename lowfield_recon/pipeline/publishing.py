"""Results out of the cache into the output folder, each whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path
from lowfield_recon.pipeline.cache import FILES, Cache, Entry, remove


def publish(cache: Cache, entry: Entry, folder: Path, staging: Path) -> None:
    """Copy a result to its place, where the same bytes are not there already.

    Parameters
    ----------
    cache
        The cache.
    entry
        The result.
    folder
        Where it goes.
    staging
        Folder for half-copied files, on the same file system.

    Raises
    ------
    DataError
        If a folder of that name holds other files.
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted((entry.folder / FILES).iterdir()):
        target = folder / source.name
        is_alike = target.exists() and target.is_dir() == source.is_dir()
        if is_alike and cache.hash_of(target) == cache.hash_of(source):
            continue
        if target.is_dir() and not _endings(target) <= _endings(source):
            raise DataError(f"{target}: holds other files than this result; move them elsewhere.")
        with atomic_path(target, staging=staging) as temporary:
            if source.is_dir():
                shutil.copytree(source, temporary)
            else:
                shutil.copyfile(source, temporary)


def _endings(path: Path) -> set[str]:
    return {entry.suffix for entry in path.rglob("*") if entry.is_file()}


@contextmanager
def staging_folder(out: Path, cache_folder: Path) -> Iterator[Path]:
    """Give a folder beside the results for what is being copied; only this cache's runs use it.

    What a killed run left there is removed.

    Parameters
    ----------
    out
        Output folder.
    cache_folder
        The cache, which is locked.

    Yields
    ------
        The folder, which is removed when the block ends.
    """
    name = sha256(str(cache_folder.resolve()).encode()).hexdigest()[:12]
    folder = out / f".staging-{name}"
    remove(folder)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        remove(folder)
