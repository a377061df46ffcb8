"""fastMRI HDF5 files, single- and multi-coil: headers are read at once, slices when needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.fastmri_file import FastMriLayout, read_layout, read_slice
from lowfield_recon.scan.fastmri_header import FastMriGrid, FastMriOptions, fastmri_header
from lowfield_recon.scan.fastmri_padding import acquired_columns, column_levels
from lowfield_recon.scan.fastmri_source import FastMriSource
from lowfield_recon.scan.records import ImageIndex, Repair, Scan, ScanHeader
from lowfield_recon.scan.sign import is_conjugated


def load_fastmri(path: Path, options: FastMriOptions) -> Scan:
    """Read what a fastMRI file holds.

    The height of its arrays is the readout k0, the width the phase encoding k1. Samples are taken
    as they are, without conjugation, so that the centred inverse transform gives the target.

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
    Zbontar J et al. fastMRI: An Open Dataset and Benchmarks for Accelerated MRI.
    https://doi.org/10.48550/arXiv.1811.08839
    """
    layout = read_layout(path)
    notes = [
        "The orientation is not known; axes x and y stand for readout (height) and phase encoding "
        "(width), slices stay in the file's order."
    ]
    if "reconstruction_esc" in layout.targets:
        notes.append(
            "The single coil is emulated: its samples are sums over the coils of a receiver array."
        )
    middle = read_slice(path, "kspace", layout.n_slices // 2).swapaxes(-1, -2)
    levels = column_levels(middle)
    grid = grid_of(layout, levels, is_readout_last=False)
    header, repairs = fastmri_header(layout, grid, options, notes, document=layout.document)
    columns, disagreement = columns_of(layout, levels, header, repairs, notes)
    source = FastMriSource(
        path=path,
        matrix=header.encoded_matrix,
        columns=columns,
        is_conjugated=is_conjugated("fastmri", header.vendor),
        targets=layout.targets,
        fov_m=header.encoded_fov_m,
    )
    return scan_of(layout, header, source, (*repairs, *disagreement), notes)


def grid_of(
    layout: FastMriLayout, levels: npt.NDArray[np.float64], *, is_readout_last: bool
) -> FastMriGrid:
    """Name the axes of a file's array.

    Parameters
    ----------
    layout
        What the file holds.
    levels
        Largest magnitude of every phase encoding of one slice.
    is_readout_last
        Whether the readout is the last stored axis.

    Returns
    -------
        Sizes along phase encoding and readout, and the target's (y, x).
    """
    sizes = (layout.height, layout.width)
    n_k1, n_k0 = sizes if is_readout_last else sizes[::-1]
    held = np.flatnonzero(levels)
    target = next(iter(layout.targets.values()), None)
    if target is not None and not is_readout_last:
        target = (target[1], target[0])
    return FastMriGrid(
        n_slices=layout.n_slices,
        n_coils=layout.n_coils,
        n_k1=n_k1,
        n_k0=n_k0,
        ends=(int(held[0]), int(held[-1])) if held.size else (0, n_k1 - 1),
        target=target,
    )


def columns_of(
    layout: FastMriLayout,
    levels: npt.NDArray[np.float64],
    header: ScanHeader,
    repairs: tuple[Repair, ...],
    notes: list[str],
) -> tuple[npt.NDArray[np.bool_], tuple[Repair, ...]]:
    """Decide which phase encodings can count as acquired in any slice.

    Parameters
    ----------
    layout
        What the file holds.
    levels
        Largest magnitude of every phase encoding of the middle slice.
    header
        The header.
    repairs
        Repairs of the header; limits that were rebuilt from the data tell nothing about them.
    notes
        Sentences about what was decided are appended here.

    Returns
    -------
        Bool `(k1,)`, and the disagreement between limits and data as a repair.
    """
    is_rebuilt = any(repair.code == "encoding-limits-missing" for repair in repairs)
    limits = None if is_rebuilt else header.limits.get("kspace_encoding_step_1")
    return acquired_columns(levels, limits, layout.mask, notes)


def scan_of(
    layout: FastMriLayout,
    header: ScanHeader,
    source: FastMriSource,
    repairs: tuple[Repair, ...],
    notes: list[str],
    *,
    format_name: str = "fastmri",
) -> Scan:
    """Put the record of a file of the family together.

    Parameters
    ----------
    layout
        What the file holds.
    header
        The header.
    source
        Reads samples and targets.
    repairs
        All repairs.
    notes
        All assumptions.
    format_name
        Name of the format.

    Returns
    -------
        The scan.
    """
    return Scan(
        path=layout.path,
        format=format_name,
        header=header,
        images=tuple(ImageIndex(slice=index) for index in range(layout.n_slices)),
        source=source,
        n_slices=layout.n_slices,
        repairs=repairs,
        assumptions=tuple(notes),
        targets=tuple(layout.targets),
        target_source=source if layout.targets else None,
        target_maximum=layout.maximum,
    )
