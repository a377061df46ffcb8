"""The report of the solver benchmark: one JSON, and tables made from it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome
from lowfield_recon.evaluation.benchmark.objective import METHODS, Problem, wavelet_levels
from lowfield_recon.evaluation.benchmark.optimum import Optimum
from lowfield_recon.evaluation.benchmark.problems import NOISE_STD, BenchmarkCase, hashes
from lowfield_recon.evaluation.benchmark.search import MAIN_TARGET, TARGETS, Search
from lowfield_recon.evaluation.benchmark.summary import markdown_report
from lowfield_recon.evaluation.benchmark.timing import Timing
from lowfield_recon.evaluation.benchmark.tools import Tool
from lowfield_recon.files import atomic_path

SCHEMA = "lowfield-recon benchmark solvers, version 1"

PROTOCOL = (
    "Every tool minimises the same objective on the same k-space, coil maps and mask in "
    "complex64. One function in numpy and double precision evaluates the objective of every "
    "output image. F* is the smallest value that two solvers in double precision, or any tool, "
    "reached. Per tool, the smallest number of iterations (of a ladder in steps of 12 %) with "
    "(F - F*)/F* <= 1e-2, 1e-3 and 1e-4 is found untimed; then runs with these numbers are "
    "timed. Inside the clock: building the operators, the right-hand side, all iterations from "
    "zero. Outside: process start, imports, a warm-up run, bringing the data into the tool's "
    "layout. BART is timed as a program with its start and its files on a RAM disk where there "
    "is one, less the time of `bart version`. Tools take turns in random order; median and "
    "quartiles are given. Each tool has a process of its own per case and number of threads; "
    "OMP_NUM_THREADS, MKL_NUM_THREADS, OPENBLAS_NUM_THREADS, NUMBA_NUM_THREADS and "
    "torch.set_num_threads are set. Peak memory is the largest resident set of that process; "
    "above baseline, less what it was after imports and data (for BART: after a call that does "
    "nothing, and the size of the input files)."
)


@dataclass(slots=True)
class CaseResult:
    """Everything that was found about one case."""

    case: BenchmarkCase
    problem: Problem
    optimum: Optimum

    searches: dict[str, Search] = field(default_factory=dict)
    """What the search found, per tool that took part."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Why a tool took no part, or failed."""

    timings: dict[int, dict[str, Timing]] = field(default_factory=dict)
    """Timings per number of threads and tool."""


def write_report(
    results: list[CaseResult],
    tools: tuple[Tool, ...],
    options: BenchmarkOptions,
    folder: Path,
    environment: dict[str, Any],
    *,
    seconds: float,
) -> BenchmarkOutcome:
    """Write `benchmark_solvers.json` and `.md`.

    Parameters
    ----------
    results
        What was found.
    tools
        The chosen tools, installed or not.
    options
        What the user chose.
    folder
        Existing folder.
    environment
        Machine and packages.
    seconds
        How long the benchmark took [s].

    Returns
    -------
        Table and files.
    """
    report = {
        "schema": SCHEMA,
        "command": _command(options),
        "protocol": PROTOCOL,
        "targets": list(TARGETS),
        "environment": environment,
        "seconds": seconds,
        "budget_seconds": options.budget,
        "not_installed": {tool.name: tool.install for tool in tools if not tool.is_installed()},
        "runs": [
            _record(result, tool, threads, options)
            for result in results
            for threads in options.threads
            for tool in tools
            if tool.is_installed()
        ],
    }
    json_path = folder / "benchmark_solvers.json"
    markdown_path = folder / "benchmark_solvers.md"
    table = markdown_report(report)
    with atomic_path(json_path) as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    with atomic_path(markdown_path) as temporary:
        temporary.write_text(table)
    return BenchmarkOutcome(table=table, json_path=json_path, markdown_path=markdown_path)


def _command(options: BenchmarkOptions) -> str:
    words = ["lowfield-recon", "benchmark", "solvers", "--size", options.size]
    words += ["--threads", ",".join(str(n) for n in options.threads)]
    words += ["--tools", ",".join(options.tools)] if options.tools else []
    words += ["--cases", ",".join(options.cases)] if options.cases else []
    words += ["--repeats", str(options.repeats), "--budget", f"{options.budget:g}"]
    return " ".join(words if options.exact_steps else [*words, "--own-steps"])


def _record(
    result: CaseResult, tool: Tool, threads: int, options: BenchmarkOptions
) -> dict[str, Any]:
    search = result.searches.get(tool.name)
    timing = result.timings.get(threads, {}).get(tool.name)
    status, notes = _status(result, tool, search, timing)
    return {
        "problem": _problem(result),
        "tool": tool.name,
        "version": tool.version(),
        "command": tool.calls.get(result.case.method),
        "settings": _settings(result.case, options),
        "threads": threads,
        "timing": _timing(timing),
        "objective": _objective(result, search),
        "metrics": _metrics(timing),
        "status": status,
        "notes": notes,
    }


def _status(
    result: CaseResult, tool: Tool, search: Search | None, timing: Timing | None
) -> tuple[str, list[str]]:
    """Say how it went with the main target, and why."""
    if tool.name in result.reasons:
        reason = result.reasons[tool.name]
        is_failure = reason.startswith("failed")
        return ("failed" if is_failure else "not applicable"), [reason]
    if search is None or timing is None:
        return "failed", ["not run"]
    if timing.reason is not None:
        return ("failed" if timing.reason.startswith("failed") else "capped"), [timing.reason]
    notes = [f"gap {t:g}: {cell.reason}" for t, cell in timing.cells.items() if cell.reason]
    if len(search.counts) < len(TARGETS):
        tried = max(search.gaps, default=0)
        notes.append(f"smallest gap {search.best_gap:.1e} within {tried} iterations")
    if MAIN_TARGET not in search.counts:
        return ("capped" if search.is_capped else "does not reach the gap"), notes
    return ("capped" if timing.cells[MAIN_TARGET].median is None else "ok"), notes


def _problem(result: CaseResult) -> dict[str, Any]:
    case = result.case
    return {
        "case": case.name,
        "size": list(case.size.image_shape),
        "coils": case.size.n_coils,
        "objective": METHODS[case.method],
        "hashes": hashes(result.problem),
        "seed": case.size.seed,
        "noise_std": NOISE_STD,
    }


def _settings(case: BenchmarkCase, options: BenchmarkOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "regularization_weight": case.regularization_weight,
        "tolerance": 0.0,
        "scaling": "none",
        "step_sizes": "known operator norm" if options.exact_steps else "the tool's own rule",
    }
    if case.method == "wavelet":
        settings |= {"wavelet": "haar", "levels": wavelet_levels(case.size.image_shape)}
    if case.method != "cg-sense":
        settings["boundary"] = "periodic"
    return settings


def _timing(timing: Timing | None) -> dict[str, Any] | None:
    if timing is None or timing.reason is not None:
        return None
    to_gap = {
        f"{target:g}": {
            "iterations": cell.iterations,
            "repeats": len(cell.seconds),
            "wall_seconds": cell.median,
            "wall_seconds_quartiles": cell.quartiles,
            "cpu_seconds": sorted(cell.cpu_seconds)[len(cell.cpu_seconds) // 2]
            if cell.cpu_seconds
            else None,
            "gap": _finite(cell.gap),
        }
        for target, cell in timing.cells.items()
    }
    above = None
    if timing.peak_mib is not None and timing.baseline_mib is not None:
        above = timing.peak_mib - timing.baseline_mib
    return {
        "to_gap": to_gap,
        "warm_up_seconds": timing.warm_up_seconds,
        "subtracted_seconds": timing.overhead_seconds,
        "peak_memory_mib": timing.peak_mib,
        "baseline_memory_mib": timing.baseline_mib,
        "peak_above_baseline_mib": above,
    }


def _objective(result: CaseResult, search: Search | None) -> dict[str, Any]:
    optimum = result.optimum
    return {
        "optimum": optimum.value,
        "optimum_from": optimum.values,
        "agreement_of_double_precision_solvers": optimum.agreement,
        "gap_by_iterations": {}
        if search is None
        else {str(count): _finite(gap) for count, gap in sorted(search.gaps.items())},
    }


def _metrics(timing: Timing | None) -> dict[str, Any]:
    if timing is None or MAIN_TARGET not in timing.cells:
        return {}
    return {"nrmse": _finite(timing.cells[MAIN_TARGET].nrmse)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
