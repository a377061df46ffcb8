"""How a scan of the study is made: one setting per axis, whose default is the reference level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lowfield_recon.learning.tasks import checked
from lowfield_recon.prepare.undersampling import MaskKind


class ScanSettings(BaseModel):
    """Levels of all shifts, and what no shift changes.

    Examples
    --------
    >>> ScanSettings(noise=0.2).window
    0.6
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: float = Field(
        default=0.1,
        ge=0,
        le=10,
        description="complex noise of one pixel of a complete scan over the mean modulus of the "
        "object as it was without any shift",
    )
    window: float = Field(
        default=0.6, gt=0, le=1, description="sampled central part of k-space along y and x"
    )
    window_shape: Literal["rectangle", "ellipse"] = Field(
        default="rectangle",
        description="the ellipse has the area of the rectangle, where that fits into k-space",
    )
    acceleration: float = Field(
        default=1.0, ge=1, le=64, description="R: one in R lines of the window is measured"
    )
    mask: MaskKind = Field(default="random", description="which lines, where R is above 1")
    contrast: float = Field(
        default=1.0, gt=0, le=10, description="exponent of the modulus over its largest"
    )
    inversion: float = Field(
        default=0.0, ge=0, le=1, description="part of a contrast in which bright tissue is dark"
    )
    lesion: float = Field(
        default=0.0,
        ge=-2,
        le=10,
        description="what a lesion adds to the modulus, over the object's mean",
    )
    coils: int = Field(default=1, ge=1, le=64, description="receive loops")
    coil_distance: float = Field(
        default=1.2, ge=1.05, le=10, description="radius of their ring over half the diagonal"
    )
    phase: float = Field(
        default=1.5, ge=0, le=100, description="largest smooth phase of the object [rad]"
    )
    off_resonance: float = Field(
        default=0.0,
        ge=0,
        le=1000,
        description="largest smooth displacement along the readout [pixels]",
    )
    gain: float = Field(default=1.0, gt=0, le=1e6, description="factor of all samples")
    bias_field: float = Field(
        default=0.0, ge=0, le=5, description="largest logarithm of the smooth shading"
    )
    motion: float = Field(
        default=0.0, ge=0, le=100, description="largest translation in a shot [pixels]"
    )
    rotation: float = Field(
        default=0.0, ge=0, le=40, description="largest rotation in a shot [degrees]"
    )
    spikes: float = Field(
        default=0.0, ge=0, le=1, description="part of the samples that a burst hits"
    )
    interference: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="two narrow lines: root mean square of each over the object's mean modulus",
    )

    phase_order: int = Field(default=2, ge=1, le=8, description="degree of the phase's polynomial")
    lesion_radius: float = Field(
        default=0.06, gt=0, le=0.3, description="mean radius of the lesion over the shorter side"
    )
    motion_shots: int = Field(default=8, ge=2, le=1024, description="shots of a scan")
    motion_order: Literal["sequential", "interleaved"] = Field(
        default="sequential", description="whether a shot measures neighbouring lines"
    )
    spike_amplitude: float = Field(
        default=0.1, ge=0, description="size of a burst over the largest modulus of the signal"
    )


def settings_from(values: Mapping[str, Any]) -> ScanSettings:
    """Check the settings of the reference condition.

    Parameters
    ----------
    values
        Settings by name, those that differ from the defaults.

    Returns
    -------
        The settings.

    Raises
    ------
    UsageError
        If a name is unknown or a value out of range.

    Examples
    --------
    >>> settings_from({"noise": 0.05}).noise
    0.05
    >>> settings_from({"noises": 0.05})
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: reference.noises: is no setting. Did you mean 'noise'? \
Known: ...
    """
    return checked(ScanSettings, dict(values), "reference")
