"""Time and memory that every tool needs to reach the same objective on the same problem.

First, untimed: the optimum F* of each case by two solvers in double precision, and how many
iterations each tool needs to come within the relative gaps of `TARGETS`. Then, timed: each tool
runs that many iterations, in its own process per number of threads, the tools taking turns in
random order.
"""

from __future__ import annotations

import math
import threading
import time
from pathlib import Path

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.client import WorkerFailedError, WorkerProcess
from lowfield_recon.evaluation.benchmark.environment import describe_environment, usable_cores
from lowfield_recon.evaluation.benchmark.optimum import (
    Judge,
    OptimumCache,
    find_optima,
    worker_pool,
)
from lowfield_recon.evaluation.benchmark.problems import select_cases
from lowfield_recon.evaluation.benchmark.report import CaseResult, write_report
from lowfield_recon.evaluation.benchmark.scratch import lay_out, scratch_folder
from lowfield_recon.evaluation.benchmark.search import search_iterations
from lowfield_recon.evaluation.benchmark.timing import time_tools
from lowfield_recon.evaluation.benchmark.tools import Tool, select_tools

OPTIMUM_SHARE = 1 / 20
"""Share of the budget for one solver in double precision on one case, at most."""

SEARCH_SHARE = 1 / 9
"""Share of the budget for the search of one tool on one case, at most."""

UNTIMED_SHARE = 0.55
"""Share of the budget after which searches are cut short, to leave time for timing."""


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Run the solver benchmark.

    Parameters
    ----------
    options
        What the user chose.
    folder
        Existing folder for `benchmark_solvers.json` and `.md`, and for the cache of optima.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files.

    Raises
    ------
    UsageError
        If an option is wrong.
    DataError
        If none of the chosen tools is installed.
    """
    _check(options)
    started = time.monotonic()
    environment = describe_environment()
    cases = select_cases(options.size, options.cases)
    tools = select_tools(options.tools)
    here = [tool for tool in tools if tool.is_installed()]
    if not here:
        raise DataError(f"solvers: not installed: {', '.join(tool.name for tool in tools)}.")
    steps = _Steps(progress, 1 + len(cases) * (len(here) + len(options.threads)))
    sizes = list({case.size.name: case.size for case in cases}.values())
    with scratch_folder() as scratch:
        problems = lay_out(sizes, scratch)
        steps.begin("optima in double precision")
        cache = OptimumCache(folder / "benchmark_optima.json")
        optima = find_optima(cases, problems, scratch, cache, options.budget * OPTIMUM_SHARE)
        results = [
            CaseResult(case, problems[case.size.name][0], optimum)
            for case, optimum in zip(cases, optima, strict=True)
        ]
        _search(results, here, scratch, options, steps, started + UNTIMED_SHARE * options.budget)
        _time(results, scratch, options, steps, started + options.budget)
    return write_report(
        results, tools, options, folder, environment, seconds=time.monotonic() - started
    )


def _check(options: BenchmarkOptions) -> None:
    if not options.threads or min(options.threads) < 1:
        raise UsageError(f"threads: expected numbers from 1 on, got {options.threads}.")
    if options.repeats < 1:
        raise UsageError(f"repeats: expected at least 1, got {options.repeats}.")
    if not options.budget > 0:
        raise UsageError(f"budget: expected seconds greater than 0, got {options.budget}.")


class _Steps:
    """Counts steps for the progress callback."""

    def __init__(self, progress: StepCallback | None, total: int) -> None:
        self.progress = progress
        self.total = total
        self.done = 0
        self.lock = threading.Lock()

    def begin(self, what: str) -> None:
        with self.lock:
            if self.progress is not None:
                self.progress(self.done, self.total, what)
            self.done += 1


def _search(
    results: list[CaseResult],
    tools: list[Tool],
    scratch: Path,
    options: BenchmarkOptions,
    steps: _Steps,
    deadline: float,
) -> None:
    """Find the iterations of every tool; one process per tool serves all cases, in turn.

    As many processes run side by side as there are cores, so the tools come in waves.
    """
    now, cores = time.monotonic(), usable_cores()
    wave = (deadline - now) / math.ceil(len(tools) / cores)
    with worker_pool() as pool:
        jobs = [
            pool.submit(
                _search_tool, tool, results, scratch, options, steps, now + wave * (1 + i // cores)
            )
            for i, tool in enumerate(tools)
        ]
        for job in jobs:
            job.result()
    for result in results:
        for name, search in result.searches.items():
            result.optimum.note(name, min(search.values.values()))
        for search in result.searches.values():
            search.settle(result.optimum.value)


def _search_tool(
    tool: Tool,
    results: list[CaseResult],
    scratch: Path,
    options: BenchmarkOptions,
    steps: _Steps,
    deadline: float,
) -> None:
    worker = None
    try:
        for index, result in enumerate(results):
            method = result.case.method
            steps.begin(f"{result.case.name}: iterations of {tool.name}")
            if method in tool.not_applicable:
                result.reasons[tool.name] = tool.not_applicable[method]
                continue
            try:
                worker = worker or WorkerProcess(
                    tool.name, scratch, exact_steps=options.exact_steps
                )
                worker.load(result.case, scratch / result.case.size.name)
                result.searches[tool.name] = search_iterations(
                    worker,
                    _judge(result).objective,
                    result.optimum.value,
                    is_observable=method in tool.observable,
                    seconds=min(
                        options.budget * SEARCH_SHARE, _share(deadline, len(results) - index)
                    ),
                )
            except WorkerFailedError as error:
                result.reasons[tool.name] = f"failed: {error}"
                if worker is not None:
                    worker.close()
                worker = None
    finally:
        if worker is not None:
            worker.close()


def _time(
    results: list[CaseResult],
    scratch: Path,
    options: BenchmarkOptions,
    steps: _Steps,
    deadline: float,
) -> None:
    groups = [(result, threads) for result in results for threads in options.threads]
    for index, (result, threads) in enumerate(groups):
        steps.begin(f"{result.case.name}: timing with {threads} thread(s)")
        seconds = _share(deadline, len(groups) - index)
        result.timings[threads] = time_tools(
            result.case,
            scratch / result.case.size.name,
            result.searches,
            _judge(result),
            options,
            threads=threads,
            deadline=min(deadline, time.monotonic() + seconds),
        )


def _share(deadline: float, n_left: int) -> float:
    """Return the seconds for one of `n_left` jobs: one and a half times its part of the rest."""
    return max(min(1.5 / n_left, 1.0) * (deadline - time.monotonic()), 2.0)


def _judge(result: CaseResult) -> Judge:
    return Judge(result.case, result.problem, result.optimum.value)
