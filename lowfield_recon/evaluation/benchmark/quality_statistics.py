"""Means over subjects, paired differences with their uncertainty, and the verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 10_000
_COVERAGE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Mean of paired differences over subjects."""

    mean: float
    """Ours minus the other."""

    low: float | None
    """Lower end of the 95 % interval; None with fewer than two subjects."""

    high: float | None
    """Upper end."""

    n_subjects: int
    """Over how many."""

    def text(self, digits: int) -> str:
        """Write it as `+0.12 [+0.03, +0.20]`.

        Parameters
        ----------
        digits
            Digits after the point.

        Returns
        -------
            The text; without brackets where there is no interval.
        """
        mean = f"{self.mean:+.{digits}f}"
        if self.low is None or self.high is None:
            return mean
        return f"{mean} [{self.low:+.{digits}f}, {self.high:+.{digits}f}]"


def subject_means(values: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Average the values of each subject.

    Parameters
    ----------
    values
        Subject and value, in any order.

    Returns
    -------
        Mean of each subject.

    Examples
    --------
    >>> subject_means([("a", 1.0), ("b", 5.0), ("a", 3.0)])
    {'a': 2.0, 'b': 5.0}
    """
    collected: dict[str, list[float]] = {}
    for subject, value in values:
        collected.setdefault(subject, []).append(value)
    return {subject: float(np.mean(found)) for subject, found in collected.items()}


def paired_difference(
    ours: Mapping[str, float], other: Mapping[str, float], *, seed: int = 0
) -> Difference:
    """Compare two methods over the subjects that both have.

    The interval holds the middle 95 % of the means of 10 000 bootstrap samples of subjects.

    Parameters
    ----------
    ours, other
        Value of each subject.
    seed
        Seed of the bootstrap.

    Returns
    -------
        Mean difference with its interval.

    Raises
    ------
    ValueError
        If no subject is in both.

    Examples
    --------
    >>> paired_difference({"a": 2.0, "b": 3.0}, {"a": 1.0, "b": 2.0}).text(1)
    '+1.0 [+1.0, +1.0]'

    References
    ----------
    Efron B, Tibshirani R. Bootstrap methods for standard errors, confidence intervals, and other
    measures of statistical accuracy. Stat Sci 1986;1:54-75. https://doi.org/10.1214/ss/1177013815
    """
    subjects = sorted(set(ours) & set(other))
    if not subjects:
        raise ValueError("paired_difference: no subject is in both; compare the same scans.")
    differences = np.array([ours[name] - other[name] for name in subjects])
    low = high = None
    if len(subjects) > 1:
        generator = np.random.default_rng(seed)
        chosen = generator.integers(len(subjects), size=(_RESAMPLES, len(subjects)))
        tail = 0.5 * (1 - _COVERAGE)
        ends = np.quantile(differences[chosen].mean(axis=1), [tail, 1 - tail])
        low, high = float(ends[0]), float(ends[1])
    return Difference(mean=float(differences.mean()), low=low, high=high, n_subjects=len(subjects))


def verdict(psnr: Difference, ssim: Difference) -> str:
    """Say in words how ours compares.

    Parameters
    ----------
    psnr, ssim
        Differences, ours minus the other.

    Returns
    -------
        Words.

    Examples
    --------
    >>> gain = Difference(mean=0.2, low=0.1, high=0.3, n_subjects=6)
    >>> loss = Difference(mean=-0.01, low=-0.02, high=0.01, n_subjects=6)
    >>> verdict(gain, loss)
    'ours NOT better in SSIM (by chance or not)'
    """
    worse = {n: d for n, d in (("PSNR", psnr), ("SSIM", ssim)) if d.mean <= 0}
    if worse:
        names = " and ".join(worse)
        sure = all(d.high is not None and d.high < 0 for d in worse.values())
        return f"ours NOT better in {names}" + ("" if sure else " (by chance or not)")
    if psnr.low is None or ssim.low is None:
        return "ours better (one subject)"
    unsure = [n for n, d in (("PSNR", psnr), ("SSIM", ssim)) if (d.low or 0.0) <= 0]
    return "ours better" if not unsure else f"ours better on average, {' and '.join(unsure)} unsure"
