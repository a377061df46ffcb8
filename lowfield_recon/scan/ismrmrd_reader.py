"""ISMRMRD (MRD version 1) raw data in HDF5: headers are read at once, samples when needed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowfield_recon.errors import DataError
from lowfield_recon.scan.counters import mend_counters
from lowfield_recon.scan.hdf5 import open_hdf5
from lowfield_recon.scan.header import header_record, receiver_channels, repair_header
from lowfield_recon.scan.header_evidence import Evidence
from lowfield_recon.scan.header_user_parameters import is_orientation_unknown
from lowfield_recon.scan.images import ImageMembers, sort_into_images
from lowfield_recon.scan.ismrmrd_source import IsmrmrdSource
from lowfield_recon.scan.orientation import SliceStack, stack_slices
from lowfield_recon.scan.oversampling import reconcile_readout
from lowfield_recon.scan.placement import Placement, place_readouts
from lowfield_recon.scan.readout_headers import find_data_set, read_headers
from lowfield_recon.scan.readouts import ReadoutFile
from lowfield_recon.scan.records import Extent, Repair, Scan, ScanHeader, Shape
from lowfield_recon.scan.selected import Heads, SelectedReadouts, read_noise
from lowfield_recon.scan.selection import (
    LAST_IN_MEASUREMENT,
    Selection,
    encoding_space_of_image,
    has_flag,
    select_readouts,
)
from lowfield_recon.scan.sign import is_conjugated
from lowfield_recon.scan.stored_trajectory import (
    CARTESIAN,
    kind_of_trajectory,
    partition_of,
    trajectory_scale,
)

_LIMIT_COUNTERS = {
    "kspace_encode_step_1": "kspace_encoding_step_1",
    "kspace_encode_step_2": "kspace_encoding_step_2",
    **{
        name: name
        for name in ("average", "slice", "contrast", "phase", "repetition", "set", "segment")
    },
}
_LARGEST_EXPANSION = 256
_LARGEST_GRID_BYTES = 16 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class IsmrmrdOptions:
    """What the caller says about an ISMRMRD file."""

    key: str | None = None
    """Group to read; None takes the newest."""

    field_strength_t: float | None = None
    """Main field [T] instead of the header's."""

    fov_m: Extent | None = None
    """Encoded field of view (z, y, x) [m] where the header has none."""

    matrix: Shape | None = None
    """Encoded matrix (z, y, x) where the header has none."""


def load_ismrmrd(path: Path, options: IsmrmrdOptions) -> Scan:
    """Read the headers of an ISMRMRD file and decide which readout goes where.

    Parameters
    ----------
    path
        The file.
    options
        What the caller says about it.

    Returns
    -------
        The scan; its samples are read one image at a time.

    Raises
    ------
    DataError
        If the file is damaged, holds no image, or has a defect that cannot be mended.
    """
    notes: list[str] = []
    heads, selection, selected, repairs = _read_and_select(path, options, notes)
    header = selected.header
    noise, noise_scale, noise_notes = read_noise(heads, selection, header, selected.file)
    placement, placed = _place(selected, notes)
    stack = stack_slices(selected.heads[selected.is_image])
    members = sort_into_images(selected, stack)
    source = _source(selected, selection.n_samples, members, stack, placement)
    if placement is None:
        source = _with_trajectory(source, selected, notes, path.name)
    else:
        _check_grid(source, placement.shape, path.name)
    return Scan(
        path=path,
        format="ismrmrd",
        header=header,
        images=members.images,
        source=source,
        n_slices=members.n_slices,
        repairs=(*repairs, *placed),
        assumptions=(*notes, *stack.assumptions, *members.assumptions, *noise_notes),
        dropped=selection.dropped,
        n_readouts=int(selection.image.size),
        noise=noise,
        noise_scale=noise_scale,
    )


def _read_and_select(
    path: Path, options: IsmrmrdOptions, notes: list[str]
) -> tuple[Heads, Selection, SelectedReadouts, tuple[Repair, ...]]:
    """Read all headers, mend the XML one, and choose the readouts."""
    where = path.name
    with open_hdf5(path) as file:
        group, groups = find_data_set(file, options.key, where)
        xml, heads = read_headers(file, group, where)
    if len(groups) > 1:
        notes.append(
            f"Of the data sets {', '.join(groups)}, '{group}' was read; key chooses another."
        )
    space = encoding_space_of_image(heads, where)
    root, repairs = repair_header(xml, _evidence(heads, space, where, options))
    if is_orientation_unknown(root):
        for direction in ("read_dir", "phase_dir", "slice_dir"):
            heads[direction] = 0
    selection = select_readouts(
        heads, encoding_space=space, receiver_channels=receiver_channels(root), where=where
    )
    images = heads[selection.image]
    header = header_record(
        root, encoding=space, n_coils=selection.n_coils, where=where, notes=notes
    )
    header = _with_dwell_time(header, images, notes)
    reader = ReadoutFile(
        path=path, group=group, is_conjugated=is_conjugated("ismrmrd", header.vendor)
    )
    selected = SelectedReadouts.choose(heads, selection, header, reader)
    kind, mended = kind_of_trajectory(selected, notes, where)
    header = dataclasses.replace(header, trajectory=kind)
    repairs = (*repairs, *mended)
    if header.trajectory in CARTESIAN:
        header, mended = reconcile_readout(header, images, selection.n_samples)
        mended_heads, header, counted = mend_counters(selected.heads, selected.is_image, header)
        selected = dataclasses.replace(selected, heads=mended_heads)
        repairs = (*repairs, *mended, *counted)
    if reader.is_conjugated:
        notes.append(
            f"Samples of the vendor {header.vendor} are conjugated; its sign is the other one."
        )
    if not bool(has_flag(heads, LAST_IN_MEASUREMENT).any()):
        notes.append(
            "No readout is marked as the last one, so the file does not say if it is complete."
        )
    return heads, selection, dataclasses.replace(selected, header=header), repairs


def _source(
    selected: SelectedReadouts,
    n_samples: int,
    members: ImageMembers,
    stack: SliceStack,
    placement: Placement | None,
) -> IsmrmrdSource:
    orientations = dict(zip(stack.counters, stack.orientations, strict=True))
    return IsmrmrdSource(
        file=selected.file,
        header=selected.header,
        indices=selected.indices,
        n_stored=selected.heads["number_of_samples"].astype(np.int64),
        discard_pre=selected.heads["discard_pre"].astype(np.int64),
        n_samples=n_samples,
        images=members.readouts,
        calibration=members.calibration,
        orientations=[orientations[image.slice] for image in members.images],
        slice_spacing_m=stack.spacing_m,
        placement=placement,
    )


def _evidence(heads: Heads, space: int, where: str, options: IsmrmrdOptions) -> Evidence:
    of_space = heads[heads["encoding_space_ref"] == space]
    return Evidence(
        where=where,
        counters={
            name: (int(of_space["idx"][counter].min()), int(of_space["idx"][counter].max()))
            for counter, name in _LIMIT_COUNTERS.items()
        },
        has_trajectory=bool((of_space["trajectory_dimensions"] > 0).any()),
        matrix=options.matrix,
        fov_m=options.fov_m,
        field_strength_t=options.field_strength_t,
    )


def _with_dwell_time(header: ScanHeader, heads: Heads, notes: list[str]) -> ScanHeader:
    dwell_time_us = float(heads["sample_time_us"][0])
    if not 0.1 <= dwell_time_us < 1e5:
        notes.append(f"sample_time_us is {dwell_time_us:g}; the dwell time is not known.")
        return header
    return dataclasses.replace(header, dwell_time_s=1e-6 * dwell_time_us)


def _place(
    selected: SelectedReadouts, notes: list[str]
) -> tuple[Placement | None, tuple[Repair, ...]]:
    """Place Cartesian readouts; None for stored trajectories."""
    header = selected.header
    if header.trajectory not in CARTESIAN:
        return None, ()
    is_volume = np.unique(selected.counter("kspace_encode_step_2")).size > 1
    if header.encoded_matrix[0] > 1 and not is_volume:
        notes.append(
            f"The encoded matrix has {header.encoded_matrix[0]} partitions, but all readouts have "
            "the same kspace_encode_step_2; they were read as two-dimensional slices."
        )
    placement = place_readouts(selected.heads, header, selected.energy, is_volume=is_volume)
    notes.extend(placement.assumptions)
    if selected.is_calibration.any() and not selected.is_calibration[selected.is_image].all():
        notes.append("Calibration-only lines serve the coil maps and are no part of the images.")
    return placement, placement.repairs


def _with_trajectory(
    source: IsmrmrdSource, selected: SelectedReadouts, notes: list[str], where: str
) -> IsmrmrdSource:
    matrix = selected.header.encoded_matrix
    scale = trajectory_scale(selected, matrix, notes, where)
    return dataclasses.replace(
        source,
        trajectory_scale=scale,
        partition=partition_of(selected, len(scale), matrix),
        n_stored_dimensions=int(selected.heads["trajectory_dimensions"][0]),
    )


def _check_grid(source: IsmrmrdSource, shape: Shape, where: str) -> None:
    """Refuse a grid that the samples could not fill, before it is allocated."""
    points = shape[0] * shape[1] * shape[2]
    n_bytes = 8 * points * source.header.n_coils
    held = max(members.size for members in source.images) * source.n_samples
    if points > _LARGEST_EXPANSION * held or n_bytes > _LARGEST_GRID_BYTES:
        raise DataError(
            f"{where}: the grid (z, y, x) = {shape} of {source.header.n_coils} coils would take "
            f"{n_bytes / 2**30:.3g} GiB, but an image has {held} samples per coil; expected a "
            "matrix that fits the data. Mend encodedSpace/matrixSize or the encoding limits."
        )
