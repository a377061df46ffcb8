"""Bootstrap, intervals and p-values against scipy, by hand, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lowfield_recon.evaluation.study.resampling import (
    cell_mean,
    draw_samples,
    estimate_from,
    holm,
    resampled_means,
)


def _names(count: int, group: str = "s") -> dict[str, str]:
    return {f"{group}{index:02d}": group for index in range(count)}


def _interval(cells: np.ndarray, kind: str, *, seed: int = 0, resamples: int = 2000):
    draws = draw_samples(
        _names(cells.shape[1]), range(cells.shape[0]), resamples=resamples, seed=seed
    )
    return estimate_from(
        cell_mean(cells), resampled_means(cells, draws), n_subjects=cells.shape[1],
        smallest_group=cells.shape[1], kind=kind,
    )  # fmt: skip


def test_the_percentile_interval_is_that_of_scipy():
    values = np.random.default_rng(3).gamma(2.0, size=17)
    ours = _interval(values[None], "percentile", resamples=40_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    spread = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean(), rel=1e-12)
    assert ours.low == pytest.approx(theirs.low, abs=0.015 * spread)
    assert ours.high == pytest.approx(theirs.high, abs=0.015 * spread)


def test_a_mean_over_cells_is_the_mean_of_the_drawn_cells():
    generator = np.random.default_rng(1)
    cells = generator.normal(size=(3, 4))
    cells[1, 2] = math.nan
    draws = draw_samples(_names(4), [0, 1, 2], resamples=50, seed=2)
    for index, mean in enumerate(resampled_means(cells, draws)):
        drawn = [
            cells[s, j]
            for s in range(3)
            for j in range(4)
            for _ in range(int(draws.seed_counts[index, s] * draws.subject_counts[index, j]))
        ]
        kept = [value for value in drawn if not math.isnan(value)]
        assert mean == pytest.approx(np.mean(kept), rel=1e-12)


def test_subjects_are_drawn_within_their_group():
    draws = draw_samples({**_names(5, "a"), **_names(3, "b")}, [0], resamples=200)
    is_a = [name.startswith("a") for name in draws.subjects]
    assert (draws.subject_counts[:, is_a].sum(axis=1) == 5).all()
    assert (draws.subject_counts[:, np.logical_not(is_a)].sum(axis=1) == 3).all()
    assert draws.subject_counts.std() > 0.5
    assert (draws.seed_counts == 1).all()


@pytest.mark.parametrize(("n_subjects", "n_seeds"), [(8, 1), (20, 1), (12, 3)])
def test_intervals_hold_their_coverage_by_simulation(n_subjects: int, n_seeds: int):
    generator = np.random.default_rng(11)
    n_trials, hits, narrow, rejected = 500, 0, 0, 0
    for trial in range(n_trials):
        subject, seed = generator.normal(size=n_subjects), 0.2 * generator.normal(size=n_seeds)
        noise = 0.5 * generator.normal(size=(n_seeds, n_subjects))
        cells = subject + (seed[:, None] if n_seeds > 1 else 0) + noise
        found = _interval(cells, "expanded", seed=trial, resamples=600)
        hits += found.low <= 0 <= found.high
        rejected += found.p < 0.05
        plain = _interval(cells, "percentile", seed=trial, resamples=600)
        narrow += plain.low <= 0 <= plain.high
    # Three standard errors of 500 trials are 0.03; the pigeonhole bootstrap may be wider.
    assert 0.92 <= hits / n_trials <= 0.985
    assert narrow < hits
    assert rejected / n_trials <= 0.08


def test_p_and_interval_say_the_same():
    generator = np.random.default_rng(5)
    for trial in range(40):
        cells = generator.normal(loc=0.6, size=(1, 9))
        for kind in ("expanded", "percentile"):
            found = _interval(cells, kind, seed=trial, resamples=4000)
            excludes = found.low > 0 or found.high < 0
            assert excludes == (found.p < 0.05) or 0.04 < found.p < 0.06


def test_the_expanded_interval_is_near_that_of_t_for_normal_values():
    values = np.random.default_rng(8).normal(size=10)
    found = _interval(values[None], "expanded", resamples=40_000)
    half = stats.t.ppf(0.975, 9) * values.std(ddof=1) / math.sqrt(10)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.08)


def test_one_subject_has_no_interval_and_equal_values_no_effect():
    one = _interval(np.array([[0.3]]), "expanded")
    assert (one.mean, one.low, one.high, one.p) == (0.3, None, None, None)
    none = _interval(np.zeros((2, 6)), "expanded")
    assert (none.mean, none.low, none.high, none.p) == (0.0, 0.0, 0.0, 1.0)
    nothing = _interval(np.full((1, 4), math.nan), "expanded")
    assert (nothing.mean, nothing.p) == (None, None)


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.4, None]) == [0.8, 0.8, None]
    assert holm([]) == []
    assert holm([0.03]) == [0.03]
