r"""Potentials of patch coefficients, known through their proximal operators with unit step.

A potential R is radial: it sees the norm n of the coefficients that belong together, its `members`,
and ``prox_R(v) = T(v) = v factor(n)``. No step can be chosen: the power potential is defined by T
itself, and the proximal operator of a multiple of R has no such form.

Coefficients stand as `(K, members, groups)`, real: one member for a real pixel, two (real and
imaginary part) for a complex one, four for a real block of 2x2 and eight for a complex one. So T
acts on the modulus, and a global phase of the image passes through it.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
Moreau JJ. Proximité et dualité dans un espace hilbertien. Bull Soc Math France 1965;93:273-299.
https://doi.org/10.24033/bsmf.1625
"""

from __future__ import annotations

from typing import Protocol

import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.solvers.patch_potential_group import GroupPotential
from lowfield_recon.solvers.patch_potential_power import PowerPotential
from lowfield_recon.solvers.patch_potential_radial import LinearMap

__all__ = ["GroupPotential", "LinearMap", "Potential", "PowerPotential", "make_potential"]

_NAMES = {"power": "power", "group": "group", "l0norm": "power", "l1norm": "group"}


class Potential(Protocol):
    """R through its proximal operator with unit step, ``T(v) = v factor(||v||)``."""

    @property
    def name(self) -> str:
        """Name of the potential, as `make_potential` takes it."""
        ...

    @property
    def block(self) -> int:
        """Side of the square of pixels whose coefficients have one norm, 1 or 2."""
        ...

    def factor(self, norm: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return ``||T(v)|| / ||v||``, from 0 to 1; differentiable, also at 0.

        Parameters
        ----------
        norm
            n >= 0, `(K, groups)`.
        scales
            Scale of the potential for each atom, > 0, `(K,)`, in the unit of `norm`.

        Returns
        -------
            Factor, `(K, groups)`.
        """
        ...

    def shrink(
        self, v: torch.Tensor, scales: torch.Tensor, *, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return T(v); differentiable in `v` and `scales`, also at 0.

        Parameters
        ----------
        v
            Coefficients, real, `(K, members, groups)`.
        scales
            Scale of the potential for each atom, > 0, `(K,)`, in the unit of `v`.
        out
            Where to write the result, also `v` itself; not with autograd.

        Returns
        -------
            T(v), of the shape of `v`.
        """
        ...

    def value(self, v: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Return R(T(v)) summed over all coefficients, in closed form, accumulated in float64.

        Parameters
        ----------
        v
            What was shrunk (not the result), real, `(K, members, groups)`.
        scales
            Scale of the potential for each atom, > 0, `(K,)`, in the unit of `v`.

        Returns
        -------
            Scalar, float64.
        """
        ...

    def jacobian(self, v: torch.Tensor, scales: torch.Tensor) -> LinearMap:
        """Return ``w -> J w`` with J the Jacobian of T at v, symmetric and positive semidefinite.

        Parameters
        ----------
        v
            Where T is differentiated, real, `(K, members, groups)`.
        scales
            Scale of the potential for each atom, > 0, `(K,)`, in the unit of `v`.

        Returns
        -------
            The linear map, of and to the shape of `v`.
        """
        ...

    def half_jacobian(self, v: torch.Tensor, scales: torch.Tensor) -> LinearMap:
        """Return ``w -> J^(1/2) w``, the symmetric square root of `jacobian`, alike in its use."""
        ...


def make_potential(
    name: str, *, order: float | None = None, block: int | None = None
) -> PowerPotential | GroupPotential:
    """Return the potential of a name.

    Parameters
    ----------
    name
        `power` (NCPR; `l0norm` in the authors' files) or `group` (CPR; `l1norm` there).
    order
        g of the power potential, above 1. The group potential has none and does not read it: the
        authors' files of CPR hold one that nothing uses.
    block
        Side of the blocks of the group potential, 1 or 2; None is 2. The power potential couples
        no pixels and does not read it.

    Returns
    -------
        The potential.

    Raises
    ------
    UsageError
        If the name is unknown, the order of a power potential is missing or not above 1, or the
        block of a group potential is neither 1 nor 2.

    Examples
    --------
    >>> make_potential("l0norm", order=1.8)
    PowerPotential(order=1.8)
    """
    if name not in _NAMES:
        hint = nearest_name(name, tuple(_NAMES))
        raise UsageError(f"potential: {name!r} is not known. {hint}")
    if _NAMES[name] == "group":
        return GroupPotential(block=2 if block is None else block)
    if order is None:
        raise UsageError(
            "order: the power potential needs a number above 1, got none. Use 1.8 or 2, the "
            "published orders."
        )
    return PowerPotential(order=order)
