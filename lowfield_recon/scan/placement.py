"""Where a Cartesian readout goes on the grid: by counter and centre, never by order of arrival."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.records import Repair, ScanHeader, Shape
from lowfield_recon.scan.selection import REVERSED, has_flag, kept_samples

Ints = npt.NDArray[np.int64]

EnergyProbe = Callable[[str, int], float]
"""Energy of the readouts whose counter of the given name is near the given value."""

_USER_COUNTER = {"kspace_encode_step_1": 5, "kspace_encode_step_2": 6}
_LIMIT_NAME = {
    "kspace_encode_step_1": "kspace_encoding_step_1",
    "kspace_encode_step_2": "kspace_encoding_step_2",
}
_CLEARLY_MORE = 2.0
_SYMMETRIC = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Position on the grid of every readout that was placed."""

    shape: Shape
    """Size of the grid (k2, k1, k0)."""

    part: Ints
    """Index along k2 of each readout."""

    row: Ints
    """Index along k1 of each readout."""

    column: Ints
    """Index along k0 of the first kept sample of each readout, after reversed ones are flipped."""

    is_reversed: npt.NDArray[np.bool_]
    """Whether the samples are in reverse order."""

    repairs: tuple[Repair, ...] = ()
    """Counters or centres that were mended."""

    assumptions: tuple[str, ...] = ()
    """What was decided without the file saying so."""


def place_readouts(
    heads: npt.NDArray[np.void], header: ScanHeader, probe: EnergyProbe, *, is_volume: bool
) -> Placement:
    """Place readouts on the grid: ``row = step_1 - center + n_y // 2``.

    The same holds along k2 with step_2, and along the readout with the centre sample. The grid is
    enlarged where readouts fall outside the encoded matrix; nothing is wrapped or cut.

    Parameters
    ----------
    heads
        Headers of the image and calibration readouts.
    header
        What the file says: matrix and encoding limits.
    probe
        Tells the energy near a counter value, to decide between two possible centres.
    is_volume
        Whether the second phase encoding is used.

    Returns
    -------
        Grid size and the position of each readout on it.
    """
    n_z, n_y, n_x = header.encoded_matrix
    repairs: list[Repair] = []
    notes: list[str] = []
    rows = _offsets(heads, "kspace_encode_step_1", n_y, header, probe, repairs)
    if is_volume:
        parts = _offsets(heads, "kspace_encode_step_2", n_z, header, probe, repairs)
    else:
        parts, n_z = np.zeros(heads.size, dtype=np.int64), 1
    centers = readout_centers(heads, notes)
    last = kept_samples(heads) - 1 - centers
    _note_partial(rows, rows, n_y, "y", notes)
    _note_partial(parts, parts, n_z, "z", notes)
    _note_partial(-centers, last, n_x, "x", notes)
    shape = (
        _size(parts, parts, n_z, "z", notes),
        _size(rows, rows, n_y, "y", notes),
        _size(-centers, last, n_x, "x", notes),
    )
    return Placement(
        shape=shape,
        part=parts + shape[0] // 2,
        row=rows + shape[1] // 2,
        column=shape[2] // 2 - centers,
        is_reversed=has_flag(heads, REVERSED),
        repairs=tuple(repairs),
        assumptions=tuple(notes),
    )


def readout_centers(heads: npt.NDArray[np.void], notes: list[str]) -> Ints:
    """Return the index of the k-space centre among the kept samples, reversed readouts flipped.

    Parameters
    ----------
    heads
        Readout headers.
    notes
        Assumptions made are appended here.

    Returns
    -------
        int64 `(readouts,)`.
    """
    n = kept_samples(heads)
    centers = heads["center_sample"].astype(np.int64)
    is_unset = (centers >= heads["number_of_samples"]) | (centers == 0)
    if bool(is_unset.any()):
        notes.append(
            f"{int(is_unset.sum())} readouts name no centre within their samples (center_sample "
            "is 0 or too large); the middle was taken."
        )
    centers = np.where(is_unset, n // 2, centers - heads["discard_pre"].astype(np.int64))
    return np.where(has_flag(heads, REVERSED) & ~is_unset, n - 1 - centers, centers)


def grid_size(low: int, high: int, n: int) -> int:
    """Return the smallest size, at least `n`, that holds the offsets `low` to `high`.

    ``low >= -(m // 2)`` and ``high <= m - 1 - m // 2`` for the size m.

    Parameters
    ----------
    low
        Smallest offset from the centre of k-space.
    high
        Largest offset.
    n
        Size that the header states.

    Returns
    -------
        The size.

    Examples
    --------
    >>> grid_size(-64, 63, 128), grid_size(-64, 64, 128), grid_size(-70, 63, 128)
    (128, 129, 140)
    """
    return max(n, -2 * low, 2 * high + 1)


def _offsets(
    heads: npt.NDArray[np.void],
    counter: str,
    n: int,
    header: ScanHeader,
    probe: EnergyProbe,
    repairs: list[Repair],
) -> Ints:
    steps = heads["idx"][counter].astype(np.int64)
    low, high = int(steps.min()), int(steps.max())
    limit = header.limits.get(_LIMIT_NAME[counter])
    center = n // 2 if limit is None else limit[2]
    user = _user_center(heads, counter, header.vendor)
    if user is not None and user != center:
        repairs.append(_moved(counter, center, user, "the readouts' own centre counter says so"))
        center = user
    is_outside = grid_size(low - center, high - center, n) > n
    fits_middle = high < n and center != n // 2
    if low >= 1 and (high == n or (limit is not None and high == limit[1] + 1)) and is_outside:
        if probe(counter, center + 1) >= probe(counter, center):
            repairs.append(_moved(counter, center, center + 1, "the counters begin at 1"))
            center += 1
    elif (
        fits_middle
        and (is_outside or (center == 0 and high > 0))
        and probe(counter, n // 2) > _CLEARLY_MORE * probe(counter, center)
    ):
        repairs.append(_moved(counter, center, n // 2, "the energy is largest there"))
        center = n // 2
    return steps - center


def _user_center(heads: npt.NDArray[np.void], counter: str, vendor: str | None) -> int | None:
    if (vendor or "").lower() != "siemens":
        return None
    values = np.unique(heads["idx"]["user"][:, _USER_COUNTER[counter]])
    return int(values[0]) if values.size == 1 and values[0] > 0 else None


def _moved(counter: str, old: int, new: int, reason: str) -> Repair:
    return Repair(
        code="k-space-centre",
        message=f"The centre of {counter} was moved, because {reason}.",
        old=str(old),
        new=str(new),
    )


def _note_partial(low: Ints, high: Ints, n: int, axis: str, notes: list[str]) -> None:
    first, last = int(low.min()), int(high.max())
    if abs(first + last) > max(_SYMMETRIC * n, 2):
        notes.append(
            f"k-space is sampled from {first} to {last} along {axis} (of -{n // 2} to "
            f"{n - 1 - n // 2}): partial Fourier; what was not sampled counts as unknown, not as "
            "zero."
        )
    elif last - first + 1 < n - max(_SYMMETRIC * n, 2):
        notes.append(
            f"k-space is sampled from {first} to {last} along {axis} (of -{n // 2} to "
            f"{n - 1 - n // 2}): less resolution than the encoded matrix has."
        )


def _size(low: Ints, high: Ints, n: int, axis: str, notes: list[str]) -> int:
    size = grid_size(int(low.min()), int(high.max()), n)
    if size > n:
        notes.append(
            f"Readouts lie outside the encoded matrix along {axis}; the grid was enlarged from "
            f"{n} to {size}."
        )
    return size
