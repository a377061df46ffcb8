"""Sparsity penalties l0, l1 and MCP on moduli, with their proximal operators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.functionals import shrink_modulus, squared_modulus

PenaltyKind = Literal["l0", "l1", "mcp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparsePenalty:
    r"""``psi(u) = sum_i p(|u_i|)``.

    l0: ``p(t) = 1`` where ``t != 0``; l1: ``p(t) = t``; MCP: ``p(t) = t - t^2 / (2 theta)`` up to
    theta and ``theta / 2`` beyond, so that it grows like l1 at zero and like l0 far from it.

    Parameters
    ----------
    kind
        Which one.
    theta
        Where MCP becomes constant, > 0; the others have none.

    Raises
    ------
    UsageError
        If theta of an MCP is not positive.

    References
    ----------
    Zhang CH. Nearly unbiased variable selection under minimax concave penalty. Ann Stat
    2010;38:894-942. https://doi.org/10.1214/09-AOS729

    Examples
    --------
    >>> penalty = SparsePenalty(kind="l0")
    >>> u = penalty.prox(torch.tensor([3.0, -0.5, 2.0]), 2.0)
    >>> u, penalty.value(u)
    (tensor([3., 0., 0.]), 1.0)
    """

    kind: PenaltyKind
    theta: float = 1.0

    def __post_init__(self) -> None:
        """Check theta."""
        if self.kind == "mcp" and not self.theta > 0:
            raise UsageError(f"theta: expected a number > 0 for mcp, got {self.theta}.")

    def value(self, u: torch.Tensor) -> float:
        """Return ``psi(u)``.

        Parameters
        ----------
        u
            Real or complex tensor.

        Returns
        -------
            The sum over all entries, added in double precision.
        """
        if self.kind == "l0":
            return float(torch.count_nonzero(u))
        modulus = _modulus(u)
        if self.kind == "mcp":
            inner = modulus.clamp(max=self.theta)
            modulus = inner - inner.square() / (2 * self.theta)
        return float(modulus.sum(dtype=torch.float64))

    def prox(self, v: torch.Tensor, t: float) -> torch.Tensor:
        r"""Return ``argmin_u t psi(u) + 1/2 ||u - v||^2``; the phase of a complex number stays.

        l0 keeps what exceeds ``sqrt(2 t)``; at the tie, where both answers are minimal, it gives 0.

        Parameters
        ----------
        v
            Real or complex tensor.
        t
            Weight >= 0; for MCP below theta.

        Returns
        -------
            A new tensor of the same shape.

        Raises
        ------
        UsageError
            If t is not below theta of an MCP.
        """
        if t == 0:
            return v.clone()
        if self.kind == "l0":
            return torch.where(_modulus(v) > math.sqrt(2 * t), v, torch.zeros((), dtype=v.dtype))
        if self.kind == "l1":
            return shrink_modulus(v, t)
        if t >= self.theta:
            raise UsageError(
                f"theta: the proximal operator of mcp needs theta > t, got {self.theta:g} and "
                f"{t:g}; enlarge theta or mu."
            )
        shrunk = shrink_modulus(v, t) / (1 - t / self.theta)
        return torch.where(_modulus(v) > self.theta, v, shrunk)


def _modulus(u: torch.Tensor) -> torch.Tensor:
    return squared_modulus(u).sqrt() if u.is_complex() else u.abs()
