"""Convolutional sparse coding by accelerated proximal gradient steps."""

from __future__ import annotations

import torch

from lowfield_recon.solvers.records import Callback, History
from lowfield_recon.solvers.sparse_coding_problem import (
    SparseCodes,
    SparseCodingProblem,
    finished,
)
from lowfield_recon.solvers.sparse_coding_steps import (
    Extrapolations,
    Momentum,
    extrapolated,
    inner_by_plane,
    relative_length,
    shrink,
)

_TINY = torch.finfo(torch.float32).tiny


def sparse_codes_fista(
    problem: SparseCodingProblem,
    *,
    iterations: int = 64,
    momentum: Momentum = "chambolle-dossal",
    restart: bool = False,
    step: float | torch.Tensor | None = None,
    tolerance: float = 0.0,
    objective_every: int = 0,
    callback: Callback | None = None,
) -> SparseCodes:
    r"""Minimise by accelerated proximal gradient steps with the exact Lipschitz constant.

    ``s+ = prox(z - tau D^H (A^H A D z - b))``, ``z = s+ + w_n (s+ - s)`` with tau = 1/L unless
    given and ``w_n = n / (n + 4)`` (`"chambolle-dossal"`), the same one iteration later
    (`"delayed"`), ``n / (n + 3)`` (`"nesterov"`) or 0.

    Parameters
    ----------
    problem
        Data, dictionary and weights.
    iterations
        Most iterations.
    momentum
        Rule of the extrapolation.
    restart
        Whether n of a plane goes back to 0 when its momentum points uphill.
    step
        Step tau, one or `(planes,)`; None takes 1/L of each plane.
    tolerance
        Relative step ``||z - s+|| / ||s+||`` of a plane to stop it at; 0 does all iterations.
    objective_every
        Evaluate the objective every so many iterations (one more transform per filter); 0 never.
    callback
        Called after each iteration.

    Returns
    -------
        Codes and history.

    References
    ----------
    Chambolle A, Dossal C. J Optim Theory Appl 2015;166:968-982.
    https://doi.org/10.1007/s10957-015-0746-4
    O'Donoghue B, Candes E. Found Comput Math 2015;15:715-732.
    https://doi.org/10.1007/s10208-013-9150-3

    Examples
    --------
    >>> from lowfield_recon.solvers.convolutional_model import filter_spectra
    >>> y = torch.full((1, 4, 4), 2.0, dtype=torch.complex64)
    >>> problem = SparseCodingProblem(
    ...     spectra=filter_spectra(torch.ones(1, 1, 1), (4, 4)), eigenvalues=torch.ones(4, 4),
    ...     rhs=torch.fft.fft2(y), energy=32.0, weights=torch.full((1, 1, 1, 1), 0.5))
    >>> float(sparse_codes_fista(problem, iterations=1).codes[0, 0, 0, 0].real)
    1.5
    """
    spectra, weights, rhs = problem.spectra, problem.weights, problem.rhs
    tau = _steps(problem, step)
    codes = rhs.new_zeros(spectra.values.shape[0], *rhs.shape)
    previous, image, image_previous = torch.zeros_like(codes), torch.zeros_like(rhs), rhs * 0
    history, done, w = History(iterations, tolerance, callback), 0, torch.zeros_like(tau)
    counter, chunk = Extrapolations(momentum, [0] * rhs.shape[0]), spectra.chunk(rhs.shape[0])
    is_measured = restart or tolerance > 0
    for done in range(1, iterations + 1):
        # D is linear, so that the extrapolated image costs no transform.
        residual = tau * (rhs - problem.normal(image + w * (image - image_previous)))
        image_previous, image = image, torch.zeros_like(image)
        uphill, step_length, length = rhs.real.new_zeros(3, rhs.shape[0])
        for k in range(0, codes.shape[0], chunk):
            d, s, old = (t[k : k + chunk] for t in (spectra.values, codes, previous))
            z = extrapolated(old, s, w)
            correction = torch.fft.ifft2(d.conj() * residual)
            new = shrink(correction.add_(z), tau * weights[k : k + chunk], problem.penalty)
            if is_measured:
                back = z.sub_(new)
                uphill += inner_by_plane(back, new - s)
                step_length += inner_by_plane(back, back)
                length += inner_by_plane(new, new)
            old.copy_(new)  # it is no longer needed
            image += (torch.fft.fft2(new) * d).sum(dim=0)
        codes, previous = previous, codes
        w = counter.advance((problem.shared(uphill) > 0) & restart).to(w)
        moved = relative_length(
            problem.shared(step_length), problem.shared(length), where_zero=float(tolerance == 0)
        )
        if tolerance > 0:
            # A plane that has arrived stays as it is: no step, no extrapolation.
            moves = (moved > tolerance).to(tau)[:, None, None]
            tau, w = tau * moves, w * moves
        value = None
        if objective_every and done % objective_every == 0:
            value = problem.objective(codes)
        if history.record(codes, value, float(moved.max())):
            break
    return finished(codes, done, history)


def _steps(problem: SparseCodingProblem, step: float | torch.Tensor | None) -> torch.Tensor:
    """Return tau of each plane `(planes, 1, 1)`."""
    tau = 1.0 / problem.lipschitz().clamp(min=_TINY)
    if step is not None:
        tau = torch.as_tensor(step, dtype=tau.dtype, device=tau.device).expand_as(tau)
    return tau[:, None, None]
