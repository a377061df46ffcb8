"""How a benchmark has a task done in a process of its own, and writes what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark import BenchmarkOutcome
from lowfield_recon.files import atomic_path


def ask(
    worker: str,
    name: str,
    request: dict[str, Any],
    *,
    gpu: bool = False,
    advice: str = "try --size small",
) -> dict[str, Any]:
    """Have one task done in a process of its own, with the number of threads that it states.

    Parameters
    ----------
    worker
        Module that answers, see `answering.answer_one`.
    name
        How errors call the task.
    request
        The task; `threads`, where it is there, is also the number of OpenMP's.
    gpu
        Whether the process may see one.
    advice
        What to do when it fails.

    Returns
    -------
        The answer.

    Raises
    ------
    DataError
        If the process fails; with the last line that it said.
    """
    threads = {"OMP_NUM_THREADS": str(request["threads"])} if "threads" in request else {}
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(  # noqa: S603 - this package's own module
        [sys.executable, "-m", worker],
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | threads | hidden,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise DataError(f"{name}: its process ended with {done.returncode}: {said[-1]}; {advice}.")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def write_report(name: str, report: dict[str, Any], table: str, folder: Path) -> BenchmarkOutcome:
    """Write a report as `benchmark_NAME.json` and its table as `.md`.

    Parameters
    ----------
    name
        Name of the benchmark.
    report
        JSON can hold it; `verdict` says of each requirement whether it is met.
    table
        Markdown.
    folder
        Existing folder.

    Returns
    -------
        Table and files; passed where every requirement is met.
    """
    json_path, markdown_path = folder / f"benchmark_{name}.json", folder / f"benchmark_{name}.md"
    for path, text in ((json_path, json.dumps(report, indent=2) + "\n"), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return BenchmarkOutcome(
        table=table,
        json_path=json_path,
        markdown_path=markdown_path,
        has_passed=all(report["verdict"].values()),
    )
