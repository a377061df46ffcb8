"""The multi-grade proximal alternating scheme of `mg-spair`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from lowfield_recon.learning.untrained.loop import Estimate, Verdict
from lowfield_recon.learning.untrained.mg_spair_grade import Grade
from lowfield_recon.learning.untrained.mg_spair_objective import Parts, Point, SplitObjective
from lowfield_recon.learning.untrained.mg_spair_records import FitLog, FitPlan
from lowfield_recon.solvers.safeguarded_step import SafeguardedAdam, Step

_WINDOW = 50
"""Iterations over which the decrease of the objective is judged."""


class MultiGradeFit:
    r"""Alternate between sparse coefficients and weights, one grade after the other.

    Grade g minimises ``F(x_{g-1} + s_g U_g N_g(theta), u) + eps/2 (||theta||^2 - ||theta_0||^2)``
    by turns over u, in closed form, and over theta, by a safeguarded step; the grades below stay as
    they are. N_g is zero at first, so that the objective is continuous where a grade begins and, in
    the safe mode, never rises after the warm-up. ``s_1 = 1`` and later ``s_g`` is the root mean
    square of the residual ``A x_{g-1} - y``.

    Parameters
    ----------
    objective
        F.
    start
        x_0, of the shape and dtype of the image.
    samples
        How many numbers were measured.
    plan
        Grades, iterations and steps.
    weights
        Weights of the first grade from another fit, or None.

    References
    ----------
    Liao J et al. MG-SpaIR. arXiv:2607.00138; what is known of it is a summary, and the split, the
    scales, the zero start, the safeguard and all numbers are this package's own.
    """

    def __init__(
        self,
        objective: SplitObjective,
        start: torch.Tensor,
        *,
        samples: int,
        plan: FitPlan,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """Begin the first grade."""
        self.grades: list[Grade] = []
        self.log = FitLog()
        self._objective = objective
        self._samples = max(samples, 1)
        self._plan = plan
        self._generator = torch.Generator().manual_seed(plan.seed)
        self._has_penalty = objective.penalty is not None
        self._warm_up = plan.warm_up if self._has_penalty else 0
        self._carried_decay = 0.0
        self._u: torch.Tensor | None = None
        self._ended: str | None = None
        self._grade: Grade
        self._theta: torch.Tensor
        self._point: Point
        self._stepper: SafeguardedAdam
        self._begin_grade(objective.at(start), 1.0, iteration=1, weights=weights)

    @property
    def counted_from(self) -> int:
        """First iteration whose objective is the whole one."""
        return self._warm_up + 1

    @property
    def finished(self) -> str | None:
        """Why there is nothing more to do, or None."""
        return self._ended

    @property
    def u(self) -> torch.Tensor | None:
        """The sparse coefficients; None during the warm-up and without penalty."""
        return self._u

    def advance(self, iteration: int) -> Estimate:
        """Do an iteration (1, 2, ...): the coefficients, then the weights."""
        self._switch_if_due(iteration)
        objective, point = self._objective, self._point
        if self._has_penalty and iteration > self._warm_up:
            self._u = objective.sparse_step(point, self._u)
        penalty = objective.penalty_of(self._u)
        before = self._value(point, self._theta, penalty)
        gradient = self._grade.pulled_back(point.image, objective.gradient(point, self._u))
        gradient.add_(self._theta, alpha=self._plan.weight_decay)
        trial = point

        def evaluate(theta: torch.Tensor) -> float:
            nonlocal trial
            trial = objective.at(self._grade.image(theta))
            return self._value(trial, theta, penalty)

        self._stepper.learning_rate = self._rate(iteration)
        step = self._stepper.step(self._theta, gradient, before, evaluate)
        if step.kind == "rejected":
            trial = objective.at(self._grade.image(step.theta))
        self._point, self._theta = trial, step.theta
        parts = objective.parts(trial, self._u, penalty)
        self._record(parts, step, before)
        self._judge(iteration, parts, step.value)
        return Estimate(image=trial.image.detach(), objective=step.value)

    def _begin_grade(
        self,
        point: Point,
        scale: float,
        *,
        iteration: int,
        weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        number = len(self.grades)
        plan = self._plan.grades[number]
        self._grade = Grade(
            plan.network,
            base=point.image,
            scale=scale,
            coarsening=plan.coarsening,
            below=self.grades[-1] if self._plan.is_composed and self.grades else None,
            generator=self._generator,
            half_precision=self._plan.half_precision,
        )
        self.grades.append(self._grade)
        if weights is not None:
            self._grade.load_weights(weights)
        self._theta = self._grade.theta()
        self._first_decay = 0.5 * float(self._theta.square().sum())
        self._point = self._objective.at(self._grade.image(self._theta))
        self._stepper = SafeguardedAdam(self._plan.learning_rate, is_safe=self._plan.is_safe)
        self._grade_start = iteration
        self._values: list[float] = []
        self._due: str | None = None
        self.log.grade_starts.append(iteration)
        self.log.grade_scales.append(scale)

    def _switch_if_due(self, iteration: int) -> None:
        if self._due is None:
            return
        self._carried_decay += self._decay(self._theta)
        scale = math.sqrt(2 * self.log.misfit[-1] / self._samples)
        self._begin_grade(self._point, scale, iteration=iteration)

    def _decay(self, theta: torch.Tensor) -> float:
        return self._plan.weight_decay * (0.5 * float(theta.square().sum()) - self._first_decay)

    def _value(self, point: Point, theta: torch.Tensor, penalty: float) -> float:
        total = self._objective.parts(point, self._u, penalty).total
        return total + self._carried_decay + self._decay(theta)

    def _rate(self, iteration: int) -> float:
        done = (iteration - self._grade_start) / self._plan.grades[len(self.grades) - 1].iterations
        return self._plan.learning_rate * math.exp(math.log(self._plan.final_rate) * done)

    def _record(self, parts: Parts, step: Step, before: float) -> None:
        log = self.log
        log.misfit.append(parts.misfit)
        log.coupling.append(parts.coupling)
        log.penalty.append(parts.penalty)
        log.decay.append(step.value - parts.total)
        log.step.append(step.kind)
        log.step_size.append(step.size)
        log.nonzeros.append(0 if self._u is None else int(torch.count_nonzero(self._u)))
        log.evaluations += step.evaluations
        log.rises += step.value > before

    def _judge(self, iteration: int, parts: Parts, value: float) -> None:
        """Decide whether the warm-up, the grade or the fit is over."""
        plan = self._plan
        is_explained = 2 * parts.misfit <= plan.noise_energy
        if self._has_penalty and iteration <= self._warm_up:
            if is_explained:
                self._warm_up = iteration
            return
        self._values.append(value)
        number = len(self.grades)
        window = self._values[-1 - _WINDOW :]
        fall = window[0] - window[-1]
        if is_explained and plan.stops_at_noise:
            self._due = "discrepancy"
        elif len(window) > _WINDOW and fall < plan.tolerance * abs(window[0]):
            self._due = "objective settled"
        elif iteration - self._grade_start + 1 >= plan.grades[number - 1].iterations:
            self._due = "iterations"
        if self._due is None:
            return
        self.log.grade_ends.append(self._due)
        if self._due == "discrepancy" or number == len(plan.grades):
            self._ended = self._due


class LeastObjective:
    """Keeps the least objective after the warm-up, and ends where the fit says so."""

    name = "smallest objective"

    def __init__(self, fit: MultiGradeFit) -> None:
        """Watch a fit."""
        self._fit = fit
        self._values: list[float] = []
        self._least = math.inf

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:
        """Keep the estimate of an iteration where it is the best."""
        self._values.append(estimate.objective)
        if iteration < self._fit.counted_from:
            return Verdict(keep=True)
        is_least = estimate.objective < self._least
        self._least = min(self._least, estimate.objective)
        return Verdict(keep=is_least, stop=self._fit.finished)

    @property
    def values(self) -> tuple[float, ...]:
        """Objective of each iteration."""
        return tuple(self._values)
