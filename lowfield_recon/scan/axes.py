"""Axes of a raw array, named by its owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError, UsageError, nearest_name

ORDER = ("contrast", "repetition", "slice", "coil", "z", "y", "x")
"""The package's order of axes; z, y, x are k2, k1, k0 of k-space."""

_HELP = (
    "name them in the array's own order from x (readout), y, z, coil, slice, repetition, contrast"
)


def parse_axes(axes: str | Sequence[str], shape: tuple[int, ...]) -> tuple[str, ...]:
    """Check names of axes against an array.

    Parameters
    ----------
    axes
        Words, as one text separated by spaces or commas, or as a sequence. Axes of length one may
        be left out all together.
    shape
        Shape of the array.

    Returns
    -------
        One word for each axis of the array without its axes of length one, or for each axis.

    Raises
    ------
    UsageError
        If a word is unknown, given twice, or their number does not fit.

    Examples
    --------
    >>> parse_axes("y x slice", (128, 126, 4))
    ('y', 'x', 'slice')
    """
    words = tuple(axes.replace(",", " ").split() if isinstance(axes, str) else axes)
    for word in words:
        if word not in ORDER:
            raise UsageError(f"axes: no axis is called '{word}'. {nearest_name(word, ORDER)}")
    if len(set(words)) != len(words):
        raise UsageError(f"axes: '{' '.join(words)}' names an axis twice; {_HELP}.")
    if "x" not in words:
        raise UsageError(f"axes: '{' '.join(words)}' has no x; {_HELP}.")
    if len(words) not in (len(shape), len(_squeezed(shape))):
        raise UsageError(
            f"axes: {len(words)} names for an array of shape {shape}; {_HELP}, e.g. "
            f'--axes "{example_axes(shape)}".'
        )
    return words


def arrange_axes(array: npt.NDArray[Any], axes: str | Sequence[str]) -> npt.NDArray[Any]:
    """Bring an array into the order (contrast, repetition, slice, coil, k2, k1, k0).

    Parameters
    ----------
    array
        Numeric array.
    axes
        Its axes in its own order, from `x` (readout, k0), `y` (k1), `z` (k2), `coil`, `slice`,
        `repetition`, `contrast`; absent ones get length one.

    Returns
    -------
        A view with seven axes.

    Raises
    ------
    UsageError
        If names and array do not fit.
    DataError
        If an axis has length zero.

    Examples
    --------
    >>> arrange_axes(np.zeros((128, 126, 4)), "y x slice").shape
    (1, 1, 4, 1, 1, 128, 126)
    """
    words = parse_axes(axes, array.shape)
    if len(words) != array.ndim:
        array = array.reshape(_squeezed(array.shape)) if array.size else array
    for word, n in zip(words, array.shape, strict=False):
        if n == 0:
            raise DataError(
                f"the array has shape {array.shape}: its {word} axis is empty; expected at least "
                "one."
            )
    present = [word for word in ORDER if word in words]
    arranged = array.transpose([words.index(word) for word in present])
    return arranged[tuple(slice(None) if word in words else np.newaxis for word in ORDER)]


def example_axes(shape: tuple[int, ...]) -> str:
    """Return an example of names for an array of this shape.

    Parameters
    ----------
    shape
        Shape of the array.

    Returns
    -------
        Words.

    Examples
    --------
    >>> example_axes((256, 256, 4)), example_axes((8, 230, 180))
    ('y x coil', 'coil y x')
    """
    examples = {
        1: "x",
        2: "y x",
        3: "y x coil",
        4: "y x slice coil",
        5: "z y x coil repetition",
        6: "slice z y x coil repetition",
    }
    sizes = _squeezed(shape)
    if len(sizes) == 3 and sizes[0] == min(sizes):
        return "coil y x"
    return examples.get(len(sizes), "contrast repetition slice coil z y x")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
