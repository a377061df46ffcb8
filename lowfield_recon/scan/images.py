"""Which readouts make up which image: by counters, slices in spatial order, never by arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowfield_recon.scan.counters import number_rows
from lowfield_recon.scan.orientation import SliceStack
from lowfield_recon.scan.records import ImageIndex
from lowfield_recon.scan.selected import SelectedReadouts

Ints = npt.NDArray[np.int64]

_COUNTERS = ("contrast", "repetition", "phase", "set")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageMembers:
    """The images of a file and the readouts of each."""

    images: tuple[ImageIndex, ...]
    """Counters of each image; slices innermost in spatial order."""

    readouts: Sequence[Ints]
    """Selected readouts of each image."""

    calibration: Sequence[Ints]
    """Selected calibration readouts of each image, empty where it has none of its own kind."""

    n_slices: int
    """Slices per volume."""

    assumptions: tuple[str, ...]


def sort_into_images(selected: SelectedReadouts, stack: SliceStack) -> ImageMembers:
    """Sort readouts into images by contrast, repetition, phase, set and slice.

    Averages are combined unless their phases disagree; segments are parts of one image.

    Parameters
    ----------
    selected
        The selected readouts.
    stack
        Slices in spatial order.

    Returns
    -------
        Images and their readouts.
    """
    chosen = np.flatnonzero(selected.is_image)
    notes = []
    averages = selected.counter("average")
    n_averages = np.unique(averages[chosen]).size
    is_apart = n_averages > 1 and selected.averages_differ()
    if n_averages > 1:
        notes.append(
            "The averages differ in phase by more than 60 degrees; each is an image of its own."
            if is_apart
            else "Averages are combined as the complex mean of each k-space line."
        )
    ranks = _slice_ranks(selected.counter("slice"), stack)
    columns = [selected.counter(name) for name in _COUNTERS]
    columns += [averages if is_apart else np.zeros_like(averages), ranks]
    table = np.stack(columns, axis=1)
    _, first, which = np.unique(number_rows(table[chosen]), return_index=True, return_inverse=True)
    keys = table[chosen[first]]
    order = np.argsort(which, kind="stable")
    readouts = np.split(chosen[order], np.cumsum(np.bincount(which))[:-1])
    n_slices = len(stack.counters)
    if not _is_complete(keys[:, -1], n_slices):
        notes.append("Not every volume has every slice; each slice is an image of its own.")
        n_slices = 1
    return ImageMembers(
        images=tuple(_image_index(key, stack, is_apart or n_averages == 1) for key in keys),
        readouts=readouts,
        calibration=_calibration(selected, table, keys),
        n_slices=n_slices,
        assumptions=tuple(notes),
    )


def _slice_ranks(slices: Ints, stack: SliceStack) -> Ints:
    rank = np.full(
        int(max(slices.max(), max(stack.counters))) + 1, len(stack.counters), dtype=np.int64
    )
    rank[list(stack.counters)] = np.arange(len(stack.counters))
    ranks: Ints = rank[slices]
    return ranks


def _is_complete(ranks: Ints, n_slices: int) -> bool:
    return ranks.size % n_slices == 0 and bool(
        (ranks.reshape(-1, n_slices) == np.arange(n_slices)).all()
    )


def _image_index(key: Ints, stack: SliceStack, has_average: bool) -> ImageIndex:
    contrast, repetition, phase, set_, average, rank = (int(value) for value in key)
    return ImageIndex(
        slice=stack.counters[rank],
        contrast=contrast,
        repetition=repetition,
        phase=phase,
        set=set_,
        average=average if has_average else None,
    )


def _calibration(selected: SelectedReadouts, table: Ints, keys: Ints) -> list[Ints]:
    """Find calibration readouts of the same slice: with the image's counters, else the first."""
    chosen = np.flatnonzero(selected.is_calibration)
    found = []
    for key in keys:
        of_slice = chosen[table[chosen, -1] == key[-1]]
        if of_slice.size:
            own = of_slice[(table[of_slice, :-1] == key[:-1]).all(axis=1)]
            first = np.unique(table[of_slice, :-1], axis=0)[0]
            of_slice = own if own.size else of_slice[(table[of_slice, :-1] == first).all(axis=1)]
        found.append(of_slice)
    return found
