"""A dictionary by name, from a bank's folder, or from a file that somebody brings; writing one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save

from lowfield_recon.dictionaries.bank import INDEX, DictionaryBank
from lowfield_recon.dictionaries.controls import CONTROL, control_dictionary
from lowfield_recon.dictionaries.file_names import facts_from_name
from lowfield_recon.dictionaries.kernel_file import READERS, read_kernels
from lowfield_recon.dictionaries.provenance import derived_facts
from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.files import atomic_path

Convention = Literal["convolution", "cross-correlation"]
CONVENTIONS: tuple[Convention, ...] = ("convolution", "cross-correlation")

_LOG = logging.getLogger(__name__)
_UNIT = 1e-5
"""Norms that differ from one by no more are rounding."""

_FOREIGN = {".mat", ".npz", ".h5", ".hdf5", ".json", ".pkl", ".ckpt", ".bin", ".txt", ".csv"}


def load_dictionary(
    source: str | os.PathLike[str] | Dictionary, *, convention: Convention = "convolution"
) -> Dictionary:
    """Return a dictionary by name from the shipped bank, from another bank, or from a file.

    Parameters
    ----------
    source
        A name in the shipped bank; a control such as `control_identity` or `control_random_K32_k9`
        (see `lowfield_recon.dictionaries.controls`); `FOLDER/NAME` of another bank; a
        `.safetensors`, `.npy` or `.pt` file of kernels `(K, ky, kx)` or `(K, 1, ky, kx)`; or a
        `Dictionary`, which is returned as it is. Kernels from a file are scaled to unit norm, which
        is logged and noted.
    convention
        What synthesis with the kernels of a file means. Those of a cross-correlation are turned
        round, so that the result is a convolution like every other dictionary.

    Returns
    -------
        The dictionary; its provenance holds the record of `lowfield-recon dictionary build` where
        that lies beside the file, else what the file name says.

    Raises
    ------
    UsageError
        If there is no such name, file or convention.
    DataError
        If the file does not hold kernels.

    Examples
    --------
    >>> load_dictionary("cosine_k7_K48").kernel_size
    (7, 7)
    """
    if convention not in CONVENTIONS:
        raise UsageError(f"convention '{convention}'. {nearest_name(str(convention), CONVENTIONS)}")
    if not isinstance(source, Dictionary | str | os.PathLike):
        raise UsageError(
            f"dictionary: expected a name, a path or a Dictionary, got {type(source).__name__}."
        )
    is_file = not isinstance(source, Dictionary) and Path(source).suffix in READERS
    if convention != "convolution" and not is_file:
        raise UsageError(
            f"convention '{convention}': concerns files of kernels; a dictionary of a bank is a "
            "convolution. Leave the convention out."
        )
    if isinstance(source, Dictionary):
        return source
    path = Path(source)
    return _from_file(path, convention) if is_file else _from_bank(path, str(source))


def write_dictionary(
    dictionary: Dictionary, path: Path, provenance: Mapping[str, Any] | None = None
) -> Path:
    """Write a dictionary and, as a JSON beside it, its record.

    Parameters
    ----------
    dictionary
        What to write.
    path
        Name of the `.safetensors` file.
    provenance
        What else is to be recorded.

    Returns
    -------
        Path of the record.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.safetensors"
    >>> _ = write_dictionary(load_dictionary("cosine_k7_K48"), path)
    >>> load_dictionary(path).provenance["licence"]
    'Apache-2.0'
    """
    record = {
        **dictionary.provenance,
        **(provenance or {}),
        **derived_facts(dictionary),
        "name": path.stem,
        "convention": "convolution",
        "sha256": dictionary.sha256(),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save({"kernels": dictionary.kernels.float().contiguous()}))
    beside = path.with_suffix(".json")
    with atomic_path(beside) as temporary:
        text = json.dumps(record, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return beside


def _from_bank(path: Path, source: str) -> Dictionary:
    if source.startswith(CONTROL):
        return control_dictionary(source)
    if path.name and (path.parent / INDEX).is_file() and str(path.parent) != ".":
        return DictionaryBank(path.parent)[path.name]
    if (path / INDEX).is_file():
        raise UsageError(
            f"{source}: is a bank of dictionaries; name one of them, as in "
            f"{path / next(iter(DictionaryBank(path)), 'NAME')}."
        )
    if path.is_file() or path.suffix in _FOREIGN or os.sep in source:
        raise UsageError(
            f"{source}: expected a dictionary's name, or a file {', '.join(READERS)}; save the "
            "kernels (K, ky, kx) as one of these."
        )
    return DictionaryBank()[source]


def _from_file(path: Path, convention: Convention) -> Dictionary:
    if not path.is_file():
        raise UsageError(
            f"{path}: there is no such file; expected a dictionary as {', '.join(READERS)}."
        )
    kernels = read_kernels(path)
    notes = []
    if convention == "cross-correlation":
        kernels = kernels.flip(-2, -1)
        notes.append("given for a cross-correlation; turned round to those of a convolution")
    norms = torch.linalg.vector_norm(kernels.double().flatten(1), dim=1)
    is_sound = bool((norms > 0).all()) and bool(torch.isfinite(norms).all())
    if is_sound and bool(((norms - 1).abs() > _UNIT).any()):
        notes.append(
            f"kernels had norms of {float(norms.min()):.4g} to {float(norms.max()):.4g} and were "
            "divided by them"
        )
        kernels = (kernels.double() / norms[:, None, None]).float()
    dictionary = Dictionary(kernels=kernels, name=path.stem)
    record = _record_beside(path, dictionary)
    if record is None:
        record, more = _facts(path, dictionary)
        notes += more
    provenance = {"file": path.name, "convention": "convolution", **record}
    if convention != "convolution":
        provenance["convention_of_file"] = convention
    if notes:
        provenance["notes"] = notes
        _LOG.warning("%s: %s", path.name, "; ".join(notes))
    return Dictionary(kernels=dictionary.kernels, name=path.stem, provenance=provenance)


def _record_beside(path: Path, dictionary: Dictionary) -> dict[str, Any] | None:
    """Return the record that was written with the file, None where there is none for it."""
    try:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or record.get("sha256") != dictionary.sha256():
        return None
    return record


def _facts(path: Path, dictionary: Dictionary) -> tuple[dict[str, Any], list[str]]:
    """Return what the file name says, and a note where the kernels contradict it."""
    facts = facts_from_name(path.stem)
    if not facts:
        return {}, []
    found = (dictionary.n_kernels, list(dictionary.kernel_size))
    if found == (facts["n_kernels"], facts["kernel_size"]):
        return {"options": facts, "options_from": "file name"}, []
    y, x = facts["kernel_size"]
    note = (
        f"its name says {facts['n_kernels']} kernels of {y}x{x}, it holds {found[0]} of "
        f"{found[1][0]}x{found[1][1]}, so that the name was not trusted"
    )
    return {}, [note]
