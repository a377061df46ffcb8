"""Check of the heaps that hold variable-length values, before the HDF5 library walks them.

The library runs for ever or ends the process on some damaged heaps. The layout is that of "Global
Heap" in the HDF5 file format specification, version 3, section III.E.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lowfield_recon.errors import DataError

POINTER = np.dtype([("n_values", "<u4"), ("address", "<u8"), ("index", "<u4")])
"""How a file points to a variable-length value: its length, its heap and its number there."""

_HEADER_BYTES = 16
_FIRST_READ = 4096
_READ_AHEAD = 64 << 10
_LARGE_OBJECT = 4 << 10
"""Bytes from which on objects are stepped over, one read for each header."""
_HEAP_HEADER = struct.Struct("<5s3xQ")
_OBJECT_HEADER = struct.Struct("<H6xQ")


def check_heaps(path: Path, addresses: Iterable[int], *, base: int = 0) -> None:
    """Check that heaps lie in the file and that their objects follow each other to the end.

    Parameters
    ----------
    path
        The HDF5 file.
    addresses
        Addresses of the heaps; 0 points to none.
    base
        Bytes before the HDF5 part of the file.

    Raises
    ------
    DataError
        If a heap is damaged.
    """
    size = path.stat().st_size
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for address in set(addresses) - {0}:
            if heap_objects(descriptor, address + base, size) is None:
                raise damaged_heap(path, address)
    finally:
        os.close(descriptor)


def heap_addresses(data_set: Any, path: Path) -> list[int]:
    """Return the heaps that a small data set of variable-length strings points to.

    Parameters
    ----------
    data_set
        Open `h5py` data set.
    path
        Its file.

    Returns
    -------
        Addresses; none where values are stored directly or the storage is not a plain one.
    """
    if data_set.dtype.kind != "O" or data_set.size == 0:
        return []
    if data_set.chunks is None:
        offset = data_set.id.get_offset()
        if offset is None:
            return []
        with path.open("rb") as stream:
            stream.seek(offset)
            raw = stream.read(POINTER.itemsize)
    elif data_set.id.get_create_plist().get_nfilters():
        return []
    else:
        raw = data_set.id.read_direct_chunk((0,) * data_set.ndim)[1]
    if len(raw) < POINTER.itemsize:
        return []
    return [int(np.frombuffer(raw, dtype=POINTER, count=1)["address"][0])]


def heap_objects(
    descriptor: int, address: int, file_size: int
) -> dict[int, tuple[int, int]] | None:
    """Find the objects of a heap, without reading large ones.

    Parameters
    ----------
    descriptor
        The open file.
    address
        Where the heap begins in the file.
    file_size
        Bytes of the file.

    Returns
    -------
        First byte in the file and size of each object by its number; None where it is damaged.
    """
    if address + _HEADER_BYTES > file_size:
        return None
    content = os.pread(descriptor, _FIRST_READ, address)
    signature, length = _HEAP_HEADER.unpack_from(content)
    if signature != b"GCOL\x01" or not _HEADER_BYTES <= length <= file_size - address:
        return None
    objects = {}
    n_bytes, position, first = 0, _HEADER_BYTES, 0  # in the heap; of `content` in the heap
    while position + _HEADER_BYTES <= length:
        start = position - first
        if start + _HEADER_BYTES > len(content):
            n_ahead = _HEADER_BYTES if n_bytes > _LARGE_OBJECT else _READ_AHEAD
            content, first, start = os.pread(descriptor, n_ahead, address + position), position, 0
        number, n_bytes = _OBJECT_HEADER.unpack_from(content, start)
        step = n_bytes if number == 0 else _HEADER_BYTES + (n_bytes + 7) // 8 * 8
        if step < _HEADER_BYTES or step > length - position:
            return None
        if number:
            objects[number] = (address + position + _HEADER_BYTES, n_bytes)
        position += step
    return objects


def damaged_heap(path: Path, address: int) -> DataError:
    """Return the error that says that a heap is damaged.

    Parameters
    ----------
    path
        The file.
    address
        Where the heap should begin.

    Returns
    -------
        The error, to be raised by the caller.
    """
    return DataError(
        f"{path.name}: the heap at byte {address} is damaged; expected the values of "
        "readouts there. The file is truncated or damaged. Copy it again."
    )
