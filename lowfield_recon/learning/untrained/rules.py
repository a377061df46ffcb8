"""Rules that choose an estimate of a fit, and its end, without knowing the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from lowfield_recon.learning.untrained.loop import Estimate, Verdict


class LastIterate:
    """Keeps every estimate, so that the last one is the result."""

    name = "last"

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:  # noqa: ARG002 - Rule
        """Keep it."""
        return Verdict(keep=True)

    @property
    def values(self) -> tuple[float, ...]:
        """Nothing is measured."""
        return ()


class SmallestObjective:
    """Keeps the estimate of least objective.

    Parameters
    ----------
    start
        First iteration that counts; before it every estimate is kept.
    """

    name = "smallest objective"

    def __init__(self, start: int = 1) -> None:
        """Store the start."""
        self._start = start
        self._values: list[float] = []
        self._least = math.inf

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:
        """Keep it where its objective is the least so far."""
        self._values.append(estimate.objective)
        if iteration < self._start:
            return Verdict(keep=True)
        is_least = estimate.objective < self._least
        self._least = min(self._least, estimate.objective)
        return Verdict(keep=is_least)

    @property
    def values(self) -> tuple[float, ...]:
        """Objective of each iteration."""
        return tuple(self._values)


class HeldOut:
    r"""Keeps the estimate that predicts samples best which the fit does not see.

    ``e_i = ||W (A x_i - y)||^2`` over the held-out samples, smoothed as ``s <- s + (1 - decay) (e -
    s)`` with bias correction. The fit ends when s has found no new least for `patience` iterations.

    Parameters
    ----------
    error
        x -> ||W (A x - y)||^2 of the held-out samples.
    decay
        Of the smoothing.
    patience
        Iterations without a new least after which the fit ends.
    every
        The error is measured at each `every`-th iteration only.

    References
    ----------
    Self-validation: Yaman B et al. Magn Reson Med 2020;84:3172-3191.
    https://doi.org/10.1002/mrm.28378

    Examples
    --------
    >>> rule = HeldOut(lambda x: float((x - 3).square().sum()), decay=0.0, patience=2)
    >>> def verdict(i):
    ...     return rule(i, Estimate(image=torch.tensor([float(i)]), objective=0.0))
    >>> [verdict(i).keep for i in (1, 2, 3, 4)], verdict(5).stop
    ([True, True, True, False], 'held-out samples')
    """

    name = "held-out"

    def __init__(
        self,
        error: Callable[[torch.Tensor], float],
        *,
        decay: float = 0.9,
        patience: int = 500,
        every: int = 1,
    ) -> None:
        """Store the parameters."""
        self._error = error
        self._decay = decay
        self._patience = patience
        self._every = every
        self._mean = 0.0
        self._count = 0
        self._least = math.inf
        self._least_at = 0
        self._values: list[float] = []

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:
        """Measure the error and say whether it is the least."""
        if (iteration - 1) % self._every:
            return Verdict(keep=False)
        self._count += 1
        self._mean += (1 - self._decay) * (self._error(estimate.image) - self._mean)
        smoothed = self._mean / (1 - self._decay**self._count)
        self._values.append(smoothed)
        if smoothed < self._least:
            self._least, self._least_at = smoothed, iteration
            return Verdict(keep=True)
        is_over = iteration - self._least_at >= self._patience
        return Verdict(keep=False, stop="held-out samples" if is_over else None)

    @property
    def values(self) -> tuple[float, ...]:
        """Smoothed errors."""
        return tuple(self._values)


class RunningVariance:
    r"""Keeps the estimate around which the iterates vary least.

    ``d = x - m``, ``m <- m + alpha d``, ``v <- (1 - alpha) (v + alpha ||d||^2)``; the fit ends when
    ``v / ||m||^2`` has found no new least for `patience` iterations.

    Parameters
    ----------
    alpha
        Weight of the newest iterate.
    patience
        Iterations without a new least after which the fit ends.
    warm_up
        Iterations before v is believed.
    weight
        Pixels that count, broadcastable to the image; None for all.

    References
    ----------
    Wang H et al. Early stopping for deep image prior. arXiv:2112.06074
    """

    name = "variance"

    def __init__(
        self,
        *,
        alpha: float = 0.1,
        patience: int = 300,
        warm_up: int = 100,
        weight: torch.Tensor | None = None,
    ) -> None:
        """Store the parameters."""
        self._alpha = alpha
        self._patience = patience
        self._warm_up = warm_up
        self._weight = weight
        self._mean: torch.Tensor | None = None
        self._variance = 0.0
        self._least = math.inf
        self._least_at = 0
        self._values: list[float] = []

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:
        """Update mean and variance and say whether it is the least."""
        x = estimate.image if self._weight is None else estimate.image * self._weight
        if self._mean is None:
            self._mean = x.detach().clone()
            self._values.append(math.inf)
            return Verdict(keep=True)
        difference = x - self._mean
        self._mean.add_(difference, alpha=self._alpha)
        square = float(difference.abs().square().sum())
        self._variance = (1 - self._alpha) * (self._variance + self._alpha * square)
        value = self._variance / max(float(self._mean.abs().square().sum()), 1e-30)
        self._values.append(value)
        if iteration <= self._warm_up:
            return Verdict(keep=True)
        if value < self._least:
            self._least, self._least_at = value, iteration
            return Verdict(keep=True)
        is_over = iteration - self._least_at >= self._patience
        return Verdict(keep=False, stop="running variance" if is_over else None)

    @property
    def values(self) -> tuple[float, ...]:
        """``v / ||m||^2`` of each iteration; infinite at the first."""
        return tuple(self._values)


class Discrepancy:
    r"""Ends the fit where it explains the data to their noise, ``||A x - y||^2 <= tau m sigma^2``.

    Parameters
    ----------
    misfit
        x -> ||A x - y||^2.
    expected
        ``m sigma^2``, the squared norm that the noise has on average.
    factor
        tau.

    References
    ----------
    Morozov VA. Soviet Math Dokl 1966;7:414-417; Engl HW et al. Regularization of Inverse Problems,
    section 4.3. https://doi.org/10.1007/978-94-009-1740-8
    """

    name = "discrepancy"

    def __init__(
        self, misfit: Callable[[torch.Tensor], float], expected: float, *, factor: float = 1.0
    ) -> None:
        """Store the parameters."""
        self._misfit = misfit
        self._limit = factor * expected
        self._values: list[float] = []

    def __call__(self, iteration: int, estimate: Estimate) -> Verdict:  # noqa: ARG002 - Rule
        """Keep it, and stop where the misfit is that of the noise."""
        self._values.append(self._misfit(estimate.image))
        is_over = self._values[-1] <= self._limit
        return Verdict(keep=True, stop="discrepancy" if is_over else None)

    @property
    def values(self) -> tuple[float, ...]:
        """Misfits."""
        return tuple(self._values)
