"""The sections of a study's record, from its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.study.arms import describe_arm
from lowfield_recon.evaluation.study.records import Measure, Row, find_measure
from lowfield_recon.evaluation.study.resampling import Estimate
from lowfield_recon.evaluation.study.setup import StudySetup
from lowfield_recon.evaluation.study.statistics import StudyTable
from lowfield_recon.evaluation.study.verdict import LEAST_SUBJECTS, compare_all, verdicts
from lowfield_recon.manifest import to_plain

SCHEMA = "lowfield-recon study, version 1"
"""What a study's record calls itself."""

_MOST_PAIRS = 20_000
_DIGITS = 7
_PASSING = ("load_at_start", "frequency_policy")
"""What of a machine changes from one minute to the next."""


def study_sections(setup: StudySetup, rows: Sequence[Row]) -> dict[str, Any]:
    """Compute everything that follows from the rows.

    Parameters
    ----------
    setup
        The study.
    rows
        All rows, failures included, in the order of the study.

    Returns
    -------
        The record without panels, checks and uncertainty; JSON can hold it.
    """
    table = StudyTable(
        rows, setup.conditions, setup.reference_method,
        resamples=setup.resamples, seed=setup.bootstrap_seed, interval=setup.interval,
    )  # fmt: skip
    measures = [find_measure(name) for name in setup.metrics]
    labels = {arm.name: arm.shown_as for arm in setup.arms}
    comparisons = compare_all(table, setup.metrics, setup.hypotheses)
    judged = verdicts(table, comparisons, setup.claim, metrics=setup.metrics, labels=labels)
    pairs, pair_note = _pairs(table, measures, setup.seeds)
    images = dict.fromkeys((row.image, row.subject, row.domain) for row in rows)
    environment = {
        name: value for name, value in describe_environment().items() if name not in _PASSING
    }
    record = {
        "schema": SCHEMA,
        "title": setup.title,
        "question": setup.question,
        "settings": to_plain(setup.settings),
        "environment": environment,
        "methods": [describe_arm(arm, setup.seeds) for arm in setup.arms],
        "reference_method": setup.reference_method,
        "conditions": [asdict(entry) for entry in setup.conditions],
        "axes": list(setup.axes),
        "metrics": [
            {"name": m.name, "title": m.title, "unit": m.unit,
             "higher_is_better": m.higher_is_better}
            for m in measures
        ],
        "seeds": list(setup.seeds),
        "images": [dict(zip(("name", "subject", "domain"), e, strict=True)) for e in images],
        "levels": list(_levels(table, measures)),
        "degradation": list(_degradations(table, measures)),
        "difference_in_differences": [
            {"method": entry.method, "condition": entry.condition, "metric": entry.metric,
             **_interval(entry.estimate), "p": _number(entry.estimate.p),
             "p_holm": _number(entry.p_holm), "is_primary": entry.is_primary}
            for entry in comparisons
            if table.rows(entry.method, entry.condition)
        ],
        "ranks": list(_ranks(table, measures)),
        "pairs": pairs,
        "failures": [
            {"method": row.method, "condition": row.condition, "image": row.image,
             "seed": row.seed, "failure": row.failure}
            for row in rows if row.failure is not None
        ],
        "checks": [],
        "uncertainty": [],
        "panels": [],
        "verdict": [asdict(entry) for entry in judged],
        "seconds": None,
        "notes": [*setup.notes, *_notes(setup, rows, table), *pair_note],
    }  # fmt: skip
    return record


def shifted_conditions(table: StudyTable) -> list[str]:
    """Return the names of the conditions that are not the reference.

    Parameters
    ----------
    table
        The rows.

    Returns
    -------
        Their names.
    """
    return [name for name, entry in table.conditions.items() if not entry.is_reference]


def _levels(table: StudyTable, measures: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    for method, condition, measure in _all(table, list(table.conditions), measures):
        level = table.level(method, condition, measure.name)
        yield {
            "method": method, "condition": condition, "metric": measure.name,
            **_interval(level.estimate), "median": _number(level.median),
            "trimmed_mean": _number(level.trimmed_mean), "n_rows": level.n_rows,
            "n_failed": level.n_failed,
        }  # fmt: skip


def _degradations(table: StudyTable, measures: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    for method, condition, measure in _all(table, shifted_conditions(table), measures):
        found = table.degradation(method, condition, measure.name)
        yield {
            "method": method, "condition": condition, "metric": measure.name, **_interval(found)
        }  # fmt: skip


def _ranks(table: StudyTable, measures: Sequence[Measure]) -> Iterator[dict[str, Any]]:
    for condition in table.conditions:
        for measure in measures:
            if measure.higher_is_better is None:
                continue
            ranks = table.ranks(condition, measure.name, higher_is_better=measure.higher_is_better)
            for method, rank in ranks.items():
                if table.rows(method, condition):
                    yield {
                        "condition": condition, "metric": measure.name, "method": method,
                        "rank": rank,
                    }  # fmt: skip


def _pairs(
    table: StudyTable, measures: Sequence[Measure], seeds: Sequence[int]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the pairs of values for scatter plots, of the first seed only where they are many."""
    judged = [measure for measure in measures if measure.higher_is_better is not None]
    paired = [name for name in shifted_conditions(table) if table.conditions[name].is_paired]
    found = [
        {"method": method, "condition": condition, "metric": measure.name, "image": image,
         "seed": seed, "reference": _number(before[image, seed]), "shifted": _number(value)}
        for method, condition, measure in _all(table, paired, judged)
        for before in [table.values(method, table.reference.name, measure.name)]
        for (image, seed), value in table.values(method, condition, measure.name).items()
        if (image, seed) in before
    ]  # fmt: skip
    if len(found) <= _MOST_PAIRS or len(seeds) == 1:
        return found, []
    kept = [entry for entry in found if entry["seed"] == seeds[0]]
    note = f"Scatter plots show seed {seeds[0]} of {len(seeds)}; rows.csv holds all."
    return kept, [note]


def _notes(setup: StudySetup, rows: Sequence[Row], table: StudyTable) -> Iterator[str]:
    n_failed = sum(row.failure is not None for row in rows)
    yield (
        f"{len(rows)} rows: {len(setup.arms)} methods, {len(setup.conditions)} conditions, "
        f"{len({row.image for row in rows})} images of {len({row.subject for row in rows})} "
        f"subjects, {len(setup.seeds)} seeds. {n_failed} rows hold a failure instead of an image; "
        "a difference uses only images where both sides succeeded."
    )
    outer = (
        " and, as an outer level, of seeds (masks, noise, and the training of arms that have one "
        "set of weights for each)"
        if len(setup.seeds) > 1
        else ""
    )
    kind = (
        "widened for few subjects (expanded percentile)"
        if setup.interval == "expanded"
        else "percentile"
    )
    yield (
        f"Means are over subjects; median and trimmed mean (10 % at either end) too. 95 % "
        f"intervals: bootstrap of subjects{outer}, {setup.resamples} samples, {kind}; the same "
        "samples for all comparisons."
    )
    n_primary = len(setup.hypotheses)
    yield (
        f"p-values are corrected by Holm among the {n_primary} comparisons named in advance, and "
        "apart from these among all others of the same measure, which are exploratory. With fewer "
        f"than {LEAST_SUBJECTS} subjects in a group nothing is decided."
    )
    weakest = min(
        (len({row.subject for row in rows if row.condition == name}) for name in table.conditions),
        default=0,
    )
    if weakest < LEAST_SUBJECTS:
        yield (
            f"At least one condition has images of only {weakest} subject"
            f"{'' if weakest == 1 else 's'}: its numbers show what happens, not how often."
        )
    for arm in setup.arms:
        if arm.skips:
            yield f"{arm.shown_as} is not asked for {', '.join(arm.skips)}."


def _all(
    table: StudyTable, conditions: Sequence[str], measures: Sequence[Measure]
) -> Iterator[tuple[str, str, Measure]]:
    for measure in measures:
        for condition in conditions:
            for method in table.methods:
                if table.rows(method, condition):
                    yield method, condition, measure


def _interval(estimate: Estimate) -> dict[str, Any]:
    return {
        "mean": _number(estimate.mean),
        "low": _number(estimate.low),
        "high": _number(estimate.high),
        "n_subjects": estimate.n_subjects,
    }


def _number(value: float | None) -> float | None:
    """Return a finite number with the digits that matter."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def plain_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as JSON holds it, its numbers cut to the digits that matter.

    Parameters
    ----------
    record
        Numbers by name, also nested.

    Returns
    -------
        The same with null for what is not finite.
    """
    return {str(name): _plain(value) for name, value in record.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_record(value)
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return _number(value) if isinstance(value, float) else value
