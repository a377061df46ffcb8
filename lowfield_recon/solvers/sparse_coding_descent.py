"""Convolutional sparse coding by sweeps over the filters, with extrapolation between sweeps."""

from __future__ import annotations

import torch

from lowfield_recon.solvers.convolutional_model import FilterSpectra
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

_LONG_STEP = 1.9
# Below 4/3, where accelerated steps stay stable along one filter that nothing else balances.
_SAFE_STEP = 1.3
_TINY = torch.finfo(torch.float32).tiny
# Between the taps and off both diagonals, so that no two different filters rank alike.
_PLACE = (0.37, 0.61)


def sparse_codes_descent(
    problem: SparseCodingProblem,
    *,
    iterations: int = 64,
    momentum: Momentum = "nesterov",
    restart: bool = True,
    tolerance: float = 0.0,
    objective_every: int = 0,
    callback: Callback | None = None,
) -> SparseCodes:
    r"""Minimise over one filter's codes after the other, each time with the newest residual.

    One iteration is a sweep ``s_k+ = prox(z_k + tau_k F^H [conj(d_k) r])``,
    ``r <- r - g d_k F (s_k+ - z_k)`` over all filters from ``z = s + w_n (s - s_before)``, with
    ``tau_k = 1.9 / max_w g |d_k|^2``: one filter has but a small part of the spectrum of all, so
    that its step is many times longer than that of a joint gradient step, at the same 2 K
    transforms. Without extrapolation no step below 2 / L_k raises the objective. With it, a
    plane may swing: where a sweep takes the image back by more than the sweep before brought it on,
    the extrapolation starts anew, with 1.3 in place of 1.9 from then on. Where A^H A is not
    diagonal in Fourier space, r is exact at the start of a sweep and follows the bound
    ``g = ||A||^2`` within it. The order of the sweep follows the filters themselves, not the order
    in which they are given, so that neither that order nor the filters' signs matter.

    Parameters
    ----------
    problem
        Data, dictionary and weights.
    iterations
        Most iterations.
    momentum
        Rule of the extrapolation, see `sparse_codes_fista`.
    restart
        Whether the extrapolation of a plane starts anew when it points uphill, as seen in the
        image A D s.
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
    Tseng P. Convergence of a block coordinate descent method for nondifferentiable minimization.
    J Optim Theory Appl 2001;109:475-494. https://doi.org/10.1023/A:1017501703105
    O'Donoghue B, Candes E. Found Comput Math 2015;15:715-732.
    https://doi.org/10.1007/s10208-013-9150-3

    Examples
    --------
    >>> from lowfield_recon.solvers.convolutional_model import filter_spectra
    >>> y = torch.full((1, 4, 4), 2.0, dtype=torch.complex64)
    >>> problem = SparseCodingProblem(
    ...     spectra=filter_spectra(torch.ones(1, 1, 1), (4, 4)), eigenvalues=torch.ones(4, 4),
    ...     rhs=torch.fft.fft2(y), energy=32.0, weights=torch.full((1, 1, 1, 1), 0.5))
    >>> round(float(sparse_codes_descent(problem).codes[0, 0, 0, 0].real), 4)
    1.5
    """
    filters, weights, bound = problem.spectra.values, problem.weights, problem.bound()
    order, steps = sweep_order(problem.spectra), _steps(problem, bound)
    image = torch.zeros_like(problem.rhs)
    codes = image.new_zeros(filters.shape[0], *image.shape)
    previous, image_previous, change_previous = torch.zeros_like(codes), image, image
    safe, w = steps * (_SAFE_STEP / _LONG_STEP), steps.new_zeros(image.shape[0], 1, 1)
    uphill = torch.zeros(image.shape[0], dtype=torch.bool, device=image.device)
    history, done = History(iterations, tolerance, callback), 0
    counter = Extrapolations(momentum, [0] * image.shape[0])
    for done in range(1, iterations + 1):
        start = image + w * (image - image_previous)
        residual, change = problem.rhs - problem.normal(start), torch.zeros_like(image)
        step_length, length = w.new_zeros(2, image.shape[0])
        for k in order:
            d, s, old, tau = filters[k], codes[k], previous[k], steps[k]
            z = extrapolated(old, s, w)
            moved = torch.fft.ifft2(d.conj() * residual).mul_(tau).add_(z)
            new = shrink(moved, tau * weights[k], problem.penalty)
            old.copy_(new)  # it is no longer needed
            z = new.sub_(z)
            if tolerance > 0:
                step_length += inner_by_plane(z, z)
                length += inner_by_plane(old, old)
            seen = torch.fft.fft2(z).mul_(d)
            change += seen
            residual -= seen.mul_(bound)
        codes, previous = previous, codes
        image_previous, image = image, start + change
        both = problem.shared(inner_by_plane(bound * (change + change_previous), change_previous))
        overshoots, change_previous = both < 0, change
        if restart:
            uphill = problem.shared(inner_by_plane(bound * change, image - image_previous)) < 0
        w = counter.advance(overshoots | uphill).to(w)
        steps = torch.where(overshoots[:, None, None], steps.minimum(safe), steps)
        relative = relative_length(
            problem.shared(step_length), problem.shared(length), where_zero=float(tolerance == 0)
        )
        if tolerance > 0:
            # A plane that has arrived stays as it is: no step, no extrapolation.
            moves = (relative > tolerance).to(w)[:, None, None]
            steps, w = steps * moves, w * moves
        value = None
        if objective_every and done % objective_every == 0:
            value = problem.objective(codes)
        if history.record(codes, value, float(relative.max())):
            break
    return finished(codes, done, history)


def sweep_order(spectra: FilterSpectra) -> list[int]:
    """Return an order of the filters that depends on each filter alone and not on its sign.

    Parameters
    ----------
    spectra
        Spectra of the filters.

    Returns
    -------
        Indices, after the modulus of each filter between its taps; the largest first.
    """
    n_y, n_x = spectra.values.shape[-2:]
    y, x = (
        torch.exp(2j * torch.pi * place * torch.fft.fftfreq(n, dtype=torch.float64))
        for place, n in zip(_PLACE, (n_y, n_x), strict=True)
    )
    phase = (y[:, None] * x[None, :]).to(spectra.values)
    ranks = torch.stack([(d * phase).sum().abs() for d in spectra.values])
    order: list[int] = torch.argsort(ranks, descending=True, stable=True).tolist()
    return order


def _steps(problem: SparseCodingProblem, bound: torch.Tensor) -> torch.Tensor:
    """Return tau of each filter and plane, real `(K, planes, 1, 1)`."""
    largest = [
        (bound * d.abs().square()).amax(dim=(-2, -1)).expand(problem.rhs.shape[0])
        for d in problem.spectra.values
    ]
    return (_LONG_STEP / torch.stack(largest).clamp(min=_TINY))[:, :, None, None]
