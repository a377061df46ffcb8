"""The rows of a study, and the measures that it knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lowfield_recon.errors import UsageError, nearest_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number that is found of every image."""

    name: str
    """Name of its column."""

    title: str
    """What people call it."""

    unit: str
    """Its unit, `""` for none."""

    higher_is_better: bool | None
    """Which way is up; None where neither is."""

    digits: int = 3
    """Digits after the point in sentences."""

    def with_unit(self, value: float) -> str:
        """Write a signed value with its unit.

        Parameters
        ----------
        value
            The value.

        Returns
        -------
            For instance `"+0.21 dB"`.

        Examples
        --------
        >>> MEASURES["psnr_db"].with_unit(-0.214)
        '-0.21 dB'
        """
        return f"{value:+.{self.digits}f}{' ' if self.unit else ''}{self.unit}"


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(name="psnr_db", title="PSNR", unit="dB", higher_is_better=True, digits=2),
        Measure(name="ssim", title="SSIM", unit="", higher_is_better=True, digits=4),
        Measure(name="nrmse", title="NRMSE", unit="", higher_is_better=False, digits=4),
        Measure(name="hfen", title="HFEN", unit="", higher_is_better=False, digits=4),
        Measure(name="blur_effect", title="blur effect", unit="", higher_is_better=None),
        Measure(
            name="data_consistency", title="residual over noise", unit="", higher_is_better=None
        ),
        Measure(
            name="background_std", title="background over peak", unit="", higher_is_better=None,
            digits=4,
        ),
    )
}  # fmt: skip
"""Every measure by its name. A residual well below the noise fits noise, one above it misses data;
little blur may be noise, which the background shows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One method on one image in one condition with one seed."""

    method: str
    """Name of the arm."""

    condition: str
    """Name of the condition."""

    image: str
    """Name of the image."""

    subject: str
    """Whose image it is; what the bootstrap draws."""

    domain: str
    """Which set of images it belongs to."""

    seed: int
    """Seed of masks, noise and of the arm's training, where that has several."""

    values: Mapping[str, float | None]
    """Measures by name; None where one is not finite. Empty after a failure."""

    failure: str | None
    """Why there is no image, in one line, or None."""

    hashes: Mapping[str, str]
    """SHA-256 of the problem, of the weights and of the settings."""

    input_snr_db: float | None = None
    """Mean power of the noise-free data over that of the noise [dB]; None without noise."""

    def value(self, measure: str) -> float:
        """Return a measure.

        Parameters
        ----------
        measure
            Its name.

        Returns
        -------
            The value; NaN where there is none.
        """
        found = self.values.get(measure)
        return math.nan if found is None or self.failure is not None else found


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionInfo:
    """What the statistics must know of a condition."""

    name: str
    """Name of the condition."""

    axis: str
    """What is shifted, joined by `+`; empty for the reference."""

    level: str
    """How much, in words."""

    title: str
    """What people call it."""

    unit: str
    """Unit of the level, `""` for none."""

    numeric_level: float | None
    """The level as a number, where it is one."""

    is_reference: bool
    """Whether the shifts are measured against it."""

    is_paired: bool
    """Whether it shows the same objects as the reference."""


def find_measure(name: str) -> Measure:
    """Return a measure by its name.

    Parameters
    ----------
    name
        Its name.

    Returns
    -------
        The measure.

    Raises
    ------
    UsageError
        If there is none of that name.

    Examples
    --------
    >>> find_measure("ssim").title
    'SSIM'
    """
    if name not in MEASURES:
        raise UsageError(f"metric '{name}' is not known. {nearest_name(name, list(MEASURES))}")
    return MEASURES[name]
