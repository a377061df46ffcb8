"""Numeric arrays of MATLAB files of version 5 (also called 6 and 7), with every length checked.

The layout is that of MathWorks' "MAT-File Format". SciPy reads the same files, but ends the whole
process on some damaged ones.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError

_HEADER_BYTES = 128
_PEEK_BYTES = 4096
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x08
_STORED = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_CLASSES = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatArray:
    """Where a numeric array lies in the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Type in MATLAB, without the byte order."""

    is_complex: bool
    order: str
    """Byte order, `<` or `>`."""

    offset: int
    """First byte of its element after the tag."""

    length: int
    """Bytes of its element."""

    is_compressed: bool


def find_arrays(path: Path) -> dict[str, MatArray]:
    """List the numeric arrays of a file without reading their values.

    Parameters
    ----------
    path
        MATLAB file of version 5.

    Returns
    -------
        Arrays by name; structures, cells, text and sparse matrices are left out.

    Raises
    ------
    DataError
        If an element reaches beyond the file or is not what its tag says.
    """
    with path.open("rb") as stream:
        order = {b"IM": "<", b"MI": ">"}.get(stream.read(_HEADER_BYTES)[126:128], "<")
        found = {}
        for kind, offset, length in _elements(stream, order, path):
            if kind not in (_MATRIX, _COMPRESSED):
                continue
            start = _content(stream, offset, min(length, _PEEK_BYTES), kind, _PEEK_BYTES)
            if kind == _COMPRESSED:
                start = start[8:]
            array = _describe(start, order, path)
            if array is not None:
                name, shape, dtype, is_complex = array
                found[name] = MatArray(
                    name=name,
                    shape=shape,
                    dtype=dtype,
                    is_complex=is_complex,
                    order=order,
                    offset=offset,
                    length=length,
                    is_compressed=kind == _COMPRESSED,
                )
    return found


def read_values(path: Path, array: MatArray) -> npt.NDArray[Any]:
    """Read the values of one array.

    Parameters
    ----------
    path
        The file.
    array
        One of `find_arrays`.

    Returns
    -------
        The array with the axes of MATLAB.

    Raises
    ------
    DataError
        If there are fewer values than the shape promises.
    """
    expected = math.prod(array.shape)
    parts = 2 if array.is_complex else 1
    kind = _COMPRESSED if array.is_compressed else _MATRIX
    with path.open("rb") as stream:
        content = _content(
            stream, array.offset, array.length, kind, 8 * expected * parts + _PEEK_BYTES
        )
    position = 8 if array.is_compressed else 0
    for _ in range(3):  # flags, shape, name
        _, _, position = _sub_element(content, position, array.order, path)
    values = []
    for _ in range(parts):
        code, data, position = _sub_element(content, position, array.order, path)
        if code not in _STORED:
            raise _damaged(path, f"'{array.name}' holds values of the unknown type {code}")
        stored = np.frombuffer(data, dtype=array.order + _STORED[code])
        if stored.size != expected:
            raise _damaged(path, f"'{array.name}' holds {stored.size} values for {array.shape}")
        values.append(stored.astype(array.dtype, copy=False))
    joined = values[0]
    if array.is_complex:
        joined = np.empty(expected, dtype=np.result_type(array.dtype, np.complex64))
        joined.real, joined.imag = values
    return joined.reshape(array.shape, order="F")


def _elements(stream: BinaryIO, order: str, path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield type, first byte and length of every element at the top of the file."""
    size = path.stat().st_size
    position = _HEADER_BYTES
    while position + 8 <= size:
        stream.seek(position)
        kind, length = struct.unpack(order + "II", stream.read(8))
        if position + 8 + length > size:
            raise _damaged(path, f"an element of {length} bytes begins at byte {position}")
        yield kind, position + 8, length
        position += 8 + length


def _content(stream: BinaryIO, offset: int, length: int, kind: int, largest: int) -> bytes:
    """Return at most `largest` bytes of an element, decompressed."""
    stream.seek(offset)
    stored = stream.read(length)
    if kind != _COMPRESSED:
        return stored
    return zlib.decompressobj().decompress(stored, largest)


def _describe(
    content: bytes, order: str, path: Path
) -> tuple[str, tuple[int, ...], str, bool] | None:
    """Return name, shape, type and whether it is complex; None for what is no numeric array."""
    _, flags, position = _sub_element(content, 0, order, path)
    if len(flags) < 4:
        raise _damaged(path, "a matrix has no flags")
    word = struct.unpack(order + "I", flags[:4])[0]
    _, sizes, position = _sub_element(content, position, order, path)
    _, name, _ = _sub_element(content, position, order, path)
    dtype = _CLASSES.get(word & 0xFF)
    if dtype is None:
        return None
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
    if not 2 <= len(shape) <= 32 or min(shape) < 0:
        raise _damaged(path, f"a matrix has the shape {shape}")
    text = name.decode("ascii", "replace")
    if not text.isidentifier():
        raise _damaged(path, "an array's name is unreadable")
    return text, shape, dtype, bool(word >> 8 & _COMPLEX)


def _sub_element(content: bytes, position: int, order: str, path: Path) -> tuple[int, bytes, int]:
    """Return type and bytes of the element at `position`, and where the next one begins."""
    if position + 8 > len(content):
        raise _damaged(path, "a matrix ends too early")
    kind, length = struct.unpack_from(order + "II", content, position)
    if kind >> 16:  # up to four bytes inside the tag
        return (
            kind & 0xFFFF,
            content[position + 4 : position + 4 + min(kind >> 16, 4)],
            position + 8,
        )
    start = position + 8
    if start + length > len(content):
        raise _damaged(path, f"a matrix promises {length} bytes more than it has")
    return kind, content[start : start + length], start + length + (-length) % 8


def _damaged(path: Path, what: str) -> DataError:
    return DataError(
        f"{path.name}: {what}; the MATLAB file is truncated or damaged. Copy or save it again."
    )
