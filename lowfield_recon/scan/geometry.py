"""Where an image sits: the NIfTI affine of a volume, and the volume that slices make up.

References
----------
ISMRMRD raw data format, coordinate system:
https://ismrmrd.readthedocs.io/en/latest/mrd_raw_data.html Inati SJ et al. ISMRM Raw data format.
Magn Reson Med 2017;77:411-421. https://doi.org/10.1002/mrm.26089
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.problem import Geometry

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

_MM_PER_M = 1e3
_ORTHONORMAL = 1e-3
_SPACING = 0.01
_SAME_PLACE_M = 1e-7


def affine_ras(geometry: Geometry, shape_zyx: Sequence[int]) -> Floats:
    r"""Return the matrix that takes voxel indices (x, y, z) to RAS coordinates in mm.

    ``A = diag(-1, -1, 1, 1) [[M, t], [0, 1]]`` with ``M = [r d_x, p d_y, s d_z]`` and
    ``t = position - M c``, ``c = n // 2``: the first factor takes LPS to RAS, and voxel n // 2 lies
    on the position, because the centred Fourier transform has its origin there.

    Parameters
    ----------
    geometry
        Voxel size [m], directions and position [m], LPS. The directions are used as they are, also
        where they are left-handed.
    shape_zyx
        Number of voxels (z, y, x).

    Returns
    -------
        Affine in mm, float64, `(4, 4)`.

    Raises
    ------
    DataError
        If the directions are not orthogonal unit vectors or a voxel size is not positive.

    Examples
    --------
    >>> geometry = Geometry(voxel_size_m=(0.005, 0.002, 0.001), position_m=(0.01, 0.0, 0.0))
    >>> affine_ras(geometry, (1, 4, 8))
    array([[-1.,  0.,  0., -6.],
           [ 0., -2.,  0.,  4.],
           [ 0.,  0.,  5.,  0.],
           [ 0.,  0.,  0.,  1.]])

    References
    ----------
    https://ismrmrd.readthedocs.io/en/latest/mrd_raw_data.html
    """
    directions = directions_of(geometry)
    sizes_xyz = np.array(geometry.voxel_size_m[::-1], dtype=np.float64)
    if not (np.isfinite(sizes_xyz).all() and (sizes_xyz > 0).all()):
        raise DataError(
            f"geometry: expected positive voxel sizes (z, y, x) in m, got {geometry.voxel_size_m}."
        )
    matrix = directions.T * sizes_xyz
    centre = np.array([n // 2 for n in reversed(shape_zyx)], dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = np.array(geometry.position_m) - matrix @ centre
    affine[:3] *= _MM_PER_M
    affine[:2] *= -1
    return np.asarray(affine + 0.0, dtype=np.float64)  # adding zero turns -0.0 into 0.0


def directions_of(geometry: Geometry) -> Floats:
    """Return the unit vectors of x, y and z as rows, after checking that they are orthonormal.

    Parameters
    ----------
    geometry
        Geometry with LPS directions.

    Returns
    -------
        Directions, float64, `(3, 3)`; left-handed triads stay left-handed.

    Raises
    ------
    DataError
        If they are not orthogonal unit vectors.

    Examples
    --------
    >>> directions_of(Geometry(voxel_size_m=(1e-3, 1e-3, 1e-3)))[0]
    array([1., 0., 0.])
    """
    rows = np.array(
        [geometry.x_direction, geometry.y_direction, geometry.z_direction], dtype=np.float64
    )
    if not (np.isfinite(rows).all() and np.abs(rows @ rows.T - np.eye(3)).max() < _ORTHONORMAL):
        raise DataError(
            "geometry: expected three orthogonal unit vectors for x, y and z, got "
            f"{rows.round(4).tolist()}; mend the directions or drop them (is_known=False)."
        )
    return rows


def stack_geometry(
    geometries: Sequence[Geometry | None], n_z: int = 1, *, name: str = "slices"
) -> Geometry | None:
    """Return the geometry of the volume that equal slices (or slabs) make when put one on another.

    The spacing along z is measured between the positions, so that gaps count, and z runs the way
    the slices do: where they descend against the stored slice direction, that direction is turned
    round.

    Parameters
    ----------
    geometries
        One per slice, in the order in which they are stacked; None where nothing is known.
    n_z
        Number of voxels along z of each slice or slab.
    name
        What to call them in an error.

    Returns
    -------
        Geometry of the whole, its position that of voxel n // 2; None where any slice has none.
        `is_known` is False where any slice says so, or where all slices claim the same place.

    Raises
    ------
    DataError
        If the slices are not parallel, of equal size and equally spaced along their normal.

    Examples
    --------
    >>> size = (5e-3, 1e-3, 1e-3)
    >>> slices = [Geometry(voxel_size_m=size, position_m=(0, 0, z)) for z in (0, 6e-3)]
    >>> stack_geometry(slices).voxel_size_m[0]
    0.006
    """
    known = [g for g in geometries if g is not None]
    if not known or len(known) < len(geometries):
        return None
    first = known[0]
    if len(known) == 1:
        return first
    if not all(g.is_known for g in known):
        return dataclasses.replace(first, position_m=(0.0, 0.0, 0.0), is_known=False)
    _check_parallel(known, name)
    positions = np.array([g.position_m for g in known], dtype=np.float64)
    step = (positions[-1] - positions[0]) / (len(known) - 1)
    spacing = float(np.linalg.norm(step))
    if np.ptp(positions, axis=0).max() < _SAME_PLACE_M:
        logger.warning(
            "All %d %s claim the same position; the orientation counts as unknown.",
            len(known),
            name,
        )
        return dataclasses.replace(first, is_known=False)
    _check_spacing(positions, step, directions_of(first)[2], name)
    sign = 1.0 if float(step @ directions_of(first)[2]) > 0 else -1.0
    voxel_z = spacing / n_z
    z = tuple(sign * component for component in first.z_direction)
    n_total = len(known) * n_z
    centre = positions[0] + step / n_z * (n_total // 2 - n_z // 2)
    return dataclasses.replace(
        first,
        voxel_size_m=(voxel_z, *first.voxel_size_m[1:]),
        z_direction=(z[0], z[1], z[2]),
        position_m=(float(centre[0]), float(centre[1]), float(centre[2])),
    )


def _check_parallel(known: Sequence[Geometry], name: str) -> None:
    directions = directions_of(known[0])
    in_plane = np.array(known[0].voxel_size_m[1:])
    for g in known[1:]:
        if np.abs(directions_of(g) - directions).max() > _ORTHONORMAL:
            raise DataError(
                f"{name}: they are not parallel, and one NIfTI volume holds parallel ones only; "
                "write them as ISMRMRD images (.h5)."
            )
        if np.abs(np.array(g.voxel_size_m[1:]) / in_plane - 1).max() > _ORTHONORMAL:
            raise DataError(
                f"{name}: their voxel sizes differ; write them as ISMRMRD images (.h5)."
            )


def _check_spacing(positions: Floats, step: Floats, normal: Floats, name: str) -> None:
    """Refuse steps that differ from the mean step, or that leave the normal."""
    spacing = float(np.linalg.norm(step))
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    if spacing < _SAME_PLACE_M or np.abs(steps - step).max() > _SPACING * spacing:
        gaps = ", ".join(f"{_MM_PER_M * gap:.4g}" for gap in sorted(set(along.round(7))))
        raise DataError(
            f"{name}: the steps between neighbours along the normal are {gaps} mm, expected one "
            "step; a NIfTI volume needs equal spacing in spatial order. Write ISMRMRD images "
            "(.h5) instead."
        )
    if abs(float(step @ normal)) < (1 - _ORTHONORMAL) * spacing:
        raise DataError(
            f"{name}: their positions do not follow the slice normal, so they make a sheared "
            "volume; write them as ISMRMRD images (.h5)."
        )
