"""Banks of dictionaries: a folder of safetensors files with an index, addressed by name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.files import atomic_path
from lowfield_recon.resources import shipped_folder

INDEX = "index.json"
LARGEST_FILE = 64 * 2**20
"""Files above this many bytes are not read as a dictionary."""


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
        kernels = _read_kernels(self.folder / entry.file)
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
        index: dict[str, Any] = {}
        for dictionary in dictionaries:
            file = f"{dictionary.name}.safetensors"
            with atomic_path(target / file) as temporary:
                temporary.write_bytes(save({"kernels": dictionary.kernels.float().contiguous()}))
            index[dictionary.name] = {
                "file": file,
                "n_kernels": dictionary.n_kernels,
                "kernel_size": dictionary.kernel_size,
                "convention": "convolution",
                "sha256": dictionary.sha256(),
                "provenance": dict(dictionary.provenance),
            }
        with atomic_path(target / INDEX) as temporary:
            temporary.write_text(json.dumps({"schema": 1, "dictionaries": index}, indent=2) + "\n")
        return cls(target)


def load_dictionary(source: str | os.PathLike[str] | Dictionary) -> Dictionary:
    """Return a dictionary by name from the shipped bank, or from a file.

    Parameters
    ----------
    source
        A name in the shipped bank, a `.safetensors` (tensor `kernels`) or `.npy` file of kernels
        `(K, ky, kx)`, or a `Dictionary`, which is returned as it is. Kernels from a file are scaled
        to unit norm.

    Returns
    -------
        The dictionary.

    Raises
    ------
    UsageError
        If there is no such name or file.
    DataError
        If the file does not hold kernels.

    Examples
    --------
    >>> load_dictionary("cosine_k7_K48").kernel_size
    (7, 7)
    """
    if isinstance(source, Dictionary):
        return source
    path = Path(source)
    if path.suffix not in (".safetensors", ".npy"):
        return DictionaryBank()[str(source)]
    if not path.is_file():
        raise UsageError(
            f"{path}: there is no such file; expected a dictionary as .safetensors or .npy."
        )
    kernels = _read_kernels(path)
    norms = torch.linalg.vector_norm(kernels.flatten(1), dim=1) if kernels.ndim == 3 else None
    if norms is not None and bool((norms > 0).all()):
        kernels = kernels / norms[:, None, None]
    return Dictionary(kernels=kernels, name=path.stem, provenance={"file": path.name})


def _read_kernels(path: Path) -> torch.Tensor:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror}).") from error
    if size > LARGEST_FILE:
        raise DataError(f"{path.name}: {size} bytes; a dictionary has at most {LARGEST_FILE}.")
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{path.name}: expected a NumPy array of kernels ({error}).") from error
        if array.dtype.kind != "f":
            raise DataError(f"{path.name}: expected real kernels (K, ky, kx), got {array.dtype}.")
        return torch.from_numpy(array.astype(np.float32))
    try:
        tensors = load(path.read_bytes())
    except SafetensorError as error:
        raise DataError(f"{path.name}: not a safetensors file ({error}).") from error
    if "kernels" not in tensors:
        raise DataError(
            f"{path.name}: expected a tensor 'kernels', found {', '.join(tensors) or 'none'}."
        )
    return tensors["kernels"].float()


def _read_index(path: Path) -> dict[str, Entry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: the bank has no readable index ({error.strerror}).") from error
    except ValueError as error:
        raise DataError(f"{path}: the index is not valid JSON ({error}).") from error
    if not isinstance(content, dict) or content.get("schema") != 1:
        raise DataError(f"{path}: expected an index of schema 1; rebuild the bank.")
    entries: dict[str, Entry] = {}
    for name, raw in dict(content.get("dictionaries", {})).items():
        try:
            entries[name] = Entry.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataError(f"{path}: entry '{name}', {where}: {first['msg'].lower()}.") from error
    return entries
