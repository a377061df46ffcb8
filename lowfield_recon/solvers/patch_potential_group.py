"""The potential of CPR: the norm of the coefficients of a block of pixels, convex.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
Yuan M, Lin Y. Model selection and estimation in regression with grouped variables. J R Stat Soc B
2006;68:49-67. https://doi.org/10.1111/j.1467-9868.2005.00532.x
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.patch_potential_radial import (
    LinearMap,
    is_recorded,
    radial_map,
    squared_norm,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPotential:
    r"""Convex potential of CPR, ``R(a) = t sum_B ||a_B||`` over square blocks B of pixels.

    ``T(v) = v max(1 - t/n, 0)`` with ``n = ||v_B||`` is the group soft threshold, which does not
    expand. Shapes are those of `Potential`.

    Raises
    ------
    UsageError
        If `block` is neither 1 nor 2.

    Examples
    --------
    >>> four_pixels = torch.tensor([[[3.0], [0.0], [4.0], [0.0]]])
    >>> GroupPotential(block=2).shrink(four_pixels, torch.tensor([2.5])).flatten()
    tensor([1.5000, 0.0000, 2.0000, 0.0000])
    """

    block: int = 2
    """Side of the blocks [pixels]; 1 is the ordinary soft threshold."""

    def __post_init__(self) -> None:
        if self.block not in (1, 2):
            raise UsageError(
                f"block: expected 1 or 2 (pixels) for the group potential, got {self.block}."
            )

    @property
    def name(self) -> str:
        """Name of the potential."""
        return "group"

    def factor(self, norm: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        r"""Return ``max(1 - t/n, 0)``.

        Examples
        --------
        >>> GroupPotential().factor(torch.tensor([[0.0, 1.0, 4.0]]), torch.tensor([1.0]))
        tensor([[0.0000, 0.0000, 0.7500]])
        """
        return _factor(norm.square(), scales)

    def shrink(
        self, v: torch.Tensor, scales: torch.Tensor, *, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        r"""Return ``T(v) = v - v min(t/n, 1)``.

        Examples
        --------
        >>> GroupPotential(block=1).shrink(torch.tensor([[[-3.0]]]), torch.tensor([1.0]))
        tensor([[[-2.]]])
        """
        if out is None and is_recorded(v, scales):
            return v * _factor(v.square().sum(1), scales)[:, None]
        # A norm of zero has an infinite inverse, which the smallest scale leaves infinite.
        t = scales.clamp(min=torch.finfo(scales.dtype).tiny)[:, None]
        lost = squared_norm(v).rsqrt_().mul_(t).clamp_(max=1)
        return torch.addcmul(v, v, lost[:, None], value=-1, out=out)

    def value(self, v: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        r"""Return R(T(v)) summed, ``sum_i t_i sum_B max(||v_B|| - t_i, 0)``.

        Examples
        --------
        >>> GroupPotential(block=1).value(torch.tensor([[[-3.0]]]), torch.tensor([1.0]))
        tensor(2., dtype=torch.float64)
        """
        norms = squared_norm(v).sqrt_().sub_(scales[:, None]).clamp_(min=0)
        return (norms.sum(1, dtype=torch.float64) * scales.double()).sum()

    def jacobian(self, v: torch.Tensor, scales: torch.Tensor) -> LinearMap:
        r"""Return ``w -> J w``: along v 1 and across it ``1 - t/n`` where n > t, else 0.

        Examples
        --------
        >>> v = torch.tensor([[[4.0], [0.0]]])
        >>> GroupPotential().jacobian(v, torch.tensor([1.0]))(torch.ones(1, 2, 1)).flatten()
        tensor([1.0000, 0.7500])
        """
        return radial_map(v, *_slopes(v, scales))

    def half_jacobian(self, v: torch.Tensor, scales: torch.Tensor) -> LinearMap:
        r"""Return ``w -> J^(1/2) w``, the symmetric square root of `jacobian`.

        Examples
        --------
        >>> v = torch.tensor([[[4.0], [0.0]]])
        >>> GroupPotential().half_jacobian(v, torch.tensor([3.0]))(torch.ones(1, 2, 1)).flatten()
        tensor([1.0000, 0.5000])
        """
        along, across = _slopes(v, scales)
        return radial_map(v, along, across.sqrt())


def _factor(square: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return the factor from ``n^2``, with a gradient that is finite at 0."""
    inverse = square.clamp(min=torch.finfo(square.dtype).tiny).rsqrt()
    return (1 - scales[:, None] * inverse).clamp(min=0)


def _slopes(v: torch.Tensor, scales: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    f = _factor(v.square().sum(1), scales)
    return (f > 0).to(f.dtype), f
