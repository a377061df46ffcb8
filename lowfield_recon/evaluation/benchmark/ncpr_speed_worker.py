"""The process that times ncpr: `python -m ....ncpr_speed_worker`.

One JSON object comes on the input: `{"task", "threads", "image", "seed", "iterations", "repeats"}`,
the image as a `.npy` file. The answer is one JSON object, what it holds says the function of the
task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch

from lowfield_recon.evaluation.benchmark import memory
from lowfield_recon.evaluation.benchmark.answering import answer_one
from lowfield_recon.evaluation.benchmark.factored_published import run_ours
from lowfield_recon.evaluation.benchmark.ncpr_speed_problem import TASK, model_settings, speed_model
from lowfield_recon.evaluation.benchmark.published_patch import run_published_iteration
from lowfield_recon.evaluation.benchmark.published_tasks import normal_equations
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import create


def direct(request: dict[str, Any]) -> dict[str, Any]:
    """Time a few iterations of the published direct form.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `seconds` of each iteration but the first; `peak_mib` of the process.
    """
    rhs, gram = normal_equations(_problem(request))
    result = run_published_iteration(
        speed_model(), rhs, gram=gram, nonnegative=True, tolerance=0.0,
        iterations=1 + request["iterations"],
    )  # fmt: skip
    return {"seconds": list(result.seconds[1:]), "peak_mib": memory.peak_mib()}


def ours(request: dict[str, Any]) -> dict[str, Any]:
    """Time our solver to a number of iterations, from the data to the image, without scoring.

    Parameters
    ----------
    request
        See the module; `iterations` are those to the wanted PSNR.

    Returns
    -------
        `seconds` of each run, `peak_mib` of the process.
    """
    problem = _problem(request)
    wanted = request["iterations"]

    seconds = []
    for _ in range(request["repeats"]):
        calls = count(1)

        def enough(_number: int, _image: torch.Tensor, calls: count[int] = calls) -> str | None:
            return "reached" if next(calls) >= wanted else None

        start = time.perf_counter()
        run_ours(problem, model_settings(), look=enough)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "peak_mib": memory.peak_mib()}


def whole(request: dict[str, Any]) -> dict[str, Any]:
    """Time our method as it stops by itself.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `seconds`, `iterations`, `stopping_reason`, `psnr_db`, and `peak_mib` of the process.
    """
    problem = _problem(request)
    found = create("ncpr", model_settings()).reconstruct(problem)
    peak = memory.peak_mib()
    assert problem.reference is not None  # noqa: S101 - the task gives it
    return {
        "seconds": found.seconds,
        "iterations": found.diagnostics["iterations"],
        "stopping_reason": found.diagnostics["stopping_reason"],
        "psnr_db": TASK.score(found.image, problem.reference),
        "peak_mib": peak,
    }


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "direct": direct,
    "ours": ours,
    "whole": whole,
}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Do one task.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        The answer.
    """
    torch.set_num_threads(request["threads"])
    with torch.no_grad():
        return TASKS[request["task"]](request)


def _problem(request: dict[str, Any]) -> InverseProblem:
    return TASK.problem(torch.from_numpy(np.load(request["image"])), request["seed"])


if __name__ == "__main__":
    answer_one(measure)
