"""Which columns of zero-filled k-space were acquired: what the header says, checked on the data."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.records import Repair

Levels = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_ROUNDING = 1e-3
"""A column outside the limits below this part of the others' level holds rounding errors only."""


def column_levels(values: npt.NDArray[np.complex64]) -> Levels:
    """Return the largest magnitude of every phase encoding, over coils and readout.

    Parameters
    ----------
    values
        k-space `(coils, k1, k0)`, complex64.

    Returns
    -------
        float64 `(k1,)`; 0 where a line is exactly zero in all coils.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # damaged values are refused on reading
        magnitude = np.nan_to_num(np.abs(values), nan=math.inf).max(axis=(0, 2))
    return np.asarray(magnitude, dtype=np.float64)


def limits_range(limits: tuple[int, int, int], n: int) -> tuple[int, int]:
    """Return the first and last column that encoding limits promise.

    ``column = step_1 - center + n // 2`` for step_1 from minimum to maximum.

    Parameters
    ----------
    limits
        Minimum, maximum and centre of `kspace_encoding_step_1`.
    n
        Number of columns.

    Returns
    -------
        Both columns, inclusive; they may lie outside the grid where the limits are wrong.

    Examples
    --------
    >>> limits_range((0, 321, 161), 372)
    (25, 346)
    """
    low, high, center = limits
    return n // 2 - center + low, n // 2 - center + high


def acquired_columns(
    levels: Levels,
    limits: tuple[int, int, int] | None,
    mask: Flags | None,
    notes: list[str],
) -> tuple[Flags, tuple[Repair, ...]]:
    """Decide which columns were acquired; where limits and data disagree, the data count.

    Parameters
    ----------
    levels
        Largest magnitude of every column of one slice, `(k1,)`.
    limits
        Minimum, maximum and centre of `kspace_encoding_step_1`, or None.
    mask
        Sampled columns of a test file, or None.
    notes
        Sentences about what was decided are appended here.

    Returns
    -------
        Bool `(k1,)`, False where the mask or rounding errors say so (exact zeros are found slice
        by slice), and the disagreement as a repair.
    """
    n = levels.size
    usable = np.ones(n, dtype=np.bool_) if mask is None else mask
    acquired = levels > 0
    if not acquired.any():
        notes.append("The middle slice is empty, so the zero-filled columns were not checked.")
        return usable, ()
    if limits is not None:
        left, right = limits_range(limits, n)
        usable = usable & ~_rounding_errors(levels, left, right, notes)
    acquired &= usable
    if mask is not None:
        notes.append(f"The file's mask keeps {int(mask.sum())} of {n} phase encodings.")
    first, last = _ends(acquired)
    holes = int((~acquired[first : last + 1]).sum())
    if acquired.sum() < n:
        text = f"Of {n} phase encodings {first} to {last} hold data"
        text += f", {holes} of them left out" if holes else ""
        notes.append(f"{text}; zero-filled ones count as not acquired.")
    if limits is None or _agree(acquired, left, right, mask):
        return usable, ()
    repair = Repair(
        code="zero-padding",
        message="The encoding limits do not name the phase encodings that hold data; the data "
        "count.",
        old=f"{left} to {right}",
        new=f"{first} to {last}",
    )
    return usable, (repair,)


def _rounding_errors(levels: Levels, left: int, right: int, notes: list[str]) -> Flags:
    """Find columns outside the limits that hold next to nothing: filled, then processed."""
    column = np.arange(levels.size)
    is_inside = (column >= left) & (column <= right)
    inside = levels[is_inside & (levels > 0)]
    if inside.size == 0:
        return np.zeros(levels.size, dtype=np.bool_)
    is_tiny = ~is_inside & (levels < _ROUNDING * np.median(inside)) & (levels > 0)
    if is_tiny.any():
        notes.append(
            f"{int(is_tiny.sum())} phase encodings outside the limits hold less than "
            f"{_ROUNDING:g} of the others' level: rounding errors, not data."
        )
    return np.asarray(is_tiny)


def _agree(acquired: Flags, left: int, right: int, mask: Flags | None) -> bool:
    """Compare the ends; ends that a mask or undersampling leaves out are no disagreement."""
    first, last = _ends(acquired)
    if mask is not None:
        column = np.arange(acquired.size)
        sampled = mask & (column >= left) & (column <= right)
        return bool(sampled.any()) and (first, last) == _ends(sampled)
    is_undersampled = not acquired[first : last + 1].all()
    return (first, last) == (left, right) or (is_undersampled and left <= first and last <= right)


def _ends(flags: Flags) -> tuple[int, int]:
    found = np.flatnonzero(flags)
    return (int(found[0]), int(found[-1])) if found.size else (0, -1)
