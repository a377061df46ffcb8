"""Whether the intervals of an uncertainty map hold what they promise, with bias and without."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from scipy import stats

from lowfield_recon.evaluation.arrays import Array, magnitude_of, select_pixels
from lowfield_recon.evaluation.resampling import Method
from lowfield_recon.evaluation.uncertainty import (
    LEVELS,
    UncertaintyMap,
    coverage,
    expected_image,
)
from lowfield_recon.problem import InverseProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Whether the intervals hold what they promise; all over the pixels that count."""

    with_bias: Mapping[str, float]
    """Nominal coverage -> part of the pixels whose interval holds the reference."""

    without_bias: Mapping[str, float]
    """The same of the method's mean image over noise instead of the reference: what would be held
    if the method had no bias. It judges the standard deviations alone."""

    mean_std: float
    """Mean of the standard deviations."""

    rms_error: float
    """Root mean square of ``|x| - |x_ref|``."""

    rms_bias: float
    """Root mean square of what remains of that on average over noise."""

    rank_correlation: float
    """Spearman's, of standard deviation and ``||x| - |x_ref||``: whether errors are where they are
    said to be; NaN where one of them is constant."""


def calibrate(
    method: Method,
    problem: InverseProblem,
    uncertainty: UncertaintyMap,
    *,
    draws: int = 16,
    seed: int = 1,
    levels: Sequence[float] = LEVELS,
    mask: Any = None,
) -> Calibration:
    """Judge an uncertainty map by the reference, with the method's bias and without.

    Parameters
    ----------
    method
        What made the map.
    problem
        Data, operator, noise level and reference.
    uncertainty
        The map.
    draws
        Reconstructions of new scans of the reference, from which the bias is found.
    seed
        Seed of their noise; another than the map's.
    levels
        Nominal coverages that are checked.
    mask
        Pixels that count, or None for all.

    Returns
    -------
        Coverages, and the sizes of standard deviation, error and bias.

    Raises
    ------
    UsageError
        If the problem has no reference, or as `uncertainty_map`.
    DataError
        If shapes differ or the mask fits nothing.

    Examples
    --------
    >>> import torch
    >>> from lowfield_recon.evaluation.uncertainty import uncertainty_map
    >>> from lowfield_recon.operators import identity_operator
    >>> ones = torch.ones(1, 1, 1, 32, 32)
    >>> noise = 0.01 * torch.randn(ones.shape, generator=torch.Generator().manual_seed(5))
    >>> problem = InverseProblem(
    ...     data=ones + noise, operator=identity_operator(), image_domain="real", noise_std=0.01,
    ...     reference=ones,
    ... )
    >>> halved = lambda p: 0.5 * p.data
    >>> found = calibrate(halved, problem, uncertainty_map(halved, problem))
    >>> found.with_bias["0.95"], found.without_bias["0.95"] > 0.9, round(found.rms_bias, 2)
    (0.0, True, 0.5)
    """
    with_bias = coverage(uncertainty, problem.reference, levels=levels, mask=mask)
    expected = expected_image(method, problem, draws=draws, seed=seed)
    x, x_ref = (
        magnitude_of(uncertainty.image, "image"),
        magnitude_of(problem.reference, "reference"),
    )
    error = x - x_ref
    kept = select_pixels(mask, error.shape)
    std = magnitude_of(uncertainty.std, "std")
    offset = magnitude_of(expected.mean, "mean") - x_ref
    sampling = magnitude_of(expected.std, "std") ** 2 / draws
    squared_bias = float((offset**2 - sampling)[kept].mean())
    return Calibration(
        with_bias=with_bias,
        without_bias=coverage(
            uncertainty, expected.mean, levels=levels, mask=mask, target_draws=draws
        ),
        mean_std=float(std[kept].mean()),
        rms_error=float(numpy.sqrt(numpy.square(error)[kept].mean())),
        rms_bias=math.sqrt(max(squared_bias, 0.0)),
        rank_correlation=_rank_correlation(std[kept], numpy.abs(error)[kept]),
    )


def _rank_correlation(a: Array, b: Array) -> float:
    if a.size < 2 or a.min() == a.max() or b.min() == b.max():
        return math.nan
    return float(stats.spearmanr(a, b).statistic)
