r"""Denoising with a patch regulariser, differentiated through its fixed point.

The coefficients obey ``a = T(v)``, ``v = a - grad f(a)``. With J the derivative of T at v, B the
Hessian of f and g the gradient of a loss in a, the parameters feel the adjoint variable

    ``z = g + (I - B) J z``.

One step ``T(a - grad f(a))`` on the tape then gives the gradient in all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lowfield_recon.learning.patch_adjoint import Adjoint, Backward, solve_adjoint
from lowfield_recon.learning.patch_denoising import PatchSolution, solve_coefficients
from lowfield_recon.learning.patch_reduced import reduced_problem
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitSettings:
    """How far the two systems are solved."""

    tolerance: float = 1e-4
    """Relative change of image and coefficients at which the minimisation stops."""

    iterations: int = 2000
    """Most iterations of the minimisation."""

    backward: Backward = "cg"
    """Conjugate gradients, or Anderson acceleration of the fixed-point iteration."""

    backward_tolerance: float = 1e-4
    """Relative residual at which the adjoint system is solved."""

    backward_iterations: int = 500
    """Most iterations of that."""

    planes_at_once: int | None = None
    """Planes that are computed together; None: one on the CPU, all elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitReport:
    """What the two solves needed; mean or number over the planes."""

    iterations: float
    """Mean iterations of the minimisation."""

    unconverged: int
    """Planes whose minimisation missed its tolerance."""

    backward_iterations: float
    """Mean iterations of the adjoint system."""

    backward_unconverged: int
    """Planes whose adjoint system missed its tolerance."""

    negative_curvature: int
    """Planes with a direction of negative curvature: no minimiser, or not yet."""


def denoise(
    noisy: torch.Tensor,
    regularizer: PatchRegularizer,
    settings: ImplicitSettings,
    *,
    report: Callable[[ImplicitReport], None] | None = None,
) -> torch.Tensor:
    """Denoise images; gradients are those of the converged solution.

    Parameters
    ----------
    noisy
        y, real, `(planes, y, x)`; every plane is solved on its own.
    regularizer
        The prior. The result is differentiable in its basis, factors, scales and beta, where they
        are tensors on the tape.
    settings
        Tolerances.
    report
        Called with what both solves needed, once the gradient is known.

    Returns
    -------
        x, `(planes, y, x)`.

    Raises
    ------
    UsageError
        If the images do not fit the patches.

    Examples
    --------
    >>> from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings
    >>> prior = PatchPrior(PatchPriorSettings(patch=3, atoms=4, free_atoms=4))
    >>> noisy = torch.eye(8)[None]
    >>> image = denoise(noisy, prior(), ImplicitSettings())
    >>> image.square().sum().backward()
    >>> image.shape, prior.beta.grad.shape
    (torch.Size([1, 8, 8]), torch.Size([]))

    References
    ----------
    Bai S, Kolter JZ, Koltun V. Deep equilibrium models. NeurIPS 2019. arXiv:1909.01377
    """
    problem = reduced_problem(noisy, regularizer)
    found = solve_coefficients(
        problem,
        tolerance=settings.tolerance,
        iterations=settings.iterations,
        planes_at_once=settings.planes_at_once,
    )
    coefficients = found.coefficients
    if torch.is_grad_enabled():
        stepped = problem.shrink(problem.forward_step(coefficients))
        if stepped.requires_grad:

            def adjoint(gradient: torch.Tensor) -> torch.Tensor:
                solved = solve_adjoint(
                    problem,
                    found.coefficients,
                    gradient,
                    method=settings.backward,
                    tolerance=settings.backward_tolerance,
                    iterations=settings.backward_iterations,
                    planes_at_once=settings.planes_at_once,
                )
                if report is not None:
                    report(_report(found, solved))
                return solved.z

            stepped.register_hook(adjoint)  # type: ignore[no-untyped-call]
            coefficients = stepped
    return problem.image(problem.channels(coefficients))


def _report(found: PatchSolution, solved: Adjoint) -> ImplicitReport:
    report = ImplicitReport(
        iterations=float(found.iterations.double().mean()),
        unconverged=int((~found.converged).sum()),
        backward_iterations=float(solved.iterations.double().mean()),
        backward_unconverged=int((~solved.converged).sum()),
        negative_curvature=int(solved.is_negative.sum()),
    )
    if solved.is_worse.any():
        _LOG.warning(
            "the adjoint system of %d of %d planes could not be solved; their gradient is useless",
            int(solved.is_worse.sum()),
            solved.iterations.numel(),
        )
    return report
