"""Putting single planes of an image file together to volumes, by where they sit."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.geometry import directions_of, stack_geometry

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry

logger = logging.getLogger(__name__)

_SAME_PLACE_M = 1e-5
_PARALLEL = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPlane:
    """One image of a file: a slice or a slab."""

    geometry: Geometry | None
    """Where it sits, or None."""

    number: int
    """Its place in the file's own order of slices."""

    volume: tuple[float, ...] = ()
    """Sorts images of one place: contrast, time, ..."""

    is_slice_number: bool = False
    """Whether `number` counts slices, and not images of all volumes together."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangement:
    """Planes in order."""

    order: npt.NDArray[np.int64]
    """Index of each plane, `(volumes, slices)`."""

    geometry: Geometry | None
    """Geometry of a volume; `is_known` is False where the planes make no regular one."""


def arrange_planes(planes: Sequence[StoredPlane], n_z: int, name: str) -> Arrangement:
    """Sort planes by position along their normal, and those of one place into volumes.

    Positions decide which planes are neighbours. They ascend along the normal (x direction × y
    direction) unless the file's own numbers descend along it: then these decide the sense, so that
    an image written with a left-handed triad keeps the order of its planes.

    Parameters
    ----------
    planes
        The planes, in any order.
    n_z
        Number of voxels along z of each.
    name
        Name of the file or folder, for messages.

    Returns
    -------
        Order and geometry.

    Raises
    ------
    DataError
        If a volume lacks a slice that others have.

    Examples
    --------
    >>> from lowfield_recon.problem import Geometry
    >>> size = (5e-3, 1e-3, 1e-3)
    >>> planes = [
    ...     StoredPlane(geometry=Geometry(voxel_size_m=size, position_m=(0, 0, z)), number=i)
    ...     for i, z in enumerate((5e-3, 0.0, 10e-3))
    ... ]
    >>> arrange_planes(planes, 1, "slices").order
    array([[1, 0, 2]])
    """
    places = _places(planes)
    groups: dict[float, list[int]] = {}
    for index, place in enumerate(places):
        groups.setdefault(place, []).append(index)
    n_volumes = len(next(iter(groups.values())))
    if any(len(group) != n_volumes for group in groups.values()):
        raise DataError(
            f"{name}: {len(planes)} images at {len(groups)} slice positions, which do not all have "
            "equally many; files are missing or belong to another series. Complete it, or keep one "
            "volume only."
        )
    table = np.array(
        [
            sorted(groups[place], key=lambda i: (planes[i].volume, planes[i].number))
            for place in sorted(groups)
        ],
        dtype=np.int64,
    ).T
    numbers = np.array([planes[i].number for i in table[0]])
    if numbers.size > 1 and (np.diff(numbers) < 0).all():
        table = np.ascontiguousarray(table[:, ::-1])
    return Arrangement(
        order=table, geometry=_geometry([planes[i].geometry for i in table[0]], n_z, name)
    )


def _places(planes: Sequence[StoredPlane]) -> list[float]:
    """Return what is the same for planes of one place: position along the normal, or number."""
    along = _positions_along([plane.geometry for plane in planes])
    numbers = [float(plane.number) for plane in planes]
    is_counted = planes[0].is_slice_number and len(set(numbers)) > 1
    if along is None or (is_counted and np.ptp(along) < _SAME_PLACE_M):
        return numbers
    order = np.argsort(along, kind="stable")
    is_new = np.diff(along[order], prepend=along[order[0]]) > _SAME_PLACE_M
    ranks = np.empty(along.size)
    ranks[order] = np.cumsum(is_new)
    return [float(rank) for rank in ranks]


def _positions_along(geometries: Sequence[Geometry | None]) -> npt.NDArray[np.float64] | None:
    """Return the positions along the common normal [m], None where there is no such."""
    known = [g for g in geometries if g is not None and g.is_known]
    if len(known) < len(geometries):
        return None
    first = directions_of(known[0])
    if any(np.abs(directions_of(g)[:2] - first[:2]).max() > _PARALLEL for g in known):
        return None
    positions = np.array([g.position_m for g in known], dtype=np.float64)
    along: npt.NDArray[np.float64] = positions @ np.cross(first[0], first[1])
    return along


def _geometry(geometries: Sequence[Geometry | None], n_z: int, name: str) -> Geometry | None:
    try:
        return stack_geometry(geometries, n_z, name=f"{name}: slices")
    except DataError as error:
        seen = str(error).split("; ")[0].split(", and ")[0]
        logger.warning("%s; the orientation counts as unknown.", seen)
        first = geometries[0]
        if first is None:
            return None
        return dataclasses.replace(first, position_m=(0.0, 0.0, 0.0), is_known=False)
