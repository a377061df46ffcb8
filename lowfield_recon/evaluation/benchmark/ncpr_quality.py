"""`benchmark ncpr-quality`: ncpr and cpr beside the published procedure, task by task.

Both minimise the same objective with the same weights on the same data. The published procedure
runs in our factored form, whose iterates are those of the direct convolutions; each run checks that
on the first iterations.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.ncpr_quality_images import QualityImage, quality_images
from lowfield_recon.evaluation.benchmark.ncpr_quality_rows import (
    Row,
    choose_rows,
    published_pairs,
)
from lowfield_recon.evaluation.benchmark.ncpr_quality_table import (
    quality_tables,
    summarise,
    verdict,
)
from lowfield_recon.evaluation.benchmark.published_tasks import PublishedTask, choose_tasks
from lowfield_recon.evaluation.benchmark.quality_figure import Panel, write_comparison
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile, result_key
from lowfield_recon.files import atomic_path
from lowfield_recon.problem import InverseProblem

NAME = "ncpr-quality"
PROTOCOL = (
    "Grey images of peak 1, real and single-channel. Denoising: the output is not clipped. "
    "Super-resolution: 16 x 16 Gaussian of standard deviation 2, every fourth pixel, no padding, "
    "noise 0.01, PSNR without a margin of 40 pixels. MRI: one coil, a real image, columns of "
    "k-space by fastMRI's random mask (centre 0.04 of the columns at 8x, 0.02 at 16x), noise 0.002 "
    "in real and imaginary part, PSNR of the central 320 x 320. PSNR with peak 1. The published "
    "procedure stops when the image changes by 1e-4 (denoising) or 1e-5 relative to its norm. Both "
    "have the published weights and strength (denoising: the weights' own; MRI: that of proton "
    "density); further weights denoise with their own strength. tv and wavelet follow their own "
    "rule from the noise level. Images for cpr lose the last row or column of an odd number."
)

Pixels = NDArray[np.float64]

_SMALL_CROP, _SMALL_ITERATIONS = 64, 40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """What stays the same over all images."""

    rows: tuple[Row, ...]
    results: ResultsFile
    folder: Path
    seed: int
    iterations: int | None
    progress: StepCallback | None


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Score ncpr and cpr, the published procedure, further weights, tv and wavelet.

    Parameters
    ----------
    options
        Size, images, slices, tasks, noise levels of denoising, further weights, tools (the methods)
        and the seed of noise and masks; the largest number of threads is taken.
    folder
        Existing folder for `benchmark_ncpr-quality.json`, `.md`, `_results.json` (what an
        interrupted run goes on from) and one PNG per task.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed where ours is not below the published procedure.

    Raises
    ------
    UsageError
        If a task, method or weights do not exist.
    DataError
        If an image cannot be used.
    """
    if options.size not in ("full", "small"):
        raise UsageError(f"size: expected full or small, got '{options.size}'.")
    is_small = options.size == "small"
    tasks = choose_tasks(options.tasks, options.sigma)
    start = time.perf_counter()
    plan = _Run(
        rows=choose_rows(options.tools, options.weights),
        results=ResultsFile(folder / f"benchmark_{NAME}_results.json"),
        folder=folder,
        seed=options.seed,
        iterations=_SMALL_ITERATIONS if is_small else None,
        progress=progress,
    )
    crop = _SMALL_CROP if is_small else None
    threads = torch.get_num_threads()
    torch.set_num_threads(max(options.threads))
    try:
        reports = [
            _task(
                plan, task, quality_images(options.images, task, slices=options.slices, crop=crop)
            )
            for task in tasks
        ]
    finally:
        torch.set_num_threads(threads)
    report = {
        "schema": "lowfield-recon benchmark ncpr-quality, version 1",
        "size": options.size,
        "seed": options.seed,
        "threads": max(options.threads),
        "protocol": PROTOCOL,
        "environment": describe_environment(),
        "seconds": time.perf_counter() - start,
        "results_of_an_earlier_run": plan.results.n_found,
        "tasks": reports,
        "verdict": verdict(reports),
    }
    return _write(folder, report)


def _task(plan: _Run, task: PublishedTask, images: Sequence[QualityImage]) -> dict[str, Any]:
    """Score all rows on all images of a task."""
    rows = [row for row in plan.rows if row.takes(task)]
    shown = images[0]
    panels: list[Panel] = []
    records: dict[str, dict[str, Any]] = {image.name: {} for image in images}
    for i, image in enumerate(images):
        for j, row in enumerate(rows):
            if plan.progress is not None:
                what = f"{task.name}, {image.name}: {row.name}"
                plan.progress(i * len(rows) + j, len(images) * len(rows), what)
            record, pixels = _solve_or_find(plan, task, row, image, keep=image is shown)
            records[image.name][row.name] = record
            if pixels is not None:
                caption = f"{record['psnr_db']:.2f} dB"
                panels.append(Panel(title=row.name, caption=caption, image=pixels))
    return {
        "name": task.name,
        "title": task.title,
        "images": {image.name: list(image.pixels.shape) for image in images},
        "settings": {row.name: row.settings(task) for row in rows},
        "disagreement": {
            row.method: _agreement(plan, task, row, shown)
            for row in rows
            if row.procedure == "published"
        },
        "records": records,
        "summary": summarise(records, [row.name for row in rows], published_pairs(rows)),
        "picture": _draw(plan.folder, task, shown, panels),
    }


def _solve_or_find(
    plan: _Run, task: PublishedTask, row: Row, image: QualityImage, *, keep: bool
) -> tuple[dict[str, Any], Pixels | None]:
    """Solve unless an earlier run did; return the pixels too where a picture needs them."""
    used = image.even() if row.needs_even_sides() else image
    key = result_key(NAME, used.identity, task.name, plan.seed, row.identity(task, plan.iterations))
    path = plan.folder / f"benchmark_{NAME}_examples" / f"{key}.npy"
    record = plan.results.find(key)
    if record is None or (keep and not path.exists()):
        solved = row.solve(_problem(plan, task, used), task, plan.iterations)
        record = solved.record
        if keep:
            path.parent.mkdir(exist_ok=True)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, solved.image[0, 0, 0].numpy())
        plan.results.store(key, record)
    return dict(record), np.load(path).astype(np.float64) if keep else None


def _agreement(plan: _Run, task: PublishedTask, row: Row, image: QualityImage) -> float:
    """Compare the factored form with direct convolutions, unless an earlier run did."""
    used = image.even() if row.needs_even_sides() else image
    key = result_key(NAME, "agreement", used.identity, task.name, plan.seed, row.identity(task, 0))
    found = plan.results.find(key)
    if found is None:
        found = row.agreement(_problem(plan, task, used), task)
        plan.results.store(key, found)
    return float(found)


def _problem(plan: _Run, task: PublishedTask, image: QualityImage) -> InverseProblem:
    try:
        return task.problem(image.pixels, plan.seed)
    except DataError as error:
        raise DataError(f"{image.name}: {error}") from error


def _draw(folder: Path, task: PublishedTask, shown: QualityImage, panels: Sequence[Panel]) -> str:
    """Draw one example; images lose what those of cpr lack."""
    reference = shown.even().pixels.double().numpy()
    ny, nx = reference.shape
    cut = [
        Panel(title=panel.title, caption=panel.caption, image=panel.image[:ny, :nx])
        for panel in panels
    ]
    path = folder / f"benchmark_{NAME}_{task.name}.png"
    title = f"{task.title}, {shown.name}"
    return write_comparison(path, reference, cut, title=title).name


def _write(folder: Path, report: dict[str, Any]) -> BenchmarkOutcome:
    judged = [f"- {text}: {'met' if ok else 'NOT met'}" for text, ok in report["verdict"].items()]
    earlier = report["results_of_an_earlier_run"]
    notes = [f"{earlier} results were taken from an earlier run in this folder.", ""]
    table = "\n".join(
        [
            quality_tables(report["tasks"]),
            "",
            *judged,
            "",
            *(notes if earlier else []),
            f"{report['protocol']} {report['threads']} threads; {report['environment']['cpu']}.",
            "",
        ]
    )
    json_path, markdown_path = folder / f"benchmark_{NAME}.json", folder / f"benchmark_{NAME}.md"
    try:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise DataError(f"{NAME}: a score is not finite ({error}); see {NAME}_results.") from error
    for path, content in ((json_path, text), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return BenchmarkOutcome(
        table=table,
        json_path=json_path,
        markdown_path=markdown_path,
        has_passed=all(report["verdict"].values()),
    )
