"""The process that runs one tool with one number of threads: `python -m ....worker`.

It reads one JSON object per line and answers each with one:

`{"op": "load", "tool", "method", "size", "folder", "threads", "exact_steps", "is_timed"}` comes
first.

`{"op": "solve", "iterations": N, "image": PATH or null}` runs once, from the operators to the
image.

`{"op": "trace", "at": [N, ...], "image": PATH}` runs to the largest N and stops at each for an
answer: `{"op": "go"}` or `{"op": "stop"}`.

`{"op": "reference", "seconds": S, "image": PATH}` solves in double precision for about S seconds.

`{"op": "memory"}` tells the memory before the first run and at the peak.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark import memory
from lowfield_recon.evaluation.benchmark.answering import answers
from lowfield_recon.evaluation.benchmark.objective import ComplexArray
from lowfield_recon.evaluation.benchmark.problems import (
    BenchmarkCase,
    find_size,
    read_problem,
)
from lowfield_recon.evaluation.benchmark.tools import TOOLS, Observer, Prepared

Message = Mapping[str, Any]


def _not_prepared(_iterations: int, _observer: Observer | None) -> Callable[[], ComplexArray]:
    raise DataError("this process was started for a reference; start one with is_timed.")


_NOT_PREPARED = Prepared(solve=_not_prepared)


class Worker:
    """Holds one tool with the data of one case, and answers requests."""

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self.requests = requests
        self.answers = answers
        self.prepared = _NOT_PREPARED
        self.operations: dict[str, Callable[[Message], dict[str, Any]]] = {
            "load": self._load,
            "solve": self._solve,
            "trace": self._trace,
            "memory": self._memory,
            "reference": self._reference,
        }

    def serve(self) -> None:
        """Answer requests until there are no more."""
        while line := self.requests.readline():
            request = json.loads(line)
            self.send(self.operations[request["op"]](request))

    def _load(self, job: Message) -> dict[str, Any]:
        self.case = BenchmarkCase(job["method"], find_size(job["size"]))
        self.tool = str(job["tool"])
        self.problem = read_problem(Path(job["folder"]))
        self.prepared = _NOT_PREPARED
        if job["is_timed"]:
            module = import_module(TOOLS[self.tool].module)
            _limit_threads(int(job["threads"]))
            self.prepared = module.prepare(self.case, self.problem, bool(job["exact_steps"]))
        gc.collect()
        memory.forget_peak()
        self.baseline = memory.resident_mib()
        return {}

    def _solve(self, request: Message) -> dict[str, Any]:
        before, start = os.times(), time.perf_counter()
        image = self.prepared.solve(int(request["iterations"]), None)
        seconds = time.perf_counter() - start
        if request["image"]:
            _save(request["image"], image())
        return {
            "seconds": seconds,
            "cpu_seconds": _cpu_seconds(os.times()) - _cpu_seconds(before),
            "overhead_seconds": self.prepared.overhead_seconds,
        }

    def _trace(self, request: Message) -> dict[str, Any]:
        wanted = set(request["at"])
        is_stopped = False

        def observer(iteration: int, image: Callable[[], ComplexArray]) -> bool:
            nonlocal is_stopped
            if iteration not in wanted:
                return True
            wanted.discard(iteration)
            _save(request["image"], image())
            self.send({"iteration": iteration})
            is_stopped = json.loads(self.requests.readline())["op"] == "stop"
            return not is_stopped

        last = max(wanted)
        image = self.prepared.solve(last, observer)
        while wanted and not is_stopped:  # the tool stopped by itself: its image stays as it is
            observer(min(wanted), image)
        return {"iteration": None}

    def _memory(self, _request: Message) -> dict[str, Any]:
        measure = self.prepared.measure_memory
        baseline, peak = (self.baseline, memory.peak_mib()) if measure is None else measure()
        return {"baseline_mib": baseline, "peak_mib": peak}

    def _reference(self, request: Message) -> dict[str, Any]:
        from lowfield_recon.evaluation.benchmark.tools.reference import solve_double

        start = time.perf_counter()
        seconds = float(request["seconds"])
        _save(request["image"], solve_double(self.tool, self.case, self.problem, seconds))
        return {"seconds": time.perf_counter() - start}

    def send(self, message: Message) -> None:
        """Answer in one line."""
        self.answers.write(json.dumps(message) + "\n")
        self.answers.flush()


def _limit_threads(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def _save(path: str, image: ComplexArray) -> None:
    np.save(path, image)


def _cpu_seconds(times: os.times_result) -> float:
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Serve requests until the input ends; whatever a tool prints goes to stderr."""
    Worker(sys.stdin, answers()).serve()


if __name__ == "__main__":
    main()
