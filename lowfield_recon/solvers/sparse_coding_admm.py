"""Convolutional sparse coding by ADMM with an exact linear solve."""

from __future__ import annotations

import torch

from lowfield_recon.solvers.records import Callback, History
from lowfield_recon.solvers.sparse_coding_problem import (
    SparseCodes,
    SparseCodingProblem,
    finished,
)
from lowfield_recon.solvers.sparse_coding_steps import inner_by_plane, relative_length, shrink

_OVER_RELAXATION = 1.8
_POWER_PER_PENALTY = 20.0


def sparse_codes_admm(
    problem: SparseCodingProblem,
    *,
    iterations: int = 64,
    penalty_scale: float = 1.0,
    tolerance: float = 0.0,
    objective_every: int = 0,
    callback: Callback | None = None,
) -> SparseCodes:
    r"""Minimise by over-relaxed ADMM, whose linear solve is a rank-one update per frequency.

    With ``rho_k`` in proportion to the mean of Lambda_k, ``v = prox_{Lambda/rho}(a)``,
    ``w = 2 v - a`` and ``a+ = a + alpha (s - v)``; the exact minimiser over s is
    ``s_k = w_k + F^H [conj(d_k) q] / rho_k`` with
    ``q = (b - g sum_k d_k w_k) / (1 + g sum_k |d_k|^2 / rho_k)``. An iteration costs as much as a
    gradient step and is that step with a length of its own for each frequency. The residual is
    ``||s - v|| / ||v||``.

    Parameters
    ----------
    problem
        Data, dictionary and weights.
    iterations
        Most iterations.
    penalty_scale
        Factor of the mean of rho, which is ``mean_w sum_k |d_k(w)|^2 / 20``.
    tolerance
        Residual of a plane to stop it at; 0 does all iterations.
    objective_every
        Evaluate the objective every so many iterations (one more transform per filter); 0 never.
    callback
        Called after each iteration.

    Returns
    -------
        Codes and history.

    Raises
    ------
    TypeError
        If the eigenvalues of A^H A are not known.

    References
    ----------
    Eckstein J, Bertsekas DP. Math Program 1992;55:293-318. https://doi.org/10.1007/BF01581204
    Wohlberg B. Efficient algorithms for convolutional sparse representations. IEEE Trans Image
    Process 2016;25:301-315. https://doi.org/10.1109/TIP.2015.2495260

    Examples
    --------
    >>> from lowfield_recon.solvers.convolutional_model import filter_spectra
    >>> y = torch.full((1, 4, 4), 2.0, dtype=torch.complex64)
    >>> problem = SparseCodingProblem(
    ...     spectra=filter_spectra(torch.ones(1, 1, 1), (4, 4)), eigenvalues=torch.ones(4, 4),
    ...     rhs=torch.fft.fft2(y), energy=32.0, weights=torch.full((1, 1, 1, 1), 0.5))
    >>> round(float(sparse_codes_admm(problem).codes[0, 0, 0, 0].real), 4)
    1.5
    """
    spectra, weights = problem.spectra, problem.weights
    g = problem.eigenvalues
    if g is None:
        raise TypeError("sparse_codes_admm needs the Fourier eigenvalues of A^H A; use FISTA.")
    rho = _penalties(problem, penalty_scale)
    inverse = 1.0 + g * _weighted_power(problem, rho)
    inverse = inverse.reciprocal_()
    state = problem.rhs.new_zeros(spectra.values.shape[0], *problem.rhs.shape)
    image = torch.zeros_like(problem.rhs)
    history, done = History(iterations, tolerance, callback), 0
    chunk = spectra.chunk(problem.rhs.shape[0])
    relaxation = rho.new_full((problem.rhs.shape[0], 1, 1), _OVER_RELAXATION)
    for done in range(1, iterations + 1):
        q = inverse * (problem.rhs - g * image)
        image = torch.zeros_like(image)
        gap, length = rho.new_zeros(2, problem.rhs.shape[0])
        for k in range(0, state.shape[0], chunk):
            d, a, r = spectra.values[k : k + chunk], state[k : k + chunk], rho[k : k + chunk]
            threshold = weights[k : k + chunk] / r
            v = shrink(a, threshold, problem.penalty)
            change = torch.fft.ifft2(d.conj() * q).div_(r).add_(v).sub_(a)
            a.addcmul_(change, relaxation)
            if tolerance > 0:
                gap += inner_by_plane(change, change)
                length += inner_by_plane(v, v)
            v = shrink(a, threshold, problem.penalty)
            image += (torch.fft.fft2(v.mul_(2).sub_(a)) * d).sum(dim=0)
        value = None
        if objective_every and done % objective_every == 0:
            value = problem.objective(shrink(state, weights / rho, problem.penalty))
        left = relative_length(gap, length, where_zero=1.0)
        if tolerance > 0:
            # A plane that has arrived stays as it is.
            left = torch.where(relaxation.flatten() > 0, left, 0.0)
            relaxation = relaxation * (left > tolerance).to(rho)[:, None, None]
        if history.record(state, value, float(left.max())):
            break
    return finished(shrink(state, weights / rho, problem.penalty), done, history)


def _penalties(problem: SparseCodingProblem, penalty_scale: float) -> torch.Tensor:
    """Return rho_k of each plane, real `(K, planes, 1, 1)`."""
    planes = problem.rhs.shape[0]
    shape = (problem.weights.shape[0], planes, -1)
    mean = problem.weights.expand(-1, planes, -1, -1).reshape(shape).mean(dim=-1)
    mean_rho = penalty_scale * problem.spectra.power.mean() / _POWER_PER_PENALTY
    return (mean * (mean_rho / mean.mean(dim=0)))[:, :, None, None]


def _weighted_power(problem: SparseCodingProblem, rho: torch.Tensor) -> torch.Tensor:
    """Return ``sum_k |d_k(w)|^2 / rho_k`` of each plane."""
    total = torch.zeros_like(problem.rhs.real)
    for d, r in zip(problem.spectra.values, rho, strict=True):
        total += d.abs().square() / r
    return total
