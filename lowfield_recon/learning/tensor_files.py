"""Tensors and a JSON record in one safetensors file: read with one clear line, never unpickled."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path

LARGEST_FILE = 4 * 2**30
"""Files above this many bytes are not read."""

_LARGEST_HEADER = 64 * 2**20
_LENGTH = struct.Struct("<Q")
_RECORD = "lowfield_recon"


def write_tensors(
    path: Path, tensors: Mapping[str, torch.Tensor], record: Mapping[str, Any]
) -> Path:
    """Write tensors and a record as one safetensors file, whole or not at all.

    Parameters
    ----------
    path
        File to write.
    tensors
        Tensors by name, on any device.
    record
        What JSON can hold; it goes into the file's header.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    ValueError
        If the record holds what JSON cannot.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> read_record(write_tensors(path, {"w": torch.ones(2)}, {"step": 3}))
    {'step': 3}
    """
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, sort_keys=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(plain, metadata={_RECORD: text}))
    return path


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
        Tensors on the CPU by name, and the record.

    Raises
    ------
    DataError
        If the file is truncated, too large, or was written by something else.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> tensors, record = read_tensors(write_tensors(path, {"w": torch.ones(2)}, {"step": 3}))
    >>> tensors["w"], record
    (tensor([1., 1.]), {'step': 3})
    """
    record = read_record(path)
    try:
        return load(path.read_bytes()), record
    except SafetensorError as error:
        raise DataError(
            f"{path.name}: is truncated or damaged ({error}); expected a whole safetensors file. "
            "Copy it again."
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """Read only the record of a file, without its tensors.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
        The record.

    Raises
    ------
    DataError
        If the file is truncated, too large, or was written by something else.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> _ = path.write_bytes(b"not tensors")
    >>> read_record(path)
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.DataError: a.safetensors: is no safetensors file, or a truncated one; \
expected tensors that this package wrote.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise DataError(f"{path.name}: {size} bytes; expected at most {LARGEST_FILE}.")
    broken = DataError(
        f"{path.name}: is no safetensors file, or a truncated one; expected tensors that this "
        "package wrote."
    )
    with path.open("rb") as stream:
        start = stream.read(_LENGTH.size)
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
        if not 2 <= length <= min(_LARGEST_HEADER, size - _LENGTH.size):
            raise broken
        text = stream.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise broken from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    record = metadata.get(_RECORD) if isinstance(metadata, dict) else None
    if not isinstance(record, str):
        raise DataError(
            f"{path.name}: a safetensors file of another program; its header says nothing to "
            "lowfield-recon. Expected one that this package wrote."
        )
    try:
        found = json.loads(record)
    except (ValueError, RecursionError) as error:
        raise broken from error
    if not isinstance(found, dict):
        raise broken
    return found
