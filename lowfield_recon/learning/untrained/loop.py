"""The loop around every fit to one measurement: budget, interrupts, previews, choice of an image.

A method advances by one iteration and hands over its estimate; a rule that sees neither the method
nor the truth says which estimate is kept and when it is enough.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.problem import ImageObserver, ProgressCallback


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """What one iteration gives."""

    image: torch.Tensor
    """Image that the method would return now; it may be overwritten by the next iteration."""

    objective: float
    """What the method minimises."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of an estimate."""

    keep: bool
    """Whether it is the best so far."""

    stop: str | None = None
    """Why to stop, or None to go on."""


class Rule(Protocol):
    """Chooses an estimate without knowing the truth."""

    name: str
    """How diagnostics call it."""

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:
        """Judge the estimate of an iteration; they come in order, the first is 1."""
        ...

    @property
    def values(self) -> tuple[float, ...]:
        """What the rule measured at each iteration; the least is the best."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """What a fit ends with."""

    image: torch.Tensor
    """The estimate that the rule chose."""

    objective: tuple[float, ...]
    """Of each iteration."""

    chosen_iteration: int
    """Iteration of the estimate."""

    iterations: int
    """How many there were."""

    stopping_reason: str
    """`"iterations"`, `"budget"`, `"interrupted"` or what the rule said."""


def run_fit(
    advance: Callable[[int], Estimate],
    rule: Rule,
    *,
    iterations: int,
    budget: float | None = None,
    progress: ProgressCallback | None = None,
    to_image: Callable[[torch.Tensor], torch.Tensor] | None = None,
    on_keep: Callable[[int], None] | None = None,
) -> Fitted:
    """Iterate until the rule, the number of iterations, the clock or an interrupt says enough.

    Parameters
    ----------
    advance
        Does iteration i = 1, 2, ... and returns its estimate.
    rule
        Chooses one of them.
    iterations
        Most iterations, at least 1.
    budget
        Seconds from now after which no iteration begins; None for no limit. One is always done.
    progress
        Told the objective; shown images if it is an `ImageObserver`.
    to_image
        Makes an estimate's image one in the unit and shape of the problem, for showing.
    on_keep
        Told the iteration whenever its estimate is kept.

    Returns
    -------
        The chosen image (a copy) and what happened.

    Raises
    ------
    DataError
        If the objective is not finite before any estimate was kept.
    KeyboardInterrupt
        If interrupted before there is an image.

    Examples
    --------
    >>> from lowfield_recon.learning.untrained.rules import LastIterate
    >>> def halve(i):
    ...     return Estimate(image=torch.full((1, 1, 1, 2, 2), 0.5**i), objective=0.5**i)
    >>> fitted = run_fit(halve, LastIterate(), iterations=3)
    >>> float(fitted.image.mean()), fitted.chosen_iteration, fitted.stopping_reason
    (0.125, 3, 'iterations')
    """
    deadline = math.inf if budget is None else time.perf_counter() + budget
    objective: list[float] = []
    kept: torch.Tensor | None = None
    chosen, reason = 0, "iterations"
    try:
        for i in range(1, iterations + 1):
            estimate = advance(i)
            if not math.isfinite(estimate.objective):
                reason = "objective not finite"
                break
            objective.append(estimate.objective)
            verdict = rule(i, estimate)
            if verdict.keep or kept is None:
                kept = _copied(estimate.image, kept)
                chosen = i
                if on_keep is not None:
                    on_keep(i)
            _report(progress, i, iterations, estimate, to_image)
            if verdict.stop is not None:
                reason = verdict.stop
                break
            if time.perf_counter() >= deadline:
                reason = "budget"
                break
    except KeyboardInterrupt:
        if kept is None:
            raise
        reason = "interrupted"
    if kept is None:
        raise DataError(
            "the objective of the first iteration is not finite; scale the data, or choose a "
            "smaller learning_rate."
        )
    return Fitted(
        image=kept,
        objective=tuple(objective),
        chosen_iteration=chosen,
        iterations=len(objective),
        stopping_reason=reason,
    )


def _copied(image: torch.Tensor, buffer: torch.Tensor | None) -> torch.Tensor:
    return image.detach().clone() if buffer is None else buffer.copy_(image)


def _report(
    progress: ProgressCallback | None,
    i: int,
    total: int,
    estimate: Estimate,
    to_image: Callable[[torch.Tensor], torch.Tensor] | None,
) -> None:
    if progress is None:
        return
    progress(i, total, estimate.objective)
    if isinstance(progress, ImageObserver) and progress.wants_image(i):
        image = estimate.image.detach()
        progress.show_image(i, image if to_image is None else to_image(image))
