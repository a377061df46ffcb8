"""What is drawn at random for each training example, and from where.

References
----------
Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
dictionaries. https://arxiv.org/abs/2602.21707
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_SMALLEST_CROP = 16


def _ordered(values: tuple[float, float]) -> tuple[float, float]:
    if not 0 < values[0] <= values[1] < float("inf"):
        raise ValueError(f"expected a range (low, high) of positive numbers, got {values}")
    return values


def _part(values: tuple[float, float]) -> tuple[float, float]:
    if values[1] > 1:
        raise ValueError(f"expected parts of k-space above 0 up to 1, got {values}")
    return values


def _counts(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or not all(1 <= n <= 64 for n in values):
        raise ValueError(f"expected numbers of coils from 1 to 64, got {values}")
    return values


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Smallest and largest value of something positive."""


class ExampleSettings(BaseModel):
    """Ranges from which every training example is drawn on its own.

    A range whose ends are equal fixes the value. The draws are made whether or not they are used,
    so that switching one effect off leaves the others as they are.

    Examples
    --------
    >>> ExampleSettings(snr=(10, 10), crop=(64, 64)).window
    (0.4, 1.0)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: tuple[int, int] = Field(default=(96, 96), description="size (y, x) [pixels]")
    reduction: Range = Field(
        default=(1.0, 1.0),
        description="pixels are made this many times larger (k-space of a larger crop is cut), "
        "log-uniform, at most as the slice allows",
    )
    flips: bool = Field(default=True, description="whether axes are reversed at random")
    rotations: bool = Field(default=True, description="whether quarter turns are made at random")
    gamma: Range = Field(
        default=(0.6, 1.6),
        description="contrast: exponent of the modulus over the slice's largest, log-uniform",
    )
    scale: Range = Field(
        default=(0.5, 2.0), description="factor of the intensities as stored, log-uniform"
    )
    fade: int = Field(
        default=8,
        ge=0,
        description="width [pixels] over which the object fades to zero towards edges that were "
        "cut, so that opposite edges meet without a jump; 0 leaves the jump",
    )
    phase_rad: float = Field(
        default=3.0,
        ge=0,
        description="upper end of the largest smooth phase, which is uniform from 0 [rad]",
    )
    phase_order: int = Field(default=2, ge=1, le=8, description="degree of its polynomial")
    global_phase: bool = Field(
        default=True, description="whether a constant phase is drawn from the whole circle"
    )
    snr: Range | None = Field(
        default=(4.0, 40.0),
        description="mean modulus of the object over the complex noise of one pixel of a full "
        "acquisition, log-uniform; None where variance_factor is given",
    )
    variance_factor: Range | None = Field(
        default=None,
        description="complex variance of that noise over the mean of |x|^2, uniform",
    )
    window: Annotated[Range, AfterValidator(_part)] = Field(
        default=(0.4, 1.0),
        description="sampled central part of k-space along either axis, uniform, 0 to 1",
    )
    p_square: float = Field(
        default=0.5, ge=0, le=1, description="probability that both axes have the same part"
    )
    coils: Annotated[tuple[int, ...], AfterValidator(_counts)] = Field(
        default=(1,), description="numbers of receive coils, one drawn per step"
    )
    coil_distance: Range = Field(
        default=(1.1, 1.6),
        description="radius of the ring of loops over half the diagonal of the field of view",
    )

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.snr is None) == (self.variance_factor is None):
            raise ValueError("the noise needs snr or variance_factor, one of them")
        if min(self.crop) < _SMALLEST_CROP:
            raise ValueError(f"crop: expected at least {_SMALLEST_CROP} pixels, got {self.crop}")
        if self.reduction[0] < 1:
            raise ValueError(f"reduction: expected factors of at least 1, got {self.reduction}")
        if not 1.05 <= self.coil_distance[0] <= self.coil_distance[1] <= 10:
            raise ValueError(f"coil_distance: expected 1.05 to 10, got {self.coil_distance}")
        if self.fade > min(self.crop) // 2:
            raise ValueError(f"fade: expected at most half the crop, got {self.fade}")
        return self

    @classmethod
    def published(cls, *, crop: tuple[int, int] = (96, 96), square: bool = False) -> Self:
        """Return the published recipe: images as they are, a central window, and noise.

        Either axis keeps 82 to 240 of 320 lines on its own (`square` False), or both the same 120
        to 200 of 320 with flips and quarter turns (`square` True; the lists of the published code
        become ranges). The complex variance of the noise is 0.075 to 0.30 times the mean of |x|^2.

        Parameters
        ----------
        crop
            Size of the examples.
        square
            Which of the two published windows.

        Returns
        -------
            The settings.

        Examples
        --------
        >>> ExampleSettings.published().window
        (0.25625, 0.75)

        References
        ----------
        https://arxiv.org/abs/2602.21707
        """
        return cls(
            crop=crop,
            flips=square,
            rotations=square,
            fade=0,
            gamma=(1, 1),
            scale=(1, 1),
            phase_rad=0,
            global_phase=False,
            snr=None,
            variance_factor=(0.075, 0.30),
            window=(120 / 320, 200 / 320) if square else (82 / 320, 240 / 320),
            p_square=1.0 if square else 0.0,
        )
