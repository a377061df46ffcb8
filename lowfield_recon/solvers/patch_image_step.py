"""The image block: minimised exactly, by a few conjugate gradient steps, or a gradient step."""

from __future__ import annotations

import torch

from lowfield_recon.solvers.normal_equations import NormalEquations
from lowfield_recon.solvers.patch_problem import PatchProblem

_PENALTY = 0.1
"""Penalty of the splitting x >= 0, relative to the largest eigenvalue of A^H A."""

_CG_STEPS = 4
_SPLITTING_STEPS = 2


class ImageMinimisation:
    r"""``argmin_x 1/2 ||A x - y||^2 + beta/2 sum_k ||U P_k x - w_k||^2`` (and x >= 0).

    The normal equations are ``(A^H A + beta h) x = A^H y + beta sum_k P_k^T U^T w_k``: a division
    where A^H A is diagonal in Fourier space, else conjugate gradients from the last solution. With
    x >= 0 they are split, and each call takes two steps of ADMM from where the last one ended.

    Parameters
    ----------
    problem
        What is minimised.
    response
        h, `(y, x)` in FFT order.
    """

    def __init__(self, problem: PatchProblem, response: torch.Tensor) -> None:
        """Set up the linear system."""
        self._rhs = problem.rhs
        self._beta = problem.regularizer.beta
        self._penalty = _PENALTY * problem.lipschitz if problem.is_nonnegative else 0.0
        floor = 1e-7 * max(problem.lipschitz, self._beta * float(response.max()))
        symbol = self._beta * response + self._penalty
        # Where neither data nor prior say anything the image stays as it is at the start, zero.
        symbol = symbol + (floor - problem.eigenvalues - symbol).clamp(min=0)
        self._solve = NormalEquations(
            problem.gram,
            problem.eigenvalues,
            symbol,
            exact=problem.is_exact,
            inner_iterations=_CG_STEPS,
            axes=(-2, -1),
        )
        self._split: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, image: torch.Tensor, synthesis: torch.Tensor) -> torch.Tensor:
        """Return the new image.

        Parameters
        ----------
        image
            Present image, `(planes, y, x)`, where an iterative solve starts.
        synthesis
            ``sum_k P_k^T U^T w_k``, `(planes, y, x)`.
        """
        right = self._rhs + self._beta * synthesis
        if not self._penalty:
            return self._solve(right, 1.0, image)
        positive, dual = self._split or (image, torch.zeros_like(image))
        for _ in range(_SPLITTING_STEPS):
            free = self._solve(right + self._penalty * (positive - dual), 1.0, image)
            image = free
            positive = (free + dual).clamp(min=0)
            dual = dual + free - positive
        self._split = positive, dual
        return positive


class ImageGradientStep:
    r"""``x <- x^ - (1/L)(A^H A x^ - A^H y + beta h x^ - beta sum_k P_k^T U^T w_k)``, then x >= 0.

    ``L = 1.01 (beta max(h) + ||A||^2)``: the step of the published iteration, with which PALM
    descends.

    Parameters
    ----------
    problem
        What is minimised.
    response
        h, `(y, x)` in FFT order.
    """

    def __init__(self, problem: PatchProblem, response: torch.Tensor) -> None:
        """Compute the step."""
        self._problem = problem
        self._response = response
        beta = problem.regularizer.beta
        self._step = 1 / (1.01 * (beta * float(response.max()) + problem.lipschitz))

    def __call__(self, image: torch.Tensor, synthesis: torch.Tensor) -> torch.Tensor:
        """Return the new image from the (extrapolated) present one."""
        problem, beta = self._problem, self._problem.regularizer.beta
        smoothed: torch.Tensor = torch.fft.ifft2(self._response * torch.fft.fft2(image))
        if not image.is_complex():
            smoothed = smoothed.real
        slope = problem.gram(image) - problem.rhs + beta * (smoothed - synthesis)
        moved = image - self._step * slope
        return moved.clamp(min=0) if problem.is_nonnegative else moved
