"""Preconditioned conjugate gradients for Hermitian positive definite systems."""

from __future__ import annotations

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.solvers.functionals import Apply
from lowfield_recon.solvers.records import Callback, History, SolverResult


def cg(
    operator: Apply,
    rhs: torch.Tensor,
    *,
    initial: torch.Tensor | None = None,
    preconditioner: Apply | None = None,
    iterations: int = 100,
    tolerance: float = 1e-6,
    batch_ndim: int = 0,
    constant: float = 0.0,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Solve ``H x = b`` with H Hermitian positive definite.

    It minimises ``phi(x) = 1/2 <x, H x> - Re <x, b> + constant``; with the residual ``r = b - H
    x``, ``phi(x) = constant - 1/2 Re <x, b + r>`` costs no extra application. The residual that the
    tolerance is compared with is ``||r|| / ||b||``, the largest of a batch. Differentiable by
    unrolling when `rhs` requires a gradient or `initial` does.

    Parameters
    ----------
    operator
        x -> H x.
    rhs
        Right-hand side b, real or complex.
    initial
        Start; None starts at zero, which saves one application.
    preconditioner
        r -> an approximation of H^-1 r, Hermitian positive definite.
    iterations
        Most iterations.
    tolerance
        Relative residual to stop at.
    batch_ndim
        Number of leading axes over which the system is a batch of independent ones.
    constant
        Added to the objective, e.g. ``1/2 ||y||^2``.
    callback
        Called after each iteration.

    Returns
    -------
        Solution and history.

    Raises
    ------
    DataError
        If the operator turns out not to be positive definite, or not finite.

    References
    ----------
    Hestenes MR, Stiefel E. J Res Natl Bur Stand 1952;49:409-436.
    https://doi.org/10.6028/jres.049.044

    Examples
    --------
    >>> cg(lambda x: 2 * x, torch.tensor([2.0, 4.0])).solution
    tensor([1., 2.])
    """
    dims = tuple(range(batch_ndim, rhs.ndim))
    history = History(iterations, tolerance, callback)
    in_place = not (torch.is_grad_enabled() and (rhs.requires_grad or _needs_grad(initial)))
    x = torch.zeros_like(rhs) if initial is None else initial.clone()
    r = rhs.clone() if initial is None else rhs - operator(x)
    b_norm2 = _dot(rhs, rhs, dims)
    if not bool((b_norm2 > 0).any()):
        history.reason = "tolerance"
        return history.result(torch.zeros_like(rhs))
    floor = torch.finfo(b_norm2.dtype).tiny
    relative = _dot(r, r, dims) / b_norm2.clamp(min=floor)
    p = rz = None
    for _ in range(iterations):
        z = r if preconditioner is None else preconditioner(r)
        rz_new = _dot(r, z, dims)
        # A finished system of a batch stands still, so that a batch equals its systems one by one.
        active = relative > tolerance**2
        if p is None or rz is None:
            p = z.clone()
        else:
            beta = torch.where(active, rz_new / torch.where(rz > 0, rz, 1), 0).to(rhs.dtype)
            p = p.mul_(beta).add_(z) if in_place else torch.addcmul(z, beta, p)
        rz = rz_new
        q = operator(p)
        pq = _dot(p, q, dims)
        if not bool((~active | (pq > 0)).all()):
            raise DataError(
                f"cg: <p, H p> = {float(pq.min()):.3g} after {len(history.residual)} iterations; "
                "expected a "
                "positive definite operator and finite numbers. Check the weight, or use double "
                "precision."
            )
        alpha = torch.where(active, rz / torch.where(active, pq, 1), 0).to(rhs.dtype)
        x = _axpy(x, alpha, p, in_place)
        r = _axpy(r, -alpha, q, in_place)
        relative = _dot(r, r, dims) / b_norm2.clamp(min=floor)
        objective = constant - 0.5 * float(_dot(x, rhs + r, dims).sum().detach())
        if history.record(x, objective, float(relative.max().detach()) ** 0.5):
            break
    return history.result(x)


def _needs_grad(x: torch.Tensor | None) -> bool:
    return x is not None and x.requires_grad


def _dot(a: torch.Tensor, b: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Return ``Re <a, b>`` over some trailing axes, kept as singletons."""
    if len(dims) == a.ndim:
        return torch.vdot(a.reshape(-1), b.reshape(-1)).real.reshape([1] * a.ndim)
    lead = a.shape[: a.ndim - len(dims)]
    dots: torch.Tensor = torch.linalg.vecdot(a.reshape(*lead, -1), b.reshape(*lead, -1))
    return dots.real.reshape(*lead, *([1] * len(dims)))


def _axpy(x: torch.Tensor, alpha: torch.Tensor, p: torch.Tensor, in_place: bool) -> torch.Tensor:
    return x.addcmul_(alpha, p) if in_place else torch.addcmul(x, alpha, p)
