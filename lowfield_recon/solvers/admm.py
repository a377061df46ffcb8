"""Alternating direction method of multipliers with a balanced penalty parameter."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.solvers.functionals import norm
from lowfield_recon.solvers.records import Callback, History, SolverResult

Solve = Callable[[torch.Tensor, float, torch.Tensor], torch.Tensor]
DualProjection = Callable[[torch.Tensor, float], torch.Tensor]
Objective = Callable[[torch.Tensor], float]


def admm(
    solve: Solve,
    rhs: torch.Tensor,
    transform: LinearOperator,
    dual_projection: DualProjection,
    *,
    initial: torch.Tensor,
    rho: float,
    relaxation: float = 1.7,
    objective: Objective | None = None,
    iterations: int = 100,
    tolerance: float = 1e-4,
    check_every: int = 5,
    balance_until: int = 50,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Minimise ``1/2 <x, H x> - Re <x, b> + g(K x)``.

    With ``z = K x`` and the scaled multiplier u: ``(H + rho K^H K) x = b + rho K^H (z - u)``, ``t =
    a K x + (1 - a) z + u``, ``u+ = t - prox_{g/rho}(t)``, ``z+ = t - u+``. The residual that the
    tolerance is compared with is the larger of the relative primal residual ``||K x - z|| / max(||K
    x||, ||z||)`` and the relative dual residual ``||K^H (z+ - z)|| / ||K^H u||``; rho follows their
    ratio for the first `balance_until` iterations. It also stops, as `"stagnation"`, when the
    objective changes by less than a hundredth of the tolerance, relative, at three checks in a row:
    single precision can keep the residuals from falling further.

    Parameters
    ----------
    solve
        (c, rho, x) -> solution of ``(H + rho K^H K) x = c``, started at x.
    rhs
        b.
    transform
        K.
    dual_projection
        (t, rho) -> ``t - prox_{g/rho}(t)``; may overwrite `t`. For a norm it is a projection.
    initial
        Start x.
    rho
        First penalty parameter, > 0.
    relaxation
        Over-relaxation a, 1 to below 2.
    objective
        x -> objective; None leaves it out of the history.
    iterations
        Most iterations.
    tolerance
        Relative residual to stop at.
    check_every
        Residuals and objective are computed every so many iterations, since they cost applications.
    balance_until
        Last iteration at which rho may change; after it the method converges by the standard
        theory.
    callback
        Called at each check.

    Returns
    -------
        Solution and history (one entry per check).

    References
    ----------
    Boyd S et al. Found Trends Mach Learn 2011;3:1-122. https://doi.org/10.1561/2200000016
    Wohlberg B. ADMM penalty parameter selection by residual balancing. arXiv 1704.06209

    Examples
    --------
    >>> from mrpro.operators import IdentityOp
    >>> b = torch.tensor([2.0, 0.5])
    >>> result = admm(
    ...     lambda c, rho, x: c / (1 + rho), b, IdentityOp(),
    ...     lambda t, rho: t.clamp(-1 / rho, 1 / rho),
    ...     initial=torch.zeros(2), rho=1.0, tolerance=1e-6,
    ... )
    >>> result.solution.round(decimals=4)
    tensor([1., 0.])
    """
    history = History(iterations, tolerance, callback)
    x = initial
    (z,) = transform(x)
    u = torch.zeros_like(z)
    done = 0
    for done in range(1, iterations + 1):
        (pulled,) = transform.adjoint(z - u)
        x = solve(rhs + rho * pulled, rho, x)
        (kx,) = transform(x)
        t = torch.add(u, kx, alpha=relaxation).add_(z, alpha=1 - relaxation)
        u = dual_projection(t.clone(), rho)
        z_old, z = z, t.sub_(u)
        if done % check_every and done < iterations:
            continue
        primal = norm(kx - z) / max(norm(kx), norm(z), torch.finfo(torch.float32).tiny)
        dual = _relative_dual(transform, z - z_old, u)
        value = None if objective is None else objective(x)
        if history.record(x, value, max(primal, dual)):
            break
        if _stagnates(history.objective, 0.01 * tolerance):
            history.reason = "stagnation"
            break
        if done <= balance_until:
            factor = min(max((primal / max(dual, 1e-12)) ** 0.5, 0.2), 5.0)
            if not 0.7 < factor < 1.5:
                rho *= factor
                u /= factor
    return history.result(x, iterations=done)


def _stagnates(objective: list[float], change: float) -> bool:
    """Whether the last three changes of the objective are all relatively smaller than `change`."""
    recent = objective[-4:]
    return len(recent) == 4 and all(abs(b - a) < change * abs(b) for a, b in pairwise(recent))


def _relative_dual(transform: LinearOperator, change: torch.Tensor, u: torch.Tensor) -> float:
    (pulled_change,) = transform.adjoint(change)
    (pulled_u,) = transform.adjoint(u)
    return norm(pulled_change) / max(norm(pulled_u), torch.finfo(torch.float32).tiny)
