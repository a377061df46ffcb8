"""Reading chosen readouts of an ISMRMRD file, a bounded block at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.hdf5 import open_hdf5
from lowfield_recon.scan.raw_records import StoredValues, has_plain_records, locate_values

Samples = npt.NDArray[np.complex64]
Ints = npt.NDArray[np.int64]

_BLOCK_BYTES = 1 << 20
"""Small enough that a block is still in the processor's cache when it is worked on."""
_MAX_READOUTS_PER_BLOCK = 4096


class _Rows(Protocol):
    """Reads values of one length: `rows(indices, length) -> (readouts, length)`."""

    def __call__(self, indices: Ints, length: int) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadoutFile:
    """An ISMRMRD data set in an HDF5 file; nothing is kept open between reads.

    Where the values of each readout lie is found when the first are read, and remembered.
    """

    path: Path
    """The file."""

    group: str
    """HDF5 path of the group that holds `xml` and `data`."""

    is_conjugated: bool = False
    """Whether samples are conjugated on reading, see `lowfield_recon.scan.sign`."""

    def blocks(
        self, indices: Ints, n_coils: int, n_samples: int
    ) -> Iterator[tuple[slice, Samples]]:
        """Read the samples of readouts in blocks of about 1 MiB.

        Parameters
        ----------
        indices
            Readouts in increasing order.
        n_coils
            Coils of each.
        n_samples
            Stored samples of each.

        Yields
        ------
            Which of `indices`, and their samples `(readouts, coils, samples)`.

        Raises
        ------
        DataError
            If samples are missing, too few, or not finite.
        """
        size = _BLOCK_BYTES // (8 * n_coils * n_samples)
        step = min(max(size, 1), _MAX_READOUTS_PER_BLOCK)
        with self._reader("data") as read:
            for start in range(0, indices.size, step):
                chosen = slice(start, min(start + step, indices.size))
                rows = read(indices[chosen], 2 * n_coils * n_samples)
                samples = rows.view(np.complex64).reshape(-1, n_coils, n_samples)
                _check_finite(samples, self.path.name)
                yield chosen, np.conj(samples, out=samples) if self.is_conjugated else samples

    def samples(self, indices: Ints, n_coils: int, n_samples: int) -> Samples:
        """Read the samples of a few readouts at once.

        Parameters
        ----------
        indices
            Readouts in increasing order.
        n_coils
            Coils of each.
        n_samples
            Stored samples of each.

        Returns
        -------
            `(readouts, coils, samples)`.

        Raises
        ------
        DataError
            If samples are missing, too few, or not finite.
        """
        parts = [block for _, block in self.blocks(indices, n_coils, n_samples)]
        return (
            np.concatenate(parts)
            if parts
            else np.empty((0, n_coils, n_samples), dtype=np.complex64)
        )

    def trajectories(
        self, indices: Ints, n_samples: int, n_dimensions: int
    ) -> npt.NDArray[np.float32]:
        """Read the stored trajectories of readouts.

        Parameters
        ----------
        indices
            Readouts in increasing order.
        n_samples
            Stored samples of each.
        n_dimensions
            Stored dimensions of each.

        Returns
        -------
            `(readouts, samples, dimensions)` in the unit of the file.

        Raises
        ------
        DataError
            If values are missing, too few, or not finite.
        """
        with self._reader("traj") as read:
            rows = read(indices, n_samples * n_dimensions)
        _check_finite(rows, self.path.name)
        return rows.reshape(-1, n_samples, n_dimensions)

    @cached_property
    def _samples(self) -> StoredValues | None:
        return self._locate("data")

    @cached_property
    def _positions(self) -> StoredValues | None:
        return self._locate("traj")

    def _locate(self, member: str) -> StoredValues | None:
        """Find where values lie; None where only the HDF5 library can tell (compressed records)."""
        with open_hdf5(self.path) as file:
            data = file[self.group]["data"]
            return locate_values(data, member) if has_plain_records(data) else None

    @contextmanager
    def _reader(self, member: str) -> Iterator[_Rows]:
        """Open the file and give a function that reads the values of some readouts."""
        where = self._samples if member == "data" else self._positions
        if where is None:
            with open_hdf5(self.path) as file:
                stored = file[self.group]["data"].fields(member)

                def by_library(indices: Ints, length: int) -> npt.NDArray[np.float32]:
                    rows = np.empty((indices.size, length), dtype=np.float32)
                    for i, row in enumerate(stored[indices]):
                        self._check_length(int(indices[i]), row.size, length, member)
                        rows[i] = row
                    return rows

                yield by_library
            return
        values = where
        descriptor = os.open(self.path, os.O_RDONLY)

        def directly(indices: Ints, length: int) -> npt.NDArray[np.float32]:
            found = values.pointers["n_values"][indices]
            for i in np.flatnonzero(found != length)[:1]:
                self._check_length(int(indices[i]), int(found[i]), length, member)
            rows = np.empty((indices.size, length), dtype=np.float32)
            values.read(descriptor, indices, rows)
            return rows

        try:
            yield directly
        finally:
            os.close(descriptor)

    def _check_length(self, readout: int, found: int, expected: int, member: str) -> None:
        if found != expected:
            what = "samples" if member == "data" else "trajectory values"
            raise DataError(
                f"{self.path.name}: readout {readout} holds {found} {what}; its header promises "
                f"{expected}. The file was not written completely."
            )


def _check_finite(values: npt.NDArray[np.complex64 | np.float32], where: str) -> None:
    flat = values.view(np.float32).reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.dot(flat, flat)):  # as fast as the values come; no copy is made
            return
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise DataError(
            f"{where}: {bad} of {values.size} values of its readouts are NaN or infinite; "
            "expected finite numbers. Leave out or mend these readouts."
        )
