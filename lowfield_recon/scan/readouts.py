"""Reading chosen readouts of an ISMRMRD file, a bounded block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.hdf5 import open_hdf5

Samples = npt.NDArray[np.complex64]
Ints = npt.NDArray[np.int64]

_BLOCK_BYTES = 64 << 20
_MAX_READOUTS_PER_BLOCK = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReadoutFile:
    """An ISMRMRD data set in an HDF5 file; nothing is kept open between reads."""

    path: Path
    """The file."""

    group: str
    """HDF5 path of the group that holds `xml` and `data`."""

    is_conjugated: bool = False
    """Whether samples are conjugated on reading, see `lowfield_recon.scan.sign`."""

    def blocks(
        self, indices: Ints, n_coils: int, n_samples: int
    ) -> Iterator[tuple[slice, Samples]]:
        """Read the samples of readouts in blocks of at most 64 MiB.

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
        with open_hdf5(self.path) as file:
            stored = file[self.group]["data"].fields("data")
            for start in range(0, indices.size, step):
                chosen = slice(start, min(start + step, indices.size))
                rows = self._rows(stored, indices[chosen], 2 * n_coils * n_samples, "samples")
                samples = rows.view(np.complex64).reshape(-1, n_coils, n_samples)
                _check_finite(samples, self.path.name)
                yield chosen, np.conj(samples) if self.is_conjugated else samples

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
        with open_hdf5(self.path) as file:
            stored = file[self.group]["data"].fields("traj")
            rows = self._rows(stored, indices, n_samples * n_dimensions, "trajectory values")
        _check_finite(rows, self.path.name)
        return rows.reshape(-1, n_samples, n_dimensions)

    def _rows(self, stored: Any, indices: Ints, length: int, what: str) -> npt.NDArray[np.float32]:
        rows = np.empty((indices.size, length), dtype=np.float32)
        for i, row in enumerate(stored[indices]):
            if row.size != length:
                raise DataError(
                    f"{self.path.name}: readout {int(indices[i])} holds {row.size} {what}; its "
                    f"header promises {length}. The file was not written completely."
                )
            rows[i] = row
        return rows


def _check_finite(values: npt.NDArray[Any], where: str) -> None:
    bad = int(values.size - np.count_nonzero(np.isfinite(values)))
    if bad:
        raise DataError(
            f"{where}: {bad} of {values.size} values of its readouts are NaN or infinite; "
            "expected finite numbers. Leave out or mend these readouts."
        )
