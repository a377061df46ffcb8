"""M4Raw (0.3 T brain, four coils): the fastMRI layout with a header and axes of its own."""

from __future__ import annotations

import dataclasses
import glob
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.fastmri_file import FastMriLayout, read_layout, read_slice
from lowfield_recon.scan.fastmri_header import FastMriOptions, fastmri_header
from lowfield_recon.scan.fastmri_padding import column_levels
from lowfield_recon.scan.fastmri_reader import columns_of, grid_of, scan_of
from lowfield_recon.scan.fastmri_source import FastMriSource
from lowfield_recon.scan.m4raw_header import (
    SLICE_SPACING_M,
    SLICE_THICKNESS_M,
    M4RawValues,
    mend_m4raw,
    merged_unknown,
)
from lowfield_recon.scan.records import Repair, Scan, ScanHeader
from lowfield_recon.scan.sign import is_conjugated

_REPETITION = re.compile(r"(.+_(?:FLAIR|GRE|T1|T2))(\d\d)")
_SAME_LENGTH = 0.02


def load_m4raw(path: Path, options: FastMriOptions) -> Scan:
    """Read what a file of the M4Raw data set holds: one repetition of one contrast.

    Which axis is the phase encoding is decided by the zero-filled lines, not by the header's
    label. The k-space centre is left where it is.

    Parameters
    ----------
    path
        The file.
    options
        What the caller says about it.

    Returns
    -------
        The scan; its slices are read one at a time.

    Raises
    ------
    DataError
        If the file is damaged or its arrays have other shapes.

    References
    ----------
    Lyu M et al. M4Raw: A multi-contrast, multi-repetition, multi-channel MRI k-space dataset for
    low-field MRI research. Sci Data 2023;10:264. https://doi.org/10.1038/s41597-023-02181-4
    """
    layout = read_layout(path)
    notes = [
        "The orientation is not known; axes x and y stand for readout and phase encoding, slices "
        "stay in the file's order."
    ]
    middle = read_slice(path, "kspace", layout.n_slices // 2)
    is_readout_last = _is_readout_last(middle, notes)
    levels = column_levels(middle if is_readout_last else middle.swapaxes(-1, -2))
    grid = grid_of(layout, levels, is_readout_last=is_readout_last)
    document, values = layout.document, M4RawValues()
    mended: tuple[Repair, ...] = ()
    if document is not None:
        document, values, mended = mend_m4raw(document, layout.n_slices, path.name)
    header, repairs = fastmri_header(layout, grid, options, notes, document=document)
    header = _with_dwell_time(header, values, notes)
    columns, disagreement = columns_of(layout, levels, header, repairs, notes)
    notes.extend(_repetitions(path))
    source = FastMriSource(
        path=path,
        matrix=header.encoded_matrix,
        columns=columns,
        is_readout_last=is_readout_last,
        is_conjugated=is_conjugated("m4raw", header.vendor),
        targets=layout.targets,
        fov_m=header.encoded_fov_m,
        spacing_m=_slice_spacing(header, values, layout, notes),
        offset_m=_offset(values, notes),
    )
    repairs = merged_unknown((*mended, *repairs, *disagreement))
    return scan_of(layout, header, source, repairs, notes, format_name="m4raw")


def _is_readout_last(values: npt.NDArray[np.complex64], notes: list[str]) -> bool:
    """Find the axis with zero-filled lines at its ends; that is the phase encoding."""
    rows, columns = (_zeros_at_ends(values, axis) for axis in (-2, -1))
    if (rows > 0) == (columns > 0):
        notes.append(
            "The zero-filled lines do not tell which axis is the phase encoding; the last one was "
            "taken, as in the other files of the data set."
        )
        return False
    n = rows or columns
    notes.append(
        f"The {'last axis but one' if rows else 'last axis'} is the phase encoding: {n} lines at "
        "its ends are zero-filled. The header's label of the axes was not used."
    )
    return rows > 0


def _zeros_at_ends(values: npt.NDArray[np.complex64], axis: int) -> int:
    other = tuple(i for i in range(values.ndim) if i != values.ndim + axis)
    with np.errstate(invalid="ignore"):  # damaged values are refused on reading
        held = np.flatnonzero((values != 0).any(axis=other))
    return int(held[0] + values.shape[axis] - 1 - held[-1]) if held.size else 0


def _with_dwell_time(header: ScanHeader, values: M4RawValues, notes: list[str]) -> ScanHeader:
    bandwidth = values.sampling_bandwidth_hz
    if bandwidth is None:
        return header
    notes.append(
        f"The sampling bandwidth, {1e-3 * bandwidth:g} kHz, was taken as that of the whole "
        "readout: one sample per period."
    )
    return dataclasses.replace(header, dwell_time_s=1 / bandwidth)


def _slice_spacing(
    header: ScanHeader, values: M4RawValues, layout: FastMriLayout, notes: list[str]
) -> float | None:
    """Return the header's spacing, or that of the data set where the thickness is the set's."""
    fov = header.encoded_fov_m
    if values.slice_spacing_m is not None or fov is None or layout.n_slices == 1:
        return values.slice_spacing_m
    if abs(fov[0] - SLICE_THICKNESS_M) > _SAME_LENGTH * SLICE_THICKNESS_M:
        return None
    notes.append(
        f"Slices of {1e3 * SLICE_THICKNESS_M:g} mm lie {1e3 * SLICE_SPACING_M:g} mm apart, as the "
        "description of M4Raw says; the header does not state the gap."
    )
    return SLICE_SPACING_M


def _offset(values: M4RawValues, notes: list[str]) -> tuple[float, float, float]:
    offset = values.offset_m
    if any(offset):
        x, y, z = (1e3 * length for length in offset)
        notes.append(
            f"The header's off-centre correction, {x:g}, {y:g}, {z:g} mm along x, y, z, is in the "
            "position and does not move the image."
        )
    return offset


def _repetitions(path: Path) -> list[str]:
    """Name the files beside this one that are repetitions of the same scan."""
    match = _REPETITION.fullmatch(path.stem)
    if match is None:
        return []
    pattern = f"{glob.escape(match[1])}[0-9][0-9]{glob.escape(path.suffix)}"
    found = sorted(other.name for other in path.absolute().parent.glob(pattern))
    if len(found) < 2:
        return []
    return [f"Files {', '.join(found)} are repetitions of the same scan; each was read by itself."]
