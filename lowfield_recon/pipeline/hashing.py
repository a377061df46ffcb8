"""Hashes of files that are remembered for as long as the files do not change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from lowfield_recon.files import sha256_of


class FileHashes:
    """SHA-256 of files, by path, size, times of change and inode."""

    def __init__(self, known: dict[str, Any]) -> None:
        """Take over what an earlier run knew."""
        self.known = known
        self.is_changed = False

    def hash_of(self, path: Path) -> str:
        """Return the SHA-256 of a file or folder; unchanged files are not read again.

        Parameters
        ----------
        path
            The file or folder; of a BART `.cfl` its header counts too.

        Returns
        -------
            64 hexadecimal digits.

        Raises
        ------
        OSError
            If it cannot be read.

        Examples
        --------
        >>> FileHashes({}).hash_of(Path(__file__)) == sha256_of(__file__)
        True
        """
        parts = _parts_of(path)
        if parts == [path]:
            return self._hash_of_file(path)
        digest = hashlib.sha256()
        for part in parts:
            name = part.relative_to(path) if path in part.parents else Path(part.name)
            digest.update(f"{name.as_posix()}\0{self._hash_of_file(part)}\n".encode())
        return digest.hexdigest()

    def _hash_of_file(self, path: Path) -> str:
        state = path.stat()
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
        name = str(path.resolve())
        known = self.known.get(name)
        if isinstance(known, list) and known[:-1] == stamp:
            return str(known[-1])
        digest = sha256_of(path)
        self.known[name] = [*stamp, digest]
        self.is_changed = True
        return digest


def _parts_of(path: Path) -> list[Path]:
    """List the files that belong to an input: its own, a folder's, or a BART pair's."""
    if path.is_dir():
        return sorted(entry for entry in path.rglob("*") if entry.is_file())
    stem = path.with_suffix("") if path.suffix in (".cfl", ".hdr") else path
    pair = [Path(f"{stem}{ending}") for ending in (".cfl", ".hdr")]
    if path not in pair and path.exists():
        return [path]
    return [part for part in pair if part.exists()] or [path]
