"""Speed of scoring: all metrics of 1,000 images beside scikit-image's SSIM and PSNR alone.

Both run with one thread in one process and take turns, block by block, so that a busy machine hits
both; what is judged are ratios of medians over the repeats.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.asking import ask, write_report
from lowfield_recon.evaluation.benchmark.cdl_speed_problem import benchmark_image
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text

LARGEST_DIFFERENCE = 1e-6
_WORKER = "lowfield_recon.evaluation.benchmark.metrics_speed_worker"
_DTYPES = ("float32", "float64")
_SCORED = {
    "score_all": "PSNR, SSIM, NRMSE, HFEN, blur effect",
    "scikit-image": "PSNR, SSIM",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSize:
    """What is timed."""

    grid: int
    """Rows and columns of an image."""

    images: int
    distinct: int
    """How many of the images differ, so that they fit into memory but not into a cache."""

    block: int
    """Images until it is the next tool's turn."""


SIZES: dict[str, SpeedSize] = {
    "full": SpeedSize(grid=320, images=1000, distinct=100, block=100),
    "small": SpeedSize(grid=64, images=20, distinct=10, block=5),
}


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Time scoring and compare the numbers.

    Parameters
    ----------
    options
        Size, repeats, seed and images (the first one is taken); the threads are always one.
    folder
        Existing folder for `benchmark_metrics.json` and `.md`.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed as `verdict` says.

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
    image, what = benchmark_image(options.images, size.grid)
    answers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix=".metrics-", dir=folder) as scratch:
        path = Path(scratch) / "image.npy"
        np.save(path, image.numpy())
        for number, dtype in enumerate(_DTYPES):
            if progress is not None:
                progress(number, len(_DTYPES), dtype)
            request = {
                "image": str(path), "images": size.images, "distinct": size.distinct,
                "block": size.block, "dtype": dtype, "repeats": options.repeats,
                "seed": options.seed, "threads": 1,
            }  # fmt: skip
            answers[dtype] = ask(_WORKER, dtype, request)
    report = {
        "schema": "lowfield-recon benchmark metrics, version 1",
        "environment": environment,
        "size": options.size,
        "image": what,
        "grid": size.grid,
        "images": size.images,
        "distinct": size.distinct,
        "repeats": options.repeats,
        "threads": 1,
        "results": answers,
    }
    report["verdict"] = verdict(report)
    return write_report("metrics", report, report_text(report), folder)


def verdict(report: dict[str, Any]) -> dict[str, bool]:
    """Say which requirements are met.

    Parameters
    ----------
    report
        With `size` and `results`.

    Returns
    -------
        By requirement; of size `small` only the agreement is judged.
    """
    found = report["results"]["float64"]["differences"]
    largest = max(value for of_tool in found.values() for value in of_tool.values())
    said = {
        f"agrees with scikit-image, fastMRI and metrics.score to {LARGEST_DIFFERENCE:g}": (
            largest <= LARGEST_DIFFERENCE
        )
    }
    if report["size"] == "full":
        for dtype in _DTYPES:
            said[f"all metrics take no longer than scikit-image's SSIM and PSNR ({dtype})"] = (
                ratio(report["results"][dtype], "score_all") <= 1
            )
    return said


def ratio(answer: dict[str, Any], tool: str, clock: str = "seconds") -> float:
    """Return the median time of a tool over that of scikit-image.

    Parameters
    ----------
    answer
        With the times of each repeat by tool.
    tool
        Name of the tool.
    clock
        `seconds` or `cpu_seconds`.

    Returns
    -------
        Below 1 where the tool is faster.

    Examples
    --------
    >>> ratio({"seconds": {"a": [1.0, 9.0, 2.0], "scikit-image": [4.0]}}, "a")
    0.5
    """
    seconds: dict[str, list[float]] = answer[clock]
    return median(seconds[tool]) / median(seconds["scikit-image"])


def report_text(report: dict[str, Any]) -> str:
    """Write the tables.

    Parameters
    ----------
    report
        With `results` and `verdict`.

    Returns
    -------
        Markdown.
    """
    times = markdown_table(
        ["images of", "tool", "computes", "time", "over scikit-image", "processor time over"],
        [
            [dtype, tool, _SCORED[tool], seconds_text(median(seconds)),
             f"{ratio(answer, tool):.2f}", f"{ratio(answer, tool, 'cpu_seconds'):.2f}"]
            for dtype, answer in report["results"].items()
            for tool, seconds in answer["seconds"].items()
        ],
    )  # fmt: skip
    found = report["results"]["float64"]["differences"]
    names = list(dict.fromkeys(name for of_tool in found.values() for name in of_tool))
    agreement = markdown_table(
        ["largest difference to", *names],
        [
            [tool, *(f"{of_tool[name]:.1e}" if name in of_tool else "" for name in names)]
            for tool, of_tool in found.items()
        ],
    )
    said = "\n".join(
        f"- {requirement}: {'met' if is_met else 'NOT met'}"
        for requirement, is_met in report["verdict"].items()
    )
    grid = report["grid"]
    return (
        f"{report['images']} images of {grid} x {grid} ({report['distinct']} different ones, from "
        f"{report['image']}), one thread, medians of {report['repeats']} runs in turns.\n\n"
        f"{times}\n\n{agreement}\n\n{said}\n"
    )
