"""Raw arrays (.npy, .mat, BART .cfl) to ISMRMRD files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path
from lowfield_recon.scan.detect import detect_format
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace
from lowfield_recon.scan.raw_reader import RawOptions, RawSource, load_raw
from lowfield_recon.scan.records import Extent, Scan, Shape

logger = logging.getLogger(__name__)

_RAW_FORMATS = ("npy", "npz", "mat", "mat-v7.3", "hdf5", "bart")
_VOXEL_M = 1e-3


def convert_to_ismrmrd(
    path: str | Path,
    out: str | Path,
    *,
    axes: str | Sequence[str] | None = None,
    key: str | None = None,
    field_strength_t: float | None = None,
    fov_m: tuple[float | None, float, float] | None = None,
    image_space: bool = False,
    trajectory_key: str | None = None,
    matrix: Shape | None = None,
) -> list[str]:
    """Write a raw array as an ISMRMRD file that any reader of the format understands.

    Parameters
    ----------
    path
        `.npy`, `.mat` (any version) or BART `.cfl`.
    out
        Name of the ISMRMRD file, ending in `.h5` or `.mrd`.
    axes
        Names of the array's axes in its own order, from `x` (readout), `y`, `z` (phase encodings),
        `coil`, `slice`, `repetition`, `contrast`; only BART files know their own.
    key
        Name of the array in the file, where there are several.
    field_strength_t
        Main field [T].
    fov_m
        Field of view (z, y, x) [m], along z for slices their thickness; None where it is not known.
    image_space
        Whether the array holds coil images rather than k-space.
    trajectory_key
        Name of the array with k-space positions, or the path of another file.
    matrix
        Image size (z, y, x) of a non-Cartesian scan.

    Returns
    -------
        What was assumed, one sentence each.

    Raises
    ------
    UsageError
        If axes, key or ending do not fit, or the field strength is not positive.
    DataError
        If the array is empty, not finite or not numeric.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "k.npy", np.ones((8, 6), dtype=np.complex64))
    >>> notes = convert_to_ismrmrd(folder / "k.npy", folder / "k.h5", axes="x y")
    >>> (folder / "k.h5").is_file()
    True
    """
    path, out = Path(path), check_output_path(out)
    if out.suffix.lower() not in (".h5", ".mrd"):
        raise UsageError(f"{out.name}: an ISMRMRD file ends in .h5 or .mrd; choose such a name.")
    if field_strength_t is not None and not 0 < field_strength_t < 100:
        raise UsageError(f"field strength: expected tesla, 0 to 100, got {field_strength_t}.")
    kind = detect_format(path)
    if kind not in _RAW_FORMATS:
        raise UsageError(
            f"{path.name}: is {kind}; 'convert' takes raw arrays (.npy, .mat, BART .cfl)."
        )
    options = RawOptions(
        axes=axes,
        key=key,
        image_space=image_space,
        field_strength_t=field_strength_t,
        fov_m=fov_m,
        trajectory_key=trajectory_key,
        matrix=matrix,
    )
    scan = load_raw(path, kind, options)
    notes = list(scan.assumptions)
    if trajectory_key is None and not image_space:
        notes.append(
            "Readouts that are zero in all coils are left out; other zeros are kept as samples."
        )
    write_ismrmrd_kspace(
        out,
        _RawImages(scan=scan, array=_source(scan).array),
        fov_m=_fov(scan, notes),
        field_strength_t=field_strength_t,
        trajectory=_source(scan).trajectory,
        matrix=scan.header.encoded_matrix,
    )
    if field_strength_t is None:
        notes.append("The field strength is not known; frequency 0 was written.")
    notes.append("The orientation is not known; the header says so.")
    notes.append("The dwell time is not known; 0 was written.")
    return notes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RawImages:
    """Gives the writer one image of the array at a time, transformed to k-space where needed."""

    scan: Scan
    array: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def __getitem__(self, index: tuple[int, int, int]) -> npt.NDArray[np.complex64]:
        number = int(np.ravel_multi_index(index, self.array.shape[:3]))
        samples: npt.NDArray[np.complex64] = self.scan.kspace(number).data[0].numpy()
        return samples


def _source(scan: Scan) -> RawSource:
    if not isinstance(scan.source, RawSource):
        raise TypeError(f"expected a raw array, got {type(scan.source).__name__}")
    return scan.source


def _fov(scan: Scan, notes: list[str]) -> Extent:
    if scan.header.encoded_fov_m is not None:
        return scan.header.encoded_fov_m
    notes.append("The field of view is not known; voxels of 1 mm were taken.")
    z, y, x = (n * _VOXEL_M for n in scan.header.encoded_matrix)
    return (z, y, x)
