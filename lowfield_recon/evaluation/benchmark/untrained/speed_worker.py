"""The process that times untrained methods: `python -m ....untrained.speed_worker`.

One JSON object comes on the input: `{"task", "threads", "image", "seed", "size", ...}`, the image
as a `.npy` file, the size by name. The answer is one JSON object; what it holds says the function
of the task, and `peak_mib` is the largest memory of the process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from lowfield_recon.evaluation.benchmark import memory
from lowfield_recon.evaluation.benchmark.answering import answer_one
from lowfield_recon.evaluation.benchmark.untrained.measure import Measure, blind
from lowfield_recon.evaluation.benchmark.untrained.speed_peers import (
    Stamps,
    network_size,
    stamps_of_deepinv,
    stamps_of_plain_loop,
)
from lowfield_recon.evaluation.benchmark.untrained.speed_problem import (
    MG_SPAIR_TASK,
    NETWORK_INPUTS,
    SIZES,
    TASK,
    published_settings,
    speed_problem,
)
from lowfield_recon.learning.networks.skip_network import SkipNetwork, SkipNetworkSettings
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import create

_UNTIMED = 2


def published(request: dict[str, Any]) -> dict[str, Any]:
    """Give the published scheme its time, and note its PSNR.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `curve` of `[iteration, seconds, psnr_db]`, `psnr_db` and `seconds` of the result.
    """
    size, problem = SIZES[request["size"]], _problem(request, TASK)
    settings = published_settings(
        problem.shape[1], size.published_seconds, size.published_iterations, size.network,
        request["seed"],
    )  # fmt: skip
    return _followed(problem, settings)


def ours_followed(request: dict[str, Any]) -> dict[str, Any]:
    """Follow the default `ngr`.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        As `published`.
    """
    return _followed(_problem(request, TASK), _ours(request))


def ours_timed(request: dict[str, Any]) -> dict[str, Any]:
    """Time the default `ngr` for so many iterations, with nobody looking on.

    Parameters
    ----------
    request
        With `iterations` and `repeats`.

    Returns
    -------
        `seconds` of each run, `psnr_db` of the last.
    """
    problem = _problem(request, TASK)
    settings = {**_ours(request), "iterations": request["iterations"]}
    runs = [create("ngr", settings).reconstruct(blind(problem)) for _ in range(request["repeats"])]
    return {
        "seconds": [run.seconds for run in runs],
        "psnr_db": Measure(problem).psnr(runs[-1].image),
    }


def mg_spair(request: dict[str, Any]) -> dict[str, Any]:
    """Time the default `mg-spair` on a large image.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `seconds`, `iterations`, `stopping_reason`, `psnr_db`.
    """
    problem = _problem(request, MG_SPAIR_TASK)
    settings = {**SIZES[request["size"]].mg_spair, "seed": request["seed"]}
    found = create("mg-spair", settings).reconstruct(blind(problem))
    return {
        "seconds": found.seconds,
        "iterations": found.diagnostics["iterations"],
        "stopping_reason": found.diagnostics["stopping_reason"],
        "psnr_db": Measure(problem).psnr(found.image),
    }


def dip(request: dict[str, Any]) -> dict[str, Any]:
    """Time iterations of our `dip`.

    Parameters
    ----------
    request
        With `precision`, or None for that of the method.

    Returns
    -------
        `seconds` of each iteration, `precision`, size of the network.
    """
    size, problem = SIZES[request["size"]], _problem(request, TASK)
    stamps = Stamps()
    settings = {
        **size.network, "iterations": size.dip_iterations + _UNTIMED + 1, "stop": "last",
        "seed": request["seed"], "precision": request["precision"],
    }  # fmt: skip
    found = create("dip", settings).reconstruct(blind(problem), progress=stamps)
    network = SkipNetwork(
        NETWORK_INPUTS, problem.shape[1], _network(request), generator=torch.Generator()
    )
    z = torch.zeros(1, NETWORK_INPUTS, *problem.shape[-2:])
    return {
        "seconds": _seconds(stamps.stamps),
        "precision": found.settings["precision"],
        **network_size(network, z),
    }


def plain(request: dict[str, Any]) -> dict[str, Any]:
    """Time iterations of a plain loop with the same network.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        As `dip`.
    """
    found = stamps_of_plain_loop(
        _problem(request, TASK), _network(request), inputs=NETWORK_INPUTS,
        iterations=SIZES[request["size"]].dip_iterations + _UNTIMED, seed=request["seed"],
    )  # fmt: skip
    return {"seconds": _seconds(found.pop("stamps")), "precision": "float32", **found}


def deepinv(request: dict[str, Any]) -> dict[str, Any]:
    """Time iterations of deepinv's deep image prior.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        As `dip`.
    """
    found = stamps_of_deepinv(
        _problem(request, TASK), _network(request),
        iterations=SIZES[request["size"]].dip_iterations + _UNTIMED, seed=request["seed"],
    )  # fmt: skip
    return {"seconds": _seconds(found.pop("stamps")), "precision": "float32", **found}


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "published": published,
    "ours_followed": ours_followed,
    "ours_timed": ours_timed,
    "mg_spair": mg_spair,
    "dip": dip,
    "plain": plain,
    "deepinv": deepinv,
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
    answer = TASKS[request["task"]](request)
    return {**answer, "peak_mib": memory.peak_mib()}


class _Follower:
    """Scores every image, and takes the time that this takes off the clock."""

    def __init__(self, problem: InverseProblem) -> None:
        self.curve: list[tuple[int, float, float]] = []
        self._measure = Measure(problem)
        self._start = time.perf_counter()
        self._spent = 0.0

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        """Do nothing."""

    def wants_image(self, _iteration: int) -> bool:
        return True

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        now = time.perf_counter()
        value = self._measure.psnr(image)
        self.curve.append((iteration, now - self._start - self._spent, value))
        self._spent += time.perf_counter() - now


def _followed(problem: InverseProblem, settings: dict[str, Any]) -> dict[str, Any]:
    follower = _Follower(problem)
    found = create("ngr", settings).reconstruct(blind(problem), progress=follower)
    return {
        "curve": follower.curve,
        "psnr_db": Measure(problem).psnr(found.image),
        "seconds": found.seconds,
    }


def _ours(request: dict[str, Any]) -> dict[str, Any]:
    size = SIZES[request["size"]]
    return {**size.ngr, **size.network, "seed": request["seed"]}


def _network(request: dict[str, Any]) -> SkipNetworkSettings:
    return SkipNetworkSettings(**SIZES[request["size"]].network)


def _seconds(stamps: list[float]) -> list[float]:
    """Return the time of each iteration after the first ones."""
    return [b - a for a, b in pairwise(stamps)][_UNTIMED:]


def _problem(request: dict[str, Any], task: str) -> InverseProblem:
    return speed_problem(torch.from_numpy(np.load(request["image"])), task, request["seed"])


if __name__ == "__main__":
    answer_one(measure)
