"""The blur effect of one image, in memory that is allocated once and walked through in order.

Differences of a running mean need only the four pixels at its ends. Both directions work on a
mirrored copy of the smoothed image by offsets into the flattened memory; positions that wrap
around an edge are never counted.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray

from lowfield_recon.evaluation.arrays import Mask

Plane: TypeAlias = NDArray[Any]

_SIZE = 11
_RADIUS = _SIZE // 2
_BEFORE, _AFTER = _RADIUS - 1, _RADIUS
"""Mirrored pixels before and after the image, so many as the differences that count reach."""


class BlurPlanes:
    """Memory for images of one size.

    Parameters
    ----------
    ny
        Rows.
    nx
        Columns.
    dtype
        In which is computed.
    """

    def __init__(self, ny: int, nx: int, dtype: type[numpy.floating[Any]]) -> None:
        """Allocate it."""
        self._size = ny, nx
        self._two = numpy.empty((ny, nx), dtype=dtype)
        self._rows = _mirrored(ny)
        self._columns = _mirrored(nx)
        self._tall = numpy.zeros((ny + _BEFORE + _AFTER, nx), dtype=dtype)
        self._wide = numpy.zeros((ny, nx + _BEFORE + _AFTER), dtype=dtype)
        self._scratch = numpy.zeros((2, max(self._tall.size, self._wide.size)), dtype=dtype)

    def blur_effect(self, x: Plane, kept: Mask | None) -> float:
        """Return the larger blur effect of both directions.

        Parameters
        ----------
        x
            Image `(y, x)`, contiguous.
        kept
            Pixels that count, or None for all.

        Returns
        -------
            0 (sharp) to 1 (blurred); NaN where no neighbours differ.
        """
        inner = None if kept is None else kept[2:-1, 2:-1]
        effects = (self._along_y(x, inner), self._along_x(x, inner))
        return max((effect for effect in effects if not math.isnan(effect)), default=math.nan)

    def _along_y(self, x: Plane, kept: Mask | None) -> float:
        ny, nx = self._size
        source, two = x.reshape(-1), self._two.reshape(-1)
        smooth = self._tall[_BEFORE : _BEFORE + ny]
        numpy.add(source[:-1], source[1:], out=two[:-1])
        numpy.add(two[:-2], two[1:-1], out=smooth.reshape(-1)[1:-1])
        self._tall[:_BEFORE] = smooth[self._rows[0]]
        self._tall[_BEFORE + ny :] = smooth[self._rows[1]]
        # The first position is that of row 2, so that no difference reaches outside.
        edges, blurred = self._differences(self._tall, nx)
        shape, counted = (ny - 3, nx), (slice(0, ny - 3), slice(2, nx - 1))
        return _effect(edges, blurred, shape, counted, kept)

    def _along_x(self, x: Plane, kept: Mask | None) -> float:
        ny, nx = self._size
        two = numpy.add(x[:-1], x[1:], out=self._two[:-1])
        smooth = self._wide[1 : ny - 1]
        numpy.add(two[:-1], two[1:], out=smooth[:, _BEFORE : _BEFORE + nx])
        image = smooth[:, _BEFORE : _BEFORE + nx]
        smooth[:, :_BEFORE] = image[:, self._columns[0]]
        smooth[:, _BEFORE + nx :] = image[:, self._columns[1]]
        edges, blurred = self._differences(self._wide, 1)
        counted = slice(2, ny - 1), slice(0, nx - 3)
        return _effect(edges, blurred, self._wide.shape, counted, kept)

    def _differences(self, mirrored: Plane, step: int) -> tuple[Plane, Plane]:
        """Return moduli of differences of pixels and of running means, from position 2 on."""
        flat = mirrored.reshape(-1)
        centre = _BEFORE + 2
        n = flat.size - (centre + _RADIUS + 1) * step
        edges, blurred = (scratch[:n] for scratch in self._scratch)

        def at(offset: int) -> Plane:
            start = (centre + offset) * step
            return flat[start : start + n]

        numpy.subtract(at(1), at(-1), out=edges)
        numpy.add(at(_RADIUS + 1), at(_RADIUS), out=blurred)
        blurred -= at(-_RADIUS)
        blurred -= at(-_RADIUS - 1)
        blurred *= flat.dtype.type(1 / _SIZE)
        numpy.abs(edges, out=edges)
        numpy.abs(blurred, out=blurred)
        return self._scratch[0], self._scratch[1]


def _effect(
    edges: Plane,
    blurred: Plane,
    shape: tuple[int, ...],
    counted: tuple[slice, slice],
    kept: Mask | None,
) -> float:
    """Return how little a running mean takes from the differences d.

    With b the differences of the running mean, ``sum d - sum max(0, d - b)`` is ``sum min(d, b)``.
    """
    n = math.prod(shape)
    edges, blurred = (plane[:n] for plane in (edges, blurred))
    numpy.minimum(edges, blurred, out=blurred)
    d, least = (plane.reshape(shape)[counted] for plane in (edges, blurred))
    if kept is not None:
        d, least = d[kept], least[kept]
    total = float(d.sum())
    return float(least.sum()) / total if total > 0 else math.nan


def _mirrored(n: int) -> tuple[NDArray[numpy.intp], NDArray[numpy.intp]]:
    """Return which pixels of a line of n are repeated before it and after it."""
    indices = numpy.pad(numpy.arange(n), (_BEFORE, _AFTER), mode="symmetric")
    return indices[:_BEFORE], indices[_BEFORE + n :]
