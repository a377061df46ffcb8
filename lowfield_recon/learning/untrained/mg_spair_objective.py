"""What `mg-spair` minimises: data, coupling of image and sparse coefficients, penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.solvers.functionals import inner
from lowfield_recon.solvers.sparse_penalties import SparsePenalty

Apply = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """An image x and what of it the objective needs."""

    image: torch.Tensor
    """x."""

    residual: torch.Tensor
    """A x - y."""

    coefficients: torch.Tensor | None
    """B x, or None where there is no sparse term."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The summands of the objective."""

    misfit: float
    """1/2 ||A x - y||^2"""

    coupling: float = 0.0
    """mu/2 ||B x - u||^2"""

    penalty: float = 0.0
    """lambda psi(u)"""

    @property
    def total(self) -> float:
        """Their sum."""
        return self.misfit + self.coupling + self.penalty


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitObjective:
    r"""``F(x, u) = 1/2 ||A x - y||^2 + mu/2 ||B x - u||^2 + lambda psi(u)``.

    Without `penalty` only the first term is there.
    """

    forward: Apply
    """x -> A x."""

    adjoint: Apply
    """r -> A^H r, in the domain of the image."""

    data: torch.Tensor
    """y."""

    transform: LinearOperator
    """B."""

    coupling: float
    """mu, > 0 where there is a penalty."""

    penalty: SparsePenalty | None
    """psi, or None for a plain fit."""

    weight: float = 0.0
    """lambda."""

    relaxation: float = 1.0
    """a in (0, 1]."""

    @torch.no_grad()
    def at(self, image: torch.Tensor) -> Point:
        """Return the point of an image; `image` keeps the graph that it has."""
        x = image.detach()
        coefficients = None
        if self.penalty is not None:
            (coefficients,) = self.transform(x)
        return Point(image, self.forward(x) - self.data, coefficients)

    def sparse_step(self, point: Point, u: torch.Tensor | None) -> torch.Tensor | None:
        r"""Return ``argmin_v lambda psi(v) + mu/2 ||v - B x||^2 + mu (1-a)/(2a) ||v - u||^2``.

        It is ``prox_{a lambda/mu}(a B x + (1-a) u)``; with a < 1 the last term makes the objective
        fall by ``mu (1-a)/(2a) ||u_+ - u||^2`` at least.

        Parameters
        ----------
        point
            Where x stands.
        u
            The coefficients so far; None counts as B x.

        Returns
        -------
            The new coefficients, or None without penalty.

        References
        ----------
        Attouch H et al. Proximal alternating minimization and projection methods for nonconvex
        problems. Math Oper Res 2010;35:438-457. https://doi.org/10.1287/moor.1100.0449
        """
        if self.penalty is None or point.coefficients is None:
            return None
        v = point.coefficients
        a = self.relaxation
        if u is not None and a < 1:
            v = torch.lerp(u, v, a)
        return self.penalty.prox(v, a * self.weight / self.coupling)

    def parts(self, point: Point, u: torch.Tensor | None, penalty: float = 0.0) -> Parts:
        """Return the summands at a point and u; `penalty` is ``lambda psi(u)``, known from before.

        Without u the last two are zero.
        """
        misfit = 0.5 * _square(point.residual)
        if u is None or point.coefficients is None:
            return Parts(misfit)
        return Parts(misfit, 0.5 * self.coupling * _square(point.coefficients - u), penalty)

    def penalty_of(self, u: torch.Tensor | None) -> float:
        """Return ``lambda psi(u)``."""
        return 0.0 if u is None or self.penalty is None else self.weight * self.penalty.value(u)

    def gradient(self, point: Point, u: torch.Tensor | None) -> torch.Tensor:
        """Return ``A^H (A x - y) + mu B^H (B x - u)``, the gradient by x."""
        total = self.adjoint(point.residual)
        if u is not None and point.coefficients is not None:
            (back,) = self.transform.adjoint(point.coefficients - u)
            total = total + self.coupling * back
        return total.to(point.image.dtype)


def _square(x: torch.Tensor) -> float:
    return inner(x, x)
