"""Accelerated proximal gradients with adaptive restart."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lowfield_recon.solvers.functionals import LeastSquares, inner, norm
from lowfield_recon.solvers.records import Callback, History, SolverResult

Prox = Callable[[torch.Tensor, float], torch.Tensor]
Penalty = Callable[[torch.Tensor], float]


def fista(
    smooth: LeastSquares,
    prox: Prox,
    *,
    initial: torch.Tensor,
    lipschitz: float,
    penalty: Penalty | None = None,
    iterations: int = 200,
    tolerance: float = 1e-5,
    restart: bool = True,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Minimise ``f(x) + g(x)`` with a smooth f and a proximable g.

    ``x+ = prox_{g/L}(v - grad f(v) / L)``, ``v = x+ + (t - 1)/t+ (x+ - x)``. The momentum restarts
    when ``<v - x+, x+ - x> > 0``. The residual that the tolerance is compared with is the relative
    length of the proximal gradient step, ``||v - x+|| / ||x+||``. Gradients flow through it where
    `initial` or the functionals require them.

    Parameters
    ----------
    smooth
        Smooth part f with its Gram.
    prox
        (v, tau) -> prox of tau * g.
    initial
        Start.
    lipschitz
        Upper bound L of the largest eigenvalue of the Gram.
    penalty
        x -> g(x); None leaves the objective out of the history.
    iterations
        Most iterations.
    tolerance
        Relative step to stop at.
    restart
        Whether to restart the momentum.
    callback
        Called after each iteration.

    Returns
    -------
        Solution and history.

    References
    ----------
    Beck A, Teboulle M. SIAM J Imaging Sci 2009;2:183-202. https://doi.org/10.1137/080716542
    O'Donoghue B, Candes E. Found Comput Math 2015;15:715-732.
    https://doi.org/10.1007/s10208-013-9150-3

    Examples
    --------
    >>> from lowfield_recon.solvers import shrink_modulus
    >>> f = LeastSquares(lambda x: x, torch.tensor([2.0, 0.5]))
    >>> fista(f, shrink_modulus, initial=torch.zeros(2), lipschitz=1.0).solution
    tensor([1., 0.])
    """
    history = History(iterations, tolerance, callback)
    step = 1.0 / lipschitz
    x = initial
    gram_x = smooth.gram(x)
    v, gram_v, t = x, gram_x, 1.0
    for _ in range(iterations):
        x_new = prox(torch.add(v, gram_v - smooth.rhs, alpha=-step), step)
        gram_new = smooth.gram(x_new)
        change = x_new - x
        with torch.no_grad():
            back = v - x_new
            residual = norm(back) / max(norm(x_new), torch.finfo(torch.float32).tiny)
            if restart and inner(back, change) > 0:
                t = 1.0
            value = None if penalty is None else smooth.value(x_new, gram_new) + penalty(x_new)
        t_new = 0.5 * (1 + (1 + 4 * t * t) ** 0.5)
        momentum = (t - 1) / t_new
        # The Gram is linear, so that of the extrapolated point costs no application.
        v = torch.add(x_new, change, alpha=momentum)
        gram_v = torch.add(gram_new, gram_new - gram_x, alpha=momentum)
        x, gram_x, t = x_new, gram_new, t_new
        if history.record(x, value, residual):
            break
    return history.result(x)
