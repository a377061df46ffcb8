r"""The adjoint system of a fixed point ``a = T(v)``, ``v = a - grad f(a)``.

With J the derivative of T at v, B the Hessian of f and g the gradient of a loss in a, it is

    ``z = g + (I - B) J z``.

J is symmetric and has no negative eigenvalue, so that with ``u = J^(1/2) z``

    ``(I - J^(1/2) (I - B) J^(1/2)) u = J^(1/2) g``, ``z = g + (I - B) J^(1/2) u``:

a symmetric system, positive where a is a minimiser, for conjugate gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from lowfield_recon.learning.patch_reduced import ReducedProblem, inner_products

Backward = Literal["cg", "anderson"]
"""How the adjoint system is solved: conjugate gradients or Anderson acceleration."""

_MEMORY = 5
_RIDGE = 1e-12
_SMALLEST_PIVOT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adjoint:
    """Adjoint variable of some planes, and per plane how it was found."""

    z: torch.Tensor
    """z, `(K, members, planes, groups)`."""

    iterations: torch.Tensor
    """Iterations, `(planes,)`."""

    converged: torch.Tensor
    """Planes that reached the tolerance, bool, `(planes,)`."""

    is_negative: torch.Tensor
    """Planes with a direction of negative curvature, bool, `(planes,)`."""

    is_worse: torch.Tensor
    """Planes that no method could solve, bool, `(planes,)`."""


@torch.no_grad()
def solve_adjoint(
    problem: ReducedProblem,
    coefficients: torch.Tensor,
    gradient: torch.Tensor,
    *,
    method: Backward = "cg",
    tolerance: float = 1e-4,
    iterations: int = 500,
    planes_at_once: int | None = None,
) -> Adjoint:
    """Solve ``z = g + (I - B) J z``.

    Where conjugate gradients break down, because the coefficients are no minimiser, Anderson
    acceleration begins anew.

    Parameters
    ----------
    problem
        The problem.
    coefficients
        a, its fixed point, `(K, members, planes, groups)`.
    gradient
        g, of the same shape.
    method
        How.
    tolerance
        Relative residual to stop at.
    iterations
        Most iterations.
    planes_at_once
        Planes that are computed together; None takes one on the CPU, and all of them elsewhere.

    Returns
    -------
        z, and how it was found.

    References
    ----------
    Walker HF, Ni P. Anderson acceleration for fixed-point iterations. SIAM J Numer Anal
    2011;49:1715-1735. https://doi.org/10.1137/10078356X

    Examples
    --------
    >>> from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings
    >>> from lowfield_recon.learning.patch_reduced import reduced_problem
    >>> prior = PatchPrior(PatchPriorSettings(patch=3, atoms=4, free_atoms=4))
    >>> problem = reduced_problem(torch.ones(1, 8, 8), prior.regularizer())
    >>> a = problem.zeros()
    >>> bool(torch.equal(solve_adjoint(problem, a, a + 1).z, a + 1))
    True
    """
    n_planes = gradient.shape[2]
    at_once = planes_at_once or (1 if gradient.device.type == "cpu" else n_planes)
    parts = []
    for start in range(0, n_planes, at_once):
        planes = slice(start, start + at_once)
        system = AdjointSystem(
            problem.only(planes), coefficients[:, :, planes], gradient[:, :, planes]
        )
        parts.append(_solve(system, method, tolerance, iterations))
    return Adjoint(
        z=torch.cat([part.z for part in parts], dim=2),
        iterations=torch.cat([part.iterations for part in parts]),
        converged=torch.cat([part.converged for part in parts]),
        is_negative=torch.cat([part.is_negative for part in parts]),
        is_worse=torch.cat([part.is_worse for part in parts]),
    )


class AdjointSystem:
    r"""The adjoint system of some planes, ``z = g + (I - B) J z``.

    Parameters
    ----------
    problem
        Problem of these planes.
    coefficients
        a, `(K, members, planes, groups)`.
    gradient
        g, of the same shape.
    """

    def __init__(
        self, problem: ReducedProblem, coefficients: torch.Tensor, gradient: torch.Tensor
    ) -> None:
        self.problem = problem
        self.gradient = gradient
        v = problem.forward_step(coefficients).flatten(2)
        regularizer = problem.regularizer
        self._half = regularizer.potential.half_jacobian(v, regularizer.scales)

    def half(self, w: torch.Tensor) -> torch.Tensor:
        """Return ``J^(1/2) w``."""
        return self._half(w.flatten(2)).reshape(w.shape)

    def fixed_point(self, z: torch.Tensor) -> torch.Tensor:
        """Return ``g + (I - B) J z``."""
        return self.gradient + self.problem.without_curvature(self.half(self.half(z)))

    def symmetric(self, u: torch.Tensor) -> torch.Tensor:
        """Return ``(I - J^(1/2) (I - B) J^(1/2)) u``."""
        return u - self.half(self.problem.without_curvature(self.half(u)))

    def inverse_diagonal(self) -> torch.Tensor:
        """Return a positive diagonal close to that of the symmetric system, inverted."""
        jacobian = torch.empty_like(self.gradient)
        for member in range(jacobian.shape[1]):
            unit = torch.zeros_like(jacobian)
            unit[:, member] = 1
            jacobian[:, member] = self.half(unit).square().sum(1)
        curvature = self.problem.curvature_diagonal()[:, None, None, None]
        return 1 / (1 - jacobian * (1 - curvature)).clamp(min=_SMALLEST_PIVOT)


def _solve(system: AdjointSystem, method: Backward, tolerance: float, iterations: int) -> Adjoint:
    """Solve as asked; where conjugate gradients break down, by Anderson acceleration."""
    if method == "anderson":
        return _anderson(system, tolerance, iterations)
    found = _conjugate_gradients(system, tolerance, iterations)
    lost = found.is_worse
    if not bool(lost.any()):
        return found
    other = _anderson(system, tolerance, iterations)
    return Adjoint(
        z=torch.where(lost[None, None, :, None].to(found.z.device), other.z, found.z),
        iterations=torch.where(lost, found.iterations + other.iterations, found.iterations),
        converged=torch.where(lost, other.converged, found.converged),
        is_negative=found.is_negative,
        is_worse=lost & other.is_worse,
    )


def _conjugate_gradients(system: AdjointSystem, tolerance: float, iterations: int) -> Adjoint:
    """Solve the symmetric system; a plane rests once it has converged.

    Directions of negative curvature, where a is no minimiser, are noted and passed through.
    """
    residual = system.half(system.gradient)
    diagonal = system.inverse_diagonal()
    size = inner_products(residual, residual)
    goal = tolerance**2 * size
    u = torch.zeros_like(residual)
    direction = diagonal * residual
    product = inner_products(residual, direction)
    active = product > 0
    negative = torch.zeros_like(active)
    counts = torch.zeros(active.shape, dtype=torch.int64)
    for _ in range(iterations):
        if not bool(active.any()):
            break
        counts += active.cpu()
        image = system.symmetric(direction)
        curvature = inner_products(direction, image)
        negative |= active & (curvature < 0)
        length = torch.where(active, product / curvature, 0.0)[:, None]
        u = u + length * direction
        residual = residual - length * image
        active &= inner_products(residual, residual) > goal
        image = diagonal * residual
        before, product = product, inner_products(residual, image)
        direction = image + torch.where(active, product / before, 0.0)[:, None] * direction
    z = system.gradient + system.problem.without_curvature(system.half(u))
    worse = ~(inner_products(residual, residual) <= size)
    return Adjoint(
        z=z,
        iterations=counts,
        converged=~(active | worse).cpu(),
        is_negative=negative.cpu(),
        is_worse=worse.cpu(),
    )


def _anderson(system: AdjointSystem, tolerance: float, iterations: int) -> Adjoint:
    """Accelerate ``z <- g + (I - B) J z`` with the last five differences."""
    z = system.gradient
    goal = tolerance**2 * inner_products(z, z)
    values: list[torch.Tensor] = []
    residuals: list[torch.Tensor] = []
    counts = torch.zeros(z.shape[2], dtype=torch.int64)
    converged = goal == 0
    for _ in range(iterations):
        if bool(converged.all()):
            break
        counts += ~converged.cpu()
        value = system.fixed_point(z)
        residual = value - z
        converged = inner_products(residual, residual) <= goal
        values, residuals = [*values[-_MEMORY:], value], [*residuals[-_MEMORY:], residual]
        z = _mixed(values, residuals)
    no = torch.zeros(z.shape[2], dtype=torch.bool)
    return Adjoint(z=z, iterations=counts, converged=converged.cpu(), is_negative=no, is_worse=no)


def _mixed(values: list[torch.Tensor], residuals: list[torch.Tensor]) -> torch.Tensor:
    """Return the combination of the values whose residual is smallest, weights adding up to 1."""
    if len(values) == 1:
        return values[0]
    steps = [later - earlier for earlier, later in pairwise(residuals)]
    gram = torch.stack([torch.stack([inner_products(a, b) for a in steps], -1) for b in steps], -1)
    sides = torch.stack([inner_products(step, residuals[-1]) for step in steps], -1)
    gram, sides = gram.double(), sides.double()
    scale = gram.diagonal(dim1=-2, dim2=-1).clamp(min=torch.finfo(gram.dtype).tiny).sqrt()
    gram = gram / (scale[:, :, None] * scale[:, None, :])
    gram = gram + _RIDGE * torch.eye(len(steps), dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram, sides / scale) / scale
    mixed = values[-1]
    for weight, (earlier, later) in zip(weights.unbind(-1), pairwise(values), strict=True):
        mixed = mixed - weight.to(mixed.dtype)[:, None] * (later - earlier)
    return mixed
