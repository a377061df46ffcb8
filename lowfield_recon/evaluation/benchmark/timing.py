"""Timed runs of all tools on one case, taking turns."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lowfield_recon.evaluation.benchmark import BenchmarkOptions
from lowfield_recon.evaluation.benchmark.client import WorkerFailedError, WorkerProcess
from lowfield_recon.evaluation.benchmark.objective import nrmse
from lowfield_recon.evaluation.benchmark.optimum import Judge
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase
from lowfield_recon.evaluation.benchmark.search import MAIN_TARGET, Search

RUN_SHARE = 1 / 9
"""Share of the budget that a single timed run may take."""

CELL_SHARE = 1 / 60
"""Share of the budget for the repeats of one cell, and for one run to another target."""

WARM_UP_ITERATIONS = 3
PAUSE_SECONDS = 0.05
"""Between runs, so that idle threads of the tool before have gone to sleep."""


@dataclass(slots=True)
class Cell:
    """Timed runs of one tool with the iterations for one target."""

    iterations: int
    seconds: list[float] = field(default_factory=list)
    """Wall time of each run [s], a program's no-op call subtracted."""

    cpu_seconds: list[float] = field(default_factory=list)
    gap: float | None = None
    """Relative objective gap of the image of the first run."""

    nrmse: float | None = None
    """Error of that image to the object."""

    reason: str | None = None
    """Why it was not timed."""

    @property
    def median(self) -> float | None:
        """Median time [s], None when it was not timed."""
        return float(np.median(self.seconds)) if self.seconds else None

    @property
    def quartiles(self) -> list[float] | None:
        """First and third quartile [s]."""
        if not self.seconds:
            return None
        return [float(value) for value in np.percentile(self.seconds, (25, 75))]


@dataclass(slots=True)
class Timing:
    """What was measured of one tool on one case with one number of threads."""

    warm_up_seconds: float = 0.0
    overhead_seconds: float = 0.0
    cells: dict[float, Cell] = field(default_factory=dict)
    """Timed runs per target."""

    baseline_mib: float | None = None
    peak_mib: float | None = None
    reason: str | None = None
    """Why there is nothing."""


def time_tools(
    case: BenchmarkCase,
    folder: Path,
    searches: dict[str, Search],
    judge: Judge,
    options: BenchmarkOptions,
    *,
    threads: int,
    deadline: float,
) -> dict[str, Timing]:
    """Time all tools on one case, in processes of their own that take turns in random order.

    Parameters
    ----------
    case
        The case.
    folder
        Where its problem was written.
    searches
        Iterations that each tool needs.
    judge
        Evaluates the images.
    options
        Repeats, budget, step sizes and seed.
    threads
        Number of threads.
    deadline
        When the whole benchmark's time is up, on the monotonic clock [s].

    Returns
    -------
        Timing per tool.
    """
    order = random.Random(f"{options.seed} {case.name} {threads}")  # noqa: S311 - no secret
    timings = {name: Timing() for name in searches}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(
                WorkerProcess(name, folder, threads=threads, exact_steps=options.exact_steps)
            )
            for name in searches
        }
        for worker in workers.values():
            worker.load(case, folder)
        turns = [
            _Turns(workers[name], searches[name], timings[name], judge, options, deadline)
            for name in searches
        ]
        _take_turns(turns, order, options.repeats)
    return timings


def _take_turns(turns: list[_Turns], order: random.Random, repeats: int) -> None:
    """Run everything; the first runs to the main target go from the fastest tool to the slowest."""
    for turn in turns:
        _try(turn.timing, turn.worker.wait_until_ready)
    for turn in order.sample(turns, len(turns)):
        _try(turn.timing, turn.warm_up)
    for turn in sorted(turns, key=lambda turn: turn.expected_seconds(MAIN_TARGET)):
        _try(turn.timing, turn.run_main)
    for repeat in range(repeats):
        for turn in order.sample(turns, len(turns)):
            _try(turn.timing, turn.run_others)
            if repeat > 0:
                _try(turn.timing, turn.run_main)
    for turn in turns:
        _try(turn.timing, turn.measure_memory)


def _try(timing: Timing, action: Callable[[], None]) -> None:
    """Do something with a tool unless it has failed before; a failure is its result."""
    if timing.reason is not None:
        return
    try:
        action()
    except WorkerFailedError as error:
        timing.reason = f"failed: {error}"


class _Turns:
    """One tool's turns."""

    def __init__(
        self,
        worker: WorkerProcess,
        search: Search,
        timing: Timing,
        judge: Judge,
        options: BenchmarkOptions,
        deadline: float,
    ) -> None:
        self.worker = worker
        self.timing = timing
        self.judge = judge
        self.deadline = deadline
        self.longest_run = options.budget * RUN_SHARE
        self.longest_cell = options.budget * CELL_SHARE
        easiest_first = sorted(search.counts.items(), reverse=True)
        timing.cells = {target: Cell(iterations) for target, iterations in easiest_first}
        self.seconds_per_iteration = 0.0

    def warm_up(self) -> None:
        least = min((cell.iterations for cell in self.timing.cells.values()), default=1)
        iterations = min(least, WARM_UP_ITERATIONS)
        first = self.worker.solve(iterations)
        self.timing.warm_up_seconds = first["seconds"]
        self.timing.overhead_seconds = first["overhead_seconds"]
        quickest = min(first["seconds"], self.worker.solve(iterations)["seconds"])
        self.seconds_per_iteration = quickest / iterations

    def expected_seconds(self, target: float) -> float:
        cell = self.timing.cells.get(target)
        return math.inf if cell is None else self.seconds_per_iteration * cell.iterations

    def run_main(self) -> None:
        self._run(MAIN_TARGET, self.longest_run)

    def run_others(self) -> None:
        for target in self.timing.cells:
            if target != MAIN_TARGET:
                self._run(target, self.longest_cell)

    def _run(self, target: float, longest_run: float) -> None:
        cell = self.timing.cells.get(target)
        if cell is None or cell.reason is not None:
            return
        expected = self.expected_seconds(target)
        is_late = time.monotonic() + (expected if cell.seconds else 0) > self.deadline
        if not cell.seconds and expected > longest_run:
            cell.reason = f"a run would take longer than {longest_run:.0f} s"
        elif not cell.seconds and is_late:
            cell.reason = "the time for this case was spent"
        elif not is_late and sum(cell.seconds) + expected <= max(self.longest_cell, expected):
            self._run_once(cell)

    def _run_once(self, cell: Cell) -> None:
        is_first = not cell.seconds
        time.sleep(PAUSE_SECONDS)
        run = self.worker.solve(cell.iterations, keep_image=is_first)
        cell.seconds.append(max(run["seconds"] - run["overhead_seconds"], 1e-9))
        cell.cpu_seconds.append(run["cpu_seconds"])
        self.seconds_per_iteration = run["seconds"] / cell.iterations
        if is_first:
            image = self.worker.image()
            cell.gap = self.judge.objective(image) / self.judge.optimum - 1
            cell.nrmse = nrmse(image, self.judge.problem.reference)

    def measure_memory(self) -> None:
        measured = self.worker.memory()
        self.timing.baseline_mib = measured["baseline_mib"]
        self.timing.peak_mib = measured["peak_mib"]
