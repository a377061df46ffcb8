"""Reading the headers of an ISMRMRD file without touching its samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from ismrmrd.hdf5 import acquisition_header_dtype

from lowfield_recon.errors import DataError, nearest_name
from lowfield_recon.scan.hdf5 import members
from lowfield_recon.scan.hdf5_heap import check_heaps, heap_addresses
from lowfield_recon.scan.raw_records import has_plain_records, record_chunks

Heads = npt.NDArray[np.void]

_SMALLEST_SAMPLE_BYTES = 8
_BLOCK_READOUTS = 4096
_NEEDED_FIELDS = (
    "flags",
    "number_of_samples",
    "active_channels",
    "discard_pre",
    "discard_post",
    "center_sample",
    "encoding_space_ref",
    "trajectory_dimensions",
    "sample_time_us",
    "position",
    "read_dir",
    "phase_dir",
    "slice_dir",
    "idx",
)


def find_data_set(file: Any, key: str | None, where: str) -> tuple[str, list[str]]:
    """Find the group that holds `xml` and `data`; of several the newest, numbered last.

    Parameters
    ----------
    file
        Open `h5py.File`.
    key
        Name of the wanted group, or None.
    where
        Name of the file, for errors.

    Returns
    -------
        The group's name and the names of all such groups.

    Raises
    ------
    DataError
        If there is no such group.
    """
    top = members(file, where)
    groups = [name for name, item in top.items() if isinstance(item, h5py.Group)]
    found = [name for name in groups if {"xml", "data"} <= set(top[name])]
    if {"xml", "data"} <= set(top):
        found.insert(0, "/")
    if key is not None:
        if key not in found:
            raise DataError(f"{where}: no data set '{key}'. {nearest_name(key, found)}")
        return key, found
    if not found:
        raise DataError(f"{where}: no group holds 'xml' and 'data'; expected ISMRMRD raw data.")
    return max(found, key=_numbered), found


def read_headers(file: Any, group: str, where: str) -> tuple[bytes, npt.NDArray[np.void]]:
    """Read the XML header and all readout headers, but none of the samples.

    Parameters
    ----------
    file
        Open `h5py.File`.
    group
        Group that holds `xml` and `data`.
    where
        Name of the file, for errors.

    Returns
    -------
        XML bytes and the structured array of readout headers.

    Raises
    ------
    DataError
        If either is missing, damaged or of another layout.
    """
    content = members(file[group], where)
    data, xml = content["data"], content["xml"]
    if not _is_list_of_readouts(data) or not _is_text(xml):
        raise DataError(
            f"{where}: '{group}' does not hold an XML text and a list of ISMRMRD readouts (head, "
            "traj, data); expected raw data as the ismrmrd library writes it."
        )
    if data.shape[0] == 0:
        raise DataError(
            f"{where}: '{group}/data' holds no readouts; the measurement was not written."
        )
    path = Path(file.filename)
    check_heaps(path, heap_addresses(xml, path), base=file.userblock_size)
    text = xml[()] if xml.shape == () else xml[...].ravel()[0]
    if not _is_like(data.dtype["head"], acquisition_header_dtype):
        raise DataError(
            f"{where}: the readout headers are not laid out as in ISMRMRD version 1; expected raw "
            "data as the ismrmrd library writes it."
        )
    return text.encode() if isinstance(text, str) else bytes(text), _heads(data, where)


def _is_text(xml: Any) -> bool:
    return isinstance(xml, h5py.Dataset) and h5py.check_string_dtype(xml.dtype) is not None


def _is_list_of_readouts(data: Any) -> bool:
    if not isinstance(data, h5py.Dataset) or data.ndim != 1:
        return False
    if not {"head", "traj", "data"} <= set(data.dtype.names or ()):
        return False
    values = [h5py.check_vlen_dtype(data.dtype[name]) for name in ("traj", "data")]
    return all(kind is not None and kind == np.float32 for kind in values)


def _heads(data: Any, where: str) -> Heads:
    """Read what is needed of the `head` member of every record.

    Compressed ones are read in blocks, so that memory stays bounded.
    """
    stored = data.dtype["head"]
    kind = np.dtype([(name, stored[name]) for name in _NEEDED_FIELDS])
    n_readouts, n_bytes = int(data.shape[0]), int(data.id.get_type().get_size())
    if not has_plain_records(data):
        _check_count(n_readouts, data.file.id.get_filesize() // _SMALLEST_SAMPLE_BYTES, where)
        heads = np.empty(n_readouts, dtype=kind)
        for start in range(0, n_readouts, _BLOCK_READOUTS):
            _fill(heads, start, data.fields("head")[start : start + _BLOCK_READOUTS])
        return heads
    _check_count(n_readouts, data.id.get_storage_size() // n_bytes, where)
    heads = np.empty(n_readouts, dtype=kind)
    for start, records in record_chunks(data):
        largest = int(max(records["data"]["n_values"].max(), records["traj"]["n_values"].max()))
        if 4 * largest > data.file.id.get_filesize():
            raise DataError(
                f"{where}: a readout claims {largest} values, more than the file holds; the file "
                "is truncated or damaged. Copy it again."
            )
        _fill(heads, start, records["head"])
    return heads


def _fill(heads: Heads, start: int, found: Heads) -> None:
    for name in _NEEDED_FIELDS:
        heads[name][start : start + found.size] = found[name]


def _check_count(n_readouts: int, most: int, where: str) -> None:
    """Refuse a list that claims more readouts than the file can hold, before they are read."""
    if n_readouts > most:
        raise DataError(
            f"{where}: its list claims {n_readouts} readouts, the file holds at most {most}; "
            "it is truncated or damaged. Copy it again."
        )


def _is_like(found: np.dtype[Any], expected: np.dtype[Any]) -> bool:
    """Say whether a type has all fields that are needed, of the same kind and shape."""
    if expected.names is None:
        return found.base.kind == expected.base.kind and found.shape == expected.shape
    if found.names is None:
        return False
    needed = [n for n in expected.names if n in _NEEDED_FIELDS or "flags" not in expected.names]
    return all(n in found.names and _is_like(found[n], expected[n]) for n in needed)


def _numbered(name: str) -> tuple[int, str]:
    digits = name.rpartition("_")[2]
    return (int(digits) if digits.isdigit() else -1, name)
