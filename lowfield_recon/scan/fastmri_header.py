"""The header of a file of the fastMRI family: mended, and fitted to the array it belongs to."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from lowfield_recon.errors import DataError
from lowfield_recon.scan.fastmri_file import FastMriLayout
from lowfield_recon.scan.header import header_record, repair_header
from lowfield_recon.scan.header_evidence import Evidence
from lowfield_recon.scan.header_physics import HZ_PER_TESLA
from lowfield_recon.scan.oversampling import reconcile_readout
from lowfield_recon.scan.records import Extent, Repair, ScanHeader, Shape

_SYMMETRIC_READOUT = np.zeros(1, dtype=[("center_sample", "<u2"), ("discard_pre", "<u2")])


@dataclass(frozen=True, slots=True, kw_only=True)
class FastMriOptions:
    """What the caller says about a file of the fastMRI family."""

    field_strength_t: float | None = None
    """Main field [T] instead of the header's."""

    fov_m: Extent | None = None
    """Encoded field of view (z, y, x) [m] where the header has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastMriGrid:
    """The array of a file, axes named."""

    n_slices: int
    n_coils: int

    n_k1: int
    """Phase encodings, zero-filled ones included."""

    n_k0: int
    """Samples of a readout."""

    ends: tuple[int, int]
    """First and last phase encoding that holds data."""

    target: tuple[int, int] | None = None
    """Size (y, x) of the target, or None."""


def fastmri_header(
    layout: FastMriLayout,
    grid: FastMriGrid,
    options: FastMriOptions,
    notes: list[str],
    *,
    document: bytes | None,
) -> tuple[ScanHeader, tuple[Repair, ...]]:
    """Read the header tolerantly; without a usable one, sizes come from the arrays.

    Parameters
    ----------
    layout
        What the file holds.
    grid
        Its array.
    options
        What the caller says.
    notes
        Sentences about what was decided are appended here.
    document
        The header's XML, mended where its data set needs it, or None.

    Returns
    -------
        The header, whose encoded matrix is that of the array, and the repairs made.
    """
    where = layout.path.name
    if document is None:
        missing = Repair(
            code="header-missing",
            message="The file has no ismrmrd_header; sizes were taken from its arrays, field and "
            "timing are not known.",
        )
        return _named(_header_of_arrays(grid, options), layout), (missing,)
    evidence = Evidence(
        where=where,
        counters={"kspace_encoding_step_1": grid.ends, "slice": (0, grid.n_slices - 1)},
        matrix=(1, grid.n_k1, grid.n_k0),
        fov_m=options.fov_m,
        field_strength_t=options.field_strength_t,
    )
    try:
        root, repairs = repair_header(document, evidence)
        header = header_record(root, encoding=0, n_coils=grid.n_coils, where=where, notes=notes)
    except DataError as error:
        reason = str(error).removeprefix(f"{where}: ")
        broken = Repair(
            code="header-unreadable",
            message=f"The header cannot be used ({reason.split(';')[0]}); sizes were taken from "
            "the arrays, field and timing are not known.",
        )
        return _named(_header_of_arrays(grid, options), layout), (broken,)
    header = _slices_of_one(header, grid, notes)
    header, fitted = _fit_to_array(header, grid)
    _note_target(header, grid, notes)
    return _named(header, layout), (*repairs, *fitted)


def _named(header: ScanHeader, layout: FastMriLayout) -> ScanHeader:
    return dataclasses.replace(
        header, protocol=header.protocol or layout.acquisition, trajectory="cartesian"
    )


def _header_of_arrays(grid: FastMriGrid, options: FastMriOptions) -> ScanHeader:
    encoded: Shape = (1, grid.n_k1, grid.n_k0)
    size = grid.target or (grid.n_k1, grid.n_k0)
    recon: Shape = (1, min(size[0], grid.n_k1), min(size[1], grid.n_k0))
    fov = options.fov_m
    cut = None
    if fov is not None:
        cut = (fov[0], fov[1] * recon[1] / encoded[1], fov[2] * recon[2] / encoded[2])
    strength = options.field_strength_t
    return ScanHeader(
        encoded_matrix=encoded,
        recon_matrix=recon,
        encoded_fov_m=fov,
        recon_fov_m=cut,
        field_strength_t=strength,
        larmor_frequency_hz=None if strength is None else HZ_PER_TESLA * strength,
        n_coils=grid.n_coils,
    )


def _slices_of_one(header: ScanHeader, grid: FastMriGrid, notes: list[str]) -> ScanHeader:
    """Give each slice a matrix of one partition: the family holds two-dimensional slices only."""
    n_z = header.encoded_matrix[0]
    if n_z == 1 and header.recon_matrix[0] == 1:
        return header
    notes.append(
        f"The header has {n_z} partitions; the file holds {grid.n_slices} two-dimensional slices."
    )

    def thickness(fov: Extent | None, n: int) -> Extent | None:
        return None if fov is None else (fov[0] / n, fov[1], fov[2])

    return dataclasses.replace(
        header,
        encoded_matrix=(1, *header.encoded_matrix[1:]),
        recon_matrix=(1, *header.recon_matrix[1:]),
        encoded_fov_m=thickness(header.encoded_fov_m, n_z),
        recon_fov_m=thickness(header.recon_fov_m, header.recon_matrix[0]),
    )


def _fit_to_array(header: ScanHeader, grid: FastMriGrid) -> tuple[ScanHeader, tuple[Repair, ...]]:
    """Make the encoded matrix that of the array; more zeros around k-space keep the FOV."""
    header, repairs = reconcile_readout(header, _SYMMETRIC_READOUT, grid.n_k0)
    shape: Shape = (1, grid.n_k1, grid.n_k0)
    if header.encoded_matrix == shape:
        return header, repairs
    old = header.encoded_matrix
    repair = Repair(
        code="encoded-matrix-disagrees",
        message="The encoded matrix is not the size of the array; the array's was used, and the "
        "field of view kept.",
        old=f"{old[2]} x {old[1]}",
        new=f"{grid.n_k0} x {grid.n_k1}",
    )
    return dataclasses.replace(header, encoded_matrix=shape), (*repairs, repair)


def _note_target(header: ScanHeader, grid: FastMriGrid, notes: list[str]) -> None:
    target = grid.target
    if target is None:
        return
    if target != header.recon_matrix[1:]:
        notes.append(
            f"The target has {target[0]} x {target[1]} pixels (y, x), the header's image "
            f"{header.recon_matrix[1]} x {header.recon_matrix[2]}."
        )
    fov, recon_fov = header.encoded_fov_m, header.recon_fov_m
    if fov is None or recon_fov is None or not math.isfinite(fov[2]):
        return
    n, cut = grid.n_k0, round(grid.n_k0 * recon_fov[2] / fov[2])
    if n % 2 == 0 and cut % 2 == 1 and cut < n:
        notes.append(
            f"The target is cut from {n} to {cut} readout pixels as fastMRI does, one pixel before "
            "the centred cut; keep_oversampling and crop_like_target give images on its grid."
        )
