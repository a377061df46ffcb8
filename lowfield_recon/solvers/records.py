"""What every solver reports while it runs and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Iteration:
    """State of a solver after one iteration."""

    number: int
    """Iterations done, from 1."""

    total: int
    """Iterations allowed."""

    solution: torch.Tensor
    """Current iterate; read it, do not write to it."""

    objective: float | None
    """Objective at the iterate, summed over a batch, or None where the solver does not know it."""

    residual: float
    """Optimality residual that the tolerance is compared with; what it measures, the solver
    says."""


Callback = Callable[[Iteration], str | None]
"""Called after each iteration; a returned text stops the solver and becomes its stopping reason."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolverResult:
    """Solution with the history of its iteration."""

    solution: torch.Tensor
    """Last iterate."""

    iterations: int
    """Iterations done."""

    objective: tuple[float, ...]
    """Objective after each checked iteration (empty where the solver does not know it)."""

    residual: tuple[float, ...]
    """Optimality residual after each checked iteration."""

    stopping_reason: str
    """`"tolerance"`, `"stagnation"`, `"iterations"` or what the callback said."""

    @property
    def converged(self) -> bool:
        """Whether the tolerance, or the precision of the numbers, was reached."""
        return self.stopping_reason in ("tolerance", "stagnation")


@dataclass(slots=True)
class History:
    """Collects what happens in an iteration and decides whether to stop."""

    total: int
    tolerance: float
    callback: Callback | None = None
    objective: list[float] = field(default_factory=list)
    residual: list[float] = field(default_factory=list)
    reason: str = "iterations"

    def record(self, solution: torch.Tensor, objective: float | None, residual: float) -> bool:
        """Store one iteration, tell the callback, and return whether to stop."""
        if objective is not None:
            self.objective.append(objective)
        self.residual.append(residual)
        if residual <= self.tolerance:
            self.reason = "tolerance"
        said = None
        if self.callback is not None:
            said = self.callback(
                Iteration(len(self.residual), self.total, solution, objective, residual)
            )
        if said is not None:
            self.reason = said
        return self.reason != "iterations"

    def result(self, solution: torch.Tensor, iterations: int | None = None) -> SolverResult:
        """Return the record of the finished run; `iterations` where not each one was recorded."""
        return SolverResult(
            solution=solution,
            iterations=len(self.residual) if iterations is None else iterations,
            objective=tuple(self.objective),
            residual=tuple(self.residual),
            stopping_reason=self.reason,
        )
