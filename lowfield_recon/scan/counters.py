"""Counters that low-field consoles use for something else than the format means.

Some count partitions of a volume with `slice`; some number the echoes of a train with `contrast`
and the shots with `repetition`. Taken by the letter, such a file would fall into slices of a
transformed volume, or into images of a few lines each.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.records import Repair, ScanHeader

Heads = npt.NDArray[np.void]
Ints = npt.NDArray[np.int64]

_SHOT_COUNTERS = ("contrast", "repetition")
_SAME_PLACE_MM = 1e-3
_LARGEST_NUMBER = 1 << 62


def mend_counters(
    heads: Heads, is_image: npt.NDArray[np.bool_], header: ScanHeader
) -> tuple[Heads, ScanHeader, tuple[Repair, ...]]:
    """Give counters their meaning in the format, where they show that they have another one.

    Parameters
    ----------
    heads
        Headers of the image and calibration readouts on a grid.
    is_image
        Which of them are image readouts.
    header
        What the file says about the measurement.

    Returns
    -------
        Headers with other counters, the header with limits to match, and what was changed.
    """
    repairs: list[Repair] = []
    if _slice_counts_partitions(heads[is_image], header):
        heads, header = _with_partitions(heads, header)
        repairs.append(
            Repair(
                code="slice-counts-partitions",
                message="The file is declared three-dimensional, but its partitions are counted by "
                "slice and not by kspace_encode_step_2; slice was taken as the partition.",
                old="slice",
                new="kspace_encode_step_2",
            )
        )
    names = _counters_of_shots(heads[is_image], header)
    if names:
        heads = heads.copy()
        for name in names:
            heads["idx"][name] = 0
        limits = {k: (0, 0, 0) if k in names else v for k, v in header.limits.items()}
        header = dataclasses.replace(header, limits=limits)
        repairs.append(
            Repair(
                code="counter-numbers-shots",
                message=f"The values of {' and '.join(names)} have disjoint phase encodings that "
                "together fill the grid; they were taken as the number of the echo or shot, so "
                "that all lines make one image.",
                old=" and ".join(names),
                new="echo or shot number",
            )
        )
    return heads, header, tuple(repairs)


def number_rows(rows: Ints) -> Ints:
    """Give rows numbers that are equal where rows are, and ordered as rows are.

    Numbers sort far faster than whole rows do.

    Parameters
    ----------
    rows
        Counters, none below 0, `(rows, columns)`.

    Returns
    -------
        int64 `(rows,)`.

    Examples
    --------
    >>> number_rows(np.array([[1, 0], [0, 2], [1, 0], [0, 1]])).tolist()
    [3, 2, 3, 1]
    """
    numbers, most = np.zeros(rows.shape[0], dtype=np.int64), 1
    for column in rows.T:
        n_values = int(column.max(initial=0)) + 1
        if most * n_values > _LARGEST_NUMBER:
            numbers = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
            most = int(numbers.max(initial=0)) + 1
        numbers, most = numbers * n_values + column, most * n_values
    return numbers


def _slice_counts_partitions(images: Heads, header: ScanHeader) -> bool:
    """Say whether slice takes every partition of a volume once, all at the same place."""
    n_z = header.encoded_matrix[0]
    slices = np.unique(images["idx"]["slice"].astype(np.int64))
    is_one_step = np.unique(images["idx"]["kspace_encode_step_2"]).size == 1
    if n_z == 1 or not is_one_step or slices.size != n_z or slices[-1] - slices[0] != n_z - 1:
        return False
    positions = images["position"].astype(np.float64)
    return bool(np.isfinite(positions).all() and np.ptp(positions, axis=0).max() < _SAME_PLACE_MM)


def _with_partitions(heads: Heads, header: ScanHeader) -> tuple[Heads, ScanHeader]:
    n_z = header.encoded_matrix[0]
    mended = heads.copy()
    first = int(heads["idx"]["slice"].min())
    mended["idx"]["kspace_encode_step_2"] = heads["idx"]["slice"] - first
    mended["idx"]["slice"] = 0
    limits = dict(header.limits)
    limits["kspace_encoding_step_2"] = (0, n_z - 1, n_z // 2)
    limits["slice"] = (0, 0, 0)
    return mended, dataclasses.replace(header, limits=limits)


def _counters_of_shots(images: Heads, header: ScanHeader) -> Sequence[str]:
    """Return the fewest counters whose values share the lines of the grid among themselves."""
    used = [n for n in _SHOT_COUNTERS if np.unique(images["idx"][n]).size > 1]
    if len(header.echo_time_s or ()) == np.unique(images["idx"]["contrast"]).size:
        used = [n for n in used if n != "contrast"]  # as many echo times: contrasts they are
    for count in range(1, len(used) + 1):
        for names in itertools.combinations(used, count):
            if _lines_are_shared_out(images, names, header):
                return names
    return ()


def _lines_are_shared_out(images: Heads, names: Sequence[str], header: ScanHeader) -> bool:
    """Say whether every image that ignores `names` has each line of its grid from one value."""
    index = images["idx"]
    others = ["slice", "phase", "set", *(n for n in _SHOT_COUNTERS if n not in names)]
    groups = np.stack([index[n].astype(np.int64) for n in others], axis=1)
    lines = np.stack(
        [index[n].astype(np.int64) for n in ("kspace_encode_step_2", "kspace_encode_step_1")],
        axis=1,
    )
    values = np.stack([index[n].astype(np.int64) for n in names], axis=1)
    whole = np.concatenate([groups, lines], axis=1)
    n_lines = np.unique(number_rows(whole)).size
    n_shared = np.unique(number_rows(np.concatenate([whole, values], axis=1))).size
    n_groups = np.unique(number_rows(groups)).size
    n_parts = np.unique(number_rows(np.concatenate([groups, values], axis=1))).size
    if n_shared != n_lines or n_parts == n_groups:
        return False  # a line stands with two values: they are images of their own
    return bool(n_lines == n_groups * _grid_lines(lines, header))


def _grid_lines(lines: Ints, header: ScanHeader) -> int:
    """Return the number of phase encodings that the limits, else the matrix, call for."""
    n_z, n_y, _ = header.encoded_matrix
    total = 1
    for column, name, n in (
        (0, "kspace_encoding_step_2", n_z),
        (1, "kspace_encoding_step_1", n_y),
    ):
        if np.unique(lines[:, column]).size == 1:
            continue
        low, high, _ = header.limits.get(name, (0, 0, 0))
        total *= high - low + 1 if high > low else n
    return total
