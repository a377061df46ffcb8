"""Kind of the trajectory of an ISMRMRD file, and the unit of stored k-space positions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.records import Repair, Shape
from lowfield_recon.scan.selected import SelectedReadouts

CARTESIAN = ("cartesian", "epi")
"""Words of the header that mean a grid."""

_NORMALISED = 0.5 + 1e-3
_PROBED_READOUTS = 4096
_FEW_READOUTS = 16


def kind_of_trajectory(
    selected: SelectedReadouts, notes: list[str], where: str
) -> tuple[str, tuple[Repair, ...]]:
    """Decide whether readouts lie on a grid or along stored positions.

    Parameters
    ----------
    selected
        The selected readouts.
    notes
        Assumptions made are appended here.
    where
        Name of the file, for errors.

    Returns
    -------
        The header's word, or `"cartesian"` where it says other and no positions, or only zeros,
        are stored; and the repair where they are zeros.

    Raises
    ------
    DataError
        If the header says non-Cartesian but no positions are stored.
    """
    word = selected.header.trajectory
    heads = selected.heads[selected.is_image]
    has_positions = bool((heads["trajectory_dimensions"] > 0).all())
    is_zero = has_positions and _is_all_zero(selected)
    if word in CARTESIAN:
        if has_positions and not is_zero:
            notes.append(
                f"The readouts store positions, but the header says {word}; their counters were "
                "used."
            )
        return word, ()
    if has_positions and not is_zero:
        return word, ()
    lines = np.stack([heads["idx"]["kspace_encode_step_1"], heads["idx"]["kspace_encode_step_2"]])
    if word == "other" and np.unique(lines, axis=1).shape[1] > 1:
        return "cartesian", (_zeros(word),) if is_zero else ()
    raise DataError(
        f"{where}: the header says the trajectory is {word}, but the readouts store "
        f"{'only zeros' if is_zero else 'none'}; expected k-space positions with each readout. "
        "Write them into the file, or correct <trajectory>."
    )


def _is_all_zero(selected: SelectedReadouts) -> bool:
    """Say whether the positions of a few readouts, spread over the scan, are all zero."""
    chosen = np.flatnonzero(selected.is_image)
    for readout in chosen[:: max(1, chosen.size // _FEW_READOUTS)]:
        head = selected.heads[readout]
        stored = selected.file.trajectories(
            selected.indices[[readout]],
            int(head["number_of_samples"]),
            int(head["trajectory_dimensions"]),
        )
        if stored.any():
            return False
    return True


def _zeros(word: str) -> Repair:
    return Repair(
        code="trajectory-all-zero",
        message="The positions stored with the readouts are all zero, as a writer leaves them that "
        "fills none in; the counters were used.",
        old=word,
        new="cartesian",
    )


def trajectory_scale(
    selected: SelectedReadouts, matrix: Shape, notes: list[str], where: str
) -> tuple[float, ...]:
    """Find the factors from stored positions (x, y, z) to cycles per encoded field of view.

    Positions within ±0.5 are fractions of the sampled k-space and are multiplied by the encoded
    matrix; larger ones are taken as cycles per field of view.

    Parameters
    ----------
    selected
        The selected readouts.
    matrix
        Encoded matrix (z, y, x).
    notes
        Assumptions made are appended here.
    where
        Name of the file, for errors.

    Returns
    -------
        One factor for each stored dimension that is a k-space axis.

    Raises
    ------
    DataError
        If positions are absent or differ in the number of dimensions.
    """
    heads = selected.heads
    dimensions = np.unique(heads["trajectory_dimensions"])
    n_stored = int(heads["number_of_samples"][0])
    if dimensions.size != 1 or not 1 <= dimensions[0] <= 4:
        raise DataError(
            f"{where}: its readouts store positions with {', '.join(map(str, dimensions))} "
            "dimensions; expected 2 or 3 for all of them."
        )
    n_used = min(int(dimensions[0]), 3 if matrix[0] > 1 else 2)
    if n_used < dimensions[0]:
        notes.append(
            f"Of {dimensions[0]} stored trajectory dimensions, the first {n_used} are positions."
        )
    same = np.flatnonzero(heads["number_of_samples"] == n_stored)[:_PROBED_READOUTS]
    stored = selected.file.trajectories(selected.indices[same], n_stored, int(dimensions[0]))
    largest = float(np.abs(stored[..., :n_used]).max())
    if largest <= _NORMALISED:
        notes.append(
            f"Stored positions reach {largest:.3g}; they were taken as fractions of the encoded "
            "matrix."
        )
        return tuple(float(n) for n in matrix[::-1][:n_used])
    notes.append(
        f"Stored positions reach {largest:.4g}; they were taken as cycles per field of view."
    )
    if largest > 0.51 * max(matrix):
        raise DataError(
            f"{where}: stored positions reach {largest:.4g}; expected at most 0.5, or half the "
            f"encoded matrix {matrix} in cycles per field of view. Convert them."
        )
    return (1.0,) * n_used


def partition_of(
    selected: SelectedReadouts, n_used: int, matrix: Shape
) -> npt.NDArray[np.int64] | None:
    """Return kz of each readout for a stack of in-plane trajectories, None for any other.

    Parameters
    ----------
    selected
        The selected readouts.
    n_used
        Stored k-space axes.
    matrix
        Encoded matrix (z, y, x).

    Returns
    -------
        Cycles per field of view along z, `(readouts,)`, or None.
    """
    parts = selected.counter("kspace_encode_step_2")
    if n_used == 3 or matrix[0] == 1 or np.unique(parts).size == 1:
        return None
    limit = selected.header.limits.get("kspace_encoding_step_2")
    return parts - (matrix[0] // 2 if limit is None else limit[2])
