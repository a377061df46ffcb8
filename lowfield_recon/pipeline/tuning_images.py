"""Validation images of a tuning: inverse problems whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.pipeline.degrading import Degradation, degrade, middle, stated_problem
from lowfield_recon.pipeline.indices import parse_indices
from lowfield_recon.pipeline.photographs import read_degraded
from lowfield_recon.prepare.intensity import IntensityScale
from lowfield_recon.problem import InverseProblem
from lowfield_recon.scan import Scan, load_scan
from lowfield_recon.scan.problems import CoilMapChoice, Undersampling


class ValidationImage(Protocol):
    """What is tuned on: small, hashable and picklable; the problem is built where it is solved."""

    @property
    def name(self) -> str:
        """Name of the file, without its folder, and the number of the image in it."""

    @property
    def sha256(self) -> str:
        """Hash of the file."""

    @property
    def peak(self) -> float | None:
        """Range of values that the score refers to; None: the largest magnitude of the truth."""

    def problem(self) -> InverseProblem:
        """Build the problem, with the truth as its reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPreparation:
    """How a complete scan is read, prepared and undersampled."""

    undersampling: Undersampling
    """Samples that are left out."""

    coil_maps: CoilMapChoice = "auto"
    """How coil maps are estimated."""

    prewhitening: bool = True
    """Whether the noise of the coils is whitened."""

    intensity_scale: IntensityScale = "raw"
    """Whether data and noise level are divided by one number."""

    axes: str | None = None
    """Axes of a raw array."""

    key: str | None = None
    """Name of the array inside a file."""

    def load(self, path: Path) -> Scan:
        """Read a scan's header.

        Parameters
        ----------
        path
            The file.

        Returns
        -------
            The scan.

        Raises
        ------
        DataError
            If it is no scan.
        """
        return load_scan(path, axes=self.axes, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanImage:
    """One image of a complete scan, undersampled after the fact."""

    path: Path
    """The file."""

    sha256: str
    """Its hash."""

    index: int
    """Which of its images."""

    preparation: ScanPreparation
    """How it is read, prepared and undersampled."""

    @property
    def name(self) -> str:
        """Name of the file and number of the image."""
        return f"{self.path.name}[{self.index}]"

    @property
    def peak(self) -> float | None:
        """As `reconstruct` scores: the largest magnitude of the reference."""
        return None

    def problem(self) -> InverseProblem:
        """Leave samples out; the reconstruction from all data is the reference.

        Returns
        -------
            The problem.

        Raises
        ------
        DataError
            If the scan lacks samples, so that there is no reference.
        """
        how = self.preparation
        problems = how.load(self.path).problems(
            coil_maps=how.coil_maps,
            prewhitening=how.prewhitening,
            undersampling=how.undersampling,
            intensity_scale=how.intensity_scale,
        )
        problem = problems[self.index]
        if problem.reference is None:
            raise DataError(
                f"{self.path.name}: has no reference, because samples are missing from it; tuning "
                "needs a complete Cartesian scan."
            )
        return problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DegradedPhotograph:
    """A clean photograph that is degraded on purpose."""

    path: Path
    """The clean photograph."""

    sha256: str
    """Its hash."""

    degradation: Degradation
    """What is done to it."""

    crop: int | None = None
    """Largest size along y and x [pixels]; the middle is kept."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def peak(self) -> float | None:
        """White."""
        return 1.0

    def problem(self) -> InverseProblem:
        """Degrade the photograph, which is the reference.

        Returns
        -------
            The problem.

        Raises
        ------
        DataError
            If the photograph cannot be read.
        """
        done = self.degradation
        reference = middle(read_degraded(self.path), crop=self.crop, multiple=done.reduction)
        image, mask = degrade(reference, done)
        return replace(stated_problem(image, mask, done), reference=reference)


def scan_images(
    paths: Sequence[Path], preparation: ScanPreparation, *, slices: str | None = None
) -> list[ScanImage]:
    """List the images of complete scans.

    Parameters
    ----------
    paths
        The files.
    preparation
        How they are read, prepared and undersampled.
    slices
        Slices of each volume as the user named them; None for all.

    Returns
    -------
        Every volume's slices, file after file.

    Raises
    ------
    DataError
        If a file is no scan.
    UsageError
        If a file is named twice, or a slice does not exist.
    """
    images = []
    for path in _different(paths):
        n_volumes, n_slices = preparation.load(path).volume_shape
        digest = sha256_of(path)
        images += [
            ScanImage(
                path=path,
                sha256=digest,
                index=volume * n_slices + place,
                preparation=preparation,
            )
            for volume in range(n_volumes)
            for place in parse_indices(slices, n_slices)
        ]
    return images


def photograph_images(
    paths: Sequence[Path], degradation: Degradation, *, crop: int | None = None
) -> list[DegradedPhotograph]:
    """List photographs to be degraded; the seed of each is one more than that of the one before.

    Parameters
    ----------
    paths
        Clean photographs.
    degradation
        What is done to the first of them.
    crop
        Largest size along y and x [pixels]; the middle is kept.

    Returns
    -------
        One image per file.

    Raises
    ------
    UsageError
        If a file is named twice.
    """
    return [
        DegradedPhotograph(
            path=path,
            sha256=sha256_of(path),
            degradation=replace(degradation, seed=degradation.seed + position),
            crop=crop,
        )
        for position, path in enumerate(_different(paths))
    ]


def _different(paths: Sequence[Path]) -> Sequence[Path]:
    places = [path.resolve() for path in paths]
    for place, path in zip(places, paths, strict=True):
        if places.count(place) > 1:
            raise UsageError(f"{path.name}: is named twice; name each file once.")
    return paths
