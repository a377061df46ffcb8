"""`benchmark untrained-quality`: dip, ngr and mg-spair beside tv at its best weight.

The methods see data, operator and noise level only; the oracle, and the search for the weight of
tv, see the truth, and say so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile
from lowfield_recon.evaluation.benchmark.untrained.quality_images import photographs
from lowfield_recon.evaluation.benchmark.untrained.quality_problems import (
    MULTI_COIL,
    PHOTOGRAPH_TASKS,
    SCAN_TASKS,
    QualityCase,
    low_field_cases,
    multi_coil_cases,
    photograph_cases,
)
from lowfield_recon.evaluation.benchmark.untrained.quality_rows import QualityJob, quality_rows
from lowfield_recon.evaluation.benchmark.untrained.quality_table import (
    quality_tables,
    summarise,
    verdict,
)
from lowfield_recon.evaluation.benchmark.untrained.side_by_side import Job, run_jobs
from lowfield_recon.evaluation.benchmark.untrained.transfer import NAME as TRANSFER
from lowfield_recon.evaluation.benchmark.untrained.transfer import (
    TransferJob,
    transfer_jobs,
    transfer_summary,
    transfer_table,
)
from lowfield_recon.files import atomic_path

NAME = "untrained-quality"
TASKS = (*PHOTOGRAPH_TASKS, *SCAN_TASKS, TRANSFER)
CROPS = {"full": 96, "small": 48}
PROTOCOL = (
    "The middle 96 x 96 of each photograph, 0..1; inpainting and text without noise, each value "
    "of each channel sampled by itself, exactly that part of them; images clipped to 0..1 as a "
    "picture is written, data range 1. The 4-coil brain: one phase encoding in 4, 24 central ones "
    "and others at random, magnitudes against the reconstruction from all lines, which shares its "
    "noise. The 0.055 T scans (three contrasts of one patient): half of the lines, 24 central "
    "ones and others at random, with noise added up to 1.5 times what it was; the reference has "
    "noise of the opposite sign added, so that its own is independent of the data's, which lowers "
    "all scores and the order of none; real parts. Data range of scans: the reference's maximum. "
    "The methods are not given the reference; the best PSNR of the iterates that were shown "
    "(every 10th, and what was written) is given beside theirs as the oracle's, and tv has the "
    "weight of the largest PSNR for each image and seed, found WITH the truth. 'observed put in': "
    "PSNR after known pixels have been put back. Means over images of means over seeds; 95 % "
    "intervals by bootstrap over images. Seconds hold the scoring of the shown iterates. "
    "transfer: slices 2 to 4 of the T2-weighted 0.055 T scan, last iterate, each started from the "
    "weights of the slice before (warm) or anew (cold)."
)


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Score the methods on photographs and scans.

    Parameters
    ----------
    options
        Size, images, tasks, tools (the rows), seeds, seconds per run, workers; with one worker the
        largest number of threads is taken, with several each has one.
    folder
        Existing folder for `benchmark_untrained-quality.json`, `.md` and `_results.json` (what an
        interrupted run goes on from).
    progress
        Told when a run ends.

    Returns
    -------
        Table and files; passed where every requirement is met, which size `small` has none of.

    Raises
    ------
    UsageError
        If a task, row or size does not exist.
    DataError
        If an image cannot be used, a method refuses all problems, or a worker dies.
    """
    if options.size not in CROPS:
        raise UsageError(f"--size '{options.size}'. {nearest_name(options.size, tuple(CROPS))}")
    for task in options.tasks:
        if task not in TASKS:
            raise UsageError(f"--tasks '{task}'. {nearest_name(task, TASKS)}")
    start = time.perf_counter()
    results = ResultsFile(folder / f"benchmark_{NAME}_results.json")
    jobs = _quality_jobs(options)
    moves = _transfer_jobs(options)
    threads = 1 if options.workers > 1 else max(options.threads)
    records = _run(results, [*jobs, *moves], options.workers, threads, progress)
    entries = [
        {"task": job.case.task, "image": job.case.image, "seed": job.case.seed,
         "row": job.row.name, **record}
        for job, record in zip(jobs, records[: len(jobs)], strict=True)
    ]  # fmt: skip
    summaries = summarise(entries)
    report = {
        "schema": "lowfield-recon benchmark untrained-quality, version 1",
        "size": options.size,
        "seeds": list(options.seeds),
        "seconds_per_run": options.run_budget,
        "threads": threads,
        "workers": options.workers,
        "protocol": PROTOCOL,
        "environment": describe_environment(),
        "seconds": time.perf_counter() - start,
        "results_of_an_earlier_run": results.n_found,
        "runs": entries,
        "tasks": summaries,
        "transfer": transfer_summary(moves, records[len(jobs) :]),
        "verdict": verdict(summaries) if options.size == "full" else {},
    }
    _check(entries)
    return _write(folder, report)


def _quality_jobs(options: BenchmarkOptions) -> list[QualityJob]:
    is_small = options.size == "small"
    rows = quality_rows(options.tools, budget=options.run_budget, is_small=is_small)
    crop = CROPS[options.size]
    wanted = [task for task in TASKS if task in (options.tasks or TASKS)]
    images = (
        photographs(options.images, crop=crop)
        if any(task in PHOTOGRAPH_TASKS for task in wanted)
        else ()
    )
    cases: list[QualityCase] = []
    for task in wanted:
        if task in PHOTOGRAPH_TASKS:
            cases += photograph_cases(images, task, options.seeds)
        elif task == MULTI_COIL:
            cases += multi_coil_cases(options.seeds)
        elif task != TRANSFER:
            cases += low_field_cases(options.seeds, crop=crop if is_small else None)
    return [QualityJob(case=case, row=row) for case in cases for row in rows]


def _transfer_jobs(options: BenchmarkOptions) -> list[TransferJob]:
    if options.tasks and TRANSFER not in options.tasks:
        return []
    if options.tools and not {"dip", "ngr"} & set(options.tools):
        return []
    return transfer_jobs(options.seeds, options.tools, is_small=options.size == "small")


def _run(
    results: ResultsFile,
    jobs: Sequence[Job],
    workers: int,
    threads: int,
    progress: StepCallback | None,
) -> list[dict[str, Any]]:
    """Take over what an earlier run found and do the rest, keeping each result as it comes."""
    keys = [job.key(threads) for job in jobs]
    found = {key: known for key in keys if (known := results.find(key)) is not None}
    missing = [index for index, key in enumerate(keys) if key not in found]
    if progress is not None and missing:
        progress(len(jobs) - len(missing), len(jobs), jobs[missing[0]].name)
    done = run_jobs([jobs[index] for index in missing], workers=workers, threads=threads)
    for count, (position, record) in enumerate(done, start=1):
        key = keys[missing[position]]
        found[key] = record
        if "refused" not in record:
            results.store(key, record)
        if progress is not None:
            what = jobs[missing[position]].name
            progress(len(jobs) - len(missing) + count, len(jobs), f"done: {what}")
    return [found[key] for key in keys]


def _check(entries: Sequence[dict[str, Any]]) -> None:
    """Refuse a table of refusals."""
    if entries and all("refused" in entry for entry in entries):
        raise DataError(f"{NAME}: no method took any problem: {entries[0]['refused']}")


def _write(folder: Path, report: dict[str, Any]) -> BenchmarkOutcome:
    judged = [f"- {text}: {'met' if ok else 'NOT met'}" for text, ok in report["verdict"].items()]
    earlier = report["results_of_an_earlier_run"]
    budget = report["seconds_per_run"]
    parts = [
        *([quality_tables(report["tasks"])] if report["tasks"] else []),
        *(
            ["### transfer: weights of the slice before\n\n" + transfer_table(report["transfer"])]
            if report["transfer"]
            else []
        ),
        *(["\n".join(judged)] if judged else []),
        *([f"{earlier} results were taken from an earlier run in this folder."] if earlier else []),
        f"{'Default iterations' if budget is None else f'At most {budget:g} s per run'}; "
        f"{report['workers']} at once with {report['threads']} threads; "
        f"{report['environment']['cpu']}. {PROTOCOL}\n",
    ]
    table = "\n\n".join(parts)
    json_path, markdown_path = folder / f"benchmark_{NAME}.json", folder / f"benchmark_{NAME}.md"
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    for path, content in ((json_path, text), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return BenchmarkOutcome(
        table=table,
        json_path=json_path,
        markdown_path=markdown_path,
        has_passed=all(report["verdict"].values()),
    )
