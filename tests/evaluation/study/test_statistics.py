"""Levels, degradations, differences and ranks against plain sums over the same rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from lowfield_recon.evaluation.study.records import ConditionInfo, Row
from lowfield_recon.evaluation.study.statistics import StudyTable
from lowfield_recon.evaluation.study.verdict import Hypothesis, compare_all, verdicts

METHODS = ("full", "net", "tv")
SEEDS = (0, 1)
HEADS = {f"head{i}": f"head{i}-{j}" for i in range(6) for j in range(2)}
IMAGES = [("head", f"head{i}", f"head{i}-{j}") for i in range(6) for j in range(2)]
IMAGES += [("knee", f"knee{i}", f"knee{i}-0") for i in range(5)]
HASHES = {"problem_sha256": "a", "settings_sha256": "b", "weights_sha256": ""}


def condition(name: str, axis: str, *, is_reference=False, is_paired=True) -> ConditionInfo:
    return ConditionInfo(
        name=name, axis=axis, level=name, title=name, unit="", numeric_level=None,
        is_reference=is_reference, is_paired=is_paired,
    )  # fmt: skip


CONDITIONS = (
    condition("usual", "", is_reference=True),
    condition("noisy", "noise"),
    condition("knees", "anatomy", is_paired=False),
)


def value(method: str, name: str, image: str, seed: int) -> float:
    """Return a made-up SSIM: net loses 0.05 more than full on knees and as much under noise."""
    generator = np.random.default_rng([METHODS.index(method), len(name), *image.encode(), seed])
    base = {"full": 0.80, "net": 0.85, "tv": 0.75}[method]
    loss = {"usual": 0.0, "noisy": 0.10, "knees": {"full": 0.02, "net": 0.07, "tv": 0.02}[method]}
    shared = np.random.default_rng([7, *image.encode()]).normal(0, 0.02)
    return float(base - loss[name] + shared + generator.normal(0, 0.004))


def row(method, name, domain, subject, image, seed, *, failure=None) -> Row:
    values = {"ssim": value(method, name, image, seed)} if failure is None else {}
    return Row(
        method=method, condition=name, image=image, subject=subject, domain=domain, seed=seed,
        values=values, failure=failure, hashes=HASHES,
    )  # fmt: skip


def all_rows() -> list[Row]:
    return [
        row(method, name, domain, subject, image, seed)
        for method, name, (domain, subject, image), seed in itertools.product(
            METHODS, ("usual", "noisy", "knees"), IMAGES, SEEDS
        )
        if (name == "knees") == (domain == "knee")
    ]


@pytest.fixture
def table() -> StudyTable:
    return StudyTable(all_rows(), CONDITIONS, "full", resamples=3000)


def subject_means(method: str, name: str, domain: str) -> np.ndarray:
    return np.array([
        np.mean([
            value(method, name, image, seed)
            for group, owner, image in IMAGES if owner == subject and group == domain
            for seed in SEEDS
        ])
        for subject in sorted({owner for group, owner, _ in IMAGES if group == domain})
    ])  # fmt: skip


def test_levels_are_means_medians_and_trimmed_means_over_subjects(table):
    level = table.level("net", "usual", "ssim")
    means = subject_means("net", "usual", "head")
    assert level.estimate.mean == pytest.approx(means.mean(), rel=1e-12)
    assert level.median == pytest.approx(np.median(means), rel=1e-12)
    assert level.trimmed_mean == pytest.approx(stats.trim_mean(means, 0.1), rel=1e-12)
    assert (level.n_rows, level.n_failed, level.estimate.n_subjects) == (24, 0, 6)


def test_a_paired_degradation_is_the_mean_of_differences_of_each_image(table):
    found = table.degradation("tv", "noisy", "ssim")
    differences = subject_means("tv", "noisy", "head") - subject_means("tv", "usual", "head")
    assert found.mean == pytest.approx(differences.mean(), rel=1e-12)
    # Pairing takes out what the images share, so that the interval is far narrower than a level's.
    level = table.level("tv", "noisy", "ssim").estimate
    assert found.high - found.low < 0.4 * (level.high - level.low)


def test_an_unpaired_degradation_is_the_difference_of_group_means(table):
    found = table.degradation("full", "knees", "ssim")
    one, other = subject_means("full", "knees", "knee"), subject_means("full", "usual", "head")
    assert found.mean == pytest.approx(one.mean() - other.mean(), rel=1e-12)
    assert (found.n_subjects, found.smallest_group) == (11, 5)
    theirs = stats.bootstrap(
        (one, other), lambda a, b, axis: a.mean(axis) - b.mean(axis), n_resamples=20_000,
        method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    plain = StudyTable(all_rows(), CONDITIONS, "full", resamples=20_000, interval="percentile")
    ours = plain.degradation("full", "knees", "ssim")
    low, high = theirs.confidence_interval
    # Seeds are drawn too, which adds a little to the interval of the subjects alone.
    assert ours.low == pytest.approx(low, abs=0.1 * (high - low))
    assert ours.high == pytest.approx(high, abs=0.1 * (high - low))


def test_a_difference_in_differences_removes_what_images_do_to_all_methods(table):
    found = table.difference("net", ["knees"], "ssim")
    expected = (
        subject_means("net", "knees", "knee").mean() - subject_means("net", "usual", "head").mean()
        - subject_means("full", "knees", "knee").mean()
        + subject_means("full", "usual", "head").mean()
    )  # fmt: skip
    assert found.mean == pytest.approx(expected, rel=1e-10)
    assert -0.06 < found.low < found.high < -0.04
    assert found.p < 0.01
    both = table.difference("net", ["knees", "noisy"], "ssim")
    alone = table.difference("net", ["noisy"], "ssim")
    assert both.mean == pytest.approx(0.5 * (found.mean + alone.mean), rel=1e-10)


def test_a_failure_is_counted_and_leaves_only_images_where_both_succeeded():
    rows = [entry for entry in all_rows() if (entry.method, entry.condition) != ("net", "noisy")]
    lost = {"head0-0", "head0-1", "head3-1"}
    for domain, subject, image in IMAGES:
        if domain == "head":
            for seed in SEEDS:
                failure = "out of patience" if image in lost else None
                rows.append(row("net", "noisy", domain, subject, image, seed, failure=failure))
    table = StudyTable(rows, CONDITIONS, "full", resamples=500)
    level = table.level("net", "noisy", "ssim")
    assert (level.n_rows, level.n_failed, level.estimate.n_subjects) == (18, 6, 5)
    found = table.degradation("net", "noisy", "ssim")
    kept = [entry for entry in IMAGES if entry[0] == "head" and entry[2] not in lost]
    expected = np.mean([
        np.mean([
            value("net", "noisy", image, seed) - value("net", "usual", image, seed)
            for _, owner, image in kept if owner == subject for seed in SEEDS
        ])
        for subject in sorted({owner for _, owner, _ in kept})
    ])  # fmt: skip
    assert found.mean == pytest.approx(expected, rel=1e-10)
    assert found.n_subjects == 5
    ranks = table.ranks("noisy", "ssim", higher_is_better=True)
    assert ranks == {"net": 1.0, "full": 2.0, "tv": 3.0}


def test_ranks_share_ties_and_leave_out_a_method_that_never_succeeds():
    rows = [
        Row(
            method=method, condition="usual", image=image, subject=image, domain="head", seed=0,
            values={"nrmse": {"a": 0.2, "b": 0.1, "c": 0.2}.get(method)},
            failure="no" if method == "d" else None, hashes=HASHES,
        )
        for method in "abcd" for image in ("x", "y")
    ]  # fmt: skip
    table = StudyTable(rows, CONDITIONS[:1], "a", resamples=10)
    ranks = table.ranks("usual", "nrmse", higher_is_better=False)
    assert ranks == {"a": 2.5, "b": 1.0, "c": 2.5, "d": None}


def test_verdicts_name_the_primary_first_and_correct_by_family(table):
    hypotheses = [Hypothesis(method="net", condition="knees", metric="ssim")]
    found = compare_all(table, ["ssim"], hypotheses)
    (primary,) = [entry for entry in found if entry.is_primary]
    assert primary.p_holm == primary.estimate.p
    others = [entry for entry in found if not entry.is_primary]
    assert len(others) == 3
    smallest = min(others, key=lambda entry: entry.estimate.p)
    assert smallest.p_holm == pytest.approx(min(1.0, 3 * smallest.estimate.p))
    labels = {"full": "CDL", "net": "network", "tv": "TV"}
    judged = verdicts(table, found, "claim", metrics=["ssim"], labels=labels)
    assert judged[0].supports is True
    assert "CDL loses less than network" in judged[0].sentence
    assert "Holm p" in judged[0].sentence
    assert [entry.axis for entry in judged] == ["anatomy", "all shifts", "all shifts"]
    assert judged[2].supports is None
    assert "not decided" in judged[2].sentence


def test_the_verdict_goes_the_other_way_where_the_numbers_do():
    table = StudyTable(all_rows(), CONDITIONS, "net", resamples=3000)
    hypotheses = [Hypothesis(method="full", condition="knees", metric="ssim")]
    found = compare_all(table, ["ssim"], hypotheses)
    labels = {name: name for name in METHODS}
    judged = verdicts(table, found, "claim", metrics=["ssim"], labels=labels)[0]
    assert judged.supports is False
    assert "net loses more than full" in judged.sentence


def test_with_few_subjects_nothing_is_decided():
    few = [entry for entry in all_rows() if entry.subject in ("head0", "head1", "knee0", "knee1")]
    table = StudyTable(few, CONDITIONS, "full", resamples=500)
    hypotheses = [Hypothesis(method="net", condition="knees", metric="ssim")]
    found = compare_all(table, ["ssim"], hypotheses)
    judged = verdicts(table, found, "c", metrics=[], labels={name: name for name in METHODS})[0]
    assert judged.supports is None
    assert "Too few subjects" in judged.sentence


def test_a_condition_with_few_subjects_does_not_silence_the_mean_over_all():
    """Failures do not put a condition aside, only too few subjects."""
    rows = [entry for entry in all_rows() if entry.subject not in ("knee2", "knee3", "knee4")]
    rows = [
        row("tv", "noisy", entry.domain, entry.subject, entry.image, entry.seed, failure="no")
        if (entry.method, entry.condition, entry.subject) == ("tv", "noisy", "head0")
        or (entry.method, entry.condition, entry.subject) == ("tv", "noisy", "head1")
        else entry
        for entry in rows
    ]  # fmt: skip
    table = StudyTable(rows, CONDITIONS, "full", resamples=500)
    found = compare_all(table, ["ssim"], [])
    labels = {name: name for name in METHODS}
    net, tv = verdicts(table, found, "c", metrics=["ssim"], labels=labels)
    alone = table.difference("net", ["noisy"], "ssim")
    assert "mean over 1 shifted condition " in net.sentence
    assert "without knees, fewer than 5 subjects" in net.sentence
    assert f"[{alone.low:+.4f}, {alone.high:+.4f}], 6 subjects" in net.sentence
    assert "4 subjects. Too few subjects to decide" in tv.sentence
