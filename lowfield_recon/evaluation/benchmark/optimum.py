"""The smallest value F* of each objective, from two solvers in double precision, kept in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lowfield_recon.evaluation.benchmark.client import WorkerFailedError, WorkerProcess
from lowfield_recon.evaluation.benchmark.environment import usable_cores
from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem, objective
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase, hashes
from lowfield_recon.files import atomic_path

_SOLVERS = ("reference", "ours")


@dataclass(slots=True)
class Optimum:
    """Best known value of an objective and where it comes from."""

    values: dict[str, float]
    """Value that each solver in double precision reached."""

    seconds: float
    """Time that each of them had at most [s]."""

    is_cached: bool = False

    @property
    def value(self) -> float:
        """Best known value F*."""
        return min(self.values.values())

    @property
    def agreement(self) -> float | None:
        """Relative difference of the two solvers in double precision; None when one failed."""
        both = [self.values[name] for name in _SOLVERS if name in self.values]
        return (max(both) - min(both)) / min(both) if len(both) == len(_SOLVERS) else None

    def note(self, tool: str, value: float) -> None:
        """Take into account what a tool reached, when it is below what was known."""
        if value < self.value:
            self.values[f"{tool} in single precision"] = value


@dataclass(frozen=True, slots=True)
class Judge:
    """Evaluates images of one case."""

    case: BenchmarkCase
    problem: Problem
    optimum: float

    def objective(self, image: ComplexArray) -> float:
        """Return the shared objective at an image."""
        return objective(self.case.method, self.problem, image, self.case.regularization_weight)


class OptimumCache:
    """A JSON file with the optima of the problems of these exact data."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, key: str, seconds: float) -> Optimum | None:
        """Return what is known for a key, if it was given at least as much time."""
        entry = self._read().get(key)
        if not isinstance(entry, dict) or float(entry.get("seconds", 0)) < seconds:
            return None
        values = {str(name): float(value) for name, value in entry["values"].items()}
        return Optimum(values=values, seconds=float(entry["seconds"]), is_cached=True)

    def put(self, key: str, optimum: Optimum) -> None:
        """Keep an optimum."""
        entries = self._read()
        entries[key] = asdict(replace(optimum, is_cached=False))
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(entries, indent=2) + "\n")

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        try:
            entries = json.loads(self.path.read_text())
        except ValueError:  # another program's file, or a damaged one: written anew
            return {}
        return entries if isinstance(entries, dict) else {}


def find_optima(
    cases: Sequence[BenchmarkCase],
    problems: Mapping[str, tuple[Problem, Path]],
    folder: Path,
    cache: OptimumCache,
    seconds: float,
) -> list[Optimum]:
    """Find F* of each case, or take it from the cache.

    Parameters
    ----------
    cases
        The cases.
    problems
        Data, and where they were written, by the size's name.
    folder
        Scratch folder.
    cache
        File of known optima.
    seconds
        Time for each of the two solvers on each case [s].

    Returns
    -------
        F* and where it comes from, per case.

    Raises
    ------
    WorkerFailedError
        If both solvers fail on a case.
    """
    keys = {case.name: _key(case, problems[case.size.name][0]) for case in cases}
    known = {case.name: cache.get(keys[case.name], seconds) for case in cases}
    missing = [case for case in cases if known[case.name] is None]
    with worker_pool() as pool:
        futures = [
            pool.submit(_solve_all, solver, missing, problems, folder, seconds)
            for solver in _SOLVERS
        ]
        found = dict(zip(_SOLVERS, (future.result() for future in futures), strict=True))
    for case in missing:
        values = {solver: found[solver][case.name] for solver in _SOLVERS}
        reached = {solver: value for solver, value in values.items() if isinstance(value, float)}
        if not reached:
            raise WorkerFailedError(f"{case.name}: no optimum was found: {values}")
        known[case.name] = Optimum(values=reached, seconds=seconds)
        cache.put(keys[case.name], Optimum(values=reached, seconds=seconds))
    return [optimum for case in cases if (optimum := known[case.name]) is not None]


@contextmanager
def worker_pool() -> Iterator[ThreadPoolExecutor]:
    """Run untimed processes side by side, one thread each; after an error no more are started.

    Yields
    ------
        A pool of as many threads as there are cores, each to wait for a process.
    """
    pool = ThreadPoolExecutor(max_workers=usable_cores())
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _solve_all(
    solver: str,
    cases: Sequence[BenchmarkCase],
    problems: Mapping[str, tuple[Problem, Path]],
    folder: Path,
    seconds: float,
) -> dict[str, float | str]:
    """Return the value that a solver reached per case, or in words why it failed."""
    values: dict[str, float | str] = {}
    worker = None
    try:
        for case in cases:
            problem, place = problems[case.size.name]
            try:
                worker = worker or WorkerProcess(solver, folder, is_timed=False)
                worker.load(case, place)
                image = worker.reference(seconds)
            except WorkerFailedError as error:
                values[case.name] = str(error)
                if worker is not None:
                    worker.close()
                worker = None
            else:
                weight = case.regularization_weight
                values[case.name] = objective(case.method, problem, image, weight)
    finally:
        if worker is not None:
            worker.close()
    return values


def _key(case: BenchmarkCase, problem: Problem) -> str:
    return " ".join(
        [case.name, f"{case.regularization_weight:g}", *map(str, hashes(problem).values())]
    )
