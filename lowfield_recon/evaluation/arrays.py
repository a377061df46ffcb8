"""What the metrics accept as images and masks, and what they refuse."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy
from numpy.typing import NDArray

from lowfield_recon.errors import DataError

Array: TypeAlias = NDArray[numpy.float64]
Mask: TypeAlias = NDArray[numpy.bool_]


def magnitude_of(values: Any, name: str) -> Array:
    """Return the magnitude as a float64 array with at least (y, x), checked for finiteness."""
    array = numpy.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.dtype.kind not in "fciub":
        raise DataError(f"{name}: expected numbers, got an array of {array.dtype}.")
    if array.ndim < 2 or array.size == 0:
        raise DataError(f"{name}: expected (..., y, x) with values, got shape {array.shape}.")
    if not numpy.isfinite(array).all():
        raise DataError(f"{name}: holds NaN or infinite values; expected finite numbers.")
    magnitude = numpy.abs(array) if array.dtype.kind == "c" else array
    return magnitude.astype(numpy.float64)


def magnitude_pair(image: Any, reference: Any) -> tuple[Array, Array]:
    """Return both magnitudes, checked to fit each other, the reference not constant."""
    x, x_ref = magnitude_of(image, "image"), magnitude_of(reference, "reference")
    if x.shape != x_ref.shape:
        raise DataError(
            f"image: expected the shape of the reference {x_ref.shape}, got {x.shape}; "
            "crop or resample one of them first."
        )
    if x_ref.min() == x_ref.max():
        raise DataError(
            f"reference: every pixel is {x_ref.flat[0]:g}; expected an image with contrast."
        )
    return x, x_ref


def check_range(data_range: float) -> None:
    """Refuse a data range that is not a finite number above zero."""
    if not (math.isfinite(data_range) and data_range > 0):
        raise DataError(f"data_range: expected a finite number > 0, got {data_range}.")


def select_pixels(mask: Any, shape: tuple[int, ...]) -> Mask:
    """Return the pixels that count as a bool array of the image's shape."""
    if mask is None:
        return numpy.ones(shape, dtype=bool)
    kept = numpy.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask) != 0
    try:
        kept = numpy.broadcast_to(kept, shape)
    except ValueError as error:
        raise DataError(
            f"mask: expected a shape that broadcasts to the image's {shape}, got {kept.shape}."
        ) from error
    if not kept.any():
        raise DataError("mask: keeps no pixel; expected at least one that is not zero.")
    return kept
