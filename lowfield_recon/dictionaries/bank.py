"""Banks of dictionaries: a folder of safetensors files with an index, addressed by name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save

from lowfield_recon.dictionaries.kernel_file import read_kernels
from lowfield_recon.dictionaries.provenance import TRAINING_INPUT, derived_facts
from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.files import atomic_path
from lowfield_recon.resources import shipped_folder

INDEX = "index.json"
_LARGEST_INDEX = 64 * 2**20


class Entry(BaseModel):
    """What the index says of one dictionary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(pattern=r"^[A-Za-z0-9._-]+\.safetensors$")
    n_kernels: int = Field(ge=1)
    kernel_size: tuple[int, int]
    convention: str = Field(default="convolution", pattern="^convolution$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    provenance: dict[str, Any] = {}


class DictionaryBank:
    """A folder of dictionaries with an index.

    Parameters
    ----------
    folder
        Folder with `index.json`; None takes the bank that ships with the package.

    Raises
    ------
    DataError
        If the index is missing or broken.

    Examples
    --------
    >>> "cosine_k7_K48" in DictionaryBank().names()
    True
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        """Read the index."""
        self.folder = shipped_folder("dictionaries") if folder is None else Path(folder)
        self._entries = _read_index(self.folder / INDEX)

    def names(self) -> tuple[str, ...]:
        """Return the names of the dictionaries, sorted."""
        return tuple(sorted(self._entries))

    def entry(self, name: str) -> Entry:
        """Return what the index says of a dictionary."""
        if name not in self._entries:
            raise UsageError(
                f"dictionary '{name}' is not in the bank. {nearest_name(name, self.names())} "
                "'lowfield-recon dictionary list' shows them."
            )
        return self._entries[name]

    def __getitem__(self, name: str) -> Dictionary:
        """Load a dictionary by name and check it against the index."""
        entry = self.entry(name)
        kernels = read_kernels(self.folder / entry.file)
        if tuple(kernels.shape) != (entry.n_kernels, *entry.kernel_size):
            raise DataError(
                f"{entry.file}: {INDEX} says {entry.n_kernels} kernels of {entry.kernel_size[0]}x"
                f"{entry.kernel_size[1]}, the file holds {tuple(kernels.shape)}; one of the two "
                "was changed. Restore the file or rebuild the bank."
            )
        dictionary = Dictionary(kernels=kernels, name=name, provenance=entry.provenance)
        if dictionary.sha256() != entry.sha256:
            raise DataError(
                f"{entry.file}: its kernels do not have the hash that {INDEX} states; "
                "one of the two was changed. Restore the file or rebuild the bank."
            )
        return dictionary

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.names())

    def __len__(self) -> int:
        """Return the number of dictionaries."""
        return len(self._entries)

    @classmethod
    def write(
        cls, folder: str | os.PathLike[str], dictionaries: list[Dictionary]
    ) -> DictionaryBank:
        """Write dictionaries and their index into a folder, replacing the index that is there.

        Parameters
        ----------
        folder
            Where to; it is made if need be.
        dictionaries
            What to write, with names that are distinct.

        Returns
        -------
            The bank.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for dictionary in dictionaries:
            with atomic_path(target / _file_name(dictionary)) as temporary:
                temporary.write_bytes(save({"kernels": dictionary.kernels.float().contiguous()}))
        _write_index(target, dictionaries)
        return cls(target)

    def completed(self, code_version: str | None = None) -> DictionaryBank:
        """Check every dictionary against the index, and write into it what it does not say yet.

        Added are the constants of `derived_facts` and, for learnt dictionaries, that they come from
        magnitudes and with which version of this package they were learnt. Kernels stay untouched.

        Parameters
        ----------
        code_version
            Version that learnt those that do not say it; None leaves it out.

        Returns
        -------
            The bank with the new index.

        Raises
        ------
        DataError
            If a dictionary is missing or not what the index says.
        """
        members = []
        for name in self:
            found = self[name]
            learnt = {"training_input": TRAINING_INPUT} if "options" in found.provenance else {}
            if learnt and code_version is not None:
                learnt["code_version"] = code_version
            provenance = {**learnt, **found.provenance, **derived_facts(found)}
            members.append(replace(found, provenance=provenance))
        _write_index(self.folder, members)
        return DictionaryBank(self.folder)


def _file_name(dictionary: Dictionary) -> str:
    return f"{dictionary.name}.safetensors"


def _write_index(folder: Path, dictionaries: Sequence[Dictionary]) -> None:
    index = {
        dictionary.name: {
            "file": _file_name(dictionary),
            "n_kernels": dictionary.n_kernels,
            "kernel_size": dictionary.kernel_size,
            "convention": "convolution",
            "sha256": dictionary.sha256(),
            "provenance": dict(dictionary.provenance),
        }
        for dictionary in dictionaries
    }
    with atomic_path(folder / INDEX) as temporary:
        text = json.dumps({"schema": 1, "dictionaries": index}, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def _read_index(path: Path) -> dict[str, Entry]:
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            raise DataError(f"{path}: larger than any index of a bank; rebuild the bank.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{path}: the bank has no readable index ({error.strerror}); name the folder of a bank."
        ) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path}: the index is not valid JSON ({error}); rebuild the bank."
        ) from error
    if not isinstance(content, dict) or content.get("schema") != 1:
        raise DataError(f"{path}: expected an index of schema 1; rebuild the bank.")
    listed = content.get("dictionaries")
    if not isinstance(listed, dict):
        raise DataError(f"{path}: expected an object 'dictionaries'; rebuild the bank.")
    entries: dict[str, Entry] = {}
    for name, raw in listed.items():
        try:
            entries[name] = Entry.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"{path}: entry '{name}', {where}: {first['msg'].lower()}; rebuild the bank."
            ) from error
    return entries
