"""Alternating minimisation over image and coefficients: PALM, iPALM, and a faster form of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from lowfield_recon.solvers.patch_coefficients import PatchCoefficients
from lowfield_recon.solvers.patch_image_step import ImageGradientStep, ImageMinimisation
from lowfield_recon.solvers.patch_problem import PatchProblem, PatchSolution
from lowfield_recon.solvers.patch_subspace import PatchSubspace
from lowfield_recon.solvers.records import Callback, Iteration

CHECK_EVERY = 10
"""Iterations between two evaluations of the objective, which cost as much as half an iteration."""

_WARM_STEPS = 10
"""Steps on the coefficients alone that make them fit an image that is given."""

ImageBlock = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescentSettings:
    """How image and coefficients alternate on one grid."""

    iterations: int
    """Most iterations."""

    tolerance: float = 0.0
    """Relative change, of the image in one iteration and of the objective per iteration, to stop
    at."""

    exact_image: bool = True
    """Whether the image block is minimised, or takes a gradient step from the extrapolated
    image."""

    inertia: bool = True
    """Whether to extrapolate with m = (k - 1)/(k + 2)."""

    stretch: float = 1.0
    """First factor of the scales; it falls geometrically to 1."""

    continuation: int = 0
    """Iterations over which the factor falls; there is no stopping before."""

    warm: bool = False
    """Whether the coefficients are first made to fit the initial image."""

    safeguard: bool = True
    """Whether the extrapolation starts anew after the objective rose."""

    check_every: int = CHECK_EVERY
    """Iterations between two evaluations of the objective; 0 never evaluates it."""


@dataclass(slots=True)
class _Record:
    objective: list[float] = field(default_factory=list)
    evaluated_at: list[int] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    reason: str = "iterations"


class PatchDescent:
    r"""Alternates ``a <- T(a^ - beta C^T (C a^ - U P x))`` with the image block, on one grid.

    Without inertia, with an exact image or a gradient step of the full Lipschitz constant, the
    objective never rises: the unit step in a is below ``1/(beta ||C||^2)`` and T is the proximal
    operator of R.

    Parameters
    ----------
    problem
        What is minimised.
    settings
        How.

    References
    ----------
    Bolte J, Sabach S, Teboulle M. Math Program 2014;146:459-494.
    https://doi.org/10.1007/s10107-013-0701-9
    Pock T, Sabach S. SIAM J Imaging Sci 2016;9:1756-1787. https://doi.org/10.1137/16M1064064
    """

    def __init__(self, problem: PatchProblem, settings: DescentSettings) -> None:
        """Transform the filters and make room for the coefficients."""
        self.problem = problem
        self.settings = settings
        regularizer = problem.regularizer
        potential = regularizer.potential
        self.subspace = PatchSubspace(regularizer.basis, problem.size, block=potential.block)
        self._update: ImageBlock = (
            ImageMinimisation(problem, self.subspace.response)
            if settings.exact_image
            else ImageGradientStep(problem, self.subspace.response)
        )
        planes, members, groups = self.subspace.shape(problem.rhs)
        self.coefficients = PatchCoefficients(regularizer, planes, members, groups)

    def run(self, image: torch.Tensor, callback: Callback | None = None) -> PatchSolution:
        """Iterate from an image.

        Parameters
        ----------
        image
            Where to start, `(planes, y, x)`.
        callback
            Called after each iteration with the image; a text that it returns ends the run.
        """
        settings, record, coefficients = self.settings, _Record(), self.coefficients
        if settings.warm:
            self._fit_coefficients(image)
        coefficients.aim(self.subspace.analysed(image))
        before, since, momentum = image, 0, 0.0
        done = 0
        for k in range(1, settings.iterations + 1):
            is_check = self._is_check(k)
            value = coefficients.step(stretch=self._stretch(k), with_value=is_check)
            new = self._next_image(image, before, momentum)
            before, image, done = image, new, k
            record.changes.append(_change(new, before))
            since += 1
            momentum = since / (since + 3) if settings.inertia else 0.0
            value += coefficients.aim(
                self.subspace.analysed(new), momentum=momentum, with_rest=is_check
            )
            if is_check and self._rose(record, k, self.problem.misfit(new) + value):
                since, momentum = 0, 0.0
                coefficients.aim(self.subspace.analysed(new))
            if self._ends(record, k, image, callback):
                break
        return PatchSolution(
            image=image,
            objective=tuple(record.objective),
            evaluated_at=tuple(record.evaluated_at),
            changes=tuple(record.changes),
            iterations=done,
            stopping_reason=record.reason,
        )

    def _fit_coefficients(self, image: torch.Tensor) -> None:
        for k in range(_WARM_STEPS):
            self.coefficients.aim(self.subspace.analysed(image), momentum=k / (k + 3))
            self.coefficients.step(stretch=self.settings.stretch)

    def _next_image(
        self, image: torch.Tensor, before: torch.Tensor, momentum: float
    ) -> torch.Tensor:
        synthesis = self.subspace.synthesise(
            self.coefficients.products, is_complex=image.is_complex()
        )
        if self.settings.exact_image:
            return self._update(image, synthesis)
        return self._update(torch.lerp(before, image, 1 + momentum), synthesis)

    def _stretch(self, k: int) -> float:
        settings = self.settings
        if k >= settings.continuation:
            return 1.0
        return float(settings.stretch ** (1 - k / settings.continuation))

    def _is_check(self, k: int) -> bool:
        """Return whether the objective is evaluated; while the scales change it means nothing."""
        settings = self.settings
        if not settings.check_every or k < settings.continuation:
            return False
        return k % settings.check_every == 0 or k == settings.iterations

    def _rose(self, record: _Record, k: int, objective: float) -> bool:
        """Store an objective, and return whether the extrapolation should start anew."""
        rose = bool(record.objective) and objective > record.objective[-1]
        record.objective.append(objective)
        record.evaluated_at.append(k)
        return rose and self.settings.safeguard

    def _ends(
        self, record: _Record, k: int, image: torch.Tensor, callback: Callback | None
    ) -> bool:
        settings = self.settings
        objective = record.objective[-1] if record.evaluated_at[-1:] == [k] else None
        if objective is not None and len(record.objective) > 1:
            gap = record.evaluated_at[-1] - record.evaluated_at[-2]
            fall = abs(record.objective[-2] - objective) / (gap * max(abs(objective), 1e-30))
            if record.changes[-1] <= settings.tolerance and fall <= settings.tolerance:
                record.reason = "tolerance"
        if callback is not None:
            state = Iteration(k, settings.iterations, image, objective, record.changes[-1])
            record.reason = callback(state) or record.reason
        return record.reason != "iterations"


def _change(new: torch.Tensor, old: torch.Tensor) -> float:
    """Return the largest relative change of a plane."""
    norm = torch.linalg.vector_norm(old, dim=(-2, -1)).clamp(min=1e-30)
    return float((torch.linalg.vector_norm(new - old, dim=(-2, -1)) / norm).max())


def first_stretch(problem: PatchProblem, image: torch.Tensor) -> float:
    r"""Return the factor of the scales that leaves about one coefficient in five alive at first.

    It is the 80 % quantile of ``||beta C^T U P_k x|| / scale`` over a sample of the patches,
    between 2 and 64. With much larger factors coarse images settle on strong edges that the data
    do not have, at the same objective.

    Parameters
    ----------
    problem
        What will be minimised.
    image
        Where it starts, `(planes, y, x)`.

    Returns
    -------
        The factor.
    """
    regularizer = problem.regularizer
    subspace = PatchSubspace(regularizer.basis, problem.size, block=regularizer.potential.block)
    z = subspace.analyse(image).movedim(-1, 1).flatten(1, 2)
    every = max(1, math.ceil(z.shape[1] / 4096))
    sample = z[:, ::every]
    forces = torch.einsum("rk,rgm->kgm", regularizer.beta * regularizer.factors, sample)
    ratios = torch.linalg.vector_norm(forces, dim=-1) / regularizer.scales[:, None]
    flat = ratios.flatten()
    rank = max(1, math.ceil(0.8 * flat.numel()))
    return min(max(float(flat.kthvalue(rank).values), 2.0), 64.0)
