"""The acquired lines of a grid as ISMRMRD readouts, so that reading puts them where they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.scan.ismrmrd_records import blank_heads, flag_bit, records
from lowfield_recon.scan.records import RawKSpace, Scan

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]
Limit = tuple[int, int, int]

_STEP_1, _STEP_2 = "kspace_encoding_step_1", "kspace_encoding_step_2"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineLayout:
    """How lines are cut and counted, the same for all images of a scan."""

    length: int | None
    """Samples of every line where each begins at its first acquired one; None: one window."""

    window: tuple[int, int]
    """First column and number of columns of every line where `length` is None."""

    center: tuple[int, int]
    """Counter of the k-space centre along k2 and k1."""

    limits: Mapping[str, Limit] = field(default_factory=dict)
    """Encoding limits that hold all counters."""


def survey_lines(scan: Scan, first: RawKSpace) -> LineLayout:
    """Find one layout for the lines of all images.

    The header's centre counters are kept where no line gets a negative counter by them. Readouts
    that are complete are written whole. Of incomplete ones (asymmetric echo) only the acquired
    part is written, with its own centre sample; all readouts of a file have one length.

    Parameters
    ----------
    scan
        The scan.
    first
        Its first image; the others are read where one does not tell.

    Returns
    -------
        The layout.
    """
    n2, n1, n0 = (int(n) for n in first.data.shape[-3:])
    stated = [scan.header.limits.get(name) for name in (_STEP_2, _STEP_1)]
    centers = [
        n // 2 if limit is None or n == 1 else limit[2]
        for limit, n in zip(stated, (n2, n1), strict=True)
    ]
    is_partial = acquired_mask(first).shape[-1] > 1
    is_told = not is_partial and centers == [n2 // 2, n1 // 2]
    n_images = 1 if is_told else len(scan.images)
    low, high = np.array([n2, n1]), np.zeros(2, dtype=np.int64)
    lengths: set[int] = set()
    start, end = n0, 0
    for number in range(n_images):
        raw = scan.kspace(number) if number else first
        for mask in _masks(raw):
            lines = np.argwhere(mask.any(axis=-1))
            low, high = np.minimum(low, lines.min(axis=0)), np.maximum(high, lines.max(axis=0))
            if is_partial:
                starts, ends = _extents(mask[mask.any(axis=-1)], n0)
                lengths |= set((ends - starts).tolist())
                start, end = min(start, int(starts.min())), max(end, int(ends.max()))
    if is_told:
        low, high = np.zeros(2, dtype=np.int64), np.array([n2, n1]) - 1
    limits: dict[str, Limit] = {}
    for axis, (name, n) in enumerate(((_STEP_2, n2), (_STEP_1, n1))):
        if int(low[axis]) - n // 2 + centers[axis] < 0:
            centers[axis] = n // 2
        shift = centers[axis] - n // 2
        limits[name] = _limit(stated[axis], int(low[axis]) + shift, int(high[axis]) + shift, n)
        limits[name] = (*limits[name][:2], centers[axis])
    is_one_length = len(lengths) == 1
    return LineLayout(
        length=lengths.pop() if is_one_length else None,
        window=(start, end - start) if lengths else (0, n0),
        center=(centers[0], centers[1]),
        limits=limits,
    )


def lines_of_grid(raw: RawKSpace, layout: LineLayout) -> list[npt.NDArray[np.void]]:
    """Return the readouts of one image: its lines, and calibration lines that are not among them.

    Parameters
    ----------
    raw
        Samples of one image.
    layout
        How lines are cut and counted.

    Returns
    -------
        Structured arrays of readouts; counters other than the phase encodings are zero.

    Raises
    ------
    DataError
        If the image has no acquired line.
    """
    mask = acquired_mask(raw)
    image = mask.any(axis=-1)
    if not image.any():
        raise DataError("An image has no acquired sample; expected at least one line of k-space.")
    if raw.calibration is None or raw.calibration_mask is None:
        return [_readouts(raw.data, mask, np.nonzero(image), layout)]
    extra = raw.calibration_mask[0, 0].numpy()
    is_same = (raw.calibration == raw.data).all(dim=-1).all(dim=1)[0].numpy()
    both = image & extra.any(axis=-1) & is_same
    alone = extra.any(axis=-1) & ~both
    groups = [_readouts(raw.data, mask, np.nonzero(image), layout)]
    is_both = both[np.nonzero(image)]
    groups[0]["head"]["flags"][is_both] |= flag_bit(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    if alone.any():
        rows = _readouts(raw.calibration, extra, np.nonzero(alone), layout)
        rows["head"]["flags"] |= flag_bit(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        groups.insert(0, rows)
    return groups


def acquired_mask(raw: RawKSpace) -> Bools:
    """Return which samples were acquired, `(k2, k1, k0)` or `(k2, k1, 1)`.

    Parameters
    ----------
    raw
        Samples of one image on a grid.

    Returns
    -------
        Bool; all of them where the image has no mask.
    """
    n2, n1 = raw.data.shape[-3:-1]
    if raw.mask is None:
        return np.ones((n2, n1, 1), dtype=bool)
    mask = raw.mask[0, 0]
    full: Bools = mask.expand(n2, n1, mask.shape[-1]).numpy()
    return full


def _masks(raw: RawKSpace) -> list[Bools]:
    masks = [acquired_mask(raw)]
    if raw.calibration_mask is not None:
        extra: Bools = raw.calibration_mask[0, 0].numpy()
        masks.append(extra)
    return masks


def _extents(mask: Bools, n0: int) -> tuple[Ints, Ints]:
    """Return first and one past the last column of lines, so that they hold a nameable centre.

    A centre sample of 0 would be read as not filled in, so the sample before the centre is always
    part of a line.
    """
    if mask.shape[-1] == 1:
        return np.zeros(len(mask), dtype=np.intp), np.full(len(mask), n0, dtype=np.intp)
    starts = np.minimum(mask.argmax(axis=-1), max(n0 // 2 - 1, 0))
    ends = np.maximum(n0 - mask[:, ::-1].argmax(axis=-1), n0 // 2 + 1)
    return starts, ends


def _limit(stated: Limit | None, low: int, high: int, n: int) -> Limit:
    """Return limits that hold all counters: those of the file where they do, else the grid's."""
    if stated is not None and stated[0] <= low and high <= stated[1]:
        return stated
    return (min(low, 0), max(high, n - 1), n // 2)


def _readouts(
    data: torch.Tensor, mask: Bools, lines: tuple[Ints, ...], layout: LineLayout
) -> npt.NDArray[np.void]:
    k2, k1 = lines
    n0, coils = int(data.shape[-1]), int(data.shape[1])
    samples = data[0].numpy()[:, k2, k1].swapaxes(0, 1)
    if layout.length is None:
        start, length = layout.window
        starts = np.full(k1.size, start, dtype=np.intp)
        samples = samples[..., start : start + length]
    else:
        starts, length = _extents(mask[k2, k1], n0)[0], layout.length
        starts = np.minimum(starts, n0 - length)
        columns = starts[:, None] + np.arange(length)
        samples = np.take_along_axis(samples, columns[:, None, :], axis=2)
    heads = blank_heads(k1.size, coils, length)
    heads["center_sample"] = n0 // 2 - starts
    heads["idx"]["kspace_encode_step_1"] = k1 - data.shape[-2] // 2 + layout.center[1]
    heads["idx"]["kspace_encode_step_2"] = k2 - data.shape[-3] // 2 + layout.center[0]
    return records(heads, samples)
