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
_LARGEST_HEADER_READ = 4096


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
            if not _is_sound(descriptor, address + base, size):
                raise DataError(
                    f"{path.name}: the heap at byte {address} is damaged; expected the values of "
                    "readouts there. The file is truncated or damaged. Copy it again."
                )
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


def _is_sound(descriptor: int, address: int, file_size: int) -> bool:
    if address + _HEADER_BYTES > file_size:
        return False
    header = os.pread(descriptor, _HEADER_BYTES, address)
    length = struct.unpack_from("<Q", header, 8)[0]
    if header[:5] != b"GCOL\x01" or not _HEADER_BYTES <= length <= file_size - address:
        return False
    content = os.pread(descriptor, min(length, _LARGEST_HEADER_READ), address)
    position = _HEADER_BYTES
    while position + _HEADER_BYTES <= length:
        start = position
        if start + _HEADER_BYTES > len(content):  # a large object was stepped over
            content = os.pread(descriptor, _HEADER_BYTES, address + position)
            start = 0
        number, _, _, n_bytes = struct.unpack_from("<HHIQ", content, start)
        if start == 0:
            content = b""
        step = n_bytes if number == 0 else _HEADER_BYTES + (n_bytes + 7) // 8 * 8
        if step < _HEADER_BYTES or step > length - position:
            return False
        position += step
    return True
