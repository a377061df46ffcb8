"""The potential of NCPR: smooth, non-convex, and without bias on large coefficients.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.patch_potential_radial import (
    LinearMap,
    is_recorded,
    radial_map,
    squared_norm,
)
from lowfield_recon.solvers.patch_potential_value import power_potential_value


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPotential:
    r"""Non-convex potential of NCPR, ``T(v) = v n^g / (lambda^g + n^g)`` with ``n = ||v||``.

    Small coefficients become smaller, never zero; large ones pass unchanged. The largest slope of T
    is ``(1+g)^2/(4g)``, at ``(n/lambda)^g = (g+1)/(g-1)``, so that R is weakly convex with modulus
    ``((g-1)/(g+1))^2 < 1`` and T single-valued. Shapes are those of `Potential`.

    Raises
    ------
    UsageError
        If `order` is not a number above 1: at 1 and below, large coefficients stay biased.

    Examples
    --------
    >>> potential = PowerPotential(order=2.0)
    >>> potential.shrink(torch.tensor([[[0.1, 0.5, 2.0]]]), torch.tensor([0.5]))
    tensor([[[0.0038, 0.2500, 1.8824]]])
    """

    order: float
    """g."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.order) and self.order > 1):
            raise UsageError(
                f"order: expected a number above 1 for the power potential, got {self.order}; at 1 "
                "and below, large coefficients stay biased. Use 1.8 or 2, the published orders."
            )

    @property
    def name(self) -> str:
        """Name of the potential."""
        return "power"

    @property
    def block(self) -> int:
        """One: every pixel has a norm of its own."""
        return 1

    def factor(self, norm: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        r"""Return ``n^g / (lambda^g + n^g)``.

        Examples
        --------
        >>> PowerPotential(order=1.8).factor(torch.tensor([[0.1, 0.5]]), torch.tensor([0.5]))
        tensor([[0.0523, 0.5000]])
        """
        return self._factor(norm.square(), scales)

    def shrink(
        self, v: torch.Tensor, scales: torch.Tensor, *, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        r"""Return ``T(v) = v / (1 + (lambda/n)^g)``.

        Examples
        --------
        >>> PowerPotential(order=1.8).shrink(torch.tensor([[[0.5]]]), torch.tensor([0.5]))
        tensor([[[0.2500]]])
        """
        if out is None and is_recorded(v, scales):
            return v * self._factor(v.square().sum(1), scales)[:, None]
        work = squared_norm(v)
        squared_scales = _squared(scales)
        if self.order == 2:
            torch.div(squared_scales, work, out=work).add_(1)
            return torch.div(v, work[:, None], out=out)
        # The logarithm of zero is -inf, its sigmoid 0: nothing has to be clamped.
        half = self.order / 2
        torch.add(squared_scales.log().mul_(-half), work.log_(), alpha=half, out=work)
        return torch.mul(v, work.sigmoid_()[:, None], out=out)

    def value(self, v: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        r"""Return R(T(v)) summed, ``M(v) - ||v - T(v)||^2/2`` with the Moreau envelope M.

        ``M(v) = n^2/2 2F1(1, 2/g; 1 + 2/g; -(n/lambda)^g)``; for g = 2 it is
        ``lambda^2/2 ln(1 + n^2/lambda^2)``.

        Examples
        --------
        >>> v = torch.tensor([[[2.0]]])
        >>> round(float(PowerPotential(order=1.8).value(v, torch.tensor([0.5]))), 5)
        0.3784
        """
        return power_potential_value(squared_norm(v), _squared(scales), self.order)

    def jacobian(self, v: torch.Tensor, scales: torch.Tensor) -> LinearMap:
        r"""Return ``w -> J w``: along v the slope ``f (1 + g (1 - f))``, across it the factor f.

        Examples
        --------
        >>> v = torch.tensor([[[0.5]]])
        >>> PowerPotential(order=2.0).jacobian(v, torch.tensor([0.5]))(torch.ones(1, 1, 1))
        tensor([[[1.]]])
        """
        return radial_map(v, *self._slopes(v, scales))

    def half_jacobian(self, v: torch.Tensor, scales: torch.Tensor) -> LinearMap:
        r"""Return ``w -> J^(1/2) w``, the symmetric square root of `jacobian`.

        Examples
        --------
        >>> v = torch.tensor([[[0.5], [0.0]]])
        >>> half = PowerPotential(order=2.0).half_jacobian(v, torch.tensor([0.5]))
        >>> half(torch.ones(1, 2, 1)).flatten()
        tensor([1.0000, 0.7071])
        """
        along, across = self._slopes(v, scales)
        return radial_map(v, along.sqrt(), across.sqrt())

    def _factor(self, square: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return the factor from ``n^2``, with a gradient that is finite at 0."""
        if self.order == 2:
            return square / (square + _squared(scales))
        logarithm = square.clamp(min=torch.finfo(square.dtype).tiny).log()
        return torch.sigmoid(self.order / 2 * (logarithm - _squared(scales).log()))

    def _slopes(self, v: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        f = self._factor(v.square().sum(1), scales)
        return f * (1 + self.order * (1 - f)), f


def _squared(scales: torch.Tensor) -> torch.Tensor:
    """Return ``lambda^2`` as `(K, 1)`, kept above zero so that no ratio is 0/0."""
    return scales.square().clamp(min=torch.finfo(scales.dtype).tiny)[:, None]
