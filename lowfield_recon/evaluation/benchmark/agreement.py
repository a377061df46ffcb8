"""Agreement of the tools: CG-SENSE of each on the same data, maps, mask and weight.

All solve ``(A^H A + w I) x = A^H y`` by conjugate gradients from zero with tolerance 0, so after
enough iterations their images may differ by rounding only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.client import WorkerProcess
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.objective import (
    METHODS,
    ComplexArray,
    nrmse,
    objective,
    relative_difference,
)
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase, hashes, select_cases
from lowfield_recon.evaluation.benchmark.scratch import lay_out, scratch_folder
from lowfield_recon.evaluation.benchmark.tables import markdown_table
from lowfield_recon.evaluation.benchmark.tools import Tool, select_tools
from lowfield_recon.files import atomic_path

ITERATIONS = 60
LARGEST_DIFFERENCE = 1e-3


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Compare the CG-SENSE images of all installed tools with ours.

    Parameters
    ----------
    options
        Size, tools and cases count.
    folder
        Existing folder for `benchmark_agreement.json` and `.md`.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed when every difference is at most `LARGEST_DIFFERENCE`.

    Raises
    ------
    DataError
        If no other tool is installed.
    """
    tools = select_tools(("ours", *options.tools) if options.tools else ())
    here = [tool for tool in tools if tool.is_installed()]
    if len(here) < 2:
        raise DataError(
            "agreement: found no tool beside ours; install sigpy, mrpro, deepinv or BART."
        )
    wanted = select_cases(options.size, options.cases)
    cases = [case for case in wanted if case.method == "cg-sense"]
    if not cases:
        raise DataError(
            "agreement: none of the chosen cases is cg-sense; choose cg-sense or a size."
        )
    runs: list[dict[str, Any]] = []
    with scratch_folder() as scratch:
        problems = lay_out([case.size for case in cases], scratch)
        for index, case in enumerate(cases):
            if progress is not None:
                progress(index, len(cases), case.name)
            problem, place = problems[case.size.name]
            images = cg_sense_images(case, place, here)
            runs.extend(_compare(case, tool, images, problem) for tool in here)
    return _write(runs, tools, folder)


def cg_sense_images(
    case: BenchmarkCase, folder: Path, tools: Iterable[Tool]
) -> dict[str, ComplexArray]:
    """Reconstruct one case with several tools, each in its own process.

    Parameters
    ----------
    case
        The case.
    folder
        Where its problem was written.
    tools
        Installed tools.

    Returns
    -------
        Image `(z, y, x)` per tool.

    Raises
    ------
    WorkerFailedError
        If a tool fails.
    """
    images = {}
    for tool in tools:
        with WorkerProcess(tool.name, folder) as worker:
            worker.load(case, folder)
            worker.solve(ITERATIONS, keep_image=True)
            images[tool.name] = worker.image()
    return images


def _compare(
    case: BenchmarkCase, tool: Tool, images: dict[str, ComplexArray], problem: Any
) -> dict[str, Any]:
    difference = relative_difference(images[tool.name], images["ours"])
    value = objective(case.method, problem, images[tool.name], case.regularization_weight)
    ours = nrmse(images["ours"], problem.reference)
    error = nrmse(images[tool.name], problem.reference)
    return {
        "problem": {
            "case": case.name,
            "size": list(case.size.image_shape),
            "coils": case.size.n_coils,
            "objective": METHODS[case.method],
            "hashes": hashes(problem),
            "seed": case.size.seed,
        },
        "tool": tool.name,
        "version": tool.version(),
        "command": tool.calls[case.method],
        "settings": {
            "regularization_weight": case.regularization_weight,
            "iterations": ITERATIONS,
            "tolerance": 0.0,
        },
        "objective": {"value": value},
        "metrics": {"nrmse": error, "nrmse_ratio_to_ours": error / ours},
        "difference_to_ours": difference,
        "status": "ok" if difference <= LARGEST_DIFFERENCE else "differs",
    }


def _write(runs: list[dict[str, Any]], tools: tuple[Tool, ...], folder: Path) -> BenchmarkOutcome:
    missing = [tool for tool in tools if not tool.is_installed()]
    rows = [
        [
            run["problem"]["case"].partition("/")[2],
            f"{run['tool']} {run['version']}",
            f"{run['metrics']['nrmse']:.5f}",
            f"{run['metrics']['nrmse_ratio_to_ours']:.5f}",
            f"{run['difference_to_ours']:.1e}",
            run["status"],
        ]
        for run in runs
    ]
    header = ["size", "tool", "NRMSE to the object", "ratio to ours", "difference to our image", ""]
    lines = [markdown_table(header, rows), ""]
    lines += [f"{tool.name}: not installed ({tool.install})" for tool in missing]
    has_passed = all(run["status"] == "ok" for run in runs)
    verdict = "agree" if has_passed else "do not all agree"
    lines.append(
        f"The CG-SENSE images {verdict} with ours to {LARGEST_DIFFERENCE:g} after {ITERATIONS} "
        "iterations (relative root-mean-square difference of the complex images)."
    )
    report = {
        "schema": "lowfield-recon benchmark agreement, version 1",
        "environment": describe_environment(),
        "runs": runs,
        "not_installed": {tool.name: tool.install for tool in missing},
        "has_passed": has_passed,
    }
    json_path = folder / "benchmark_agreement.json"
    markdown_path = folder / "benchmark_agreement.md"
    table = "\n".join(lines) + "\n"
    with atomic_path(json_path) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    with atomic_path(markdown_path) as temporary:
        temporary.write_text(table)
    return BenchmarkOutcome(
        table=table, json_path=json_path, markdown_path=markdown_path, has_passed=has_passed
    )
