"""Primal-dual hybrid gradients, for problems without a cheap linear solve."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.solvers.functionals import LeastSquares, norm
from lowfield_recon.solvers.records import Callback, History, SolverResult

DualProx = Callable[[torch.Tensor, float], torch.Tensor]
PrimalProx = Callable[[torch.Tensor, float], torch.Tensor]


def pdhg(
    smooth: LeastSquares,
    transform: LinearOperator,
    dual_prox: DualProx,
    *,
    initial: torch.Tensor,
    lipschitz: float,
    transform_norm: float,
    primal_prox: PrimalProx | None = None,
    penalty: Callable[[torch.Tensor], float] | None = None,
    step_ratio: float = 1.0,
    iterations: int = 300,
    tolerance: float = 1e-4,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Minimise ``f(x) + h(x) + g(K x)`` with f smooth, h and g proximable (the Condat-Vu form).

    ``x+ = prox_{tau h}(x - tau (grad f(x) + K^H p))``, ``p+ = prox_{sigma g*}(p + sigma K (2 x+ -
    x))`` with ``1/tau - sigma ||K||^2 = L / 2``, which is enough to converge. The residual that the
    tolerance is compared with is ``max(||x+ - x|| / ||x+||, ||p+ - p|| / ||p+||)``.

    Parameters
    ----------
    smooth
        Smooth part f with its Gram.
    transform
        K.
    dual_prox
        (p, sigma) -> prox of sigma g*; may overwrite `p`.
    initial
        Start x.
    lipschitz
        Upper bound L of the largest eigenvalue of the Gram.
    transform_norm
        Upper bound of ||K||.
    primal_prox
        (x, tau) -> prox of tau h, e.g. the projection onto nonnegative images.
    penalty
        x -> h(x) + g(K x); None leaves the objective out of the history.
    step_ratio
        sigma relative to ``L / ||K||^2``.
    iterations
        Most iterations.
    tolerance
        Relative change to stop at.
    callback
        Called after each iteration.

    Returns
    -------
        Solution and history.

    References
    ----------
    Chambolle A, Pock T. J Math Imaging Vis 2011;40:120-145.
    https://doi.org/10.1007/s10851-010-0251-1
    Condat L. J Optim Theory Appl 2013;158:460-479. https://doi.org/10.1007/s10957-012-0245-9

    Examples
    --------
    >>> from mrpro.operators import IdentityOp
    >>> f = LeastSquares(lambda x: x, torch.tensor([2.0, 0.5]))
    >>> result = pdhg(
    ...     f, IdentityOp(), lambda p, sigma: p.clamp(-1, 1),
    ...     initial=torch.zeros(2), lipschitz=1.0, transform_norm=1.0, tolerance=1e-6,
    ... )
    >>> result.solution.round(decimals=3)
    tensor([1., 0.])
    """
    history = History(iterations, tolerance, callback)
    tiny = torch.finfo(torch.float32).tiny
    sigma = step_ratio * lipschitz / transform_norm**2
    tau = 1.0 / (0.5 * lipschitz + sigma * transform_norm**2)
    x = initial
    (p,) = transform(torch.zeros_like(x))
    gram_x = smooth.gram(x)
    for _ in range(iterations):
        (pulled,) = transform.adjoint(p)
        x_new = x - tau * (gram_x - smooth.rhs + pulled)
        if primal_prox is not None:
            x_new = primal_prox(x_new, tau)
        (k_bar,) = transform(2 * x_new - x)
        p_new = dual_prox(p + sigma * k_bar, sigma)
        gram_x = smooth.gram(x_new)
        with torch.no_grad():
            residual = max(
                norm(x_new - x) / max(norm(x_new), tiny), norm(p_new - p) / max(norm(p_new), tiny)
            )
            value = None if penalty is None else smooth.value(x_new, gram_x) + penalty(x_new)
        x, p = x_new, p_new
        if history.record(x, value, residual):
            break
    return history.result(x)
