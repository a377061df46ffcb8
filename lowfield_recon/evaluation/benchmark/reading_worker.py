"""The process that times one reader: `python -m ....reading_worker`.

One JSON object comes on the input: `{"tool", "file", "tiny", "repeats", "is_cold", "seconds"}`. The
reader first reads the tiny file, so that imports and first calls are not timed. The answer is one
JSON object: seconds of each repeat, memory before and at the peak [MiB], samples read, and the
energy of the tiny file, by which readers are checked against each other.
"""

from __future__ import annotations

import gc
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.evaluation.benchmark import memory
from lowfield_recon.evaluation.benchmark.answering import answer_one

Samples = npt.NDArray[Any]
Reader = Callable[[Path], Iterator[Samples]]
"""Gives the samples of a file part by part, in whatever parts the reader works."""

MOST_READOUTS: dict[str, int] = {"ismrmrd": 2000}
"""Readers that take milliseconds for a readout are timed on these many and scaled to the file."""

_READOUTS_PER_READ = 1024
_FEWEST_REPEATS = 3
_LONG_S = 10.0
"""A reader that takes longer is not repeated when its time is over."""


def by_h5py(path: Path) -> Iterator[Samples]:
    """Read the records in blocks with h5py; the samples stay as h5py hands them over.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
        Blocks of records.
    """
    import h5py

    with h5py.File(path, "r") as file:
        data = file["dataset/data"]
        for start in range(0, data.shape[0], _READOUTS_PER_READ):
            yield data[start : start + _READOUTS_PER_READ]


def by_h5py_at_once(path: Path) -> Iterator[Samples]:
    """Read all records with one call of h5py.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
        All records.
    """
    import h5py

    with h5py.File(path, "r") as file:
        yield file["dataset/data"][...]


def by_ours(path: Path) -> Iterator[Samples]:
    """Read with `load_scan` and put every image on its grid, one in memory at a time.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
        k-space of each image.
    """
    from lowfield_recon.scan import load_scan

    scan = load_scan(path)
    for index in range(len(scan.images)):
        yield scan.kspace(index).data.numpy()


def by_ismrmrd(path: Path) -> Iterator[Samples]:
    """Read one readout after the other with the `ismrmrd` package.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
        Samples of each of the first readouts, see `MOST_READOUTS`.
    """
    import ismrmrd

    with ismrmrd.Dataset(str(path), mode="r") as data_set:
        n_readouts = min(data_set.number_of_acquisitions(), MOST_READOUTS["ismrmrd"])
        for index in range(n_readouts):
            yield data_set.read_acquisition(index).data


def by_mrpro(path: Path) -> Iterator[Samples]:
    """Read with mrpro, which sorts the readouts and keeps the whole scan.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
        All samples.
    """
    from mrpro.data import KData
    from mrpro.data.traj_calculators import KTrajectoryCartesian

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield KData.from_file(path, KTrajectoryCartesian()).data.numpy()


READERS: dict[str, Reader] = {
    "h5py": by_h5py,
    "h5py-at-once": by_h5py_at_once,
    "ours": by_ours,
    "mrpro": by_mrpro,
    "ismrmrd": by_ismrmrd,
}


def energy_of(part: Samples) -> float:
    """Return the sum of squared magnitudes of samples or of records with samples.

    Parameters
    ----------
    part
        What a reader gave.

    Returns
    -------
        Energy.
    """
    if part.dtype.names is not None:
        return sum(float(np.square(row, dtype=np.float64).sum()) for row in part["data"])
    return float(np.square(np.abs(part).astype(np.float64)).sum())


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Time one reader.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        The answer.
    """
    read = READERS[request["tool"]]
    path, tiny = Path(request["file"]), Path(request["tiny"])
    energy = sum(energy_of(part) for part in read(tiny))
    gc.collect()
    memory.forget_peak()
    baseline = memory.resident_mib()
    seconds: list[float] = []
    begin = time.perf_counter()
    while len(seconds) < request["repeats"]:
        _set_cache(path, is_cold=request["is_cold"])
        start = time.perf_counter()
        for part in read(path):
            del part  # otherwise it stays until the next one has been read
        seconds.append(time.perf_counter() - start)
        is_over = time.perf_counter() - begin + seconds[-1] > request["seconds"]
        if is_over and (len(seconds) >= _FEWEST_REPEATS or seconds[-1] > _LONG_S):
            break
    return {
        "seconds": seconds,
        "baseline_mib": baseline,
        "peak_mib": memory.peak_mib(),
        "energy_of_tiny": energy,
    }


def _set_cache(path: Path, *, is_cold: bool) -> None:
    """Bring a file into the system's page cache, or drop it from there where that is possible."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if is_cold and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        elif not is_cold:
            while os.read(descriptor, 1 << 22):
                pass
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    answer_one(measure)
