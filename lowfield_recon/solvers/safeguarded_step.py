"""A descent step in Adam's direction that never lets the objective rise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

StepKind = Literal["adam", "gradient", "rejected"]

_HALVINGS = 12
_ARMIJO = 1e-4
_SHRINK = 0.3
_BACKTRACKS = 20
_BETAS = (0.9, 0.999)
_FLOOR = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Where a step led."""

    theta: torch.Tensor
    """The new variables."""

    value: float
    """Objective there."""

    kind: StepKind
    """Which direction was taken."""

    size: float
    """Multiple of the direction, 0 where it was rejected."""

    evaluations: int
    """How often the objective was evaluated."""


class SafeguardedAdam:
    r"""Adam steps that are shortened, replaced or refused where the objective would rise.

    Accepted is the largest s of ``1, 1/2, ..., 2^-12`` with ``F(theta + s d) <= F(theta)``, d being
    Adam's direction; else a gradient step with ``F(theta - s g) <= F(theta) - 1e-4 s ||g||^2``,
    ``s = s_0 0.3^j``; else theta stays and Adam's moments start anew. The objective evaluated last
    is the one at the returned theta, unless the step was rejected.

    Parameters
    ----------
    learning_rate
        Length of Adam's step per variable, > 0.
    is_safe
        False takes every Adam step as it is.

    References
    ----------
    Kingma DP, Ba J. Adam: a method for stochastic optimization. arXiv:1412.6980
    Armijo L. Pac J Math 1966;16:1-3. https://doi.org/10.2140/pjm.1966.16.1

    Examples
    --------
    >>> stepper = SafeguardedAdam(0.5)
    >>> theta = torch.tensor([1.0])
    >>> step = stepper.step(theta, theta, 0.5, lambda t: 0.5 * float(t.square().sum()))
    >>> step.kind, round(step.value, 4)
    ('adam', 0.125)
    """

    def __init__(self, learning_rate: float, *, is_safe: bool = True) -> None:
        """Start without moments."""
        self.learning_rate = learning_rate
        self._is_safe = is_safe
        self._count = 0
        self._first: torch.Tensor | None = None
        self._second: torch.Tensor | None = None
        self._gradient_size = learning_rate

    def step(
        self,
        theta: torch.Tensor,
        gradient: torch.Tensor,
        value: float,
        evaluate: Callable[[torch.Tensor], float],
    ) -> Step:
        """Take a step.

        Parameters
        ----------
        theta
            Variables, a real vector; not changed.
        gradient
            Gradient of the objective there.
        value
            The objective there.
        evaluate
            theta -> objective; a result that is not a number counts as a rise.

        Returns
        -------
            The new variables and what was done.
        """
        direction = self._direction(gradient)
        if not self._is_safe:
            new = theta + direction
            return Step(new, evaluate(new), "adam", 1.0, 1)
        for halving in range(_HALVINGS + 1):
            size = 0.5**halving
            new = torch.add(theta, direction, alpha=size)
            new_value = evaluate(new)
            if new_value <= value:
                return Step(new, new_value, "adam", size, halving + 1)
        return self._gradient_step(theta, gradient, value, evaluate)

    def _direction(self, gradient: torch.Tensor) -> torch.Tensor:
        if self._first is None or self._second is None:
            self._first, self._second = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self._count += 1
        self._first.lerp_(gradient, 1 - _BETAS[0])
        self._second.lerp_(gradient.square(), 1 - _BETAS[1])
        mean = self._first / (1 - _BETAS[0] ** self._count)
        spread = (self._second / (1 - _BETAS[1] ** self._count)).sqrt_().add_(_FLOOR)
        return mean.div_(spread).mul_(-self.learning_rate)

    def _gradient_step(
        self,
        theta: torch.Tensor,
        gradient: torch.Tensor,
        value: float,
        evaluate: Callable[[torch.Tensor], float],
    ) -> Step:
        square = float(gradient.double().square().sum())
        done = _HALVINGS + 1
        size = self._gradient_size
        for attempt in range(1, _BACKTRACKS + 1):
            new = torch.add(theta, gradient, alpha=-size)
            new_value = evaluate(new)
            if square > 0 and new_value <= value - _ARMIJO * size * square:
                self._gradient_size = size / _SHRINK
                return Step(new, new_value, "gradient", size, done + attempt)
            size *= _SHRINK
        self._first = self._second = None
        self._count = 0
        return Step(theta, value, "rejected", 0.0, done + _BACKTRACKS)
