"""The coefficients of all patches, updated block after block in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

_BLOCK_VALUES = 196_608
"""Coefficients of a block: two of them and what is between fit into a core's cache."""


@dataclass(slots=True, eq=False)
class _Block:
    """Where a block sits, and its coefficients now and before, `(K, members, groups)`."""

    plane: int
    groups: slice
    now: torch.Tensor
    before: torch.Tensor


class PatchCoefficients:
    r"""Coefficients a of every patch, ``(K, members, groups)`` for each plane, and ``w = C a``.

    A step is ``a <- T(a^ - beta C^T (C a^ - z))`` with ``a^ = a + m (a - a_before)``: the unit step
    is admissible since ``beta ||C||^2 < 1``. ``C a^`` is extrapolated from the last two w, so that
    a step costs two products with C. Each block of pixels runs through the whole step while it is
    in the cache.

    Parameters
    ----------
    regularizer
        C, the scales, beta and the potential.
    planes, members, groups
        How many there are.
    """

    def __init__(
        self, regularizer: PatchRegularizer, planes: int, members: int, groups: int
    ) -> None:
        """Start with zeros."""
        self._regularizer = regularizer
        factors = regularizer.factors
        self._factors = factors.contiguous()
        self._weighted = (regularizer.beta * factors.mT).contiguous()
        n_atoms = factors.shape[1]
        step = max(1, _BLOCK_VALUES // (n_atoms * members))
        self._blocks = [
            _Block(plane, slice(i, min(i + step, groups)), *self._zeros(members, i, step, groups))
            for plane in range(planes)
            for i in range(0, groups, step)
        ]
        self.products = factors.new_zeros((factors.shape[0], planes, members, groups))
        """w = C a, `(r, planes, members, groups)`."""
        self._products_before = torch.zeros_like(self.products)

    def _zeros(
        self, members: int, start: int, step: int, groups: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (self._factors.shape[1], members, min(start + step, groups) - start)
        return self._factors.new_zeros(shape), self._factors.new_zeros(shape)

    def step(
        self,
        z: torch.Tensor,
        *,
        momentum: float = 0.0,
        stretch: float = 1.0,
        with_value: bool = False,
    ) -> float:
        """Take one step on all blocks.

        Parameters
        ----------
        z
            ``U P_k x``, `(r, planes, members, groups)`.
        momentum
            m.
        stretch
            Factor of the scales of the potential, 1 for the problem itself.
        with_value
            Whether to evaluate ``sum R(a)`` after the step.

        Returns
        -------
            ``sum R(a)``, or NaN where it was not asked for.
        """
        regularizer = self._regularizer
        scales = regularizer.scales * stretch
        values = []
        for block in self._blocks:
            v = self._forward(block, z, momentum)
            if with_value:
                values.append(float(regularizer.potential.value(v, scales)))
            regularizer.potential.shrink(v, scales, out=v)
            block.now, block.before = v, block.now
            place = self._products_before[:, block.plane, :, block.groups]
            place.copy_((self._factors @ v.flatten(1)).view(place.shape))
        self.products, self._products_before = self._products_before, self.products
        return math.fsum(values) if with_value else math.nan

    def _forward(self, block: _Block, z: torch.Tensor, momentum: float) -> torch.Tensor:
        """Return ``a^ + beta C^T (z - C a^)`` in the place of the coefficients before."""
        place = (slice(None), block.plane, slice(None), block.groups)
        w = self.products[place]
        v = block.before
        if momentum:
            torch.lerp(v, block.now, 1 + momentum, out=v)
            w = torch.lerp(self._products_before[place], w, 1 + momentum)
        else:
            v.copy_(block.now)
        rest = torch.sub(z[place], w).flatten(1)
        v.view(v.shape[0], -1).addmm_(self._weighted, rest)
        return v

    def rest(self, z: torch.Tensor) -> float:
        """Return ``beta/2 ||z - C a||^2``."""
        total = math.fsum(
            float((plane_z - plane_w).square().sum(dtype=torch.float64))
            for plane_z, plane_w in zip(z, self.products, strict=True)
        )
        return 0.5 * self._regularizer.beta * total

    def maps(self) -> Iterator[tuple[int, slice, torch.Tensor]]:
        """Return (plane, groups, coefficients `(K, members, groups)`) block after block."""
        for block in self._blocks:
            yield block.plane, block.groups, block.now
