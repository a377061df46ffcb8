"""The search for the number of iterations, on tools whose gaps are known."""

import time
from itertools import pairwise

import numpy as np
import pytest

from lowfield_recon.evaluation.benchmark.search import Search, ladder, search_iterations

OPTIMUM = 2.0


class KnownTool:
    """Its image is the iteration count; it remembers what it was asked to run."""

    def __init__(self, seconds=0.0):
        self.runs = []
        self.seconds = seconds

    def wait_until_ready(self):
        pass

    def solve(self, iterations, *, keep_image):
        assert keep_image
        time.sleep(self.seconds)
        self.runs.append(iterations)
        return {"seconds": self.seconds}

    def image(self):
        return np.array([self.runs[-1]])

    def trace(self, at, visit):
        for iteration in at:
            self.runs.append(iteration)
            if not visit(iteration, np.array([iteration])):
                return


def linear(image):
    """Gap 1/n**2."""
    return OPTIMUM * (1 + float(image[0]) ** -2)


def smallest_on_ladder(gap):
    return min(count for count in ladder() if count**-2 <= gap)


@pytest.mark.parametrize("is_observable", [True, False])
def test_smallest_counts_are_found(is_observable):
    found = search_iterations(KnownTool(), linear, OPTIMUM, is_observable=is_observable, seconds=60)
    assert found.counts == {gap: smallest_on_ladder(gap) for gap in (1e-2, 1e-3, 1e-4)}
    assert not found.is_capped


def test_runs_are_few():
    tool = KnownTool()
    search_iterations(tool, linear, OPTIMUM, is_observable=False, seconds=60)
    assert len(tool.runs) == len(set(tool.runs))
    assert len(tool.runs) < 20 < len(ladder(smallest_on_ladder(1e-4)))


@pytest.mark.parametrize("is_observable", [True, False])
def test_a_tool_that_settles_elsewhere_reaches_no_gap(is_observable):
    found = search_iterations(
        KnownTool(),
        lambda image: OPTIMUM * 1.05 + 0 * image[0],
        OPTIMUM,
        is_observable=is_observable,
        seconds=60,
    )
    assert found.counts == {}
    assert found.best_gap == pytest.approx(0.05)
    assert not found.is_capped


def test_time_runs_out():
    tool = KnownTool(seconds=0.05)
    found = search_iterations(tool, linear, OPTIMUM, is_observable=False, seconds=0.2)
    assert found.is_capped
    assert 1e-4 not in found.counts


def test_a_lower_optimum_moves_the_counts():
    found = Search(values={1: 1.02, 2: 1.005})
    found.settle(1.0)
    assert found.counts == {1e-2: 2}
    found.settle(1.01)
    assert found.counts == {1e-2: 1, 1e-3: 2, 1e-4: 2}


def test_ladder_is_strictly_ascending():
    counts = ladder(1000)
    assert counts[0] == 1
    assert counts[-1] <= 1000
    assert all(later > earlier for earlier, later in pairwise(counts))
    assert all(later <= earlier * 1.12 + 1 for earlier, later in pairwise(counts))
