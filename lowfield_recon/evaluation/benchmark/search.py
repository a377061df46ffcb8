"""How many iterations a tool needs to come near the optimum."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lowfield_recon.evaluation.benchmark.client import WorkerProcess
from lowfield_recon.evaluation.benchmark.objective import ComplexArray

TARGETS = (1e-2, 1e-3, 1e-4)
"""Relative objective gaps ``(F(x) - F*) / F*`` whose times are reported."""

MAIN_TARGET = 1e-3
"""The gap whose time is quoted."""

MAX_ITERATIONS = 5000

_RATIO = 1.12


def ladder(largest: int = MAX_ITERATIONS) -> list[int]:
    """Return the iteration counts that are tried: each by about 12 % more than the one before.

    Parameters
    ----------
    largest
        The last one is at most this.

    Returns
    -------
        Ascending counts from 1.

    Examples
    --------
    >>> ladder(20)
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 17, 20]
    """
    counts = [1]
    while (following := max(counts[-1] + 1, math.ceil(counts[-1] * _RATIO))) <= largest:
        counts.append(following)
    return counts


@dataclass(slots=True)
class Search:
    """What a search found."""

    counts: dict[float, int] = field(default_factory=dict)
    """Smallest tried number of iterations per target; a target that was not reached is absent."""

    gaps: dict[int, float] = field(default_factory=dict)
    """Gap for every number of iterations that was tried."""

    values: dict[int, float] = field(default_factory=dict)
    """Objective for every number of iterations that was tried."""

    is_capped: bool = False
    """Whether time ran out before the last target."""

    def settle(self, optimum: float) -> None:
        """Work out gaps and counts with the final F*.

        Parameters
        ----------
        optimum
            Smallest value of the objective.
        """
        self.counts = {}
        self.gaps = {count: value / optimum - 1 for count, value in self.values.items()}
        for target in TARGETS:
            reached = [count for count, gap in self.gaps.items() if gap <= target]
            if reached:
                self.counts[target] = min(reached)

    @property
    def best_gap(self) -> float:
        """Smallest gap that was seen; infinite when nothing was."""
        return min(self.gaps.values(), default=math.inf)


def search_iterations(
    worker: WorkerProcess,
    objective: Callable[[ComplexArray], float],
    optimum: float,
    *,
    is_observable: bool,
    seconds: float,
) -> Search:
    """Find the smallest number of iterations that reaches each target.

    Parameters
    ----------
    worker
        The tool with its data.
    objective
        The shared objective.
    optimum
        Its smallest value F*.
    is_observable
        Whether one run shows the image after each iteration; otherwise each count is a run.
    seconds
        Time after which it stops [s]; a single run is not interrupted.

    Returns
    -------
        Counts, gaps and whether time ran out.

    Raises
    ------
    WorkerFailedError
        If the tool fails.
    """
    found = Search()
    worker.wait_until_ready()
    clock = _Clock(seconds)

    def note(count: int, image: ComplexArray) -> bool:
        found.values[count] = objective(image)
        found.gaps[count] = found.values[count] / optimum - 1
        if found.gaps[count] <= MAIN_TARGET:
            clock.shorten()
        found.is_capped = clock.is_over()
        return found.gaps[count] > min(TARGETS) and not found.is_capped

    if is_observable:
        worker.trace(ladder(), note)
    else:
        _search_by_runs(worker, note, found, clock)
    found.settle(optimum)
    return found


class _Clock:
    """Tells when a search has taken long enough."""

    def __init__(self, seconds: float) -> None:
        self.start = time.monotonic()
        self.deadline = self.start + seconds
        self.is_shortened = False

    def is_over(self, more: float = 0.0) -> bool:
        return time.monotonic() + more > self.deadline

    def shorten(self) -> None:
        """Leave one and a half times the time to the main target for the last target."""
        if not self.is_shortened:
            self.is_shortened = True
            spent = time.monotonic() - self.start
            self.deadline = min(self.deadline, time.monotonic() + 1.5 * spent + 1)


def _search_by_runs(
    worker: WorkerProcess,
    note: Callable[[int, ComplexArray], bool],
    found: Search,
    clock: _Clock,
) -> None:
    """Double the count until the last target is reached, then bisect before each target."""
    counts = ladder()

    def run(index: int) -> bool:
        if counts[index] not in found.gaps:
            took = worker.solve(counts[index], keep_image=True)["seconds"]
            goes_on = note(counts[index], worker.image())
            found.is_capped |= clock.is_over(2 * took)
            return goes_on and not found.is_capped
        return True

    index = 0
    while run(index) and index < len(counts) - 1:
        doubled = [i for i, count in enumerate(counts) if count >= 2 * counts[index]]
        index = doubled[0] if doubled else len(counts) - 1
    for target in TARGETS:
        _bisect(counts, found, target, run, clock)


def _bisect(
    counts: list[int],
    found: Search,
    target: float,
    run: Callable[[int], bool],
    clock: _Clock,
) -> None:
    tried = [(counts.index(count), gap) for count, gap in sorted(found.gaps.items())]
    above = [index for index, gap in tried if gap <= target]
    if not above:
        return
    high = above[0]
    low = max((index for index, gap in tried if index < high and gap > target), default=-1)
    while high - low > 1 and not clock.is_over():
        middle = (low + high) // 2
        run(middle)
        low, high = (low, middle) if found.gaps[counts[middle]] <= target else (middle, high)
