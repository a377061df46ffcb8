"""`benchmark untrained`: how fast dip, ngr and mg-spair are, and how much memory they take.

Everything is timed in a process of its own, one after the other, with the same number of threads,
so that what is quoted are ratios of one run.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.asking import ask, write_report
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.untrained.quality_images import photographs
from lowfield_recon.evaluation.benchmark.untrained.speed_peers import has_deepinv
from lowfield_recon.evaluation.benchmark.untrained.speed_problem import SIZES, SpeedSize
from lowfield_recon.evaluation.benchmark.untrained.speed_report import (
    first_at,
    report_text,
    target_of,
    verdict,
)

NAME = "untrained"
_WORKER = "lowfield_recon.evaluation.benchmark.untrained.speed_worker"


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Time the methods.

    Parameters
    ----------
    options
        Size, images (the first one is taken), repeats of ngr, seed; the largest number of threads.
    folder
        Existing folder for `benchmark_untrained.json` and `.md`.
    progress
        Told when a step begins.

    Returns
    -------
        Tables and files; passed where every requirement is met, which size `small` has none of.

    Raises
    ------
    UsageError
        If a size does not exist.
    DataError
        If an image cannot be used or is too small, or a process fails.
    """
    if options.size not in SIZES:
        raise UsageError(f"--size '{options.size}'. {nearest_name(options.size, tuple(SIZES))}")
    size = SIZES[options.size]
    with tempfile.TemporaryDirectory(prefix=".untrained-", dir=folder) as scratch:
        name, paths = _images(options, size, Path(scratch))
        found = _timed(options, paths, progress)
    report = {
        "schema": "lowfield-recon benchmark untrained, version 1",
        "environment": describe_environment(),
        "size": options.size,
        "seed": options.seed,
        "image": name,
        "crop": size.crop,
        "large": size.large,
        "threads": max(options.threads),
        **found,
    }
    report["verdict"] = verdict(report)
    return _write(report, folder)


def _images(
    options: BenchmarkOptions, size: SpeedSize, scratch: Path
) -> tuple[str, dict[int, str]]:
    """Write the middle of the photograph in both sizes; return its name and the files by size."""
    paths = {}
    for side in (size.crop, size.large):
        photograph = photographs(options.images, crop=side)[0]
        if tuple(photograph.pixels.shape[-2:]) != (side, side):
            raise DataError(
                f"{photograph.name}: expected a photograph of at least {side} x {side} pixels; "
                "choose another with --images."
            )
        path = scratch / f"{side}.npy"
        np.save(path, photograph.pixels.numpy())
        paths[side] = str(path)
    return photograph.name, paths


def _timed(
    options: BenchmarkOptions, paths: dict[int, str], progress: StepCallback | None
) -> dict[str, Any]:
    """Ask for each task in turn; what ngr needs to the target is known after two of them."""
    size = SIZES[options.size]
    results: dict[str, dict[str, Any]] = {}
    small, large = ({"image": paths[side]} for side in (size.crop, size.large))
    steps: list[tuple[str, dict[str, Any]]] = [
        ("published", small),
        ("ours_followed", small),
        ("ours_timed", small),
        ("mg_spair", large),
        ("dip", {**large, "precision": None}),
        ("dip_float32", {**large, "task": "dip", "precision": "float32"}),
        ("plain", large),
        *([("deepinv", large)] if has_deepinv() else []),
    ]
    count = None
    for number, (name, more) in enumerate(steps):
        if progress is not None:
            progress(number, len(steps), name)
        request = {
            "task": name, "threads": max(options.threads), "seed": options.seed,
            "size": options.size, **more,
        }  # fmt: skip
        if name == "ours_timed":
            reached = first_at(results["ours_followed"]["curve"], target_of(results["published"]))
            if reached is None:
                continue
            count = reached[0]
            request |= {"iterations": count, "repeats": options.repeats}
        results[name] = ask(_WORKER, name, request)
    return {"iterations": count, "results": results}


def _write(report: dict[str, Any], folder: Path) -> BenchmarkOutcome:
    return write_report(NAME, report, report_text(report), folder)
