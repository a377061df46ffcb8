"""Our solver as the benchmarks run it, with a look at every image.

The published iteration runs in our factored form: how many iterations the published procedure
takes, and where it ends, is found here; that these are its iterates is checked against direct
convolutions. `ncpr` runs with its own defaults.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.published_patch import (
    MOST_ITERATIONS,
    LookAt,
    run_published_iteration,
)
from lowfield_recon.evaluation.benchmark.published_tasks import normal_equations
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.operators import operator_norm
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.convolutional_dictionary import planewise
from lowfield_recon.reconstructors.data_term import data_term
from lowfield_recon.solvers import Iteration
from lowfield_recon.solvers.patch_descent import DescentSettings, PatchDescent
from lowfield_recon.solvers.patch_problem import PatchProblem, PatchSolution
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.patch_solver import solve_patches


def run_factored(
    problem: InverseProblem,
    regularizer: PatchRegularizer,
    *,
    tolerance: float,
    iterations: int | None = None,
    look: LookAt | None = None,
) -> PatchSolution:
    """Run the published iteration from ``H^T y`` until the image's change is within tolerance.

    Parameters
    ----------
    problem
        Problem with one real image of one slice.
    regularizer
        The model, single precision.
    tolerance
        Relative change of x to stop at.
    iterations
        Most iterations; None for the published 10,000.
    look
        Called after each iteration with its number and image `(y, x)`.

    Returns
    -------
        Image `(1, y, x)` and what happened.
    """
    rhs, gram = normal_equations(problem)
    norm = operator_norm(problem.operator, problem.shape, dtype=torch.float32).value

    def unused_misfit(_: torch.Tensor) -> float:
        return math.nan

    stated = PatchProblem(
        regularizer=regularizer,
        rhs=rhs[None],
        gram=lambda x: gram(x[0])[None],
        eigenvalues=torch.ones(1, 1, 1),
        is_exact=False,
        misfit=unused_misfit,
        lipschitz=norm**2,
        is_nonnegative=problem.image_domain == "nonnegative",
    )

    def stop(state: Iteration) -> str | None:
        said = None if look is None else look(state.number, state.solution[0])
        return said or ("tolerance" if state.residual <= tolerance else None)

    settings = DescentSettings(
        iterations=MOST_ITERATIONS if iterations is None else iterations,
        exact_image=False,
        inertia=True,
        safeguard=False,
        check_every=0,
    )
    return PatchDescent(stated, settings).run(stated.rhs, stop)


def run_ours(
    problem: InverseProblem, settings: Mapping[str, Any], *, look: LookAt | None = None
) -> PatchSolution:
    """Run `ncpr` as `create("ncpr", settings)` does, with a look at every image.

    Parameters
    ----------
    problem
        Problem with one real image of one slice, its Gram diagonal in Fourier space.
    settings
        Settings of `ncpr`; weights, beta, regularization_weight and the scale 1 are given.
    look
        Called after each iteration of any grid with its number and image `(y, x)`.

    Returns
    -------
        Image `(1, y, x)` and what happened.

    Raises
    ------
    DataError
        If the Gram is not diagonal in Fourier space.
    """
    method = create("ncpr", settings)
    chosen = method.settings
    prior = load_patch_prior(chosen.weights, method="ncpr")
    regularizer = prior.regularizer(
        beta=chosen.beta, base_scale=chosen.regularization_weight, dtype=torch.float32
    )
    term = data_term(problem)
    eigenvalues = planewise(term.fourier, problem.shape)
    if eigenvalues is None:
        raise DataError("ncpr: expected a single-coil problem on a Cartesian grid for its timing.")
    planes = (1, *problem.shape[-2:])
    stated = PatchProblem(
        regularizer=regularizer,
        rhs=(term.smooth.rhs * term.scale).reshape(planes),
        gram=lambda x: term.smooth.gram(x.reshape(problem.shape)).reshape(x.shape),
        eigenvalues=eigenvalues,
        is_exact=True,
        misfit=lambda x: term.scale**2 * term.misfit(x.reshape(problem.shape) / term.scale),
        lipschitz=term.lipschitz,
        is_nonnegative=problem.image_domain == "nonnegative",
    )

    def tell(state: Iteration) -> str | None:
        return None if look is None else look(state.number, state.solution[0])

    return solve_patches(
        stated,
        method=chosen.solver,
        iterations=chosen.iterations,
        tolerance=chosen.tolerance,
        callback=tell,
    )


def first_disagreement(
    problem: InverseProblem, regularizer: PatchRegularizer, *, iterations: int = 3
) -> float:
    """Compare the first iterates of the factored form with those of direct convolutions.

    Parameters
    ----------
    problem
        As for `run_factored`.
    regularizer
        The model, single precision.
    iterations
        How many iterates are compared.

    Returns
    -------
        Largest ``||x_factored - x_direct|| / ||x_direct||``.
    """
    factored: list[torch.Tensor] = []
    direct: list[torch.Tensor] = []
    run_factored(
        problem, regularizer, tolerance=0.0, iterations=iterations,
        look=lambda _, x: factored.append(x.clone()),
    )  # fmt: skip
    rhs, gram = normal_equations(problem)
    run_published_iteration(
        regularizer, rhs, gram=gram, nonnegative=problem.image_domain == "nonnegative",
        tolerance=0.0, iterations=iterations, look=lambda _, x: direct.append(x),
    )  # fmt: skip
    return max(
        float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))
        for a, b in zip(factored, direct, strict=True)
    )
