"""The recipe of a simulated scan: every choice by name, with its unit, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.prepare.undersampling import MaskKind
from lowfield_recon.simulation.motion import LineOrder

MaskChoice = Literal["full", MaskKind]
"""Which phase encodings are sampled."""

NOISE_DEFINITIONS = ("snr", "noise_std", "variance_factor")
"""Settings that each define the noise on their own."""

_Fraction = tuple[float, float, float]


class Recipe(BaseModel):
    r"""What is done to an image to make k-space of it.

    ``y = g (M (F_t S b T_s x + i) + e)`` with the object x (its smooth phase included) in the pose
    T_s of each shot, the shading b, coil maps S, the centred orthonormal Fourier transform F_t with
    the off-resonance accrued along each readout, interference and spikes i, white noise e on every
    sampled point, the pattern M, and the gain g. Every effect has random numbers of its own.

    Examples
    --------
    >>> Recipe(n_coils=4, snr=20).mask
    'full'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0, description="seed of every random choice")
    encoding: Literal["volume", "slices"] = Field(
        default="volume", description="whether z is phase-encoded or a stack of 2-D slices"
    )
    matrix: tuple[int, int, int] | None = Field(
        default=None,
        description="size of k-space (z, y, x), at most the image's; None takes the image's",
    )
    field_strength_t: float = Field(default=0.05, gt=0, lt=100, description="main field [T]")
    dwell_time_s: float = Field(
        default=2e-5, ge=1e-7, lt=0.1, description="time between two samples of a readout [s]"
    )

    n_coils: int = Field(default=1, ge=1, le=1024, description="receive coils; one is uniform")
    coil_distance: float = Field(
        default=1.2,
        ge=1.05,
        le=10,
        description="radius of the ring of loops over half the diagonal of the field of view",
    )
    coil_normalization: Literal["sum-of-squares", "peak"] = Field(
        default="sum-of-squares",
        description="sum_c |S_c|^2 = 1 everywhere, or 1 at its largest only",
    )

    phase_rad: float = Field(
        default=0.0, ge=0, description="largest modulus of the smooth phase of the object [rad]"
    )
    phase_order: int = Field(default=2, ge=1, le=8, description="degree of its polynomial")

    off_resonance_hz: float = Field(
        default=0.0, ge=0, description="largest modulus of the smooth off-resonance [Hz]"
    )
    off_resonance_order: int = Field(default=2, ge=1, le=8, description="degree of its polynomial")

    bias_field: float = Field(
        default=0.0, ge=0, le=5, description="largest logarithm of the smooth shading b"
    )
    bias_field_order: int = Field(default=2, ge=1, le=8, description="degree of its polynomial")

    motion_m: float = Field(
        default=0.0, ge=0, lt=1, description="largest translation in a shot along y and x [m]"
    )
    motion_rad: float = Field(
        default=0.0, ge=0, le=0.75, description="largest rotation in a shot, in the plane [rad]"
    )
    motion_shots: int = Field(
        default=8, ge=2, le=1024, description="shots, in each of which the object keeps its pose"
    )
    motion_order: LineOrder = Field(
        default="sequential", description="whether a shot measures neighbouring lines along k1"
    )

    window: float | _Fraction = Field(
        default=1.0,
        description="sampled central part of k-space along every axis, or along (z, y, x), 0 to 1",
    )
    mask: MaskChoice = Field(default="full", description="which phase encodings are sampled")
    acceleration: float | None = Field(default=None, ge=1, description="R of the mask")
    calibration_lines: int = Field(
        default=24, ge=0, description="width of the complete centre, in lines"
    )
    center_fraction: float | None = Field(
        default=None, ge=0, le=1, description="centre of a fastMRI mask, as a part of the lines"
    )
    mask_seed: int | str | None = Field(
        default=None,
        description="seed of the mask, or a file's name for fastMRI; None takes the seed",
    )

    snr: float | None = Field(
        default=None, gt=0, description="mean modulus of the object over the noise of one pixel"
    )
    noise_std: float | None = Field(
        default=None, ge=0, description="standard deviation of the complex noise of one sample"
    )
    variance_factor: float | None = Field(
        default=None, ge=0, description="complex variance of the noise over the mean of |x|^2"
    )
    object_threshold: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="the object is where |x| exceeds this part of its maximum",
    )
    noise_samples: int = Field(
        default=0, ge=0, le=65535, description="samples of a noise readout beside the scan"
    )

    interference_hz: tuple[float, ...] = Field(
        default=(), max_length=64, description="frequencies of narrow lines of interference [Hz]"
    )
    interference_amplitude: float = Field(
        default=0.1,
        ge=0,
        description="root mean square of one line in a sample, over the object's mean modulus",
    )
    spike_fraction: float = Field(
        default=0.0, ge=0, le=1, description="part of the samples that a burst hits"
    )
    spike_amplitude: float = Field(
        default=0.3,
        ge=0,
        description="root mean square of a burst over the largest modulus of the signal",
    )

    gain: float = Field(
        default=1.0, gt=0, lt=1e12, description="factor of all samples, of signal and noise alike"
    )


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """Check settings and make a recipe of them.

    Parameters
    ----------
    values
        Settings by name.

    Returns
    -------
        The recipe.

    Raises
    ------
    UsageError
        If a name is unknown, a value out of range, or two settings contradict each other.

    Examples
    --------
    >>> recipe_from({"sn": 20})
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: recipe: 'sn' is no setting. Did you mean 'snr'? Known: ...
    """
    try:
        recipe = Recipe.model_validate(dict(values))
    except ValidationError as error:
        detail = sorted(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")[0]
        name = str(detail["loc"][0]) if detail["loc"] else "recipe"
        if detail["type"] == "extra_forbidden":
            hint = nearest_name(name, sorted(Recipe.model_fields))
            raise UsageError(f"recipe: '{name}' is no setting. {hint}") from error
        message = detail["msg"][0].lower() + detail["msg"][1:]
        raise UsageError(f"recipe: '{name}': {message}, got {detail['input']!r}.") from error
    check_recipe(recipe)
    return recipe


def check_recipe(recipe: Recipe) -> None:
    """Refuse settings that contradict each other.

    Parameters
    ----------
    recipe
        The recipe.

    Raises
    ------
    UsageError
        If the noise is defined twice, a mask lacks its acceleration or an acceleration its mask, a
        window is empty, or interference lies outside the bandwidth.

    Examples
    --------
    >>> check_recipe(Recipe(snr=20, noise_std=0.1))
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: recipe: the noise is defined by snr and noise_std; keep one.
    """
    given = [name for name in NOISE_DEFINITIONS if getattr(recipe, name) is not None]
    if len(given) > 1:
        raise UsageError(f"recipe: the noise is defined by {' and '.join(given)}; keep one.")
    if recipe.noise_samples and not (given and getattr(recipe, given[0]) > 0):
        raise UsageError(
            "recipe: noise_samples needs noise; set snr, noise_std or variance_factor."
        )
    if (recipe.mask == "full") != (recipe.acceleration is None):
        raise UsageError(
            "recipe: acceleration without a mask; choose one, e.g. mask = random."
            if recipe.mask == "full"
            else f"recipe: mask '{recipe.mask}' needs an acceleration, e.g. acceleration = 4."
        )
    if not all(math.isfinite(part) and 0 < part <= 1 for part in window_zyx(recipe)):
        raise UsageError(f"recipe: window: expected parts above 0 up to 1, got {recipe.window}.")
    if recipe.matrix is not None and min(recipe.matrix) < 1:
        raise UsageError(f"recipe: matrix: expected sizes of at least 1, got {recipe.matrix}.")
    half_bandwidth = 0.5 / recipe.dwell_time_s
    if not all(abs(f) <= half_bandwidth for f in recipe.interference_hz):
        raise UsageError(
            f"recipe: interference_hz: expected frequencies within the bandwidth, up to "
            f"{half_bandwidth:g} Hz either way, got {list(recipe.interference_hz)}."
        )


def window_zyx(recipe: Recipe) -> _Fraction:
    """Return the sampled part of k-space along z, y and x.

    Parameters
    ----------
    recipe
        The recipe.

    Returns
    -------
        Three parts, 0 to 1.

    Examples
    --------
    >>> window_zyx(Recipe(window=0.5))
    (0.5, 0.5, 0.5)
    """
    part = recipe.window
    return part if isinstance(part, tuple) else (part, part, part)
