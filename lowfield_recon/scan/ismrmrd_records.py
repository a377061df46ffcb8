"""Readout records of an ISMRMRD file: blank headers, noise readouts, rows of any length."""

from __future__ import annotations

from typing import Any

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

from lowfield_recon.errors import DataError

Records = npt.NDArray[np.void]

LARGEST_COUNT = 65535
"""Largest value of a counter, and most samples of a readout."""

_ROWS_PER_WRITE = 4096


def create_data_set(file: Any, xml: bytes) -> Any:
    """Create the group `dataset` with the XML header and an empty list of readouts.

    Parameters
    ----------
    file
        Open `h5py.File`.
    xml
        The header.

    Returns
    -------
        The h5py data set of the readouts.
    """
    group = file.create_group("dataset")
    text = group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))
    text[0] = xml
    return group.create_dataset(
        "data", (0,), maxshape=(None,), dtype=acquisition_dtype, chunks=(256,)
    )


def blank_heads(n: int, coils: int, samples: int) -> Records:
    """Return readout headers with their sizes filled in.

    Parameters
    ----------
    n
        Number of readouts.
    coils
        Receive channels of each.
    samples
        Samples of each.

    Returns
    -------
        Structured `(n,)`.
    """
    heads = np.zeros(n, dtype=acquisition_header_dtype)
    heads["version"] = 1
    heads["number_of_samples"] = samples
    heads["available_channels"] = heads["active_channels"] = coils
    whole, rest = divmod(coils, 64)
    heads["channel_mask"][:, :whole] = np.uint64(2**64 - 1)
    if rest:
        heads["channel_mask"][:, whole] = np.uint64(2**rest - 1)
    return heads


def records(
    heads: Records, samples: npt.NDArray[Any], positions: npt.NDArray[Any] | None = None
) -> Records:
    """Put headers, samples and positions together.

    Parameters
    ----------
    heads
        Readout headers `(readouts,)`.
    samples
        complex64 `(readouts, coils, samples)`.
    positions
        float32 `(readouts, samples, dimensions)`, or None.

    Returns
    -------
        Structured `(readouts,)`, to be appended to a file.
    """
    rows = np.zeros(len(heads), dtype=acquisition_dtype)
    rows["head"] = heads
    rows["data"] = _objects(samples)
    rows["traj"] = _objects(
        np.zeros((len(heads), 0), np.float32) if positions is None else positions
    )
    return rows


def noise_record(
    noise: npt.NDArray[np.complexfloating[Any, Any]], coils: int, dwell_time_s: float = 0.0
) -> Records:
    """Return one noise readout.

    Parameters
    ----------
    noise
        Samples `(coils, samples)`.
    coils
        Receive channels of the scan.
    dwell_time_s
        Time between two samples [s]; 0 where it is not known.

    Returns
    -------
        Structured `(1,)`.

    Raises
    ------
    DataError
        If the shape does not fit.
    """
    if noise.ndim != 2 or noise.shape[0] != coils or not 0 < noise.shape[1] <= LARGEST_COUNT:
        raise DataError(
            f"noise: expected ({coils} coils, at most {LARGEST_COUNT} samples), got {noise.shape}."
        )
    heads = blank_heads(1, coils, noise.shape[1])
    heads["flags"] = flag_bit(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    heads["sample_time_us"] = 1e6 * dwell_time_s
    return records(heads, noise[None].astype(np.complex64))


def flag_bit(flag: int) -> np.uint64:
    """Return the bit of a flag, counted from 1 as in the ISMRMRD documentation.

    Parameters
    ----------
    flag
        Number of the flag.

    Returns
    -------
        The bit.

    Examples
    --------
    >>> int(flag_bit(19))
    262144
    """
    return np.uint64(1 << (flag - 1))


def append_records(data: Any, rows: Records) -> None:
    """Append readouts to a file, a bounded number at a time, numbered in their order.

    Parameters
    ----------
    data
        The h5py data set of the readouts.
    rows
        Readouts; their `scan_counter` is filled in.
    """
    start = data.shape[0]
    rows["head"]["scan_counter"] = start + np.arange(len(rows))
    data.resize(start + len(rows), axis=0)
    for first in range(0, len(rows), _ROWS_PER_WRITE):
        part = rows[first : first + _ROWS_PER_WRITE]
        data[start + first : start + first + len(part)] = part


def _objects(rows: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
    """Return each row as a flat float32 array of its own, as HDF5 stores rows of any length."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.float32)
    objects = np.empty(len(rows), dtype=object)
    for i, row in enumerate(flat):
        objects[i] = row
    return objects
