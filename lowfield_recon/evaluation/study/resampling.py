"""Bootstrap over subjects and seeds, its intervals and p-values, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array: TypeAlias = NDArray[np.float64]
IntervalKind: TypeAlias = Literal["expanded", "percentile"]

COVERAGE = 0.95
"""Nominal coverage of all intervals."""

_FEWEST_BEYOND = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draws:
    """How often each subject and each seed stands in each bootstrap sample."""

    subjects: tuple[str, ...]
    """Names, in the order of the columns."""

    seeds: tuple[int, ...]
    """Seeds, in the order of the columns."""

    subject_counts: Array
    """`(resamples, subjects)`."""

    seed_counts: Array
    """`(resamples, seeds)`; ones where there is a single seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its bootstrap interval."""

    mean: float | None
    """The estimate; None where there is nothing to average."""

    low: float | None = None
    """Lower end of the 95 % interval; None with fewer than two subjects in a group."""

    high: float | None = None
    """Upper end."""

    p: float | None = None
    """Two-sided p-value of a mean of zero, the inverse of the interval."""

    n_subjects: int = 0
    """Subjects that it rests on; of two groups their sum."""

    smallest_group: int = 0
    """Subjects of the smaller group, which decides how far the interval can be trusted."""


def draw_samples(
    groups: Mapping[str, Hashable], seeds: Sequence[int], *, resamples: int, seed: int = 0
) -> Draws:
    """Draw bootstrap samples of subjects and, as an outer level, of seeds.

    All subjects see all seeds, so that the two are drawn independently of each other and a mean
    over the cells (seed, subject) is taken with the product of their counts. Every subject keeps
    all its images. Subjects are drawn within their group, so that the size of a group is the same
    in every sample. One set of draws serves a whole study: whatever is compared is compared on the
    same samples.

    Parameters
    ----------
    groups
        Group of each subject.
    seeds
        Seeds of the study.
    resamples
        Number of samples.
    seed
        Seed of the draws.

    Returns
    -------
        The draws, the subjects sorted by name.

    Examples
    --------
    >>> drawn = draw_samples({"a": 0, "b": 0, "c": 1}, [0], resamples=4)
    >>> drawn.subject_counts.sum(axis=1).tolist(), drawn.subject_counts[:, 2].tolist()
    ([3.0, 3.0, 3.0, 3.0], [1.0, 1.0, 1.0, 1.0])

    References
    ----------
    Owen AB. The pigeonhole bootstrap. Ann Appl Stat 2007;1:386-411.
    https://doi.org/10.1214/07-AOAS122
    """
    generator = np.random.default_rng(seed)
    subjects = tuple(sorted(groups))
    counts = np.zeros((resamples, len(subjects)))
    for group in sorted({groups[name] for name in subjects}, key=repr):
        columns = [index for index, name in enumerate(subjects) if groups[name] == group]
        counts[:, columns] = _multinomial(generator, len(columns), resamples)
    seed_counts = _multinomial(generator, len(seeds), resamples)
    return Draws(
        subjects=subjects, seeds=tuple(seeds), subject_counts=counts, seed_counts=seed_counts
    )


def cell_mean(cells: Array) -> float:
    """Average the cells that are there.

    Parameters
    ----------
    cells
        `(seeds, subjects)`, NaN where there is nothing.

    Returns
    -------
        Their mean, NaN where there is none; where none is missing, the mean of subject means.
    """
    present = np.isfinite(cells)
    return float(cells[present].mean()) if present.any() else math.nan


def resampled_means(cells: Array, draws: Draws) -> Array:
    """Average the cells in every bootstrap sample.

    Parameters
    ----------
    cells
        `(seeds, subjects)` in the order of the draws, NaN where there is nothing.
    draws
        The samples.

    Returns
    -------
        One mean per sample; NaN where a sample holds no cell that is there.
    """
    present = np.isfinite(cells)
    filled = np.where(present, cells, 0.0)
    u, w = draws.seed_counts, draws.subject_counts
    total = ((u @ filled) * w).sum(axis=1)
    count = ((u @ present.astype(np.float64)) * w).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, math.nan))


def estimate_from(
    mean: float,
    replicates: Array,
    *,
    n_subjects: int,
    smallest_group: int,
    kind: IntervalKind = "expanded",
) -> Estimate:
    r"""Make an interval and a p-value of a mean and its values in the bootstrap samples.

    The percentile interval is too narrow for few subjects: the bootstrap's variance lacks a factor
    n / (n - 1), and normal tails stand where those of t belong. `"expanded"` takes the quantiles at
    ``Phi(-sqrt(n / (n - 1)) t_{n-1})`` instead of 2.5 %, with n the subjects of the smaller group;
    no quantile lies beyond the means that the data holds, so that below about six subjects its
    coverage still falls short. The p-value is that of the widest interval without zero; where fewer
    than ten samples lie beyond zero, the normal tail with the samples' deviation takes their place,
    since their number says no more.

    Parameters
    ----------
    mean
        The estimate.
    replicates
        Its value in each sample; those that are NaN do not count.
    n_subjects
        Subjects that it rests on.
    smallest_group
        Subjects of the smaller group.
    kind
        `"expanded"` or `"percentile"`.

    Returns
    -------
        Mean, interval and p-value; neither of the last two with fewer than two subjects.

    References
    ----------
    Hesterberg TC. What teachers should know about the bootstrap. Am Stat 2015;69:371-386.
    https://doi.org/10.1080/00031305.2015.1089789
    """
    if not math.isfinite(mean):
        return Estimate(mean=None, n_subjects=n_subjects, smallest_group=smallest_group)
    finite = replicates[np.isfinite(replicates)]
    if smallest_group < 2 or finite.size == 0:
        return Estimate(mean=mean, n_subjects=n_subjects, smallest_group=smallest_group)
    n = smallest_group
    tail = 0.5 * (1 - COVERAGE)
    if kind == "expanded":
        tail = float(stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1)))
    low, high = np.quantile(finite, [tail, 1 - tail])
    z = _depth_of_zero(mean, finite)
    p = 2 * float(stats.norm.sf(z))
    if kind == "expanded":
        p = 2 * float(stats.t.sf(z / math.sqrt(n / (n - 1)), n - 1))
    return Estimate(
        mean=mean, low=float(low), high=float(high), p=min(1.0, p),
        n_subjects=n_subjects, smallest_group=smallest_group,
    )  # fmt: skip


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for their number by Holm's step-down method.

    The k-th smallest of m is multiplied by ``m - k + 1``; none falls below those before it.

    Parameters
    ----------
    p_values
        The p-values; None where nothing could be tested, which does not count.

    Returns
    -------
        Corrected p-values in the same order.

    Examples
    --------
    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]

    References
    ----------
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.
    https://www.jstor.org/stable/4615733
    """
    tested = [(p, index) for index, p in enumerate(p_values) if p is not None]
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(sorted(tested)):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        corrected[index] = largest
    return corrected


def _depth_of_zero(mean: float, finite: Array) -> float:
    """Return how many normal deviations the mean lies from zero, by the samples beyond zero."""
    beyond = 1 + min(int((finite <= 0).sum()), int((finite >= 0).sum()))
    z = max(0.0, float(stats.norm.isf(beyond / (finite.size + 1))))
    deviation = float(finite.std())
    if beyond <= _FEWEST_BEYOND and deviation > 0:
        z = max(z, abs(mean) / deviation)
    return z


def _multinomial(generator: np.random.Generator, count: int, resamples: int) -> Array:
    """Count how often each of `count` equally likely things is drawn in `count` draws."""
    if count == 1:
        return np.ones((resamples, 1))
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.asarray(drawn, dtype=np.float64)
