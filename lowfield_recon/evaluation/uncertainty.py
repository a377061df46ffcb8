"""How uncertain each pixel of an image is, for any method, and whether that is said rightly.

Noise of the stated level is drawn again and again and the image reconstructed anew: the bootstrap.
It sees how noise in the data becomes noise in the image, the variance. It does not see what the
method always does wrong, the bias: edges that a prior smooths away, structures it invents. A small
standard deviation is no evidence of a right image; `calibration.calibrate` reports both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy
import torch
from scipy import stats

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.arrays import Array, magnitude_of, select_pixels
from lowfield_recon.evaluation.resampling import Method, NoiseSource, image_by, known_noise
from lowfield_recon.problem import InverseProblem

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Nominal coverages that are checked by default."""

Varied = Literal["noise", "seed", "both"]
Around = Literal["data", "estimate"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UncertaintyMap:
    """What `uncertainty_map` found, on magnitudes."""

    image: torch.Tensor
    """Image of the data as they are, shape `InverseProblem.shape`."""

    mean: torch.Tensor
    """Mean of the magnitudes over the draws, float32 or float64, the same shape."""

    std: torch.Tensor
    """Standard deviation of the magnitudes over the draws, the same shape and unit."""

    draws: int
    """Number of draws."""

    noise_std: float | None
    """Standard deviation of the noise of one sample that was drawn; None where none was."""

    noise_source: str
    """Where that comes from."""


def uncertainty_map(
    method: Method,
    problem: InverseProblem,
    *,
    draws: int = 16,
    seed: int = 0,
    varied: Varied = "noise",
    around: Around = "data",
    image: torch.Tensor | None = None,
) -> UncertaintyMap:
    r"""Estimate the standard deviation of each pixel by drawing noise, or seeds, again.

    ``std_i = std_k |f(z_k)|_i`` with ``z_k = y + noise_std n_k`` (`around="data"`) or ``z_k = A
    f(y) + noise_std n_k`` (`around="estimate"`, the parametric bootstrap). Of a linear f both are
    the standard deviation of f(y) itself, up to the sampling error ``1 / sqrt(2 (draws - 1))`` of
    each pixel. Otherwise the first works on data of sqrt(2) times the noise, the second on data of
    the right noise but an object that is as smooth as the estimate. Neither sees bias.

    Parameters
    ----------
    method
        Reconstructor, or function from a problem to an image.
    problem
        Data, operator and noise level; where that is None it is estimated from the data.
    draws
        Number of reconstructions besides that of the data; at least 2.
    seed
        Seed of the noise; draw k depends on it and on k alone.
    varied
        `"noise"`; `"seed"`, the seed of a method that is random in itself (`dip`, `ngr`,
        `mg-spair`) on the data as they are; or `"both"`.
    around
        What noise is added to.
    image
        What the method makes of the data as they are, where that is known; None reconstructs it.

    Returns
    -------
        Image, mean and standard deviation.

    Raises
    ------
    UsageError
        If there are less than 2 draws, no noise to draw, or no seed to vary.

    References
    ----------
    Efron B. Ann Stat 1979;7:1-26. https://doi.org/10.1214/aos/1176344552
    Robson PM et al. Magn Reson Med 2008;60:895-907. https://doi.org/10.1002/mrm.21728

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.full((1, 1, 1, 32, 32), 9.0), operator=identity_operator(),
    ...     image_domain="real", noise_std=0.5,
    ... )
    >>> found = uncertainty_map(lambda p: 2 * p.data, problem)
    >>> round(float(found.std.mean()), 1)
    1.0
    """
    if draws < 2:
        raise UsageError(f"draws: expected at least 2, got {draws}.")
    draws_noise = varied != "seed"
    sigma, source = known_noise(problem) if draws_noise else (None, "no noise was drawn")
    first_seed = _first_seed(method) if varied != "noise" else None
    noise = NoiseSource(problem, seed) if draws_noise else None
    image = image_by(method, problem) if image is None else image
    centre = problem.data if around == "data" else _predicted(problem, image)
    moments = _Moments()
    for k in range(draws):
        drawn = problem
        if noise is not None and sigma is not None:
            drawn = replace(problem, data=centre + sigma * noise.draw(k))
        own_seed = None if first_seed is None else first_seed + 1 + k
        moments.add(image_by(method, drawn, seed=own_seed))
    return UncertaintyMap(
        image=image, mean=moments.mean, std=moments.std(), draws=draws, noise_std=sigma,
        noise_source=source,
    )  # fmt: skip


def expected_image(
    method: Method, problem: InverseProblem, *, draws: int = 16, seed: int = 1
) -> UncertaintyMap:
    """Return mean and standard deviation of a method over new scans of the reference.

    Each draw is ``f(A x_ref + noise_std n_k)``: the mean less the reference is the bias, and the
    standard deviation is what `uncertainty_map` estimates without knowing the reference.

    Parameters
    ----------
    method
        Reconstructor, or function from a problem to an image.
    problem
        Operator, noise level and reference.
    draws
        Number of reconstructions; at least 2.
    seed
        Seed of the noise.

    Returns
    -------
        Image of the data as they are, mean and standard deviation over the scans.

    Raises
    ------
    UsageError
        If the problem has no reference, or as `uncertainty_map`.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> ones = torch.ones(1, 1, 1, 32, 32)
    >>> problem = InverseProblem(
    ...     data=ones, operator=identity_operator(), image_domain="real", noise_std=0.01,
    ...     reference=ones,
    ... )
    >>> round(float(expected_image(lambda p: 0.5 * p.data, problem).mean.mean()), 2)
    0.5
    """
    if problem.reference is None:
        raise UsageError("reference: the problem has none; expected the true image to judge by.")
    sigma, source = known_noise(problem)
    if draws < 2:
        raise UsageError(f"draws: expected at least 2, got {draws}.")
    noise = NoiseSource(problem, seed)
    clean = _predicted(problem, problem.reference)
    moments = _Moments()
    for k in range(draws):
        moments.add(image_by(method, replace(problem, data=clean + sigma * noise.draw(k))))
    return UncertaintyMap(
        image=image_by(method, problem), mean=moments.mean, std=moments.std(), draws=draws,
        noise_std=sigma, noise_source=source,
    )  # fmt: skip


def coverage(
    uncertainty: UncertaintyMap,
    target: Any,
    *,
    levels: Sequence[float] = LEVELS,
    mask: Any = None,
    target_draws: int | None = None,
) -> dict[str, float]:
    """Return how often the intervals of an uncertainty map hold a target.

    The interval of a pixel is ``|x| +- t std`` with Student's t of ``draws - 1`` degrees of
    freedom.

    Parameters
    ----------
    uncertainty
        Image and standard deviations.
    target
        What they are to hold, shape of the image: the reference, or a mean image; magnitudes count.
    levels
        Nominal coverages, which the intervals promise, each between 0 and 1.
    mask
        Pixels that count, or None for all.
    target_draws
        Number of draws that the target is the mean of, whose own noise widens the intervals; None
        for an exact target.

    Returns
    -------
        Nominal coverage as text -> part of the pixels that are held.

    Raises
    ------
    UsageError
        If a nominal coverage is not between 0 and 1.
    DataError
        If shapes differ or the mask fits nothing.

    Examples
    --------
    >>> draws = torch.ones(1, 1, 1, 2, 2)
    >>> found = UncertaintyMap(
    ...     image=2 * draws, mean=2 * draws, std=draws, draws=16, noise_std=1.0,
    ...     noise_source="given",
    ... )
    >>> coverage(found, draws, levels=(0.5, 0.9))
    {'0.5': 0.0, '0.9': 1.0}
    """
    for level in levels:
        if not 0 < level < 1:
            raise UsageError(f"levels: expected numbers between 0 and 1, got {level}.")
    deviation = _deviation(uncertainty, target)
    kept = select_pixels(mask, deviation.shape)
    widening = 1.0 if target_draws is None else math.sqrt(1 + 1 / target_draws)
    std = magnitude_of(uncertainty.std, "std") * widening
    held = {}
    for level in levels:
        factor = float(stats.t.ppf(0.5 + level / 2, uncertainty.draws - 1))
        held[f"{level:g}"] = float((numpy.abs(deviation) <= factor * std)[kept].mean())
    return held


class _Moments:
    """Running mean and sum of squares of magnitudes (Welford)."""

    def __init__(self) -> None:
        self.mean = torch.zeros(())
        self._squares = torch.zeros(())
        self._count = 0

    def add(self, image: torch.Tensor) -> None:
        magnitude = image.abs()
        self._count += 1
        before = magnitude - self.mean
        self.mean = self.mean + before / self._count
        self._squares = self._squares + before * (magnitude - self.mean)

    def std(self) -> torch.Tensor:
        return (self._squares / (self._count - 1)).clamp(min=0).sqrt()


def _predicted(problem: InverseProblem, image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        (predicted,) = problem.operator(image.to(problem.data.device))
    if not problem.data.is_complex() and predicted.is_complex():
        predicted = predicted.real
    expected: torch.Tensor = predicted.to(problem.data.dtype)
    return expected


def _first_seed(method: Method) -> int:
    seed = getattr(getattr(method, "settings", None), "seed", None)
    if not isinstance(seed, int):
        raise UsageError("varied: a function has no seed; give a reconstructor, or vary the noise.")
    return seed


def _deviation(uncertainty: UncertaintyMap, target: Any) -> Array:
    x, aim = magnitude_of(uncertainty.image, "image"), magnitude_of(target, "target")
    if x.shape != aim.shape:
        raise DataError(f"target: expected the image's shape {x.shape}, got {aim.shape}.")
    deviation: Array = x - aim
    return deviation
