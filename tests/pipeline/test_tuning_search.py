"""The pattern search finds optima, never repeats a point, and says where it ended and why."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.pipeline.tuning_search import SearchOptions, pattern_search


class Bowl:
    """Quadratic in the logarithms, with its maximum 0 at `optimum`; remembers its calls."""

    def __init__(self, *optimum: float) -> None:
        self.optimum, self.calls = optimum, []

    def __call__(self, points):
        self.calls += points
        return [-self.distance(point) for point in points]

    def distance(self, point):
        pairs = zip(point, self.optimum, strict=True)
        return sum(math.log(value / best) ** 2 for value, best in pairs)


@pytest.mark.parametrize("optimum", [(0.03,), (7.0, 2e-4), (0.01, 0.001), (0.2, 3.0, 40.0)])
def test_it_finds_the_top_of_a_bowl_to_the_last_ratio(optimum):
    bowl = Bowl(*optimum)
    start = [0.01, 0.001, 1.0][: len(optimum)]
    found = pattern_search(bowl, start)
    assert found.stopped_by == "converged"
    for value, best in zip(found.best, optimum, strict=True):
        assert abs(math.log(value / best)) < math.log(4 ** (1 / 32))
    assert found.border() == (None,) * len(optimum)
    assert found.score == pytest.approx(bowl([found.best])[0])


def test_the_ratio_halves_in_the_logarithm_whenever_nothing_is_gained():
    rounds = []
    pattern_search(Bowl(0.01, 0.001), (0.01, 0.001), tell=rounds.append)
    assert [r.factor for r in rounds] == [4 ** (0.5**k) for k in range(6)]
    assert [r.n_new for r in rounds] == [9] + [8] * 5
    rounds.clear()
    pattern_search(Bowl(16.0), (1.0,), SearchOptions(stop_factor=2.0), tell=rounds.append)
    # 1/4 1 4 -> 1 4 16 -> 4 16 64, where nothing is gained; a ratio of 2 is no longer tried
    assert [(r.factor, r.n_new, r.best) for r in rounds] == [
        (4.0, 3, (4.0,)), (4.0, 1, (16.0,)), (4.0, 1, (16.0,)),
    ]  # fmt: skip


def test_no_point_is_evaluated_twice_and_all_are_counted():
    bowl = Bowl(0.7, 5e-4)
    found = pattern_search(bowl, (0.01, 0.001))
    assert list(found.points) == bowl.calls
    for a, b in combinations(bowl.calls, 2):
        assert sum(abs(x - y) / y for x, y in zip(a, b, strict=True)) >= 1e-3


def test_a_gain_that_is_too_small_does_not_move_the_grid():
    slope = pattern_search(
        lambda points: [1e-5 * math.log(x) for (x,) in points], (2.0,), SearchOptions(factor=2.0)
    )
    assert slope.best == (2.0,)
    assert slope.influence()[0] < 1e-4


def test_a_setting_without_influence_is_told_from_one_with_it():
    found = pattern_search(lambda points: Bowl(1.0)([p[:1] for p in points]), (2.0, 5.0))
    assert found.best[1] == 5.0
    assert found.influence()[0] > 1
    assert found.influence()[1] == 0


@pytest.mark.parametrize(("sign", "side"), [(1, "highest"), (-1, "lowest")])
def test_a_score_that_grows_without_end_stops_at_the_reach_and_is_called_border(sign, side):
    how = SearchOptions(reach=100.0)
    found = pattern_search(lambda points: [sign * math.log(x) for x, _ in points], (1.0, 1.0), how)
    assert found.stopped_by == "converged"
    assert 1 < found.best[0] ** sign <= 100
    assert found.best[0] ** sign > 90
    assert found.border() == (side, None)


def test_points_that_fail_are_worst_and_count_as_border():
    def fails_below(points):
        return [math.nan if x < 0.5 else -(math.log(x / 0.1) ** 2) for (x,) in points]

    found = pattern_search(fails_below, (1.7,))
    assert 0.5 <= found.best[0] < 0.53
    assert found.border() == ("lowest",)
    assert any(math.isnan(score) for score in found.scores)


def test_the_search_gives_up_where_the_whole_first_grid_fails():
    found = pattern_search(lambda points: [math.nan] * len(points), (1.0, 1.0))
    assert found.stopped_by == "failure"
    assert math.isnan(found.score)
    assert len(found.points) == 9


@pytest.mark.parametrize("limit", [1, 5, 9, 12])
def test_the_number_of_points_is_limited_and_the_best_of_them_returned(limit):
    bowl = Bowl(100.0, 100.0)
    found = pattern_search(bowl, (1.0, 1.0), SearchOptions(max_points=limit))
    assert (len(bowl.calls), found.stopped_by) == (limit, "max-evaluations")
    assert found.score == max(found.scores)


def test_a_perfect_score_ends_the_moving():
    found = pattern_search(lambda points: [math.inf] * len(points), (3.0,))
    assert found.best == (3.0,)
    assert found.stopped_by == "converged"


@pytest.mark.parametrize("start", [(), (0.0,), (-1.0, 1.0), (math.nan,), (math.inf,)])
def test_a_start_that_cannot_be_multiplied_is_refused(start):
    with pytest.raises(UsageError, match="above 0"):
        pattern_search(Bowl(1.0), start)


@pytest.mark.parametrize(
    "words",
    [
        {"factor": 1.0}, {"factor": math.nan}, {"stop_factor": 1.0}, {"reach": 0.5},
        {"least_gain": -1.0}, {"least_gain": math.nan}, {"max_points": 0},
    ],
)  # fmt: skip
def test_options_with_which_the_search_cannot_end_are_refused(words):
    with pytest.raises(UsageError, match=r"search: .*expected"):
        SearchOptions(**words)
