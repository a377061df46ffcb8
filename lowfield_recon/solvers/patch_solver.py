"""Solves the patch problem: as published, provably monotone, or fast by continuation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from lowfield_recon.solvers.patch_descent import (
    CHECK_EVERY,
    DescentSettings,
    PatchDescent,
    first_stretch,
)
from lowfield_recon.solvers.patch_problem import (
    PatchProblem,
    PatchSolution,
    coarse_problem,
    coarse_size,
    with_low_frequencies,
)
from lowfield_recon.solvers.records import Callback, Iteration

PatchMethod = Literal["accelerated", "ipalm", "palm"]

WELL_POSED = 0.9
"""Mean eigenvalue of A^H A over the largest from which the data alone determine the image."""

_ENOUGH_WELL_POSED = 300
_ENOUGH = 180

_COARSE_ITERATIONS = 200
_FINER_ITERATIONS = 60
_FINER_STRETCH = 4.0
_TAIL = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Grid:
    """A grid of the continuation, coarse to fine."""

    problem: PatchProblem
    settings: DescentSettings


def solve_patches(
    problem: PatchProblem,
    *,
    method: PatchMethod = "accelerated",
    iterations: int | None = None,
    tolerance: float = 1e-4,
    callback: Callback | None = None,
    check_every: int = CHECK_EVERY,
) -> PatchSolution:
    r"""Minimise ``1/2 ||A x - y||^2 + sum_k beta/2 ||U P_k x - C a_k||^2 + R(a_k)``.

    `"ipalm"` is the published iteration with the correct step, `"palm"` the same without inertia,
    whose objective never rises. `"accelerated"` minimises the image block exactly and extrapolates
    the coefficients; where the data leave much open (the mean eigenvalue of A^H A is below 0.9 of
    the largest) it starts on a coarse grid with enlarged scales, which fall to their values: what
    the data leave open then moves fast, while at the final scales it would move by at most a scale
    per step. R is not convex in general, so that the solution depends on the way to it.

    Parameters
    ----------
    problem
        What is minimised.
    method
        `"accelerated"`, `"ipalm"` or `"palm"`.
    iterations
        Most iterations on the full grid; None: `default_iterations`.
    tolerance
        Relative change, of the image in one iteration and of the objective per iteration, to stop
        at.
    callback
        Called after each iteration with the image on the full grid.
    check_every
        Iterations between two evaluations of the objective.

    Returns
    -------
        The image and the history of the iteration on the full grid.

    References
    ----------
    Ducotterd S et al. arXiv:2412.13070
    Pock T, Sabach S. SIAM J Imaging Sci 2016;9:1756-1787. https://doi.org/10.1137/16M1064064

    Examples
    --------
    >>> from lowfield_recon.solvers.patch_potentials import PowerPotential
    >>> from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
    >>> basis = torch.tensor([[[0.0, 1, 0], [0, -1, 0], [0, 0, 0]]]) / 2**0.5
    >>> prior = PatchRegularizer(
    ...     basis=basis, factors=torch.tensor([[0.9]]), scales=torch.tensor([0.1]), beta=1.0,
    ...     potential=PowerPotential(order=2.0),
    ... )
    >>> y = torch.ones(1, 8, 8)
    >>> denoising = PatchProblem(
    ...     regularizer=prior, rhs=y, gram=lambda x: x, eigenvalues=torch.ones(1, 8, 8),
    ...     is_exact=True, misfit=lambda x: 0.5 * float((x - y).square().sum()), lipschitz=1.0,
    ... )
    >>> solve_patches(denoising).image.sum()
    tensor(64.)
    """
    iterations = iterations or default_iterations(problem)
    if method != "accelerated":
        settings = DescentSettings(
            iterations=iterations,
            tolerance=tolerance,
            exact_image=False,
            inertia=method == "ipalm",
            safeguard=False,
            check_every=check_every,
        )
        return PatchDescent(problem, settings).run(problem.rhs, callback)
    return _continued(_grids(problem, iterations, tolerance, check_every), callback)


def smooth_image(problem: PatchProblem) -> torch.Tensor:
    r"""Return the smooth part: the solution for infinite scales, ``(A^H A + beta h) x = A^H y``.

    Parameters
    ----------
    problem
        What is minimised.

    Returns
    -------
        The image `(planes, y, x)`; the rest of a solution is its sparse part.
    """
    from lowfield_recon.solvers.patch_image_step import ImageMinimisation
    from lowfield_recon.solvers.patch_subspace import PatchSubspace

    subspace = PatchSubspace(problem.regularizer.basis, problem.size)
    minimise = ImageMinimisation(problem, subspace.response)
    image, nothing = _start(problem), torch.zeros_like(problem.rhs)
    steps = 1 if problem.is_exact and not problem.is_nonnegative else 50
    for _ in range(steps):
        image = minimise(image, nothing)
    return image


def default_iterations(problem: PatchProblem) -> int:
    """Return how many iterations on the full grid are enough.

    Where the data alone determine the image the tolerance ends most runs before; elsewhere the
    coarse grids have done most of the work, and later iterations change little.

    Parameters
    ----------
    problem
        What is minimised.

    Returns
    -------
        300 where the mean eigenvalue of A^H A is 0.9 of the largest or more, else 180.
    """
    return _ENOUGH_WELL_POSED if _is_well_posed(problem) else _ENOUGH


def _is_well_posed(problem: PatchProblem) -> bool:
    return float(problem.eigenvalues.mean()) / problem.lipschitz >= WELL_POSED


def _start(problem: PatchProblem) -> torch.Tensor:
    """Return ``A^H y / ||A||^2``, which does not change when A and y are multiplied alike."""
    return problem.rhs / problem.lipschitz


def _grids(
    problem: PatchProblem, iterations: int, tolerance: float, check_every: int
) -> list[_Grid]:
    """Return the grids, coarsest first, with what happens on each."""
    last = DescentSettings(
        iterations=iterations, tolerance=tolerance, check_every=check_every or CHECK_EVERY
    )
    if _is_well_posed(problem):
        return [_Grid(problem=problem, settings=last)]
    basis = problem.regularizer.basis
    problems = [problem]
    patch = (basis.shape[-2], basis.shape[-1])
    while (size := coarse_size(problems[0].size, patch)) is not None:
        problems.insert(0, coarse_problem(problem, size))
    stretch = first_stretch(problems[0], _start(problems[0]))
    grids = []
    for i, each in enumerate(problems):
        is_last = i == len(problems) - 1
        factor = stretch if i == 0 else min(stretch, _FINER_STRETCH)
        wanted = _COARSE_ITERATIONS if i == 0 else _FINER_ITERATIONS
        allowed = min(iterations, wanted) if is_last else wanted
        settings = replace(
            last,
            iterations=iterations if is_last else wanted,
            stretch=factor,
            continuation=max(allowed - _TAIL, 1),
            warm=i > 0,
            check_every=last.check_every if is_last else 0,
        )
        grids.append(_Grid(problem=each, settings=settings))
    return grids


def _continued(grids: list[_Grid], callback: Callback | None) -> PatchSolution:
    """Solve on one grid after the other, each from the solution of the one before."""
    total = sum(grid.settings.iterations for grid in grids)
    image = _start(grids[0].problem)
    full = grids[-1].problem
    done = 0
    for grid in grids:
        problem = grid.problem
        if image.shape[-2:] != problem.rhs.shape[-2:]:
            image = with_low_frequencies(_start(problem), image)
        if problem.is_nonnegative:
            image = image.clamp(min=0)
        solution = PatchDescent(problem, grid.settings).run(
            image, _shifted(callback, done, total, full)
        )
        image = solution.image
        done += grid.settings.iterations
        if solution.stopping_reason not in ("iterations", "tolerance"):
            break
    if image.shape[-2:] != full.rhs.shape[-2:]:
        solution = replace(solution, image=_on_full_grid(image, full), iterations=0, changes=())
    return solution


def _on_full_grid(image: torch.Tensor, full: PatchProblem) -> torch.Tensor:
    if image.shape[-2:] == full.rhs.shape[-2:]:
        return image
    complete = with_low_frequencies(_start(full), image)
    return complete.clamp(min=0) if full.is_nonnegative else complete


def _shifted(
    callback: Callback | None, done: int, total: int, full: PatchProblem
) -> Callback | None:
    """Return a callback that counts the iterations of all grids and sees full images."""
    if callback is None:
        return None

    def tell(state: Iteration) -> str | None:
        image = _on_full_grid(state.solution, full)
        return callback(
            Iteration(done + state.number, total, image, state.objective, state.residual)
        )

    return tell
