"""mrpro composed to the benchmark's objectives: its operators and solvers, our two functionals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mrpro.algorithms.optimizers import cg, pdhg, pgd
from mrpro.operators import (
    FastFourierOp,
    FiniteDifferenceOp,
    IdentityOp,
    LinearOperator,
    ProximableFunctional,
    SensitivityOp,
    WaveletOp,
)
from mrpro.operators.functionals import L2NormSquared

from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem, wavelet_levels
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase
from lowfield_recon.evaluation.benchmark.tools import Observer, Prepared

_TINY = 1e-12
"""Tolerance of `cg`; with 0 it divides zero by zero once the system is solved exactly."""


class _Sampling(LinearOperator):
    """Multiplication by the mask; mrpro's own sampling operator needs a trajectory."""

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        return (x * self.mask,)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        return (x * self.mask,)


class _VectorL1(ProximableFunctional):
    """``sum_r sqrt(sum_d |g_d(r)|^2)``, the differences along the first axis."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.linalg.vector_norm(x, dim=0).sum(),)

    def prox(self, x: torch.Tensor, sigma: torch.Tensor | float = 1.0) -> tuple[torch.Tensor]:
        length = torch.linalg.vector_norm(x, dim=0, keepdim=True)
        return (x * (1 - sigma / length.clamp(min=1e-20)).clamp(min=0),)

    def prox_convex_conj(
        self,
        x: torch.Tensor,
        sigma: torch.Tensor | float = 1.0,  # noqa: ARG002 - a projection has no step
    ) -> tuple[torch.Tensor]:
        length = torch.linalg.vector_norm(x, dim=0, keepdim=True)
        return (x / length.clamp(min=1),)


class _DetailL1(ProximableFunctional):
    """``sum |details|`` of stacked coefficients `(..., coefficients)`, approximation band first."""

    def __init__(self, n_approximation: int) -> None:
        super().__init__()
        self.n_approximation = n_approximation

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (x[..., self.n_approximation :].abs().sum(),)

    def prox(self, x: torch.Tensor, sigma: torch.Tensor | float = 1.0) -> tuple[torch.Tensor]:
        shrunk = x * (1 - sigma / x.abs().clamp(min=1e-20)).clamp(min=0)
        shrunk[..., : self.n_approximation] = x[..., : self.n_approximation]
        return (shrunk,)


def prepare(case: BenchmarkCase, problem: Problem, exact_steps: bool = True) -> Prepared:
    """Bring the data into mrpro's layout, image `(1, 1, z, y, x)`.

    Parameters
    ----------
    case
        Method and weight.
    problem
        Data, maps and mask.
    exact_steps
        Step sizes of `pdhg` from the known operator norm; otherwise from mrpro's power iteration.

    Returns
    -------
        The timed part, and nothing to subtract.
    """
    kspace = torch.from_numpy(problem.kspace)[None]
    maps = None if problem.coil_maps is None else torch.from_numpy(problem.coil_maps)[None]
    mask = torch.from_numpy(problem.mask)
    dim = tuple(axis for axis in (-3, -2, -1) if case.size.image_shape[axis] > 1)
    solvers = {"cg-sense": _cg_sense, "tv": _tv, "wavelet": _wavelet}

    def solve(iterations: int, observer: Observer | None) -> Callable[[], ComplexArray]:
        A: LinearOperator = _Sampling(mask) @ FastFourierOp(dim=dim)
        if maps is not None:
            A = A @ SensitivityOp(maps)
        with torch.no_grad():
            image = solvers[case.method](case, A, kspace, dim, iterations, observer, exact_steps)
        return lambda: _to_numpy(image)

    return Prepared(solve=solve)


def _cg_sense(
    case: BenchmarkCase,
    A: LinearOperator,
    kspace: torch.Tensor,
    _dim: tuple[int, ...],
    iterations: int,
    observer: Observer | None,
    _exact_steps: bool,
) -> torch.Tensor:
    (rhs,) = A.H(kspace)
    (image,) = cg(
        A.gram + case.regularization_weight * IdentityOp(),
        rhs,
        max_iterations=iterations,
        tolerance=_TINY,
        callback=_callback(observer, lambda x: x),
    )
    return image


def _tv(
    case: BenchmarkCase,
    A: LinearOperator,
    kspace: torch.Tensor,
    dim: tuple[int, ...],
    iterations: int,
    observer: Observer | None,
    exact_steps: bool,
) -> torch.Tensor:
    D = FiniteDifferenceOp(dim=dim, mode="forward", pad_mode="circular")
    step = 1 / math.sqrt(1 + 4 * len(dim)) if exact_steps else None
    start = torch.zeros(1, 1, *case.size.image_shape, dtype=kspace.dtype)
    (image,) = pdhg(
        f=(0.5 * L2NormSquared(target=kspace)) | (case.regularization_weight * _VectorL1()),
        g=None,
        operator=A % D,
        initial_values=(start,),
        max_iterations=iterations,
        tolerance=0,
        primal_stepsize=step,
        dual_stepsize=step,
        callback=_callback(observer, lambda x: x),
    )
    return image


def _wavelet(
    case: BenchmarkCase,
    A: LinearOperator,
    kspace: torch.Tensor,
    dim: tuple[int, ...],
    iterations: int,
    observer: Observer | None,
    _exact_steps: bool,
) -> torch.Tensor:
    sizes = [case.size.image_shape[axis] for axis in dim]
    levels = wavelet_levels(case.size.image_shape)
    W = WaveletOp(domain_shape=sizes, dim=dim, wavelet_name="haar", level=levels)  # type: ignore[arg-type]
    start = torch.zeros(1, 1, *case.size.image_shape, dtype=kspace.dtype)
    n_approximation = math.prod(n >> levels for n in sizes)
    (coefficients,) = pgd(
        f=(0.5 * L2NormSquared(target=kspace)) @ A @ W.H,
        g=case.regularization_weight * _DetailL1(n_approximation),
        initial_value=W(start)[0],
        stepsize=1.0,
        max_iterations=iterations,
        callback=_callback(observer, lambda x: W.H(x)[0]),
    )
    return W.H(coefficients)[0]


def _callback(
    observer: Observer | None, to_image: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[Any], bool | None] | None:
    if observer is None:
        return None

    def callback(status: Any) -> bool:
        solution = status["solution"][0]
        return observer(status["iteration_number"] + 1, lambda: _to_numpy(to_image(solution)))

    return callback


def _to_numpy(image: torch.Tensor) -> ComplexArray:
    array: ComplexArray = np.asarray(image[0, 0])
    return array
