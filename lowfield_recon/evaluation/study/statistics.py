"""What the rows of a study say: levels, losses under a shift, differences of losses, ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from lowfield_recon.evaluation.study.records import ConditionInfo, Row
from lowfield_recon.evaluation.study.resampling import (
    Array,
    Draws,
    Estimate,
    IntervalKind,
    cell_mean,
    draw_samples,
    estimate_from,
    resampled_means,
)

_TRIMMED = 0.1
Values = Mapping[tuple[str, int], float]
"""Value of each image and seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How good a method is in a condition."""

    estimate: Estimate
    """Mean over subjects."""

    median: float | None
    """Median of the subjects' means."""

    trimmed_mean: float | None
    """Mean of the subjects' means without the largest and smallest tenth."""

    n_rows: int
    """Rows that count."""

    n_failed: int
    """Rows without an image."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Contrast:
    """A number with its values in the bootstrap samples."""

    mean: float
    replicates: Array
    n_subjects: int
    smallest_group: int


class StudyTable:
    """The rows of a study, with one set of bootstrap samples for all comparisons.

    Parameters
    ----------
    rows
        All rows, failures included.
    conditions
        The conditions; exactly one is the reference.
    reference_method
        Name of the arm that the others are compared with.
    resamples
        Number of bootstrap samples.
    seed
        Their seed.
    interval
        Kind of the intervals.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        conditions: Sequence[ConditionInfo],
        reference_method: str,
        *,
        resamples: int = 2000,
        seed: int = 0,
        interval: IntervalKind = "expanded",
    ) -> None:
        """Sort the rows."""
        self.conditions = {entry.name: entry for entry in conditions}
        self.methods = tuple(dict.fromkeys(row.method for row in rows))
        self.reference_method = reference_method
        self.reference = next(entry for entry in conditions if entry.is_reference)
        self._resamples, self._seed, self._interval = resamples, seed, interval
        self._subject_of = {row.image: row.subject for row in rows}
        self._domains: dict[str, set[str]] = {}
        self._rows: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            self._rows.setdefault((row.method, row.condition), []).append(row)
            self._domains.setdefault(row.subject, set()).add(row.domain)
        self._seeds = tuple(sorted({row.seed for row in rows}))

    @cached_property
    def draws(self) -> Draws:
        """Bootstrap samples; subjects are drawn among those with images of the same domains."""
        groups = {name: tuple(sorted(found)) for name, found in self._domains.items()}
        return draw_samples(groups, self._seeds, resamples=self._resamples, seed=self._seed)

    def rows(self, method: str, condition: str) -> Sequence[Row]:
        """Return the rows of a method in a condition, in the order of the study."""
        return self._rows.get((method, condition), [])

    def subjects(self, method: str, condition: str) -> set[str]:
        """Return the subjects that a method was shown in a condition, failures included."""
        return {row.subject for row in self.rows(method, condition)}

    def values(self, method: str, condition: str, measure: str) -> dict[tuple[str, int], float]:
        """Return a measure of all images where the method succeeded, by image and seed."""
        found = {(row.image, row.seed): row.value(measure) for row in self.rows(method, condition)}
        return {key: value for key, value in found.items() if math.isfinite(value)}

    def level(self, method: str, condition: str, measure: str) -> Level:
        """Say how good a method is in a condition.

        Parameters
        ----------
        method, condition, measure
            Their names.

        Returns
        -------
            Mean with its interval, median and trimmed mean over subjects, and counts.
        """
        values = self.values(method, condition, measure)
        means = self._subject_means(values)
        rows = self.rows(method, condition)
        return Level(
            estimate=self._estimate(self._single(values)),
            median=float(np.median(means)) if means.size else None,
            trimmed_mean=float(stats.trim_mean(means, _TRIMMED)) if means.size else None,
            n_rows=len(values),
            n_failed=sum(row.failure is not None for row in rows),
        )

    def degradation(self, method: str, condition: str, measure: str) -> Estimate:
        """Compare a method in a condition with itself in the reference condition.

        The mean of the differences of each image where both show the same objects, else the
        difference of the means of both groups.

        Parameters
        ----------
        method, condition, measure
            Their names.

        Returns
        -------
            Shifted minus reference.
        """
        return self._estimate(
            self._shift(condition, lambda name: self.values(method, name, measure))
        )

    def difference(self, method: str, conditions: Sequence[str], measure: str) -> Estimate:
        """Compare the degradation of a method with that of the reference method.

        Over images where both methods succeeded; of several conditions the mean counts, each
        condition with the same weight.

        Parameters
        ----------
        method
            Name of the method.
        conditions
            Names of one or more shifted conditions.
        measure
            Name of the measure.

        Returns
        -------
            Degradation of the method minus that of the reference method.
        """

        def excess(condition: str) -> Values:
            ours = self.values(method, condition, measure)
            theirs = self.values(self.reference_method, condition, measure)
            return {key: ours[key] - theirs[key] for key in ours if key in theirs}

        parts = [self._shift(condition, excess) for condition in conditions]
        known = [part for part in parts if math.isfinite(part.mean)]
        if not known:
            return Estimate(mean=None)
        return self._estimate(
            _Contrast(
                mean=float(np.mean([part.mean for part in known])),
                replicates=np.asarray(np.mean([part.replicates for part in known], axis=0)),
                n_subjects=min(part.n_subjects for part in known),
                smallest_group=min(part.smallest_group for part in known),
            )
        )

    def ranks(
        self, condition: str, measure: str, *, higher_is_better: bool
    ) -> dict[str, float | None]:
        """Rank the methods by their means over the images where all of them succeeded.

        Parameters
        ----------
        condition, measure
            Their names.
        higher_is_better
            Which end is rank 1.

        Returns
        -------
            Rank of each method, 1 for the best and equal ones sharing theirs; None for a method
            that never succeeded, which does not count for the others.
        """
        found = {name: self.values(name, condition, measure) for name in self.methods}
        ranked = [name for name in self.methods if found[name]]
        common = set.intersection(*(set(found[name]) for name in ranked)) if ranked else set()
        if not common:
            return dict.fromkeys(self.methods)
        means = [
            cell_mean(self._cells({key: found[name][key] for key in common})) for name in ranked
        ]
        order = stats.rankdata([-mean if higher_is_better else mean for mean in means])
        ranks = dict(zip(ranked, order, strict=True))
        return {name: float(ranks[name]) if name in ranks else None for name in self.methods}

    def _shift(self, condition: str, values_of: Callable[[str], Values]) -> _Contrast:
        """Contrast a condition with the reference condition."""
        shifted, reference = values_of(condition), values_of(self.reference.name)
        if self.conditions[condition].is_paired:
            return self._single(
                {key: shifted[key] - reference[key] for key in shifted if key in reference}
            )
        one, other = self._single(shifted), self._single(reference)
        both = len(
            {self._subject_of[image] for image, _ in shifted}
            | {self._subject_of[image] for image, _ in reference}
        )
        return _Contrast(
            mean=one.mean - other.mean,
            replicates=one.replicates - other.replicates,
            n_subjects=both,
            smallest_group=min(one.n_subjects, other.n_subjects),
        )

    def _single(self, values: Values) -> _Contrast:
        cells = self._cells(values)
        n_subjects = int(np.isfinite(cells).any(axis=0).sum())
        return _Contrast(
            mean=cell_mean(cells),
            replicates=resampled_means(cells, self.draws),
            n_subjects=n_subjects,
            smallest_group=n_subjects,
        )

    def _cells(self, values: Values) -> Array:
        """Average the images of each subject and seed; `(seeds, subjects)`, NaN for none."""
        place = {name: index for index, name in enumerate(self.draws.subjects)}
        row_of = {seed: index for index, seed in enumerate(self.draws.seeds)}
        total = np.zeros((len(row_of), len(place)))
        count = np.zeros_like(total)
        for image, seed in sorted(values):
            cell = row_of[seed], place[self._subject_of[image]]
            total[cell] += values[image, seed]
            count[cell] += 1
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(count > 0, total / count, math.nan))

    def _subject_means(self, values: Values) -> Array:
        cells = self._cells(values)
        there = np.isfinite(cells).any(axis=0)
        return np.asarray(np.nanmean(cells[:, there], axis=0)) if there.any() else np.zeros(0)

    def _estimate(self, contrast: _Contrast) -> Estimate:
        return estimate_from(
            contrast.mean,
            contrast.replicates,
            n_subjects=contrast.n_subjects,
            smallest_group=contrast.smallest_group,
            kind=self._interval,
        )
