"""Averages over repetitions: one scan made of several, aligned when an image is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.prepare.averaging import aligned_with

if TYPE_CHECKING:
    from lowfield_recon.scan.records import ImageIndex, KSpaceSource, RawKSpace, Scan

Part = tuple["KSpaceSource", int]
"""Where one repetition of an image is read, and which image it is there."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AveragedSource:
    """Reads the repetitions of an image one after the other and averages them."""

    parts: Sequence[Sequence[Part]]
    """The repetitions of each image; the first is the one that the others are aligned with."""

    def read(self, index: int) -> RawKSpace:
        """Read and average the repetitions of one image.

        Parameters
        ----------
        index
            Which image.

        Returns
        -------
            Samples of the average on the first repetition's grid.

        Raises
        ------
        DataError
            If repetitions differ in size or sampling, or hardly correlate.
        """
        (source, place), *others = self.parts[index]
        first = source.read(place)
        if first.trajectory is not None:
            raise UsageError(
                "averaging: the scan has a trajectory; repetitions are averaged on Cartesian grids "
                "only. Leave averaging out."
            )
        data, calibration = first.data.clone(), first.calibration
        for number, (source, place) in enumerate(others, start=2):
            other = source.read(place)
            name = f"repetition {number} of image {index}"
            _check_sampling(first, other, name)
            data += aligned_with(first.data, other.data, first.mask, name=name)
        return dataclasses.replace(first, data=data / (1 + len(others)), calibration=calibration)

    def sampling_fraction(self) -> float | None:
        """Return the acquired part of the grid of the first image, None where it has no grid."""
        source, _ = self.parts[0][0]
        return source.sampling_fraction()


def average_scan(scan: Scan, others: Sequence[Scan] = ()) -> Scan:
    """Average the repetitions and averages of a scan, and those of further files of the same scan.

    Images that differ in nothing but the counters `repetition` and `average` become one, as do the
    images at the same place of every file. Each repetition is aligned with the first by constant
    and linear phases, see `lowfield_recon.prepare.drift.measure_drift`. Noise of standard
    deviation s becomes ``s / sqrt(n)``.

    Parameters
    ----------
    scan
        The scan; its first repetition is the reference.
    others
        Further files of the same scan, each with the same images.

    Returns
    -------
        A scan with fewer images, which reads all repetitions when an image is asked for.

    Raises
    ------
    UsageError
        If there is nothing to average, the files differ in their images, or the scan has a
        trajectory.
    DataError
        If the files differ in matrix or coils.

    Examples
    --------
    >>> import numpy, tempfile
    >>> from pathlib import Path
    >>> from lowfield_recon.scan import load_scan
    >>> file = Path(tempfile.mkdtemp()) / "kspace.npy"
    >>> numpy.save(file, numpy.ones((3, 8, 8), dtype=numpy.complex64))
    >>> averaged = average_scan(load_scan(file, axes="repetition y x"))
    >>> len(averaged.images), averaged.assumptions[-1]
    (1, '3 repetitions averaged, each aligned with the first by constant and linear phases.')
    """
    if scan.header.trajectory not in ("cartesian", "epi"):
        raise UsageError(
            f"{scan.path.name}: has a {scan.header.trajectory} trajectory; repetitions are "
            "averaged on Cartesian grids only. Leave averaging out."
        )
    for other in others:
        _check_same(scan, other)
    groups: dict[ImageIndex, list[int]] = {}
    for place, image in enumerate(scan.images):
        key = dataclasses.replace(image, repetition=0, average=None)
        groups.setdefault(key, []).append(place)
    counts = {len(places) for places in groups.values()}
    if len(counts) > 1:
        raise UsageError(
            f"{scan.path.name}: its images have between {min(counts)} and {max(counts)} "
            "repetitions; expected the same number for each. Leave averaging out."
        )
    n = counts.pop() * (1 + len(others))
    if n == 1:
        raise UsageError(
            f"{scan.path.name}: holds one repetition of each image, so there is nothing to "
            "average; name further files of the same scan, or leave averaging out."
        )
    sources = [scan.source, *(other.source for other in others)]
    parts = [
        [(source, place) for source in sources for place in places] for places in groups.values()
    ]
    note = f"{n} repetitions averaged, each aligned with the first by constant and linear phases."
    return dataclasses.replace(
        scan,
        images=tuple(groups),
        source=AveragedSource(parts=parts),
        noise_scale=scan.noise_scale * n,
        targets=(),
        target_source=None,
        target_maximum=None,
        assumptions=(*scan.assumptions, note),
        repairs=(*scan.repairs, *(repair for other in others for repair in other.repairs)),
    )


def _check_same(scan: Scan, other: Scan) -> None:
    names = f"{other.path.name} and {scan.path.name}"
    if other.header.trajectory != scan.header.trajectory:
        raise UsageError(
            f"{names}: their trajectories are {other.header.trajectory} and "
            f"{scan.header.trajectory}; expected files of the same scan."
        )
    for what in ("encoded_matrix", "n_coils"):
        theirs, ours = getattr(other.header, what), getattr(scan.header, what)
        if theirs != ours:
            raise DataError(
                f"{names}: {what} is {theirs} and {ours}; expected repetitions of the same scan."
            )
    if len(other.images) != len(scan.images):
        raise UsageError(
            f"{names}: hold {len(other.images)} and {len(scan.images)} images; expected files of "
            "the same scan."
        )


def _check_sampling(first: RawKSpace, other: RawKSpace, name: str) -> None:
    if other.data.shape != first.data.shape:
        raise DataError(
            f"averaging: {name} has k-space {tuple(other.data.shape)}, the first has "
            f"{tuple(first.data.shape)}; expected the same matrix and coils."
        )
    masks = [torch.ones(1) if raw.mask is None else raw.mask for raw in (first, other)]
    if not bool((masks[0] == masks[1]).all()):
        raise DataError(
            f"averaging: {name} has other samples acquired than the first; expected the same. "
            "Reconstruct them one by one."
        )
