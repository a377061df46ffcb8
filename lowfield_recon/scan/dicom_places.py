"""Where each plane of a written DICOM series sits.

References
----------
DICOM PS3.3, C.7.6.2 Image Plane Module:
https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.geometry import directions_of, stack_geometry
from lowfield_recon.scan.records import ScanHeader

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry
    from lowfield_recon.scan.writers import Layout

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

_MM_PER_M = 1e3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanePlace:
    """Place of one plane, LPS."""

    position_mm: Floats
    """Centre of the first voxel [mm], `(3,)`."""

    directions: Floats
    """Rows are the unit vectors along a row and along a column of the plane, `(2, 3)`."""

    spacing_mm: tuple[float, float]
    """Distance between rows and between columns [mm]."""

    thickness_mm: float
    """Thickness of the slice [mm]."""

    step_mm: float | None
    """Distance to the neighbouring planes, gap included [mm]; None where there is no one step."""

    is_known: bool
    """False where the place is a default because the file did not say."""

    @property
    def location_mm(self) -> float:
        """Position along the normal (row direction × column direction) [mm]."""
        return float(self.position_mm @ np.cross(*self.directions))


def plane_places(layout: Layout, name: str) -> list[PlanePlace]:
    """Place the planes of one volume in the order in which they are written.

    Slices keep their own positions, so that uneven or tilted stacks stay right; planes of a slab
    follow its z direction. Where any orientation is unknown all are stacked along a default.

    Parameters
    ----------
    layout
        Number, shape, geometries and header of the images.
    name
        Name of the folder, for messages.

    Returns
    -------
        One place per plane.

    Raises
    ------
    DataError
        If directions are not orthogonal or a voxel size is not positive.
    """
    known = [g for g in layout.geometries if g is not None]
    for geometry in known:
        if not all(np.isfinite(d) and d > 0 for d in geometry.voxel_size_m):
            raise DataError(
                f"{name}: expected positive voxel sizes (z, y, x) in m, got "
                f"{geometry.voxel_size_m}."
            )
    step_m, is_known = _step(layout, len(known) == len(layout.geometries), name)
    if not is_known:
        logger.warning(
            "%s: the orientation is not known; a default is written and each file says so.", name
        )
        return _default_places(layout, known, name)
    return [place for g in known for place in _slab(g, layout, step_m)]


def _step(layout: Layout, is_complete: bool, name: str) -> tuple[float | None, bool]:
    """Return the step between planes [m], None for uneven ones, and whether places are known."""
    if not is_complete:
        return None, False
    try:
        whole = stack_geometry(layout.geometries, layout.shape[0], name=f"{name}: slices")
    except DataError:
        for geometry in layout.geometries:
            if geometry is not None:
                directions_of(geometry)
        logger.info("%s: the slices make no regular volume; each keeps its own place.", name)
        return None, True
    if whole is None or not whole.is_known:
        return None, False
    return whole.voxel_size_m[0], True


def _slab(geometry: Geometry, layout: Layout, step_m: float | None) -> list[PlanePlace]:
    directions = directions_of(geometry)
    n_z, n_y, n_x = layout.shape
    d_z, d_y, d_x = geometry.voxel_size_m
    corner = (
        np.array(geometry.position_m)
        - n_x // 2 * d_x * directions[0]
        - n_y // 2 * d_y * directions[1]
    )
    return [
        PlanePlace(
            position_mm=_MM_PER_M * (corner + (plane - n_z // 2) * d_z * directions[2]),
            directions=directions[:2],
            spacing_mm=(_MM_PER_M * d_y, _MM_PER_M * d_x),
            thickness_mm=_thickness_mm(layout, d_z),
            step_mm=None if step_m is None else _MM_PER_M * step_m,
            is_known=True,
        )
        for plane in range(n_z)
    ]


def _default_places(layout: Layout, known: list[Geometry], name: str) -> list[PlanePlace]:
    if not known:
        logger.warning("%s: the voxel size is not known; 1 mm is written.", name)
    d_z, d_y, d_x = known[0].voxel_size_m if known else (1e-3, 1e-3, 1e-3)
    return [
        PlanePlace(
            position_mm=np.array([0.0, 0.0, _MM_PER_M * d_z * plane]),
            directions=np.eye(3)[:2],
            spacing_mm=(_MM_PER_M * d_y, _MM_PER_M * d_x),
            thickness_mm=_thickness_mm(layout, d_z),
            step_mm=_MM_PER_M * d_z,
            is_known=False,
        )
        for plane in range(layout.n_slices * layout.shape[0])
    ]


def _thickness_mm(layout: Layout, voxel_z_m: float) -> float:
    """Return the extent of a 2-D slice as the header has it, else the voxel's, gap included."""
    header = layout.header
    if isinstance(header, ScanHeader) and header.recon_fov_m is not None:
        thickness = header.recon_fov_m[0]
        is_slice = layout.shape[0] == 1 and header.recon_matrix[0] == 1
        if is_slice and np.isfinite(thickness) and thickness > 0:
            return _MM_PER_M * thickness
    return _MM_PER_M * voxel_z_m
