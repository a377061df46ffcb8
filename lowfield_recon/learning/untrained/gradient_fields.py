"""Networks that predict the gradient field of an image, in the forms that `ngr` offers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from lowfield_recon.learning.untrained.skip_fit import SkipFit
from lowfield_recon.solvers.gradient_fit import GradientFit

DataTermOf = Callable[[torch.Tensor], tuple[float, torch.Tensor]]
"""g -> ``1/2 ||A g - y||^2`` and its gradient."""


class FieldModel(Protocol):
    """Predicts fields and learns from the image that they lead to."""

    fits: Sequence[SkipFit]
    """The networks."""

    def use(self, solver: GradientFit, data: DataTermOf) -> None:
        """Go on with other data."""
        ...

    def step(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Take a step towards the differences of x; return fields before it, and the objective."""
        ...


class PotentialFields:
    r"""``F = D g``, g the image that a network puts out, or the mean of several networks.

    Each network takes a step on ``1/2 ||A g - y||^2 + k/2 sum_d l_d ||D_d (x - g)||^2``. A field
    that is a gradient needs no integration to agree with itself, and the data reach the network
    directly; so it is far ahead of free fields after the same number of steps.

    Parameters
    ----------
    fits
        The networks, one image each.
    solver
        Differences and their weights.
    data
        Data term of g.
    weight
        k.
    """

    def __init__(
        self, fits: Sequence[SkipFit], solver: GradientFit, data: DataTermOf, *, weight: float
    ) -> None:
        """Store the parts."""
        self.fits = fits
        self._weight = weight
        self.use(solver, data)

    def use(self, solver: GradientFit, data: DataTermOf) -> None:
        """Go on with other data."""
        self._solver = solver
        self._data = data

    def step(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Take a step with each network."""
        total: torch.Tensor | None = None
        objective = 0.0
        for fit in self.fits:
            value = 0.0

            def gradient(g: torch.Tensor) -> torch.Tensor:
                nonlocal value
                misfit, slope = self._data(g)
                fields = self._solver.differences(g - x)
                value = misfit + self._weight * self._solver.energy(fields)
                return slope + self._weight * self._solver.divergence(fields)

            g = fit.step(gradient)
            objective += value / len(self.fits)
            total = g if total is None else total + g
        assert total is not None  # noqa: S101 - there is at least one network
        return self._solver.differences(total / len(self.fits)), objective


class FreeFields:
    r"""``F_d`` as the network puts it out: one network for all directions, or one for each.

    The step is on ``sum_d l_d/2 ||D_d x - F_d||^2``.

    Parameters
    ----------
    fits
        One network with an image for each direction, or one network with one image for each.
    solver
        Differences and their weights.
    weights
        l_d.
    """

    def __init__(
        self, fits: Sequence[SkipFit], solver: GradientFit, weights: Sequence[float]
    ) -> None:
        """Store the parts."""
        self.fits = fits
        self._weights = weights
        self._solver = solver

    def use(self, solver: GradientFit, data: DataTermOf) -> None:  # noqa: ARG002 - FieldModel
        """Go on with other data, which reach the fields through the image alone."""
        self._solver = solver

    def step(self, x: torch.Tensor) -> tuple[torch.Tensor, float]:
        """Take a step with each network."""
        wanted = self._solver.differences(x)
        if len(self.fits) == 1:
            place = (-1, *([1] * x.ndim))
            weights = torch.tensor(self._weights, dtype=x.real.dtype, device=x.device)
            fields = self.fits[0].step(lambda f: (f.reshape(wanted.shape) - wanted).mul(
                weights.reshape(place)).reshape(f.shape))  # fmt: skip
            fields = fields.reshape(wanted.shape)
        else:
            fields = torch.stack(
                [
                    self._one(fit, target, weight)
                    for fit, target, weight in zip(self.fits, wanted, self._weights, strict=True)
                ]
            )
        return fields, self._solver.energy(wanted - fields)

    @staticmethod
    def _one(fit: SkipFit, target: torch.Tensor, weight: float) -> torch.Tensor:
        return fit.step(lambda f: weight * (f - target))
