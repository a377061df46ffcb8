"""Order and orientation of slices, from the positions and directions in the readout headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.records import Extent, Shape
from lowfield_recon.scan.selection import REVERSED, has_flag

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry

Floats = npt.NDArray[np.float64]

_DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceOrientation:
    """Where one slice or volume sits, LPS."""

    directions: Floats
    """Rows are the unit vectors of readout, phase encoding and slice, `(3, 3)`."""

    position_m: Floats
    """Centre [m], `(3,)`."""

    is_known: bool
    """False where the file has no directions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceStack:
    """Slices of a scan in spatial order."""

    counters: tuple[int, ...]
    """Slice counter of each slice, in spatial order."""

    orientations: tuple[SliceOrientation, ...]
    """Orientation of each slice, in the same order."""

    spacing_m: float | None
    """Distance between neighbouring slices, gap included [m]; None where it is not known."""

    assumptions: tuple[str, ...]
    """What was decided without the file saying so."""


def stack_slices(heads: npt.NDArray[np.void]) -> SliceStack:
    """Sort the slices by their position along the slice normal.

    Parameters
    ----------
    heads
        Headers of the image readouts.

    Returns
    -------
        Slices in spatial order; in the order of their counters where positions do not tell.
    """
    counters = np.unique(heads["idx"]["slice"])
    found = [_orientation(heads[heads["idx"]["slice"] == counter]) for counter in counters]
    notes = []
    if not all(o.is_known for o in found):
        notes.append(
            "The readouts carry no usable directions; the orientation is not known and axes x, "
            "y, z stand for readout, phase encoding and slice."
        )
    normal = found[0].directions[2]
    along = np.array([float(o.position_m @ normal) for o in found])
    is_parallel = all(abs(float(o.directions[2] @ normal)) > 0.999 for o in found)
    order = np.arange(counters.size)
    spacing = None
    if counters.size > 1:
        gaps = np.diff(np.sort(along))
        if not is_parallel:
            notes.append("The slices are not parallel; they stay in the order of their counters.")
        elif gaps.max() < 1e-6:
            notes.append(
                "All slices have the same position along their normal; they stay in the order of "
                "their counters."
            )
        else:
            order = np.argsort(along, kind="stable")
            spacing = float(gaps.mean())
            if float(np.abs(gaps - spacing).max()) > max(0.01 * spacing, 1e-5):
                notes.append(
                    f"The slices are not equally spaced ({1e3 * gaps.min():.3g} to "
                    f"{1e3 * gaps.max():.3g} mm); the mean stands for all."
                )
    return SliceStack(
        counters=tuple(int(counters[i]) for i in order),
        orientations=tuple(found[i] for i in order),
        spacing_m=spacing,
        assumptions=tuple(notes),
    )


def geometry_of(
    orientation: SliceOrientation | None,
    *,
    fov_m: Extent | None,
    matrix: Shape,
    slice_spacing_m: float | None,
) -> Geometry | None:
    """Return the geometry of an image on the encoded grid.

    Parameters
    ----------
    orientation
        Directions and position, or None where the format has none.
    fov_m
        Encoded field of view (z, y, x) [m], or None.
    matrix
        Number of voxels over that field of view (z, y, x).
    slice_spacing_m
        Distance between slices [m]; None takes the field of view along z.

    Returns
    -------
        Geometry, or None where not even the voxel size is known.
    """
    if fov_m is None:
        return None
    from lowfield_recon.problem import (
        Geometry,
    )  # loads torch operators: only where samples are read

    voxel = [length / n for length, n in zip(fov_m, matrix, strict=True)]
    voxel[0] = slice_spacing_m or voxel[0] or voxel[1]
    size = (voxel[0], voxel[1], voxel[2])
    if orientation is None:
        return Geometry(voxel_size_m=size, is_known=False)
    x, y, z = ((float(d[0]), float(d[1]), float(d[2])) for d in orientation.directions)
    p = orientation.position_m
    return Geometry(
        voxel_size_m=size,
        x_direction=x,
        y_direction=y,
        z_direction=z,
        position_m=(float(p[0]), float(p[1]), float(p[2])),
        is_known=orientation.is_known,
    )


def _orientation(heads: npt.NDArray[np.void]) -> SliceOrientation:
    forward = heads[~has_flag(heads, REVERSED)]
    head = forward[0] if forward.size else heads[0]
    directions = np.array([head[name] for name in _DIRECTIONS], dtype=np.float64)
    position = 1e-3 * np.asarray(head["position"], dtype=np.float64)
    if not np.isfinite(position).all():
        position = np.zeros(3)
    lengths = np.linalg.norm(directions, axis=1)
    is_known = bool(np.isfinite(directions).all() and np.abs(lengths - 1).max() < 0.01)
    if is_known:
        directions = directions / lengths[:, None]
        is_known = bool(np.abs(directions @ directions.T - np.eye(3)).max() < 0.01)
    return SliceOrientation(
        directions=directions if is_known else np.eye(3), position_m=position, is_known=is_known
    )
