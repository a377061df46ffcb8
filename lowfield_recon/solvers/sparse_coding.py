r"""Convolutional sparse coding: the codes of an image in a dictionary, seen through an operator.

``min_s 1/2 ||A D s - y||^2 + sum_k ||Lambda_k s_k||_1`` depends on the data only through
``b = A^H y`` and ``A^H A``. Both solvers pass over the codes once in each
iteration, a few filters at a time, so that what happens between the two Fourier transforms of a
filter stays in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.solvers.convolutional_model import (
    FilterSpectra,
    lipschitz_constant,
    weighted_sum,
)
from lowfield_recon.solvers.records import Callback, History

Penalty = Literal["modulus", "components"]
Momentum = Literal["chambolle-dossal", "delayed", "nesterov", "none"]

Gram = Callable[[torch.Tensor], torch.Tensor]

_OVER_RELAXATION = 1.8
_TINY = torch.finfo(torch.float32).tiny
_POWER_PER_PENALTY = 20.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseCodingProblem:
    """Data, dictionary and weights of one image."""

    spectra: FilterSpectra
    """The dictionary on the grid of the image."""

    rhs: torch.Tensor
    """Unnormalised DFT of ``b = A^H y``, complex `(planes, y, x)`."""

    energy: float
    """``1/2 ||y||^2``, so that the objective is the whole one."""

    weights: torch.Tensor
    """Lambda, real, > 0, broadcastable to `(K, planes, y, x)`, K given."""

    eigenvalues: torch.Tensor | None = None
    """Eigenvalues g >= 0 of A^H A, real, broadcastable to `(planes, y, x)`, in FFT order, where it
    is diagonal in Fourier space plane by plane; else None."""

    gram: Gram | None = None
    """Where `eigenvalues` is None: A^H A as a function from spectra to spectra `(planes, y, x)`."""

    norm_squared: float | None = None
    """Where `eigenvalues` is None: upper bound of ``||A||^2``."""

    penalty: Penalty = "modulus"
    """``Lambda |s|`` or ``Lambda (|Re s| + |Im s|)``."""

    def lipschitz(self) -> float:
        """Return the largest eigenvalue of ``(A D)^H A D``: exact in Fourier space, else a bound.

        Returns
        -------
            The constant.
        """
        if self.eigenvalues is not None:
            return lipschitz_constant(self.spectra, self.eigenvalues)
        return float(self.norm_squared or 1.0) * float(self.spectra.power.max())

    def normal(self, image: torch.Tensor) -> torch.Tensor:
        """Apply ``A^H A`` to a spectrum.

        Parameters
        ----------
        image
            Spectrum `(planes, y, x)`.

        Returns
        -------
            Spectrum of the same shape.
        """
        if self.eigenvalues is not None:
            return self.eigenvalues * image
        return image if self.gram is None else self.gram(image)

    def objective(self, codes: torch.Tensor) -> float:
        """Return the objective at given codes.

        Parameters
        ----------
        codes
            `(K, planes, y, x)`, complex.

        Returns
        -------
            ``1/2 ||A D s - y||^2 + sum_k ||Lambda_k s_k||_1``.
        """
        x = weighted_sum(self.spectra, codes)
        quadratic = ((0.5 * self.normal(x) - self.rhs).conj() * x).real
        norm = 0.0
        for code, weight in zip(codes, self.weights, strict=True):
            parts = torch.view_as_real(code)
            size = parts.abs().sum(-1) if self.penalty == "components" else code.abs()
            norm += float((weight * size).double().sum())
        n_pixels = x.shape[-2] * x.shape[-1]
        return self.energy + float(quadratic.double().sum()) / n_pixels + norm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseCodes:
    """Codes with the history of their iteration."""

    codes: torch.Tensor
    """`(K, planes, y, x)`, complex; most entries are exactly zero."""

    iterations: int
    objective: tuple[float, ...]
    residual: tuple[float, ...]
    stopping_reason: str


def sparse_codes_fista(
    problem: SparseCodingProblem,
    *,
    iterations: int = 64,
    momentum: Momentum = "chambolle-dossal",
    restart: bool = False,
    step: float | None = None,
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
        Whether n goes back to 0 when the momentum points uphill.
    step
        Step tau; None takes 1/L.
    tolerance
        Relative step ``||z - s+|| / ||s+||`` to stop at; 0 does all iterations.
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
    spectra, weights = problem.spectra, problem.weights
    tau = step if step is not None else 1.0 / max(problem.lipschitz(), _TINY)
    codes = problem.rhs.new_zeros(spectra.values.shape[0], *problem.rhs.shape)
    previous = torch.zeros_like(codes)
    image = torch.zeros_like(problem.rhs)
    image_previous = image
    history, n, done = History(iterations, tolerance, callback), 0, 0
    chunk, w = spectra.chunk(problem.rhs.shape[0]), 0.0
    for done in range(1, iterations + 1):
        # D is linear, so that the extrapolated image costs no transform.
        extrapolated = image + w * (image - image_previous)
        residual = tau * (problem.rhs - problem.normal(extrapolated))
        image_previous, image = image, torch.zeros_like(image)
        uphill = step_length = length = 0.0
        for k in range(0, codes.shape[0], chunk):
            d, s, old = (t[k : k + chunk] for t in (spectra.values, codes, previous))
            correction = torch.fft.ifft2(d.conj() * residual)
            old.mul_(-w).add_(s, alpha=1 + w)  # z, in the place of what is no longer needed
            new = _prox(old + correction, tau * weights[k : k + chunk], problem.penalty)
            if restart or tolerance > 0:
                back = old - new
                uphill += _inner(back, new - s)
                step_length += _inner(back, back)
                length += _inner(new, new)
            old.copy_(new)
            image += (torch.fft.fft2(new) * d).sum(dim=0)
        codes, previous = previous, codes
        n = 0 if restart and uphill > 0 else n + 1
        w = _momentum(momentum, n)
        value = None
        if objective_every and done % objective_every == 0:
            value = problem.objective(codes)
        relative = (step_length / length) ** 0.5 if length > 0 else float(tolerance == 0)
        if history.record(codes, value, relative):
            break
    return _result(codes, done, history)


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
        Residual to stop at; 0 does all iterations.
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
    rho = weights.flatten(1).mean(dim=1)
    mean_rho = penalty_scale * float(spectra.power.mean()) / _POWER_PER_PENALTY
    rho = (rho * (mean_rho / float(rho.mean())))[:, None, None, None]
    inverse = 1.0 / (1.0 + g * (spectra.values.abs().square() / rho).sum(dim=0))
    state = problem.rhs.new_zeros(spectra.values.shape[0], *problem.rhs.shape)
    image = torch.zeros_like(problem.rhs)
    history, done = History(iterations, tolerance, callback), 0
    chunk = spectra.chunk(problem.rhs.shape[0])
    for done in range(1, iterations + 1):
        q = inverse * (problem.rhs - g * image)
        image = torch.zeros_like(image)
        gap = length = 0.0
        for k in range(0, state.shape[0], chunk):
            d, a, r = spectra.values[k : k + chunk], state[k : k + chunk], rho[k : k + chunk]
            threshold = weights[k : k + chunk] / r
            v = _prox(a, threshold, problem.penalty)
            change = torch.fft.ifft2(d.conj() * q).div_(r).add_(v).sub_(a)
            a.add_(change, alpha=_OVER_RELAXATION)
            if tolerance > 0:
                gap += _inner(change, change)
                length += _inner(v, v)
            v = _prox(a, threshold, problem.penalty)
            image += (torch.fft.fft2(v.mul_(2).sub_(a)) * d).sum(dim=0)
        value = None
        if objective_every and done % objective_every == 0:
            value = problem.objective(_prox(state, weights / rho, problem.penalty))
        relative = (gap / length) ** 0.5 if length > 0 else 1.0
        if history.record(state, value, relative):
            break
    return _result(_prox(state, weights / rho, problem.penalty), done, history)


def _prox(u: torch.Tensor, threshold: torch.Tensor, penalty: Penalty) -> torch.Tensor:
    """Shrink codes towards zero; a new tensor."""
    parts = torch.view_as_real(u)
    if penalty == "components":
        t = threshold.unsqueeze(-1)
        return torch.view_as_complex(parts - torch.minimum(torch.maximum(parts, -t), t))
    size = parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1])
    factor = size.clamp_(min=torch.finfo(size.dtype).tiny).rsqrt_().mul_(threshold)
    return torch.view_as_complex(parts * factor.neg_().add_(1).clamp_(min=0).unsqueeze(-1))


def _momentum(rule: Momentum, n: int) -> float:
    if rule == "none":
        return 0.0
    if rule == "nesterov":
        return (n - 1) / (n + 2) if n > 0 else 0.0
    if rule == "delayed":
        return max(n - 2, 0) / (n + 2) if n > 1 else 0.0
    return (n - 1) / (n + 3) if n > 0 else 0.0


def _inner(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.vdot(a.flatten(), b.flatten()).real)


def _result(codes: torch.Tensor, iterations: int, history: History) -> SparseCodes:
    return SparseCodes(
        codes=codes,
        iterations=iterations,
        objective=tuple(history.objective),
        residual=tuple(history.residual),
        stopping_reason=history.reason,
    )
