"""`benchmark ncpr`: time to the PSNR that the published direct iteration converges to.

The direct form would take hours, so that it is timed for a few iterations; how many it needs is
counted in our factored form of the same iteration, after a look that both have the same iterates.
The count ends where the PSNR has settled: the published tolerance is met thousands of iterations
later.
Everything that is timed runs in a process of its own with its number of threads, and is scored in
another run.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.asking import ask, write_report
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.factored_published import (
    first_disagreement,
    run_factored,
    run_ours,
)
from lowfield_recon.evaluation.benchmark.ncpr_speed_problem import (
    TASK,
    model_settings,
    speed_image,
    speed_model,
)
from lowfield_recon.evaluation.benchmark.ncpr_speed_report import (
    LARGEST_LOSS_DB,
    SETTLED_DB,
    SETTLED_ITERATIONS,
    has_settled,
    iterations_to,
    report_text,
    verdict,
)
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile, result_key
from lowfield_recon.problem import InverseProblem

NAME = "ncpr"
_WORKER = "lowfield_recon.evaluation.benchmark.ncpr_speed_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSize:
    """What is timed."""

    grid: tuple[int, int]
    """Rows and columns of the image."""

    direct_iterations: int
    """Timed iterations of the direct form."""

    most_iterations: int | None
    """Of the published procedure; None for its own 10,000."""


SIZES: dict[str, SpeedSize] = {
    "full": SpeedSize(grid=(640, 368), direct_iterations=5, most_iterations=None),
    "small": SpeedSize(grid=(64, 48), direct_iterations=3, most_iterations=60),
}


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Count iterations, time them, and compare.

    Parameters
    ----------
    options
        Size, threads, repeats, seed of noise and mask, and images (the first one is taken).
    folder
        Existing folder for `benchmark_ncpr.json`, `.md` and `_results.json`, from which an
        interrupted run takes the counts that it had found.
    progress
        Told when a step begins, and every iteration while it counts.

    Returns
    -------
        Table and files; passed as `verdict` says; of size `small` nothing is timed against a limit.

    Raises
    ------
    UsageError
        If a size does not exist.
    DataError
        If an image cannot be used or a process fails.
    """
    if options.size not in SIZES:
        raise UsageError(f"--size '{options.size}'. {nearest_name(options.size, tuple(SIZES))}")
    size = SIZES[options.size]
    image, what = speed_image(options.images, size.grid)
    problem = TASK.problem(image, options.seed)
    cache = ResultsFile(folder / f"benchmark_{NAME}_results.json")
    identity = [
        NAME, hashlib.sha256(image.numpy().tobytes()).hexdigest(), options.seed, model_settings(),
        size.most_iterations, SETTLED_DB, SETTLED_ITERATIONS,
    ]  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(max(options.threads))
    try:
        counted = _counted(cache, identity, problem, size, progress)
    finally:
        torch.set_num_threads(before)
    results = _timed(options, size, image, counted, folder, progress)
    report = {
        "schema": "lowfield-recon benchmark ncpr, version 1",
        "environment": describe_environment(),
        "size": options.size,
        "seed": options.seed,
        "image": what,
        "grid": list(size.grid),
        "acquired_columns": int(problem.data[0, 0, 0, 0].abs().gt(0).sum()),
        "settings": model_settings(),
        "results_of_an_earlier_run": cache.n_found,
        **counted,
        "results": results,
    }
    report["verdict"] = verdict(report)
    return _write(report, folder)


def _counted(
    cache: ResultsFile,
    identity: list[Any],
    problem: InverseProblem,
    size: SpeedSize,
    progress: StepCallback | None,
) -> dict[str, Any]:
    """Return both curves and how far the factored iterates are from the direct ones.

    What belongs to the published iteration is taken over from an earlier run.
    """
    counted: dict[str, Any] = {}
    for name, count in (
        ("disagreement", lambda: first_disagreement(problem, speed_model())),
        ("published", lambda: _published_curve(problem, size, progress)),
    ):
        key = result_key(*identity, name)
        found = cache.find(key)
        if found is None:
            found = count()
            cache.store(key, found)
        counted[name] = found
    counted["ours"] = _our_curve(problem, size, progress)
    return counted


def _published_curve(
    problem: InverseProblem, size: SpeedSize, progress: StepCallback | None
) -> dict[str, Any]:
    curve = _Curve(problem, "counting the published iterations", progress, until_settled=True)
    start = time.perf_counter()
    found = run_factored(
        problem, speed_model(), tolerance=TASK.tolerance, iterations=size.most_iterations,
        look=curve.look,
    )  # fmt: skip
    return {
        "psnr_db": curve.psnr_db,
        "stopping_reason": found.stopping_reason,
        "seconds": time.perf_counter() - start,
    }


def _our_curve(
    problem: InverseProblem, size: SpeedSize, progress: StepCallback | None
) -> dict[str, Any]:
    curve = _Curve(problem, "counting our iterations", progress)
    few = {} if size.most_iterations is None else {"iterations": size.most_iterations}
    found = run_ours(problem, {**model_settings(), **few}, look=curve.look)
    return {"psnr_db": curve.psnr_db, "stopping_reason": found.stopping_reason}


class _Curve:
    """PSNR of every iterate."""

    def __init__(
        self,
        problem: InverseProblem,
        what: str,
        progress: StepCallback | None,
        *,
        until_settled: bool = False,
    ) -> None:
        assert problem.reference is not None  # noqa: S101 - the task gives it
        self.psnr_db: list[float] = []
        self._until_settled = until_settled
        self._reference = problem.reference[0, 0, 0]
        self._what = what
        self._progress = progress

    def look(self, number: int, image: torch.Tensor) -> str | None:
        self.psnr_db.append(TASK.score(image, self._reference))
        if self._progress is not None:
            self._progress(number, 0, f"{self._what}: {number}, {self.psnr_db[-1]:.3f} dB")
        return "PSNR settled" if self._until_settled and has_settled(self.psnr_db) else None


def _timed(
    options: BenchmarkOptions,
    size: SpeedSize,
    image: torch.Tensor,
    counted: dict[str, Any],
    folder: Path,
    progress: StepCallback | None,
) -> dict[str, dict[str, Any]]:
    """Time both with every number of threads, each in a process of its own."""
    target = counted["published"]["psnr_db"][-1] - LARGEST_LOSS_DB
    count = iterations_to(counted["ours"]["psnr_db"], target) or len(counted["ours"]["psnr_db"])
    answers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix=".ncpr-", dir=folder) as scratch:
        path = Path(scratch) / "image.npy"
        np.save(path, image.numpy())
        base = {"image": str(path), "seed": options.seed, "repeats": options.repeats}
        steps = [
            {"task": task, "threads": threads, "iterations": iterations}
            for threads in options.threads
            for task, iterations in (
                ("direct", size.direct_iterations), ("ours", count), ("whole", 0),
            )
        ]  # fmt: skip
        for number, step in enumerate(steps):
            name = f"{step['task']}, {step['threads']} threads"
            if progress is not None:
                progress(number, len(steps), name)
            answers[name] = ask(_WORKER, name, {**base, **step})
    return answers


def _write(report: dict[str, Any], folder: Path) -> BenchmarkOutcome:
    return write_report(NAME, report, report_text(report), folder)
