"""The process that times sparse coding: `python -m ....cdl_speed_worker`.

One JSON object comes on the input: `{"task", "threads", "image", "filters", "kernel", "planes",
"noise", "iterations", "repeats", "device"}`, the image as rows of a `.npy` file. The answer is one
JSON object, what it holds says the function of the task.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from lowfield_recon.evaluation.benchmark import memory
from lowfield_recon.evaluation.benchmark.answering import answer_one
from lowfield_recon.evaluation.benchmark.cdl_speed_problem import bank_kernels, coding_problem
from lowfield_recon.solvers import Iteration
from lowfield_recon.solvers.convolutional_model import filter_spectra, synthesise
from lowfield_recon.solvers.sparse_coding import (
    SparseCodes,
    SparseCodingProblem,
    sparse_codes_admm,
    sparse_codes_descent,
    sparse_codes_fista,
)

Stamp = Callable[[object], None]

SOLVERS: dict[str, Callable[..., SparseCodes]] = {
    "descent": sparse_codes_descent,
    "fista": sparse_codes_fista,
    "admm": sparse_codes_admm,
}
LARGEST_GAP = 1e-3
_ITERATIONS_PER_ROUND = 3
_PGD_ITERATIONS = 3
_CHECKED_EVERY = 10


def iteration(request: dict[str, Any]) -> dict[str, Any]:
    """Time single iterations and 2 K bare transforms in turns.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        Seconds of each of many iterations by solver; `bare` for all codes in one call there and
        back, `bare in chunks` for a few filters at a time.
    """
    problem = _problem(request)
    codes = torch.randn(
        problem.spectra.values.shape[0], *problem.rhs.shape, dtype=torch.complex64,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    chunk = problem.spectra.chunk(problem.rhs.shape[0])
    seconds: dict[str, list[float]] = {name: [] for name in ("bare", "bare in chunks", *SOLVERS)}
    for _ in range(request["repeats"]):
        for _ in range(_ITERATIONS_PER_ROUND):
            seconds["bare"].append(_timed(lambda: torch.fft.ifft2(torch.fft.fft2(codes))))
            seconds["bare in chunks"].append(_timed(lambda: _in_chunks(codes, chunk)))
        for name, solve in SOLVERS.items():
            seconds[name] += _iteration_times(partial(_few_iterations, solve, problem))
    return seconds


def pgd(request: dict[str, Any]) -> dict[str, Any]:
    """Time a few iterations of mrpro's `pgd` on the same problem.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `seconds` of each iteration but the first.
    """
    from mrpro.algorithms.optimizers import pgd as mrpro_pgd
    from mrpro.operators import CartesianMaskingOp, ConvSynthesisDictionaryOp, FastFourierOp
    from mrpro.operators.functionals import L1Norm, L2NormSquared

    problem = _problem(request)
    kernels = bank_kernels(request["filters"], request["kernel"]).flip(-1, -2).contiguous()
    dictionary = ConvSynthesisDictionaryOp(kernels, pad_mode="circular")
    mask = torch.fft.fftshift(problem.bound(), dim=(-2, -1))[:, None, None]
    operator = CartesianMaskingOp(mask) @ FastFourierOp(dim=(-2, -1))
    n_pixels = problem.rhs.shape[-2] * problem.rhs.shape[-1]
    y = torch.fft.fftshift(problem.rhs, dim=(-2, -1))[:, None, None] / n_pixels**0.5
    start = torch.zeros(kernels.shape[0], *y.shape, dtype=torch.complex64)
    weights = problem.weights[..., None, None]
    seconds = _iteration_times(
        lambda stamp: mrpro_pgd(
            0.5 * L2NormSquared(target=y) @ (operator @ dictionary),
            L1Norm(weight=weights),
            start,
            stepsize=1 / float(problem.lipschitz().max()),
            max_iterations=_PGD_ITERATIONS + 1,
            convergent_iterates_variant=True,
            callback=stamp,
        )
    )
    return {"seconds": seconds}


def convergence(request: dict[str, Any]) -> dict[str, Any]:
    """Find the optimum and how far each solver is from it.

    Parameters
    ----------
    request
        See the module; `iterations` are those of the reference, and the most that FISTA with the
        rule of `pgd` may take, which is left out where it is 0.

    Returns
    -------
        `optimum`, relative gap after 64 iterations by solver (`gaps`), iterations to a gap of 1e-3
        of `descent` and of FISTA by the rule of `pgd` (`pgd`; None where it takes more).
    """
    problem = _problem(request)
    reference = sparse_codes_descent(problem, iterations=request["iterations"], objective_every=50)
    runs = {
        name: solve(problem, iterations=64, objective_every=4, **_options(name)).objective
        for name, solve in SOLVERS.items()
    }
    optimum = min(min(values) for values in (reference.objective, *runs.values()))
    target = optimum * (1 + LARGEST_GAP)

    def reach(step: Iteration) -> str | None:
        return "reached" if step.objective is not None and step.objective <= target else None

    ours = sparse_codes_descent(
        problem, iterations=request["iterations"], objective_every=1, callback=reach
    )
    theirs = None
    if request["pgd_iterations"] > 0:
        theirs = sparse_codes_fista(
            problem, iterations=request["pgd_iterations"], momentum="delayed",
            objective_every=_CHECKED_EVERY, callback=reach,
        )  # fmt: skip
    is_reached = theirs is not None and theirs.stopping_reason == "reached"
    return {
        "optimum": optimum,
        "gaps": {name: values[-1] / optimum - 1 for name, values in runs.items()},
        "iterations_to_gap": {
            "descent": ours.iterations if ours.stopping_reason == "reached" else None,
            "pgd": theirs.iterations if theirs is not None and is_reached else None,
        },
    }


def whole_slice(request: dict[str, Any]) -> dict[str, Any]:
    """Time everything from the filters and the k-space of a slice to its detail image.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `seconds` of each run, `peak_mib` of the process; `gpu` by name where it ran there.
    """
    device = torch.device(request["device"])
    given = _problem(request)
    kernels = bank_kernels(request["filters"], request["kernel"]).float().to(device)
    rhs, mask, weights = (t.to(device) for t in (given.rhs, given.bound(), given.weights))
    size = (rhs.shape[-2], rhs.shape[-1])

    def solve() -> None:
        problem = SparseCodingProblem(
            spectra=filter_spectra(kernels, size), rhs=rhs, energy=given.energy, weights=weights,
            eigenvalues=mask,
        )  # fmt: skip
        found = sparse_codes_descent(problem, iterations=request["iterations"])
        synthesise(problem.spectra, found.codes).cpu()

    seconds = [_timed(solve) for _ in range(request["repeats"])]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"seconds": seconds, "peak_mib": memory.peak_mib(), "gpu": gpu}


TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "iteration": iteration,
    "pgd": pgd,
    "convergence": convergence,
    "whole_slice": whole_slice,
}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Do one task.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        The answer; `{"gpu": None}` where a GPU was asked for and there is none.
    """
    if request["device"] == "cuda" and not torch.cuda.is_available():
        return {"gpu": None}
    torch.set_num_threads(request["threads"])
    return TASKS[request["task"]](request)


def _problem(request: dict[str, Any]) -> SparseCodingProblem:
    image = torch.from_numpy(np.load(request["image"]))
    kernels = bank_kernels(request["filters"], request["kernel"])
    return coding_problem(image, kernels, noise=request["noise"], planes=request["planes"])


def _options(name: str) -> dict[str, Any]:
    return {"restart": True} if name == "fista" else {}


def _few_iterations(
    solve: Callable[..., SparseCodes], problem: SparseCodingProblem, stamp: Stamp
) -> None:
    solve(problem, iterations=_ITERATIONS_PER_ROUND + 1, callback=stamp)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _in_chunks(codes: torch.Tensor, chunk: int) -> None:
    for k in range(0, codes.shape[0], chunk):
        torch.fft.ifft2(torch.fft.fft2(codes[k : k + chunk]))


def _iteration_times(run: Callable[[Stamp], object]) -> list[float]:
    """Return the times between the ends of the iterations of a run."""
    stamps: list[float] = []

    def stamp(_: object) -> None:
        stamps.append(time.perf_counter())

    run(stamp)
    return [after - before for before, after in pairwise(stamps)]


if __name__ == "__main__":
    answer_one(measure)
