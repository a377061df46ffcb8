"""Any scan as an ISMRMRD file that reads back the same: samples, mask, places, counters, noise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.geometry import directions_of
from lowfield_recon.scan.hdf5_output import hdf5_output
from lowfield_recon.scan.ismrmrd_header import header_xml
from lowfield_recon.scan.ismrmrd_lines import LineLayout, lines_of_grid, survey_lines
from lowfield_recon.scan.ismrmrd_records import (
    LARGEST_COUNT,
    append_records,
    blank_heads,
    create_data_set,
    flag_bit,
    noise_record,
    records,
)
from lowfield_recon.scan.records import Extent, ImageIndex, RawKSpace, Scan, ScanHeader
from lowfield_recon.scan.sign import is_conjugated

_NORMALISED = 0.5
_SAME_PLACE_M = 1e-7
_COUNTERS = ("slice", "contrast", "repetition", "phase", "set")
_ALWAYS_LIMITED = ("slice", "contrast", "repetition")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Plan:
    """What every image of the file needs, worked out once."""

    scan: Scan
    header: ScanHeader
    layout: LineLayout | None
    """Where lines start and how they are counted; None along a trajectory."""

    is_conjugated: bool
    """Whether the vendor's files hold conjugated samples."""

    spacing_m: float
    """Step between slices that claim no place of their own; 0 where they do."""


def write_ismrmrd_scan(path: str | Path, scan: Scan, *, fov_m: Extent | None = None) -> None:
    """Write a scan of any format as valid ISMRMRD, one image in memory at a time.

    Readouts are written forwards, without samples to be discarded, averages combined as they were
    read. Samples of vendors whose files hold the conjugate are conjugated, so that they read back
    as they are. Readouts outside the images (navigators, phase correction, ...) and data of the
    patient are not written.

    Parameters
    ----------
    path
        Name of the `.h5` or `.mrd` file.
    scan
        What `load_scan` returned.
    fov_m
        Encoded field of view (z, y, x) [m] where the scan knows none; None writes 0 then.

    Raises
    ------
    DataError
        If the samples cannot be read, or a size is beyond the format.

    Examples
    --------
    >>> import tempfile
    >>> from lowfield_recon.scan import load_scan
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "k.npy", np.ones((2, 8, 6), dtype=np.complex64))
    >>> write_ismrmrd_scan(folder / "k.h5", load_scan(folder / "k.npy", axes="coil y x"))
    >>> load_scan(folder / "k.h5").header.n_coils
    2

    References
    ----------
    Inati SJ et al. ISMRM Raw data format: a proposed standard for MRI raw datasets. Magn Reson Med
    2017;77:411-421. https://doi.org/10.1002/mrm.26089
    """
    path = Path(path)
    first = scan.kspace(0)
    _check_sizes(path.name, scan, first)
    layout = survey_lines(scan, first) if first.trajectory is None else None
    plan = _Plan(
        scan=scan,
        header=_header(scan, first, layout, fov_m),
        layout=layout,
        is_conjugated=is_conjugated("ismrmrd", scan.header.vendor),
        spacing_m=_assumed_spacing(scan, first, fov_m),
    )
    is_known = first.geometry is not None and first.geometry.is_known
    with (
        atomic_path(path) as temporary,
        hdf5_output(temporary) as stream,
        h5py.File(stream, "w") as file,
    ):
        data = create_data_set(file, header_xml(plan.header, is_orientation_known=is_known))
        _write_noise(data, plan)
        for number in range(len(scan.images)):
            _write_image(data, plan, number, scan.kspace(number) if number else first)


def noise_scale_is_kept(scan: Scan) -> bool:
    """Say whether the variance factor of the noise readouts can be written.

    Parameters
    ----------
    scan
        The scan.

    Returns
    -------
        False where noise has a factor other than 1 but the dwell time is not known.
    """
    return scan.noise is None or bool(scan.header.dwell_time_s) or scan.noise_scale == 1.0


def _check_sizes(name: str, scan: Scan, first: RawKSpace) -> None:
    largest = max(*first.data.shape[2:], *(max(_counters(image)) for image in scan.images))
    if largest > LARGEST_COUNT or first.data.shape[1] > 1024:
        raise DataError(
            f"{name}: ISMRMRD counts to {LARGEST_COUNT} and holds 1024 coils; the scan has "
            f"{first.data.shape[1]} coils and counts to {largest}. Split it."
        )


def _counters(image: ImageIndex) -> tuple[int, ...]:
    return (image.slice, image.contrast, image.repetition, image.phase, image.set)


def _header(
    scan: Scan, first: RawKSpace, layout: LineLayout | None, fov_m: Extent | None
) -> ScanHeader:
    """Return the header with the grid and limits of what is written."""
    header = scan.header
    encoded, recon = header.encoded_fov_m or fov_m, header.recon_fov_m or fov_m
    limits = dict(header.limits)
    used = {name: [int(getattr(image, name)) for image in scan.images] for name in _COUNTERS}
    used["average"] = [image.average or 0 for image in scan.images]
    for name, values in used.items():
        low, high, center = limits.get(name, (0, 0, 0))
        if name in limits or name in _ALWAYS_LIMITED or max(values) > 0:
            limits[name] = (min(low, *values), max(high, *values), center)
    if layout is None:
        n_lines = int(first.data.shape[-2])
        limits["kspace_encoding_step_1"] = (0, n_lines - 1, n_lines // 2)
        limits.pop("kspace_encoding_step_2", None)
        return dataclasses.replace(header, encoded_fov_m=encoded, recon_fov_m=recon, limits=limits)
    n_z, n_y, n_x = (int(n) for n in first.data.shape[-3:])
    limits.setdefault("kspace_encoding_step_0", (0, n_x - 1, n_x // 2))
    limits |= layout.limits
    return dataclasses.replace(
        header,
        encoded_matrix=(n_z, n_y, n_x),
        recon_matrix=(min(header.recon_matrix[0], n_z), *header.recon_matrix[1:]),
        encoded_fov_m=encoded,
        recon_fov_m=recon,
        limits=limits,
    )


def _assumed_spacing(scan: Scan, first: RawKSpace, fov_m: Extent | None) -> float:
    """Return the step for slices whose place is not known, so that they do not lie in each other.

    Slices that have positions of their own keep them.
    """
    if scan.n_slices == 1:
        return 0.0
    geometry, second = first.geometry, scan.kspace(1).geometry
    if geometry is None or second is None:
        return 0.0 if fov_m is None else fov_m[0]
    step = np.subtract(second.position_m, geometry.position_m)
    if geometry.is_known or float(np.abs(step).max()) > _SAME_PLACE_M:
        return 0.0
    return geometry.voxel_size_m[0] * int(first.data.shape[-3])


def _write_noise(data: Any, plan: _Plan) -> None:
    """Write noise readouts of equal length, at the dwell time that gives the variance factor."""
    scan = plan.scan
    if scan.noise is None:
        return
    noise = scan.noise.numpy()
    noise = np.conj(noise) if plan.is_conjugated else noise
    dwell_time_s = scan.header.dwell_time_s or 0.0
    dwell_time_s *= (scan.header.relative_noise_bandwidth or 1.0) / scan.noise_scale
    total = noise.shape[1]
    length = next(n for n in range(min(total, LARGEST_COUNT), 0, -1) if total % n == 0)
    for start in range(0, total, length):
        part = np.ascontiguousarray(noise[:, start : start + length])
        append_records(data, noise_record(part, noise.shape[0], dwell_time_s))


def _write_image(data: Any, plan: _Plan, number: int, raw: RawKSpace) -> None:
    if plan.layout is None:
        groups = [_along_trajectory(plan, raw)]
    else:
        groups = lines_of_grid(raw, plan.layout)
    if plan.is_conjugated:
        for group in groups:
            group["data"] = _conjugated(group["data"])
    rows = np.concatenate(groups)
    heads = rows["head"]
    _set_counters(heads, plan.scan.images[number])
    heads["sample_time_us"] = 1e6 * (plan.scan.header.dwell_time_s or 0.0)
    rank = number % plan.scan.n_slices - plan.scan.n_slices // 2
    _set_place(heads, raw.geometry, rank * plan.spacing_m)
    is_image = (heads["flags"] & flag_bit(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)) == 0
    _mark_ends(heads, np.flatnonzero(is_image), number, plan.scan)
    append_records(data, rows)


def _conjugated(rows: npt.NDArray[np.object_]) -> npt.NDArray[np.object_]:
    conjugated = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        conjugated[i] = np.conj(row.view(np.complex64)).view(np.float32)
    return conjugated


def _along_trajectory(plan: _Plan, raw: RawKSpace) -> npt.NDArray[np.void]:
    """Return readouts with their positions, in the order of acquisition."""
    coils, n0 = int(raw.data.shape[1]), int(raw.data.shape[-1])
    matrix = plan.header.encoded_matrix
    samples = raw.data[0].reshape(coils, -1, n0).swapaxes(0, 1).contiguous().numpy()
    positions = torch.as_tensor(raw.trajectory)[0].reshape(-1, n0, 3).numpy()
    fractions = positions / np.array(matrix, dtype=np.float64)
    if np.abs(fractions).max() <= _NORMALISED:
        positions = fractions.astype(np.float32)
    n_used = 3 if matrix[0] > 1 else 2
    heads = blank_heads(len(samples), coils, n0)
    heads["trajectory_dimensions"] = n_used
    heads["center_sample"] = n0 // 2
    heads["idx"]["kspace_encode_step_1"] = np.arange(len(samples))
    return records(heads, samples, np.ascontiguousarray(positions[..., ::-1][..., :n_used]))


def _set_counters(heads: npt.NDArray[np.void], image: ImageIndex) -> None:
    for name, value in zip(_COUNTERS, _counters(image), strict=True):
        heads["idx"][name] = value
    heads["idx"]["average"] = image.average or 0


def _set_place(heads: npt.NDArray[np.void], geometry: Geometry | None, offset_m: float) -> None:
    """Set directions and position [mm], LPS."""
    known = geometry or Geometry(voxel_size_m=(1e-3, 1e-3, 1e-3), is_known=False)
    directions = directions_of(known)
    heads["position"] = 1e3 * (np.array(known.position_m) + offset_m * directions[2])
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = directions


def _mark_ends(
    heads: npt.NDArray[np.void], lines: npt.NDArray[np.intp], number: int, scan: Scan
) -> None:
    """Flag the first and last image line of slice, repetition and measurement."""
    rank, flags = number % scan.n_slices, heads["flags"]
    flags[lines[0]] |= flag_bit(ismrmrd.ACQ_FIRST_IN_SLICE)
    flags[lines[-1]] |= flag_bit(ismrmrd.ACQ_LAST_IN_SLICE)
    if rank == 0:
        flags[lines[0]] |= flag_bit(ismrmrd.ACQ_FIRST_IN_REPETITION)
    if rank == scan.n_slices - 1:
        flags[lines[-1]] |= flag_bit(ismrmrd.ACQ_LAST_IN_REPETITION)
    if number == len(scan.images) - 1:
        flags[lines[-1]] |= flag_bit(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
