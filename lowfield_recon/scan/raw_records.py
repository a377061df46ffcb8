"""The records of an ISMRMRD data set as they lie in the file, and where their values are.

HDF5 fetches the samples of a record even when only its header is asked for, and hands samples over
one small array at a time. Records that are stored as they are, as all known writers do it, are
therefore taken as raw bytes; their samples are then only pointers into heaps, see
`lowfield_recon.scan.hdf5_heap`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.hdf5_heap import POINTER, damaged_heap, heap_objects

Ints = npt.NDArray[np.int64]

_OBJECT = np.dtype(
    [("number", "<u2"), ("n_references", "<u2"), ("unused", "<u4"), ("n_bytes", "<u8")]
)
"""What stands before an object in a heap; the header of a heap has the same size."""
_CHUNK_BYTES = 4 << 20
_DENSE = 2
"""Records that lie in at most this multiple of their size are read in one go."""
_LONG_ROW = 4 << 10
"""Bytes from which on a call of its own costs a row less than a second copy."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredValues:
    """Where the values of one variable-length member lie, for every record."""

    path: Path
    """The file."""

    base: int
    """Bytes before the HDF5 part of the file."""

    pointers: npt.NDArray[np.void]
    """Length, heap and number in the heap, see `POINTER`."""

    offsets: Ints
    """Where the values should begin in the file if the heap holds nothing else; -1: not known."""

    def read(self, descriptor: int, records: Ints, rows: npt.NDArray[np.float32]) -> None:
        """Read the values of some records, all of one length.

        The header of an object, its number and size, stands before its values. Where it is not the
        one that was expected, the heap is walked to find the object.

        Parameters
        ----------
        descriptor
            The open file.
        records
            Which records.
        rows
            float32 `(records, values)`, contiguous; written to.

        Raises
        ------
        DataError
            If a heap is damaged.
        """
        begins = self.offsets[records] - _OBJECT.itemsize
        headers = np.zeros(records.size, dtype=_OBJECT)
        n_bytes = rows.shape[1] * rows.itemsize
        first = int(begins.min())
        span = int(begins.max()) + _OBJECT.itemsize + n_bytes - first
        if first >= 0 and span <= _DENSE * rows.nbytes and n_bytes <= _LONG_ROW:
            _read_span(descriptor, first, begins - first, headers, rows)
        else:
            for header, row, begin in zip(_each(headers), rows, begins.tolist(), strict=True):
                if begin > 0:
                    os.preadv(descriptor, [header, row], begin)
        chosen = self.pointers[records]
        wrong = (headers["number"] != chosen["index"]) | (headers["n_bytes"] != n_bytes)
        last, objects = -1, {}
        for i in np.flatnonzero(wrong):
            address, number = int(chosen["address"][i]), int(chosen["index"][i])
            if address != last:
                size = self.path.stat().st_size
                last, objects = address, heap_objects(descriptor, address + self.base, size) or {}
            offset, found = objects.get(number, (0, -1))
            if found < n_bytes or os.preadv(descriptor, [rows[i]], offset) != n_bytes:
                raise damaged_heap(self.path, address)


def _each(headers: npt.NDArray[np.void]) -> npt.NDArray[np.uint8]:
    """Return the same memory as one row of bytes for each header."""
    return headers.view(np.uint8).reshape(headers.size, _OBJECT.itemsize)


def _read_span(
    descriptor: int,
    first: int,
    begins: Ints,
    headers: npt.NDArray[np.void],
    rows: npt.NDArray[np.float32],
) -> None:
    """Read objects that lie close together with one call; what the file lacks stays as it is."""
    n_bytes = _OBJECT.itemsize + rows.shape[1] * rows.itemsize
    word = np.dtype(np.uint64 if n_bytes % 8 == 0 else np.uint32)
    raw = np.zeros(-(-(int(begins.max()) + n_bytes) // 8) * 8 // word.itemsize, dtype=word)
    os.preadv(descriptor, [raw.data], first)
    n_header = _OBJECT.itemsize // word.itemsize
    places = (begins // word.itemsize)[:, None] + np.arange(n_bytes // word.itemsize)
    objects = raw[places]
    _each(headers).view(word)[:] = objects[:, :n_header]
    rows.view(word)[:] = objects[:, n_header:]
    headers["n_bytes"][begins % word.itemsize != 0] = 0  # not where HDF5 would put an object


def has_plain_records(data: Any) -> bool:
    """Say whether records are stored as they are, with pointers of the usual size.

    Parameters
    ----------
    data
        Open `h5py` data set of ISMRMRD readouts.

    Returns
    -------
        False where they are compressed or otherwise changed by a filter.
    """
    stored = data.id.get_type()
    sizes = {
        stored.get_member_name(i): stored.get_member_type(i).get_size()
        for i in range(stored.get_nmembers())
    }
    pointers = {sizes[b"data"], sizes[b"traj"]}
    return not data.id.get_create_plist().get_nfilters() and pointers == {POINTER.itemsize}


def record_chunks(data: Any) -> Iterator[tuple[int, npt.NDArray[np.void]]]:
    """Read the records of a data set a bounded part at a time.

    Parameters
    ----------
    data
        Open `h5py` data set for which `has_plain_records` holds.

    Yields
    ------
        Number of the first record, and the records: `head`, and pointers `traj` and `data`.

    Raises
    ------
    DataError
        If the file ends before the last record.
    """
    layout, n_records = _record_type(data), int(data.shape[0])
    if data.chunks is not None:
        step = int(data.chunks[0])
        for start in range(0, n_records, step):
            raw = data.id.read_direct_chunk((start,))[1]
            yield start, _records(raw, layout, min(step, n_records - start), data)
        return
    step = max(1, _CHUNK_BYTES // layout.itemsize)
    with Path(data.file.filename).open("rb") as stream:
        stream.seek(data.id.get_offset() or 0)
        for start in range(0, n_records, step):
            n = min(step, n_records - start)
            yield start, _records(stream.read(n * layout.itemsize), layout, n, data)


def locate_values(data: Any, member: str) -> StoredValues:
    """Work out where in the file the values of every record should lie.

    HDF5 puts the objects of a heap one after the other in the order of their numbers.

    Parameters
    ----------
    data
        Open `h5py` data set for which `has_plain_records` holds.
    member
        `"data"` or `"traj"`.

    Returns
    -------
        Pointers and expected places.
    """
    found: dict[str, list[npt.NDArray[np.void]]] = {"data": [], "traj": []}
    for _, records in record_chunks(data):
        for name, parts in found.items():
            parts.append(records[name].copy())
    other = "traj" if member == "data" else "data"
    pointers = np.concatenate(found[member])
    every = np.concatenate([pointers, *found[other]])
    path, base = Path(data.file.filename), int(data.file.userblock_size)
    offsets = _expected_offsets(every, base, path.stat().st_size)
    return StoredValues(path=path, base=base, pointers=pointers, offsets=offsets[: pointers.size])


def _expected_offsets(pointers: npt.NDArray[np.void], base: int, file_size: int) -> Ints:
    offsets = np.full(pointers.size, -1, dtype=np.int64)
    is_inside = (pointers["address"] > 0) & (pointers["address"] < file_size)
    used = np.flatnonzero(is_inside & (pointers["n_values"] > 0))
    if used.size == 0:
        return offsets
    used = used[np.lexsort((pointers["index"][used], pointers["address"][used]))]
    address = pointers["address"][used].astype(np.int64)
    n_bytes = 4 * pointers["n_values"][used].astype(np.int64)
    ends = np.cumsum(_OBJECT.itemsize + (n_bytes + 7) // 8 * 8)
    begins = ends - _OBJECT.itemsize - (n_bytes + 7) // 8 * 8
    is_first = np.append(True, address[1:] != address[:-1])
    before = np.maximum.accumulate(np.where(is_first, begins, 0))
    expected = address + base + 2 * _OBJECT.itemsize + begins - before
    offsets[used] = np.where(expected + n_bytes <= file_size, expected, -1)
    return offsets


def _records(raw: bytes, layout: np.dtype[Any], n: int, data: Any) -> npt.NDArray[np.void]:
    if len(raw) < n * layout.itemsize:
        raise DataError(
            f"{Path(data.file.filename).name}: the list of readouts ends early; the file is "
            "truncated or damaged. Copy it again."
        )
    return np.frombuffer(raw, dtype=layout, count=n)


def _record_type(data: Any) -> np.dtype[Any]:
    """Return the layout of a record in the file, with pointers for the variable-length members."""
    stored = data.id.get_type()
    offsets = {
        stored.get_member_name(i): stored.get_member_offset(i) for i in range(stored.get_nmembers())
    }
    names = ("head", "traj", "data")
    return np.dtype(
        {
            "names": names,
            "formats": [data.dtype["head"], POINTER, POINTER],
            "offsets": [offsets[name.encode()] for name in names],
            "itemsize": stored.get_size(),
        }
    )
