"""The generated ISMRMRD files that readers are timed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype

from lowfield_recon.scan.ismrmrd_header import header_xml
from lowfield_recon.scan.records import ScanHeader

_ROWS_PER_WRITE = 1024
_POOL_READOUTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingCase:
    """A scan to be written and read."""

    name: str
    repetitions: int
    slices: int
    """Slices, acquired interleaved: the same line of every slice, then the next line."""

    shape: tuple[int, int, int]
    """Lines along k2 and k1, samples of a readout (oversampled twice)."""

    n_coils: int

    @property
    def n_readouts(self) -> int:
        """Readouts in the file."""
        return self.repetitions * self.slices * self.shape[0] * self.shape[1]

    @property
    def sample_bytes(self) -> int:
        """Bytes of all samples."""
        return 8 * self.n_readouts * self.n_coils * self.shape[2]

    @property
    def image_bytes(self) -> int:
        """Bytes of the k-space of one image (a slice, or a 3-D volume)."""
        return self.sample_bytes // (self.repetitions * self.slices)

    def describe(self) -> str:
        """Say it in words."""
        k2, k1, k0 = self.shape
        size = f"{k1} x {k0}" if k2 == 1 else f"{k2} x {k1} x {k0}"
        return (
            f"{self.repetitions} x {self.slices} images of {size} samples, {self.n_coils} coils, "
            f"{self.n_readouts} readouts of {8 * self.n_coils * self.shape[2] / 1024:.3g} KiB, "
            f"{self.sample_bytes / 1e9:.3g} GB"
        )


def write_reading_file(path: Path, case: ReadingCase, seed: int) -> None:
    """Write a scan of random samples as the `ismrmrd` package lays it out.

    Parameters
    ----------
    path
        File to write.
    case
        Sizes.
    seed
        Seed of the samples.
    """
    generator = np.random.default_rng(seed)
    length = 2 * case.n_coils * case.shape[2]
    pool = generator.normal(size=_POOL_READOUTS * length).astype(np.float32)
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        xml = group.create_dataset("xml", (1,), dtype=h5py.special_dtype(vlen=bytes))
        xml[0] = header_xml(_header(case), is_orientation_known=True)
        data = group.create_dataset(
            "data", (case.n_readouts,), dtype=acquisition_dtype, maxshape=(None,)
        )
        for start in range(0, case.n_readouts, _ROWS_PER_WRITE):
            chosen = np.arange(start, min(start + _ROWS_PER_WRITE, case.n_readouts))
            rows = np.zeros(chosen.size, dtype=acquisition_dtype)
            rows["head"] = _heads(case, chosen)
            samples, positions = (np.empty(chosen.size, dtype=object) for _ in range(2))
            for i, first in enumerate(generator.integers(0, pool.size - length, chosen.size)):
                samples[i] = pool[first : first + length]
                positions[i] = np.zeros(0, np.float32)
            rows["data"], rows["traj"] = samples, positions
            data[chosen[0] : chosen[-1] + 1] = rows


def _header(case: ReadingCase) -> ScanHeader:
    k2, k1, k0 = case.shape
    thickness_m = 5e-3
    return ScanHeader(
        encoded_matrix=case.shape,
        recon_matrix=(k2, k1, k0 // 2),
        encoded_fov_m=(thickness_m * k2, 0.2, 0.4),
        recon_fov_m=(thickness_m * k2, 0.2, 0.2),
        field_strength_t=0.055,
        n_coils=case.n_coils,
        limits={
            "kspace_encoding_step_1": (0, k1 - 1, k1 // 2),
            "kspace_encoding_step_2": (0, k2 - 1, k2 // 2),
            "slice": (0, case.slices - 1, 0),
            "repetition": (0, case.repetitions - 1, 0),
        },
    )


def _heads(case: ReadingCase, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
    """Return the headers of some readouts, in order of acquisition."""
    k2, k1, k0 = case.shape
    order = (case.repetitions, k2, k1, case.slices)
    repetition, part, line, number = np.unravel_index(chosen, order)
    heads = np.zeros(chosen.size, dtype=acquisition_header_dtype)
    heads["version"] = 1
    heads["scan_counter"] = chosen
    heads["number_of_samples"], heads["center_sample"] = k0, k0 // 2
    heads["available_channels"] = heads["active_channels"] = case.n_coils
    heads["sample_time_us"] = 10.0
    counters = heads["idx"]
    counters["repetition"], counters["slice"] = repetition, number
    counters["kspace_encode_step_1"], counters["kspace_encode_step_2"] = line, part
    heads["position"][:, 2] = 5.0 * (number - case.slices // 2)
    for axis, name in enumerate(("read_dir", "phase_dir", "slice_dir")):
        heads[name][:, axis] = 1.0
    return heads
