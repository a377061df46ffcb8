"""Images of a study, and the conditions under which they are scanned."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.shifts.settings import ScanSettings

Level = float | str
"""Where along an axis: a number, or a word."""

REFERENCE = "in distribution"
"""Name of the condition without any shift."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyImage:
    """One object of a study: an image that counts as the truth, or a recorded scan with noise.

    Examples
    --------
    >>> image = StudyImage(
    ...     name="a, slice 3", subject="a", domain="brain T1", pixels=torch.ones(1, 1, 1, 8, 8)
    ... )
    >>> image.is_recorded
    False
    """

    name: str
    """Which image of the subject, unique within a domain."""

    subject: str
    """Whose image it is: what the statistics resample."""

    domain: str
    """Which kind of images it belongs to."""

    pixels: torch.Tensor
    """Float32 or complex64, `(1, 1, 1, y, x)`; of a recorded scan the orthonormal inverse Fourier
    transform of its complete k-space."""

    noise_std: float | None = None
    """Standard deviation of the complex noise of one pixel of a recorded scan; None: no noise."""

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        shape = tuple(self.pixels.shape)
        if len(shape) != 5 or shape[:3] != (1, 1, 1) or self.pixels.numel() == 0:
            raise DataError(f"{self.name}: expected pixels (1, 1, 1, y, x), got shape {shape}.")
        if self.pixels.dtype not in (torch.float32, torch.complex64):
            raise DataError(
                f"{self.name}: expected float32 or complex64 pixels, got {self.pixels.dtype}."
            )
        if not bool(torch.isfinite(self.pixels).all()):
            raise DataError(f"{self.name}: holds NaN or infinite values; expected finite pixels.")
        if not bool(self.pixels.any()):
            raise DataError(f"{self.name}: is zero everywhere; there is nothing to scan.")
        noise = self.noise_std
        if noise is not None and not (math.isfinite(noise) and noise > 0):
            raise DataError(
                f"{self.name}: the noise of a recorded scan is {noise}; expected a number above 0, "
                "since the noise that is added to it is stated in its unit."
            )

    @property
    def is_recorded(self) -> bool:
        """Whether a scanner recorded it, so that it and its reference hold noise."""
        return self.noise_std is not None

    @property
    def identity(self) -> str:
        """Hash of names, pixels and noise."""
        words = (self.domain, self.subject, self.name, tuple(self.pixels.shape), self.noise_std)
        digest = hashlib.sha256(repr(words).encode())
        digest.update(self.pixels.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How the images are scanned: the reference, or one or more shifts of it."""

    name: str
    """Axes and levels, e.g. `noise=0.2+window=0.5`; `in distribution` without any shift."""

    axis: str
    """Name of the axis; names joined by `+`; empty without any shift."""

    level: Level
    """Level; words joined by `+` where there are several axes; empty without any shift."""

    title: str
    """Name for readers, with units."""

    unit: str
    """Unit of the level; empty where it has none."""

    levels: tuple[tuple[str, Level], ...]
    """Axes and levels that differ from the reference, in the order of `AXES`."""

    settings: ScanSettings
    """All levels, resolved."""

    domain: str | None
    """Kind of images; None: those of the reference."""

    is_reference: bool
    """Whether nothing is shifted."""

    is_paired: bool
    """Whether the same objects are scanned as in the reference."""

    @property
    def numeric_level(self) -> float | None:
        """The level where it is one number."""
        return float(self.level) if isinstance(self.level, int | float) else None
