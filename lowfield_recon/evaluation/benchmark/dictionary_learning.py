"""Dictionary learning beside sporco's: quality of the dictionaries, and time to the same quality.

Both learn from the same high-passed images, from the same first kernels, with the same weight and
passes. Their dictionaries are judged by one and the same sparse coding, run until it has converged,
on the images they were learnt from and on images held out. Times are processor time of one thread.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import MissingDependencyError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.dictionary_learning_runs import (
    SPORCO_SETTINGS,
    LearningCase,
    LearningRun,
    brain_images,
    first_time,
    learn_with_ours,
    learn_with_sporco,
    mean_objective,
    prepared,
    start_kernels,
)
from lowfield_recon.evaluation.benchmark.environment import describe_environment, package_version
from lowfield_recon.evaluation.benchmark.sparse_coding_agreement import (
    sparse_coding_agreement,
)
from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text
from lowfield_recon.files import atomic_path

LARGEST_OBJECTIVE = 1.01
"""Our dictionary's objective may be this multiple of the best of sporco's."""

_MOST_KERNELS = 8
_WINDOW = 64

CASES: Mapping[str, tuple[LearningCase, ...]] = {
    "full": (
        LearningCase(name="patches", start="patches"),
        LearningCase(name="random", start="random"),
    ),
    "small": (
        LearningCase(
            name="patches", start="patches", n_kernels=6, kernel_size=7, crop=40, n_train=4
        ),
    ),
}


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Learn with every program and compare.

    Parameters
    ----------
    options
        Size, cases and seed count.
    folder
        Existing folder for `benchmark_dictionary-learning.json` and `.md`.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed when the codes agree and, of size `full`, our dictionaries are as
        good as sporco's best within `LARGEST_OBJECTIVE` and reach its quality sooner.

    Raises
    ------
    UsageError
        If a size or case does not exist.
    MissingDependencyError
        If sporco is not installed.
    """
    cases = _chosen_cases(options)
    if package_version("sporco") is None:
        raise MissingDependencyError(
            "dictionary-learning: sporco is not installed; pip install 'lowfield-recon[compare]'."
        )
    environment = describe_environment()
    with _one_thread():
        results = [_compare(case, options.seed, progress) for case in cases]
        results[0]["agreement"] = _agreement(cases[0], options.seed)
    return _write(results, options, environment, folder)


def _chosen_cases(options: BenchmarkOptions) -> list[LearningCase]:
    if options.size not in CASES:
        raise UsageError(f"--size '{options.size}'. {nearest_name(options.size, tuple(CASES))}")
    known = {case.name: case for case in CASES[options.size]}
    wrong = [name for name in options.cases if name not in known]
    if wrong:
        raise UsageError(f"--cases {wrong[0]}: not known. {nearest_name(wrong[0], tuple(known))}")
    return [known[name] for name in options.cases or known]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Give each program one thread, and keep the old code of a peer from warning."""
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fft: Any = import_module("sporco.fft")
        theirs, fft.pyfftw_threads = fft.pyfftw_threads, 1
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            fft.pyfftw_threads = theirs


def _compare(case: LearningCase, seed: int, progress: StepCallback | None) -> dict[str, Any]:
    """Learn one case with every program, then judge all snapshots."""
    raw, raw_held_out = brain_images(case)
    settings = case.options(seed)
    train, held_out = prepared(raw, settings), prepared(raw_held_out, settings)
    start = start_kernels(case, train, seed)
    brief = replace(case, passes=1)
    learn_with_ours(brief, raw[:2], start, seed)
    learn_with_sporco(brief, train[:1], start, seed, "as it comes")
    total, runs = 2 + len(SPORCO_SETTINGS), []
    for step, name in enumerate(("ours", *SPORCO_SETTINGS)):
        if progress is not None:
            progress(step, total, f"{case.name}: {name}")
        if name == "ours":
            runs.append(learn_with_ours(case, raw, start, seed))
        else:
            runs.append(learn_with_sporco(case, train, start, seed, name))
    if progress is not None:
        progress(total - 1, total, f"{case.name}: objectives")
    return {
        "case": asdict(case),
        "start_objective": mean_objective(start, train, case.weight, is_final=False),
        "runs": _judged(runs, train, held_out, case.weight),
        "agreement": [],
    }


def _agreement(case: LearningCase, seed: int) -> list[dict[str, Any]]:
    """Compare codes of one image in the first kernels; those of every case would say the same."""
    images = prepared(brain_images(case)[0][:1], case.options(seed))
    kernels = start_kernels(case, images, seed)[:_MOST_KERNELS]
    found = sparse_coding_agreement(kernels, images[0][:_WINDOW, :_WINDOW], case.weight)
    return [{**asdict(one), "is_met": one.is_met} for one in found]


def _judged(
    runs: Sequence[LearningRun],
    train: Sequence[torch.Tensor],
    held_out: Sequence[torch.Tensor],
    weight: float,
) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for run_ in runs:
        last = run_.kernels[-1]
        underway = [
            mean_objective(kernels, train, weight, is_final=False) for kernels in run_.kernels
        ]
        records.append(
            {
                "tool": run_.tool,
                "settings": run_.settings,
                "n_images": run_.n_images,
                "cpu_seconds": run_.cpu_seconds,
                "seconds": run_.seconds,
                "objective_underway": underway,
                "objective": mean_objective(last, train, weight),
                "held_out_objective": mean_objective(last, held_out, weight),
            }
        )
    # What a user gets is the last dictionary; some before it may be better, as its steps are noisy.
    target = min(r["objective_underway"][-1] for r in records if r["tool"] == "sporco")
    for record in records:
        for name, factor in (("best", 1.0), ("within_1_percent", LARGEST_OBJECTIVE)):
            record[f"seconds_to_{name}"] = first_time(
                record["objective_underway"], record["cpu_seconds"], factor * target
            )
    return records


def _verdict(result: Mapping[str, Any], *, is_timed: bool) -> tuple[bool, str]:
    """Return whether the criteria are met, and the sentence that says what was found."""
    ours, *theirs = result["runs"]
    best = min(theirs, key=lambda r: float(r["objective"]))
    quality = ours["objective"] / best["objective"]
    held_out = ours["held_out_objective"] / min(r["held_out_objective"] for r in theirs)
    ratios = {}
    for name in ("best", "within_1_percent"):
        mine = ours[f"seconds_to_{name}"]
        others = [r[f"seconds_to_{name}"] for r in theirs if r[f"seconds_to_{name}"] is not None]
        ratios[name] = min(others) / mine if mine is not None and others else None
    agrees = all(found["is_met"] for found in result["agreement"])
    is_as_good = max(quality, held_out) <= LARGEST_OBJECTIVE
    is_faster = all(ratio is not None and ratio > 1 for ratio in ratios.values())
    said = {name: "not reached" if r is None else f"{r:.2g} times" for name, r in ratios.items()}
    sentence = (
        f"{result['case']['name']}: objective of our dictionary {quality:.4f} of the best of "
        f"sporco's, {held_out:.4f} on images held out; sporco's fastest setting takes "
        f"{said['within_1_percent']} our time to within 1 % of the objective that the best of its "
        f"settings ends with, {said['best']} our time to that objective itself."
    )
    return agrees and (not is_timed or (is_as_good and is_faster)), sentence


def _table(result: Mapping[str, Any]) -> str:
    rows = []
    for record in result["runs"]:
        times = [record["seconds_to_within_1_percent"], record["seconds_to_best"]]
        rows.append(
            [
                result["case"]["name"],
                record["tool"],
                record["settings"],
                f"{record['objective']:.5f}",
                f"{record['held_out_objective']:.5f}",
                seconds_text(record["cpu_seconds"][-1]),
                *("-" if seconds is None else seconds_text(seconds) for seconds in times),
            ]
        )
    header = ["first kernels", "tool", "settings", "objective", "held out", "all passes"]
    return markdown_table([*header, "to 1 % of sporco's best", "to sporco's best"], rows)


def _agreement_table(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            row["name"],
            "-" if row["objective"] is None else f"{row['objective']:.1e}",
            f"{row['image']:.1e}",
            "ok" if row["is_met"] else "differs",
        ]
        for row in found
    ]
    return markdown_table(["ours and sporco at the optimum", "objective", "image", ""], rows)


def _write(
    results: list[dict[str, Any]],
    options: BenchmarkOptions,
    environment: dict[str, Any],
    folder: Path,
) -> BenchmarkOutcome:
    verdicts = [_verdict(result, is_timed=options.size == "full") for result in results]
    case = results[0]["case"]
    lines = []
    for result in results:
        lines += [_table(result), ""]
    lines += [_agreement_table(results[0]["agreement"]), ""]
    lines += [sentence for _, sentence in verdicts]
    lines.append(
        f"{case['n_kernels']} kernels of {case['kernel_size']}x{case['kernel_size']}, "
        f"{case['n_train']} images of {case['crop']}x{case['crop']}, {case['passes']} passes; "
        f"objective per pixel; processor time of one thread; sporco {package_version('sporco')}."
    )
    has_passed = all(is_met for is_met, _ in verdicts)
    report = {
        "schema": "lowfield-recon benchmark dictionary-learning, version 1",
        "environment": environment,
        "sporco_settings": {name: dict(value) for name, value in SPORCO_SETTINGS.items()},
        "seed": options.seed,
        "results": results,
        "sentences": [sentence for _, sentence in verdicts],
        "has_passed": has_passed,
    }
    json_path = folder / "benchmark_dictionary-learning.json"
    markdown_path = folder / "benchmark_dictionary-learning.md"
    table = "\n".join(lines) + "\n"
    with atomic_path(json_path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    with atomic_path(markdown_path) as temporary:
        temporary.write_text(table, encoding="utf-8")
    return BenchmarkOutcome(
        table=table, json_path=json_path, markdown_path=markdown_path, has_passed=has_passed
    )
