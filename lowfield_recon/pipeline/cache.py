"""Results by what they were made from: the same input, step and settings give the same folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path, sha256_of
from lowfield_recon.manifest import software_versions
from lowfield_recon.pipeline.hashing import FileHashes
from lowfield_recon.pipeline.units import Unit

FILES = "files"
"""Folder of an entry that holds what the step wrote."""

_RECORD = "entry.json"
_HASHES = "hashes.json"
_MADE = "made.json"
_LOCK = "lock"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One result in the cache."""

    folder: Path
    """Folder of the result."""

    outputs: Mapping[str, str]
    """Name of each output and its path below `files`."""

    files: Mapping[str, str]
    """Path of each file below `files` and its SHA-256."""

    notes: tuple[str, ...]
    """What was assumed when it was made."""

    def path_of(self, output: str) -> Path:
        """Return where an output lies.

        Parameters
        ----------
        output
            Name of the output.

        Returns
        -------
            Its file or folder.
        """
        return self.folder / FILES / self.outputs[output]


class Cache:
    """A folder of results, each named by the SHA-256 of all that it depends on."""

    def __init__(self, folder: Path) -> None:
        """Take over what is remembered about hashes; nothing is written."""
        self.folder = folder
        self._hashes = FileHashes(_read_object(folder / _HASHES))
        self._made: dict[str, str] = _read_object(folder / _MADE)
        self._versions = software_versions()
        self._is_changed = False

    def hash_of(self, path: Path) -> str:
        """Return the SHA-256 of a file or folder; unchanged files are not read again.

        Parameters
        ----------
        path
            The file; of a BART `.cfl` its header counts too.

        Returns
        -------
            64 hexadecimal digits.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        return self._hashes.hash_of(path)

    def recipe_of(self, unit: Unit, inputs: Mapping[str, list[Path]]) -> dict[str, Any]:
        """Return all that the result of a unit depends on.

        Parameters
        ----------
        unit
            The unit.
        inputs
            Its settings that are files, and the files.

        Returns
        -------
            Step and version, versions of the software, settings, name, and of each input file its
            name and SHA-256.
        """
        return {
            "step": unit.type.name,
            "version": unit.type.version,
            "software": self._versions,
            "settings": dict(unit.settings),
            "name": unit.name,
            "inputs": {
                key: [{"name": path.name, "sha256": self.hash_of(path)} for path in paths]
                for key, paths in inputs.items()
            },
        }

    def folder_of(self, recipe: Mapping[str, Any]) -> Path:
        """Return the folder in which the result of a recipe lies or will lie.

        Parameters
        ----------
        recipe
            What `recipe_of` returned.

        Returns
        -------
            The folder; it may not be there.
        """
        text = json.dumps(recipe, sort_keys=True)
        return self.folder / hashlib.sha256(text.encode()).hexdigest()

    def find(self, folder: Path) -> Entry | None:
        """Return the result in a folder if it is there and whole.

        Parameters
        ----------
        folder
            What `folder_of` returned.

        Returns
        -------
            The result, or None where a file is missing or is not what was written.
        """
        record = _read_json(folder / _RECORD)
        try:
            entry = Entry(
                folder=folder,
                outputs=record["outputs"],
                files=record["files"],
                notes=tuple(record["notes"]),
            )
            for name, digest in entry.files.items():
                if self.hash_of(folder / FILES / name) != digest:
                    return None
        except (KeyError, TypeError, AttributeError, OSError):
            return None
        return entry

    def reason(self, unit: Unit, recipe: Mapping[str, Any]) -> str:
        """Say why there is no result for a unit.

        Parameters
        ----------
        unit
            The unit.
        recipe
            What `recipe_of` returned for it.

        Returns
        -------
            A few words: new, damaged, or what has changed since it was last made.
        """
        folder = self.folder_of(recipe)
        if folder.exists():
            return "its cached result is damaged"
        last = self._made.get(unit.label)
        record = None if last is None else _read_json(self.folder / last / _RECORD)
        if not isinstance(record, dict) or not isinstance(record.get("recipe"), dict):
            return "not made before"
        changes = list(_changes(record["recipe"], recipe))
        return f"changed: {', '.join(changes)}" if changes else "not made before"

    def remember(self, unit: Unit, folder: Path) -> None:
        """Note which result a unit has, so that a later run can say what has changed.

        Parameters
        ----------
        unit
            The unit.
        folder
            Folder of its result.
        """
        if self._made.get(unit.label) != folder.name:
            self._made[unit.label] = folder.name
            self._is_changed = True

    def save(self) -> None:
        """Write what is remembered, if anything is new."""
        if self._hashes.is_changed or self._is_changed:
            write_json(self.folder / _HASHES, self._hashes.known)
            write_json(self.folder / _MADE, self._made)


def write_entry(
    folder: Path,
    recipe: Mapping[str, Any],
    outputs: Mapping[str, Path],
    notes: tuple[str, ...],
) -> None:
    """Describe a result that lies in `folder/files`.

    Parameters
    ----------
    folder
        Folder of the entry.
    recipe
        All that it depends on.
    outputs
        Each output and its file or folder.
    notes
        What was assumed.
    """
    base = folder / FILES
    paths = sorted(path for path in base.rglob("*") if path.is_file())
    record = {
        "recipe": recipe,
        "outputs": {name: path.relative_to(base).as_posix() for name, path in outputs.items()},
        "files": {path.relative_to(base).as_posix(): sha256_of(path) for path in paths},
        "notes": list(notes),
    }
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / _RECORD).write_text(text + "\n", encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Parameters
    ----------
    path
        The file.
    content
        What it holds.
    """
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a cache folder to this process, and remove what a killed one left half-written.

    Parameters
    ----------
    folder
        The cache; it is created if it is not there.

    Yields
    ------
        Nothing.

    Raises
    ------
    DataError
        If another process works with it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{folder}: another run works with this cache; wait for it, or choose another "
                "--cache."
            ) from error
        for pattern in (".tmp-*", ".old-*"):
            for path in folder.glob(pattern):
                remove(path)
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it.

    Parameters
    ----------
    path
        What to remove; it may be gone already.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in ("step", "version", "software", "name"):
        if old.get(key) != new[key]:
            yield {"version": "version of the step", "software": "version of the software"}.get(
                key, key
            )
    for group, word in (("settings", "setting"), ("inputs", "input")):
        before = old.get(group) or {}
        for key in sorted({*before, *new[group]}):
            if before.get(key) != new[group].get(key):
                yield f"{word} {key}"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _read_object(path: Path) -> dict[str, Any]:
    content = _read_json(path)
    return content if isinstance(content, dict) else {}
