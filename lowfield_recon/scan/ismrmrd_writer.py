"""k-space as an ISMRMRD (MRD version 1) HDF5 file.

References
----------
Inati SJ et al. ISMRM Raw data format: a proposed standard for MRI raw datasets. Magn Reson Med
2017;77:411-421. https://doi.org/10.1002/mrm.26089
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.geometry import directions_of
from lowfield_recon.scan.hdf5_output import hdf5_output
from lowfield_recon.scan.ismrmrd_header import header_xml
from lowfield_recon.scan.ismrmrd_records import (
    LARGEST_COUNT,
    append_records,
    blank_heads,
    create_data_set,
    flag_bit,
    noise_record,
    records,
)
from lowfield_recon.scan.records import Extent, ScanHeader, Shape
from lowfield_recon.scan.sign import is_conjugated

Bools = npt.NDArray[np.bool_]
Complexes = npt.NDArray[np.complexfloating[Any, Any]]
Floats = npt.NDArray[np.floating[Any]]

_MOST_COILS = 1024
_AXES = ("contrast", "repetition", "slice", "coil", "k2", "k1", "k0")


class KSpaceImages(Protocol):
    """k-space `(contrast, repetition, slice, coil, k2, k1, k0)`, read one image at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the seven axes."""
        ...

    def __getitem__(self, index: tuple[int, int, int]) -> Complexes:
        """Return the image `(coil, k2, k1, k0)` of a contrast, repetition and slice."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """What every readout of the file needs, worked out once."""

    kspace: KSpaceImages
    mask: Bools | None
    trajectory: Floats | None
    matrix: Shape
    geometry: Geometry
    spacing_m: float
    dwell_time_s: float
    is_conjugated: bool
    """Whether the vendor's files hold conjugated samples, see `lowfield_recon.scan.sign`."""


def write_ismrmrd_kspace(
    path: str | Path,
    kspace: KSpaceImages,
    *,
    fov_m: Extent,
    mask: Bools | None = None,
    field_strength_t: float | None = None,
    trajectory: Floats | None = None,
    trajectory_kind: str | None = None,
    matrix: Shape | None = None,
    geometry: Geometry | None = None,
    slice_spacing_m: float | None = None,
    dwell_time_s: float | None = None,
    noise: Complexes | None = None,
    header: ScanHeader | None = None,
) -> None:
    r"""Write k-space as ISMRMRD, one readout after the other, image by image.

    Line (k2, k1) gets the counters ``kspace_encode_step_2 = k2`` and ``kspace_encode_step_1 =
    k1``, and the encoding limits say that the centre is ``n // 2``. Slices follow each other along
    the slice direction around the centre. Only acquired lines are written. One image is in memory
    at a time.

    Parameters
    ----------
    path
        Name of the `.h5` file.
    kspace
        Samples, complex, `(contrast, repetition, slice, coil, k2, k1, k0)`: an array, a memory
        map, or anything that gives one image `(coil, k2, k1, k0)` for `kspace[contrast,
        repetition, slice]`.
    fov_m
        Field of view of the sampled grid (z, y, x) [m]; for slices z is their thickness.
    mask
        Acquired samples, bool, broadcastable to `kspace`; None takes the lines that are not all
        zero.
    field_strength_t
        Main field [T], or None.
    trajectory
        k-space positions (kz, ky, kx), broadcastable to `(contrast, repetition, slice, k2, k1, k0,
        3)`, in cycles per field of view; stored as fractions of the encoded matrix. None for a
        grid.
    trajectory_kind
        Word for the trajectory; None takes `"cartesian"`, or `"other"` where positions are given.
    matrix
        Number of voxels (z, y, x) over the field of view; None takes the size of k-space, or where
        positions are given the smallest even grid that holds them.
    geometry
        Directions, and position of voxel n // 2 of the whole volume; None where it is not known:
        the axes are written then, and the header says `orientation = unknown`.
    slice_spacing_m
        Distance between slices [m]; None takes the thickness.
    dwell_time_s
        Time between two samples [s]; None where it is not known, 0 is written then.
    noise
        Noise samples of the coils, `(coils, samples)`, written as one noise readout with the same
        dwell time.
    header
        Further things known (vendor, timings, ...); its matrix, limits, coils and what the other
        arguments say are replaced.

    Raises
    ------
    DataError
        If a shape does not fit, a size is beyond the format, or no sample was acquired.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "scan.h5"
    >>> write_ismrmrd_kspace(file, np.ones((1, 1, 2, 1, 1, 4, 8), "c8"), fov_m=(5e-3, 0.1, 0.2))
    >>> ismrmrd.Dataset(file, mode="r").number_of_acquisitions()
    8

    References
    ----------
    https://doi.org/10.1002/mrm.26089
    """
    path = Path(path)
    mask, trajectory = _checked(path.name, kspace, mask, trajectory)
    matrix = matrix or _smallest_matrix(kspace.shape[-3:], trajectory)
    default = Geometry(voxel_size_m=(1e-3, 1e-3, 1e-3), is_known=False)
    plan = _Plan(
        kspace=kspace,
        mask=mask,
        trajectory=trajectory,
        matrix=matrix,
        geometry=geometry or default,
        spacing_m=slice_spacing_m or fov_m[0],
        dwell_time_s=dwell_time_s or 0.0,
        is_conjugated=is_conjugated("ismrmrd", None if header is None else header.vendor),
    )
    record = _record(
        kspace.shape,
        matrix,
        fov_m,
        field_strength_t,
        trajectory_kind or ("cartesian" if trajectory is None else "other"),
        header,
    )
    with (
        atomic_path(path) as temporary,
        hdf5_output(temporary) as stream,
        h5py.File(stream, "w") as file,
    ):
        xml = header_xml(record, is_orientation_known=plan.geometry.is_known)
        data = create_data_set(file, xml)
        if noise is not None:
            stored = np.conj(noise) if plan.is_conjugated else noise
            append_records(data, noise_record(stored, kspace.shape[3], plan.dwell_time_s))
        _write_images(data, plan, path.name)


def _checked(
    name: str, kspace: KSpaceImages, mask: Bools | None, trajectory: Floats | None
) -> tuple[Bools | None, Floats | None]:
    """Check shapes and sizes; return mask and trajectory with the axes of k-space."""
    if len(kspace.shape) != len(_AXES) or 0 in kspace.shape:
        raise DataError(
            f"kspace: expected ({', '.join(_AXES)}), none of them empty, got shape {kspace.shape}."
        )
    if max(kspace.shape) > LARGEST_COUNT or kspace.shape[3] > _MOST_COILS:
        raise DataError(
            f"{name}: ISMRMRD counts to {LARGEST_COUNT} and holds {_MOST_COILS} coils; got "
            f"{kspace.shape} ({', '.join(_AXES)})."
        )
    positions = (*kspace.shape[:3], *kspace.shape[4:], 3)
    return _broadcast("mask", mask, kspace.shape), _broadcast("trajectory", trajectory, positions)


def _broadcast(name: str, array: Any, shape: tuple[int, ...]) -> Any:
    try:
        return None if array is None else np.broadcast_to(array, shape)
    except ValueError as error:
        raise DataError(
            f"{name}: shape {np.shape(array)} does not fit kspace; expected one that broadcasts to "
            f"{shape}."
        ) from error


def _smallest_matrix(shape: tuple[int, ...], trajectory: Floats | None) -> Shape:
    if trajectory is None:
        return (shape[0], shape[1], shape[2])
    z, y, x = (float(extent) for extent in np.abs(trajectory).max(axis=tuple(range(6))))
    return (_even(z) if z > 0 else 1, _even(y), _even(x))


def _even(extent: float) -> int:
    return max(2, 2 * int(np.ceil(round(extent, 3))))


def _record(
    shape: tuple[int, ...],
    matrix: Shape,
    fov_m: Extent,
    field_strength_t: float | None,
    kind: str,
    header: ScanHeader | None,
) -> ScanHeader:
    """Return the header with the sizes and limits of what is written."""
    contrasts, repetitions, slices, coils, n2, n1, n0 = shape
    counts = {
        "kspace_encoding_step_0": n0,
        "kspace_encoding_step_1": n1,
        "kspace_encoding_step_2": n2,
        "slice": slices,
        "contrast": contrasts,
        "repetition": repetitions,
    }
    limits = {
        name: (0, n - 1, n // 2 if name.startswith("kspace") else 0) for name, n in counts.items()
    }
    base = header or ScanHeader(encoded_matrix=matrix, recon_matrix=matrix)
    return dataclasses.replace(
        base,
        encoded_matrix=matrix,
        recon_matrix=matrix,
        encoded_fov_m=fov_m,
        recon_fov_m=fov_m,
        field_strength_t=field_strength_t
        if field_strength_t is not None
        else base.field_strength_t,
        larmor_frequency_hz=None if field_strength_t is not None else base.larmor_frequency_hz,
        trajectory=kind,
        n_coils=coils,
        limits=limits,
    )


def _write_images(data: Any, plan: _Plan, name: str) -> None:
    contrasts, repetitions, slices = plan.kspace.shape[:3]
    for c, r, s in np.ndindex(contrasts, repetitions, slices):
        samples = np.asarray(plan.kspace[c, r, s]).astype(np.complex64)
        if not np.isfinite(samples).all():
            raise DataError(
                f"kspace: contrast {c}, repetition {r}, slice {s} holds NaN or infinity."
            )
        if plan.mask is None:
            acquired = (samples != 0).any(axis=(0, 3))
        else:
            samples = samples * plan.mask[c, r, s]
            acquired = plan.mask[c, r, s].any(axis=(0, 3))
        k2, k1 = np.nonzero(acquired)
        if not k1.size:
            raise DataError(
                f"{name}: contrast {c}, repetition {r}, slice {s} has no acquired sample; leave "
                "it out."
            )
        heads = _heads(plan, (c, r, s), k2, k1)
        samples = np.conj(samples) if plan.is_conjugated else samples
        positions = _positions(plan, (c, r, s), k2, k1)
        append_records(data, records(heads, samples[:, k2, k1].swapaxes(0, 1), positions))


def _positions(
    plan: _Plan, image: tuple[int, int, int], k2: npt.NDArray[np.intp], k1: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Return (kx, ky, kz) of the readouts of one image, as fractions of the encoded matrix."""
    if plan.trajectory is None:
        return np.zeros((k1.size, 0), np.float32)
    fractions = plan.trajectory[image][k2, k1] / np.array(plan.matrix)
    return np.asarray(fractions[..., ::-1], dtype=np.float32)


def _heads(
    plan: _Plan, image: tuple[int, int, int], k2: npt.NDArray[np.intp], k1: npt.NDArray[np.intp]
) -> npt.NDArray[np.void]:
    """Return the headers of the readouts of one image."""
    contrasts, repetitions, slices, coils, _, _, n0 = plan.kspace.shape
    c, r, s = image
    heads = blank_heads(k1.size, coils, n0)
    heads["center_sample"] = n0 // 2
    heads["sample_time_us"] = 1e6 * plan.dwell_time_s
    heads["trajectory_dimensions"] = 0 if plan.trajectory is None else 3
    index = heads["idx"]
    index["kspace_encode_step_1"], index["kspace_encode_step_2"] = k1, k2
    index["contrast"], index["repetition"], index["slice"] = c, r, s
    _place(heads, plan, s - slices // 2)
    flags = heads["flags"]
    flags[0] |= flag_bit(ismrmrd.ACQ_FIRST_IN_SLICE)
    flags[-1] |= flag_bit(ismrmrd.ACQ_LAST_IN_SLICE)
    if s == 0:
        flags[0] |= flag_bit(ismrmrd.ACQ_FIRST_IN_REPETITION)
    if s == slices - 1:
        flags[-1] |= flag_bit(ismrmrd.ACQ_LAST_IN_REPETITION)
        if (c, r) == (contrasts - 1, repetitions - 1):
            flags[-1] |= flag_bit(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
    return heads


def _place(heads: npt.NDArray[np.void], plan: _Plan, steps: int) -> None:
    """Set directions and position [mm]."""
    directions = directions_of(plan.geometry)
    position = np.array(plan.geometry.position_m) + steps * plan.spacing_m * directions[2]
    heads["position"] = 1e3 * position
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = directions
