"""The coefficients of all patches, updated block after block in the cache."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
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
    a step costs two products with C, and z is never stored: `aim` leaves ``z - C a^`` in the place
    of the w before, `step` the new w in its place. Each block of pixels runs through the whole
    step while it is in the cache.

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
        self._rest = torch.zeros_like(self.products)
        self._momentum = 0.0

    def _zeros(
        self, members: int, start: int, step: int, groups: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (self._factors.shape[1], members, min(start + step, groups) - start)
        return self._factors.new_zeros(shape), self._factors.new_zeros(shape)

    def aim(
        self,
        z: Iterable[tuple[slice, torch.Tensor]],
        *,
        momentum: float = 0.0,
        with_rest: bool = False,
    ) -> float:
        """Give z to the next step, which alone may follow, or another `aim` without momentum.

        Parameters
        ----------
        z
            ``U P_k x``: rows of U, and their part `(rows, planes, members, groups)`.
        momentum
            m of the next step.
        with_rest
            Whether to evaluate ``beta/2 ||z - C a||^2``.

        Returns
        -------
            ``beta/2 ||z - C a||^2``, or NaN where it was not asked for.
        """
        self._momentum = momentum
        values = []
        for rows, part in z:
            w, rest = self.products[rows], self._rest[rows]
            if with_rest:
                values.append(float((part - w).square_().sum(dtype=torch.float64)))
            if momentum:
                torch.lerp(rest, w, 1 + momentum, out=rest)
                torch.sub(part, rest, out=rest)
            else:
                torch.sub(part, w, out=rest)
        return 0.5 * self._regularizer.beta * math.fsum(values) if with_rest else math.nan

    def step(self, *, stretch: float = 1.0, with_value: bool = False) -> float:
        """Take the step that was aimed on all blocks.

        Parameters
        ----------
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
            place = self._rest[:, block.plane, :, block.groups]
            v = self._forward(block, place)
            if with_value:
                values.append(float(regularizer.potential.value(v, scales)))
            regularizer.potential.shrink(v, scales, out=v)
            block.now, block.before = v, block.now
            place.copy_((self._factors @ v.flatten(1)).view(place.shape))
        self.products, self._rest = self._rest, self.products
        return math.fsum(values) if with_value else math.nan

    def _forward(self, block: _Block, rest: torch.Tensor) -> torch.Tensor:
        """Return ``a^ + beta C^T (z - C a^)`` in the place of the coefficients before."""
        v = block.before
        if self._momentum:
            torch.lerp(v, block.now, 1 + self._momentum, out=v)
        else:
            v.copy_(block.now)
        v.view(v.shape[0], -1).addmm_(self._weighted, rest.flatten(1))
        return v

    def maps(self) -> Iterator[tuple[int, slice, torch.Tensor]]:
        """Return (plane, groups, coefficients `(K, members, groups)`) block after block."""
        for block in self._blocks:
            yield block.plane, block.groups, block.now
