"""Speed of sparse coding: an iteration beside its own Fourier transforms and beside mrpro's `pgd`.

Every row is timed in a process of its own with its number of threads. `pgd` would take hours to
converge, so that it is timed for a few iterations; how many it needs is counted with our FISTA of
the rule `delayed`, whose iterates are the same.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.asking import ask, write_report
from lowfield_recon.evaluation.benchmark.cdl_speed_problem import NOISE_FRACTIONS, benchmark_image
from lowfield_recon.evaluation.benchmark.cdl_speed_report import report_text, verdict
from lowfield_recon.evaluation.benchmark.environment import describe_environment

_WORKER = "lowfield_recon.evaluation.benchmark.cdl_speed_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSize:
    """What is timed."""

    size: int
    """Rows and columns of the image."""

    filters: int
    kernel: int
    scaling_filters: tuple[int, ...]
    scaling_planes: tuple[int, ...]
    most_filters: int
    """Number of filters whose memory is measured."""

    reference_iterations: int
    pgd_iterations: int
    """Most iterations that are counted for `pgd`."""


SIZES: dict[str, SpeedSize] = {
    "full": SpeedSize(
        size=320, filters=64, kernel=11, scaling_filters=(16, 32, 64, 128),
        scaling_planes=(2, 4), most_filters=128, reference_iterations=500, pgd_iterations=2000,
    ),
    "small": SpeedSize(
        size=48, filters=16, kernel=9, scaling_filters=(16, 32), scaling_planes=(2,),
        most_filters=32, reference_iterations=300, pgd_iterations=1000,
    ),
}  # fmt: skip

_MIDDLE_NOISE = NOISE_FRACTIONS[len(NOISE_FRACTIONS) // 2]


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Time sparse coding and count its iterations.

    Parameters
    ----------
    options
        Size, threads, repeats and images (the first one is taken).
    folder
        Existing folder for `benchmark_cdl.json` and `.md`.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed as `verdict` says; of size `small` only convergence is judged.

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
    environment = describe_environment()
    image, what = benchmark_image(options.images, size.size)
    with tempfile.TemporaryDirectory(prefix=".cdl-", dir=folder) as scratch:
        path = Path(scratch) / "image.npy"
        np.save(path, image.numpy())
        base = {
            "image": str(path), "filters": size.filters, "kernel": size.kernel, "planes": 1,
            "noise": _MIDDLE_NOISE, "iterations": 64, "pgd_iterations": 0,
            "repeats": options.repeats, "threads": max(options.threads), "device": "cpu",
        }  # fmt: skip
        answers = _answers(_steps(size, options.threads), base, progress)
    report = {
        "schema": "lowfield-recon benchmark cdl, version 1",
        "environment": environment,
        "size": options.size,
        "image": what,
        "grid": size.size,
        "filters": size.filters,
        "kernel": size.kernel,
        "results": answers,
    }
    report["verdict"] = verdict(report)
    return _write(report, folder)


def _steps(size: SpeedSize, threads: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """Return what each request changes, by the name of its result."""
    steps: dict[str, dict[str, Any]] = {}
    for n in threads:
        steps[f"iteration, {n} threads"] = {"task": "iteration", "threads": n}
        steps[f"pgd, {n} threads"] = {"task": "pgd", "threads": n}
        steps[f"slice, {n} threads"] = {"task": "whole_slice", "threads": n}
    steps["slice, GPU"] = {"task": "whole_slice", "device": "cuda"}
    steps["memory"] = {
        "task": "whole_slice", "filters": size.most_filters, "iterations": 3, "repeats": 1,
    }  # fmt: skip
    for filters in size.scaling_filters:
        steps[f"{filters} filters"] = {"task": "iteration", "filters": filters}
    for planes in size.scaling_planes:
        steps[f"{planes} slices"] = {
            "task": "iteration", "filters": size.scaling_filters[0], "planes": planes,
        }  # fmt: skip
    for noise in NOISE_FRACTIONS:
        steps[f"convergence, noise {noise:g}"] = {
            "task": "convergence",
            "noise": noise,
            "iterations": size.reference_iterations,
            "pgd_iterations": size.pgd_iterations if noise == _MIDDLE_NOISE else 0,
        }
    return steps


def _answers(
    steps: dict[str, dict[str, Any]], base: dict[str, Any], progress: StepCallback | None
) -> dict[str, dict[str, Any]]:
    answers: dict[str, dict[str, Any]] = {}
    for number, (name, changes) in enumerate(steps.items()):
        if progress is not None:
            progress(number, len(steps), name)
        answers[name] = _ask(name, {**base, **changes})
    return answers


def _ask(name: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = ask(_WORKER, name, request, gpu=request["device"] == "cuda")
    return {"request": {key: request[key] for key in request if key != "image"}, **answer}


def _write(report: dict[str, Any], folder: Path) -> BenchmarkOutcome:
    return write_report("cdl", report, report_text(report), folder)
