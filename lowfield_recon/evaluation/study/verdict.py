"""The verdict in words: what was named in advance, and the sum of all shifts, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowfield_recon.evaluation.study.records import Measure, find_measure
from lowfield_recon.evaluation.study.resampling import Estimate, holm
from lowfield_recon.evaluation.study.statistics import StudyTable

SIGNIFICANCE = 0.05
"""Largest corrected p-value that counts."""

LEAST_SUBJECTS = 5
"""Fewest subjects of a group with which anything is said; below, no interval holds its coverage."""

ALL_SHIFTS = "all shifts"
"""Axis of a verdict over all shifted conditions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A comparison that was named in advance."""

    method: str
    """Arm that is expected to lose more than the reference method."""

    condition: str
    """The shifted condition."""

    metric: str
    """The measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Difference of a method's degradation from that of the reference method."""

    method: str
    """The method."""

    condition: str
    """The condition."""

    metric: str
    """The measure."""

    estimate: Estimate
    """The difference with interval and p-value."""

    p_holm: float | None
    """p-value corrected within its family."""

    is_primary: bool
    """Whether it was named in advance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One sentence of the verdict."""

    claim: str
    """What is judged."""

    metric: str
    """Measure that judges it."""

    method: str
    """Method that the reference method is compared with."""

    axis: str
    """What is shifted."""

    sentence: str
    """The finding with its interval."""

    supports: bool | None
    """Whether the finding supports the claim; None where the data does not decide."""


def compare_all(
    table: StudyTable, metrics: Sequence[str], hypotheses: Sequence[Hypothesis]
) -> list[Comparison]:
    """Compare every method's degradation with that of the reference method.

    p-values are corrected among the hypotheses, and apart from these among all other comparisons of
    the same measure, which are exploratory.

    Parameters
    ----------
    table
        The rows.
    metrics
        Names of the measures.
    hypotheses
        What was named in advance.

    Returns
    -------
        By measure, condition and method.
    """
    primary = {(entry.method, entry.condition, entry.metric) for entry in hypotheses}
    shifted = [name for name, entry in table.conditions.items() if not entry.is_reference]
    others = [name for name in table.methods if name != table.reference_method]
    keys = [
        (method, condition, metric)
        for metric in metrics
        for condition in shifted
        for method in others
    ]
    estimates = {
        key: table.difference(key[0], [key[1]], key[2])
        for key in [*keys, *sorted(primary - set(keys))]
    }
    corrected: dict[tuple[str, str, str], float | None] = {}
    families = [[key for key in estimates if key in primary]]
    families += [
        [key for key in estimates if key[2] == metric and key not in primary] for metric in metrics
    ]
    for family in families:
        p_values = holm([estimates[key].p for key in family])
        corrected |= dict(zip(family, p_values, strict=True))
    return [
        Comparison(
            method=key[0], condition=key[1], metric=key[2], estimate=estimates[key],
            p_holm=corrected[key], is_primary=key in primary,
        )
        for key in estimates
    ]  # fmt: skip


def verdicts(
    table: StudyTable,
    comparisons: Sequence[Comparison],
    claim: str,
    *,
    metrics: Sequence[str],
    labels: Mapping[str, str],
) -> list[Verdict]:
    """Judge the claim that the reference method loses less than another under a shift.

    Parameters
    ----------
    table
        The rows.
    comparisons
        What `compare_all` returned.
    claim
        The claim in words.
    metrics
        Measures that judge the sum over all shifts; those where neither way is better do not.
    labels
        What methods are called.

    Returns
    -------
        Those named in advance first, then every method and measure over all shifts, exploratory.
    """
    found = [_judge_one(table, entry, claim, labels) for entry in comparisons if entry.is_primary]
    shifted = [name for name, entry in table.conditions.items() if not entry.is_reference]
    for metric in metrics:
        measure = find_measure(metric)
        if measure.higher_is_better is None or not shifted:
            continue
        for method in table.methods:
            if method != table.reference_method:
                found.append(_judge_all(table, comparisons, claim, method, measure, labels))
    return found


def _judge_one(
    table: StudyTable, comparison: Comparison, claim: str, labels: Mapping[str, str]
) -> Verdict:
    condition = table.conditions[comparison.condition]
    measure = find_measure(comparison.metric)
    estimate = comparison.estimate
    supports = _decide(estimate, comparison.p_holm, measure)
    label, ours = labels[comparison.method], labels[table.reference_method]
    theirs = table.degradation(comparison.method, condition.name, measure.name)
    own = table.degradation(table.reference_method, condition.name, measure.name)
    if estimate.mean is None:
        sentence = (
            f"{condition.title}: {label} or {ours} has no image to compare in {measure.title}."
        )
    else:
        levels = [
            table.level(name, table.reference.name, measure.name).estimate.mean
            for name in (comparison.method, table.reference_method)
        ]
        sentence = (
            f"{condition.title}: {measure.title} of {label} changes by {_value(theirs, measure)}, "
            f"that of {ours} by {_value(own, measure)} (from {_plain(levels[0], measure)} and "
            f"{_plain(levels[1], measure)}); difference {_with_interval(estimate, measure)}"
            f"{_p_value(comparison.p_holm)}, {_subjects(estimate)}. "
            f"{_conclusion(supports, ours, label, estimate)}"
        )
    return Verdict(
        claim=claim, metric=measure.name, method=comparison.method, axis=condition.axis,
        sentence=sentence, supports=supports,
    )  # fmt: skip


def _judge_all(
    table: StudyTable,
    comparisons: Sequence[Comparison],
    claim: str,
    method: str,
    measure: Measure,
    labels: Mapping[str, str],
) -> Verdict:
    counted, left_out = _enough_subjects(table, method)
    estimate = table.difference(method, counted, measure.name)
    label, ours = labels[method], labels[table.reference_method]
    supports = _decide(estimate, estimate.p, measure)
    singles = [
        _decide(entry.estimate, entry.p_holm, measure)
        for entry in comparisons
        if entry.method == method and entry.metric == measure.name
    ]
    sentence = (
        f"{label}: its change of {measure.title} minus that of {ours}, mean over {len(counted)} "
        f"shifted condition{_s(counted)} (exploratory{_without(left_out)}): "
        f"{_with_interval(estimate, measure)}, {_subjects(estimate)}. "
        f"{_conclusion(supports, ours, label, estimate)} Of single conditions, after correction, "
        f"{ours} loses less in {singles.count(True)}, more in {singles.count(False)}, and "
        f"{singles.count(None)} decide nothing."
    )
    return Verdict(
        claim=claim, metric=measure.name, method=method, axis=ALL_SHIFTS, sentence=sentence,
        supports=supports,
    )  # fmt: skip


def _enough_subjects(table: StudyTable, method: str) -> tuple[list[str], list[str]]:
    """Split the shifted conditions by whether they show enough subjects, failures included.

    One condition with too few would leave the mean over all of them undecided. Where all have too
    few, all are in the first part.
    """
    of_reference = table.subjects(method, table.reference.name)
    counted: list[str] = []
    left_out: list[str] = []
    for name, entry in table.conditions.items():
        if entry.is_reference or not table.rows(method, name):
            continue
        least = min(len(table.subjects(method, name)), len(of_reference))
        (counted if least >= LEAST_SUBJECTS else left_out).append(name)
    return (counted, left_out) if counted else (left_out, [])


def _s(counted: Sequence[str]) -> str:
    return "" if len(counted) == 1 else "s"


def _without(conditions: Sequence[str]) -> str:
    if not conditions:
        return ""
    return f"; without {', '.join(conditions)}, fewer than {LEAST_SUBJECTS} subjects"


def _decide(estimate: Estimate, p: float | None, measure: Measure) -> bool | None:
    """Say whether the other method loses more for sure (True), less for sure, or neither."""
    is_decided = p is not None and p < SIGNIFICANCE and estimate.smallest_group >= LEAST_SUBJECTS
    if not is_decided or estimate.mean is None or measure.higher_is_better is None:
        return None
    return (estimate.mean < 0) == measure.higher_is_better


def _conclusion(supports: bool | None, ours: str, label: str, estimate: Estimate) -> str:
    if supports is not None:
        return f"{ours} loses {'less' if supports else 'more'} than {label}."
    if estimate.smallest_group < LEAST_SUBJECTS:
        return f"Too few subjects to decide; expected at least {LEAST_SUBJECTS}."
    return f"Whether {ours} or {label} loses more is not decided."


def _with_interval(estimate: Estimate, measure: Measure) -> str:
    if estimate.mean is None:
        return "not known"
    if estimate.low is None or estimate.high is None:
        return _value(estimate, measure)
    ends = f"[{estimate.low:+.{measure.digits}f}, {estimate.high:+.{measure.digits}f}]"
    return f"{_value(estimate, measure)} {ends}"


def _value(estimate: Estimate, measure: Measure) -> str:
    return "an unknown amount" if estimate.mean is None else measure.with_unit(estimate.mean)


def _plain(value: float | None, measure: Measure) -> str:
    return "unknown" if value is None else f"{value:.{measure.digits}f}"


def _p_value(p: float | None) -> str:
    return "" if p is None else f", Holm p = {p:.2g}"


def _subjects(estimate: Estimate) -> str:
    return f"{estimate.n_subjects} subject{'' if estimate.n_subjects == 1 else 's'}"
