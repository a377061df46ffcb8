"""Text attributes of an HDF5 file, read only where the heap that holds them is sound.

The library runs for ever on some damaged heaps, and tells nobody to which heap an attribute points.
So the pointers are looked up in the file: object headers of version 1, as "Data Object Header
Prefix" and "Object Header Continuation Message" in the HDF5 file format specification, version 3,
section IV.A, describe them.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from lowfield_recon.errors import DataError
from lowfield_recon.scan.hdf5_heap import check_heaps

_PREFIX = struct.Struct("<BxHII4x")
_MESSAGE = struct.Struct("<HHB3x")
_CONTINUATION = struct.Struct("<QQ")
_ATTRIBUTE_KIND, _CONTINUATION_KIND = 0x0C, 0x10
_LARGEST_BLOCK = 1 << 20
_MOST_BLOCKS = 64


def text_attribute(file: Any, name: str, path: Path) -> str | None:
    """Read a short text that is an attribute of the file itself.

    Parameters
    ----------
    file
        The open `h5py.File`.
    name
        Name of the attribute.
    path
        The file.

    Returns
    -------
        The text, at most 80 characters, or None where there is none or its heap is not known to be
        sound.
    """
    if name not in file.attrs:
        return None
    attribute = h5py.h5a.open(file.id, name.encode())
    kind = h5py.check_string_dtype(attribute.dtype)
    if kind is None or attribute.shape != ():
        return None
    if kind.length is None and not _heaps_are_sound(file, path):
        return None
    value = file.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    return str(value).strip()[:80] or None


def _heaps_are_sound(file: Any, path: Path) -> bool:
    """Check the heaps that attributes of the file point to; False where they cannot be found."""
    base = int(file.userblock_size)
    with path.open("rb") as stream:
        address = int(h5py.h5o.get_info(file.id).addr)
        heaps = _attribute_heaps(stream, address, base)
    try:
        check_heaps(path, heaps, base=base)
    except DataError:
        return False
    return bool(heaps)


def _attribute_heaps(stream: BinaryIO, address: int, base: int) -> set[int]:
    """Find which heaps the attribute messages of an object header point to."""
    prefix = _read(stream, address + base, _PREFIX.size)
    if len(prefix) < _PREFIX.size:
        return set()
    version, _, _, n_bytes = _PREFIX.unpack(prefix)
    blocks = [(address + _PREFIX.size, n_bytes)] if version == 1 else []
    heaps: set[int] = set()
    for place, length in blocks:
        block = _read(stream, place + base, min(length, _LARGEST_BLOCK))
        position = 0
        while position + _MESSAGE.size <= len(block):
            kind, size, _ = _MESSAGE.unpack_from(block, position)
            body = block[position + _MESSAGE.size :][:size]
            if kind == _ATTRIBUTE_KIND:
                heaps |= _pointed_to(stream, body, base)
            elif (
                kind == _CONTINUATION_KIND
                and len(body) >= _CONTINUATION.size
                and len(blocks) < _MOST_BLOCKS
            ):
                blocks.append(_CONTINUATION.unpack_from(body))
            position += _MESSAGE.size + size
    return heaps


def _pointed_to(stream: BinaryIO, body: bytes, base: int) -> set[int]:
    """Return every number in a message that is the address of a heap."""
    size = stream.seek(0, os.SEEK_END)
    numbers = {int.from_bytes(body[i : i + 8], "little") for i in range(len(body) - 7)}
    return {n for n in numbers if 0 < n < size - base and _read(stream, n + base, 4) == b"GCOL"}


def _read(stream: BinaryIO, place: int, n_bytes: int) -> bytes:
    if place > stream.seek(0, os.SEEK_END):
        return b""
    stream.seek(place)
    return stream.read(n_bytes)
