"""Weights of trained networks: safetensors with a header that is checked and a model card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.files import atomic_path
from lowfield_recon.learning.tensor_files import read_record, read_tensors, write_tensors

FORMAT = "lowfield-recon weights"
VERSION = 1
SUFFIX = ".safetensors"
SHIPPED = Path(__file__).resolve().parent / "weights"
"""Folder of the weights that ship."""

_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_CONVERTED = ("ncpr", "cpr")
"""Methods whose published checkpoints a command converts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """Trained weights with what they are made for and where they come from."""

    name: str
    """Name of the file without its ending."""

    state: dict[str, torch.Tensor]
    """Parameters and buffers by name, on the CPU."""

    header: dict[str, Any]
    """Format, version, method and architecture."""

    card: dict[str, Any]
    """Model card: data, licence, settings, figures, command."""


def save_weights(
    path: str | os.PathLike[str],
    state: Mapping[str, torch.Tensor],
    header: Mapping[str, Any],
    card: Mapping[str, Any],
) -> Path:
    """Write weights, and their model card a second time as a JSON beside them that one can read.

    Parameters
    ----------
    path
        File to write; it ends in `.safetensors`.
    state
        Parameters and buffers by name.
    header
        At least `method` (its name) and `architecture` (a name, or settings by name).
    card
        What else is to be known: data, licence, settings, figures, command.

    Returns
    -------
        The path of the weights.

    Raises
    ------
    UsageError
        If the name ends otherwise.
    DataError
        If the folder is missing, the header lacks something, or a weight is not finite.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "small.safetensors"
    >>> header = {"method": "cdl-lambda", "architecture": {"variant": "set"}}
    >>> _ = save_weights(path, {"w": torch.ones(2)}, header, {"data_licence": "CC0"})
    >>> sorted(entry.name for entry in path.parent.iterdir())
    ['small.json', 'small.safetensors']
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UsageError(f"{path.name}: weights end in {SUFFIX}; choose such a name.")
    full = {"format": FORMAT, "version": VERSION, **header}
    _check_header(full, path.name, str(header.get("method")))
    _check_finite(state, path.name)
    write_tensors(path, state, {"header": full, "card": dict(card)})
    with atomic_path(path.with_suffix(".json")) as temporary:
        text = json.dumps({**full, **card}, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def load_weights(
    source: str | os.PathLike[str], *, method: str, architecture_version: int | None = None
) -> Weights:
    """Load weights by the name of those that ship, or from a file.

    Parameters
    ----------
    source
        A name of `available_weights(method)`, or the path of a `.safetensors` file.
    method
        Method that they are for, e.g. `"cdl-lambda"`.
    architecture_version
        Version of the method's networks that the header must state as `architecture_version`; None
        does not ask.

    Returns
    -------
        The weights on the CPU, with header and model card.

    Raises
    ------
    UsageError
        If there is no such name or file, or the file is a pickle.
    DataError
        If it is damaged, foreign, or made for another method, architecture or version.

    Examples
    --------
    >>> load_weights("model.pt", method="cdl-lambda")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: model.pt: a pickle, which could run code when it is opened; \
expected .safetensors. Convert it where you trust it: state = \
torch.load('model.pt', weights_only=True), then \
lowfield_recon.learning.weight_files.save_weights(NAME, state, header, card).
    """
    path = _find(source, method)
    record = read_record(path)
    header, card = record.get("header"), record.get("card")
    _check_header(header, path.name, method, architecture_version)
    state, _ = read_tensors(path)
    _check_finite(state, path.name)
    return Weights(
        name=path.stem,
        state=state,
        header=dict(header) if isinstance(header, dict) else {},
        card=dict(card) if isinstance(card, dict) else {},
    )


def available_weights(method: str, folder: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """List the weights that ship for a method.

    Parameters
    ----------
    method
        Name of the method.
    folder
        Folder to look in; None takes that of the package.

    Returns
    -------
        Names, sorted.

    Raises
    ------
    DataError
        If a file in the folder is damaged.

    Examples
    --------
    >>> available_weights("no-such-method")
    ()
    """
    place = SHIPPED if folder is None else Path(folder)
    found = []
    for path in sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else ():
        header = read_record(path).get("header")
        if isinstance(header, dict) and header.get("method") == method:
            found.append(path.stem)
    return tuple(found)


def _find(source: str | os.PathLike[str], method: str) -> Path:
    """Return the file of a name or path."""
    path = Path(source)
    if path.suffix.lower() in _PICKLES and method in _CONVERTED:
        raise UsageError(
            f"{path.name}: a pickle, which could run code when it is opened; expected {SUFFIX}. "
            f"A published checkpoint becomes one by 'lowfield-recon weights convert {path.name} -o "
            f"{path.stem}{SUFFIX}'."
        )
    if path.suffix.lower() in _PICKLES:
        load = f"torch.load('{path.name}', weights_only=True)"
        raise UsageError(
            f"{path.name}: a pickle, which could run code when it is opened; expected {SUFFIX}. "
            f"Convert it where you trust it: state = {load}, then "
            "lowfield_recon.learning.weight_files.save_weights(NAME, state, header, card)."
        )
    if path.suffix == SUFFIX:
        if not path.is_file():
            raise UsageError(f"{path}: there is no such file; expected weights as {SUFFIX}.")
        return path
    known = available_weights(method)
    if str(source) not in known:
        hint = nearest_name(str(source), known) if known else f"None ship for '{method}'."
        raise UsageError(
            f"weights '{source}': none of that name ship for '{method}', and a file ends in "
            f"{SUFFIX}. {hint}"
        )
    return SHIPPED / f"{source}{SUFFIX}"


def _check_header(
    header: object, name: str, method: str, architecture_version: int | None = None
) -> None:
    """Refuse weights that are made for something else."""
    if not isinstance(header, Mapping) or header.get("format") != FORMAT:
        raise DataError(
            f"{name}: holds no weights of lowfield-recon; expected the format '{FORMAT}' in its "
            "header. Train with 'lowfield-recon train', or write it with save_weights."
        )
    if header.get("version") != VERSION:
        raise DataError(
            f"{name}: weights of format version {header.get('version')}; this program reads "
            f"version {VERSION}. Use the lowfield-recon that wrote it, or train again."
        )
    if not isinstance(header.get("method"), str) or header["method"] != method:
        raise DataError(
            f"{name}: weights of the method '{header.get('method')}'; expected those of "
            f"'{method}'. Name other weights, or use that method."
        )
    if not isinstance(header.get("architecture"), str | Mapping) or not header["architecture"]:
        raise DataError(
            f"{name}: its header does not state the architecture of the network; expected a name "
            "or settings. Write it again with save_weights."
        )
    stated = header.get("architecture_version")
    if architecture_version is not None and stated != architecture_version:
        raise DataError(
            f"{name}: weights of version {stated} of the networks of '{method}'; this program has "
            f"version {architecture_version}. Use the lowfield-recon that wrote it, or train again."
        )


def _check_finite(state: Mapping[str, torch.Tensor], name: str) -> None:
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise DataError(
                f"{name}: the weight '{key}' holds NaN or infinite values; expected numbers. "
                "Take other weights or train again."
            )
