r"""Converged convolutional sparse coding, differentiated through its optimality conditions.

At the minimiser ``s`` of ``1/2 ||A D s - y||^2 + sum_k ||Lambda_k s_k||_1`` the codes of the
support I obey ``(D^H (A^H A D s - b))_I + Lambda e = 0``, with e the direction (modulus) or the
signs (components) of s. With H the second derivative of the data term and C the curvature of the
penalty, ``Lambda / |s| (1 - e e^T)`` or 0, the gradient ``s_bar`` of a loss gives

    ``(H_II + C + delta) v = s_bar_I``, ``Lambda_bar = -Re(conj(e) v)``, ``b_bar = D v``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.compact_codes import lanes, positions_of
from lowfield_recon.solvers.cg import cg
from lowfield_recon.solvers.convolutional_model import FilterSpectra, weighted_sum
from lowfield_recon.solvers.sparse_coding import (
    Penalty,
    SparseCodingProblem,
    sparse_codes_admm,
)

_LOG = logging.getLogger(__name__)
_CG_ITERATIONS = 1000
_CG_TOLERANCE = 1e-8


def implicit_detail(
    spectra: FilterSpectra,
    rhs: torch.Tensor,
    weights: torch.Tensor,
    *,
    eigenvalues: torch.Tensor,
    iterations: int = 2000,
    tolerance: float = 1e-6,
    damping: float = 1e-6,
    penalty: Penalty = "modulus",
) -> torch.Tensor:
    r"""Return the spectrum of ``D s*`` at the converged codes, with implicit gradients.

    Every plane is solved on its own by ADMM. The gradient is that of the exact minimiser, so that
    codes far from convergence, whose support is not yet found, give a useless one: a plane that
    misses the tolerance is logged as a warning. The linear system of the backward pass is solved in
    double precision by conjugate gradients with the diagonal of its matrix as a preconditioner.
    Codes of more filters than the data can tell apart are not unique, and ``D s*`` outside the
    sampled frequencies with them: the damping makes the gradient defined. Kept are the codes that
    are not zero.

    Parameters
    ----------
    spectra
        The dictionary on the grid of the images; a constant.
    rhs
        Unnormalised DFT of ``b = A^H y``, complex `(planes, y, x)`.
    weights
        Lambda, real, > 0, broadcastable to `(K, planes, y, x)`.
    eigenvalues
        Eigenvalues g >= 0 of A^H A in FFT order, real, broadcastable to `(planes, y, x)`.
    iterations
        Most iterations of ADMM.
    tolerance
        Residual of ADMM to stop at.
    damping
        delta, > 0.
    penalty
        ``Lambda |s|`` or ``Lambda (|Re s| + |Im s|)``.

    Returns
    -------
        Unnormalised DFT of ``D s*``, complex `(planes, y, x)`.

    Raises
    ------
    UsageError
        If the sizes do not fit.

    References
    ----------
    Bertrand Q et al. Implicit differentiation for fast hyperparameter selection in non-smooth
    convex learning. J Mach Learn Res 2022;23:1-43. arXiv:2105.01637.

    Examples
    --------
    >>> from lowfield_recon.solvers.convolutional_model import filter_spectra
    >>> spectra = filter_spectra(torch.ones(1, 1, 1), (4, 4))
    >>> rhs = torch.fft.fft2(torch.full((1, 4, 4), 2.0, dtype=torch.complex64))
    >>> weights = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    >>> x = implicit_detail(spectra, rhs, weights, eigenvalues=torch.ones(4, 4))
    >>> torch.fft.ifft2(x).real.sum().backward()
    >>> round(float(weights.grad[0, 0, 0, 0]), 4)
    -1.0
    """
    if rhs.ndim != 3 or spectra.values.shape[-2:] != rhs.shape[-2:]:
        raise UsageError(
            f"implicit_detail: rhs has shape {tuple(rhs.shape)}, expected (planes, y, x) with the "
            f"grid {tuple(spectra.values.shape[-2:])} of the dictionary."
        )
    shape = (spectra.values.shape[0], *rhs.shape)
    weights = weights.to(rhs.real.dtype).expand(shape)
    eigenvalues = eigenvalues.to(rhs.real.dtype).expand(rhs.shape)
    images = []
    for p in range(rhs.shape[0]):
        plane = slice(p, p + 1)
        b, level, g = rhs[plane], weights[:, plane].contiguous(), eigenvalues[plane]
        problem = SparseCodingProblem(
            spectra=spectra,
            rhs=b.detach(),
            energy=0.0,
            weights=level.detach(),
            eigenvalues=g,
            penalty=penalty,
        )
        codes = _converged(problem, iterations, tolerance)
        if torch.is_grad_enabled() and (b.requires_grad or level.requires_grad):
            images.append(_Implicit.apply(b, level, codes, spectra, g, damping, penalty))
        else:
            images.append(weighted_sum(spectra, codes))
    return torch.cat(images)


@torch.no_grad()
def _converged(problem: SparseCodingProblem, iterations: int, tolerance: float) -> torch.Tensor:
    result = sparse_codes_admm(problem, iterations=iterations, tolerance=tolerance)
    # Where no code exceeds its threshold there is nothing to relate a residual to.
    if result.residual and result.residual[-1] > tolerance and bool(result.codes.any()):
        _LOG.warning(
            "implicit differentiation: the residual is %.2g after %d iterations, asked was %.2g; "
            "raise the iterations or unroll.",
            result.residual[-1], result.iterations, tolerance,
        )  # fmt: skip
    return result.codes


class _Implicit(torch.autograd.Function):
    """``D s*`` of one plane as a node of the graph."""

    @staticmethod
    def forward(
        ctx: Any,
        _rhs: torch.Tensor,
        weights: torch.Tensor,
        codes: torch.Tensor,
        spectra: FilterSpectra,
        eigenvalues: torch.Tensor,
        damping: float,
        penalty: Penalty,
    ) -> torch.Tensor:
        flat = lanes(codes, penalty)
        positions = positions_of(flat != 0)
        ctx.spectra, ctx.damping, ctx.penalty = spectra, damping, penalty
        ctx.save_for_backward(weights, eigenvalues, positions.int(), flat[positions])
        return weighted_sum(spectra, codes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weights, eigenvalues, positions, values = ctx.saved_tensors
        system = _SupportSystem(
            ctx.spectra, eigenvalues, weights, positions.long(), values, ctx.penalty
        )
        v = system.solve(gradient, ctx.damping)
        of_weights = system.weights_gradient(v).to(weights.dtype)
        of_rhs = system.synthesise(v) / gradient[0].numel()
        return of_rhs.to(gradient.dtype), of_weights, None, None, None, None, None


class _SupportSystem:
    """The second derivative on the support, in double precision, as vectors of lanes."""

    def __init__(
        self,
        spectra: FilterSpectra,
        eigenvalues: torch.Tensor,
        weights: torch.Tensor,
        positions: torch.Tensor,
        values: torch.Tensor,
        penalty: Penalty,
    ) -> None:
        self.filters = spectra.values.to(torch.complex128)
        self.chunk = spectra.chunk()
        self.eigenvalues = eigenvalues.double()
        self.positions, self.penalty = positions, penalty
        self.shape = weights.shape
        self.lanes_of_filter = weights[0].numel() * (1 if penalty == "modulus" else 2)
        edges = torch.arange(0, self.shape[0] + self.chunk, self.chunk, device=positions.device)
        bounds = torch.searchsorted(positions, edges * self.lanes_of_filter).tolist()
        self.pieces = list(pairwise(bounds))
        power = self.filters.abs().square() * self.eigenvalues
        self.diagonal = power.mean(dim=(-2, -1)).flatten()[positions // self.lanes_of_filter]
        self.direction = values.sgn().to(torch.complex128 if values.is_complex() else torch.float64)
        self.curvature = torch.zeros_like(self.diagonal)
        if penalty == "modulus":
            level = weights.reshape(-1)[positions].double()
            self.curvature = level / values.abs().double()

    def synthesise(self, v: torch.Tensor) -> torch.Tensor:
        """Return the unnormalised spectrum of D v `(1, y, x)`."""
        total = torch.zeros_like(self.filters[0])
        for i, (start, end) in enumerate(self.pieces):
            rows = slice(i * self.chunk, (i + 1) * self.chunk)
            codes = torch.zeros_like(self.filters[rows])
            at = self.positions[start:end] - i * self.chunk * self.lanes_of_filter
            lanes(codes, self.penalty).scatter_(0, at, v[start:end])
            total += torch.fft.fft2(codes).mul_(self.filters[rows]).sum(dim=0)
        return total

    def analyse(self, image: torch.Tensor) -> torch.Tensor:
        """Return D^H of a spectrum `(1, y, x)` on the support."""
        parts = []
        for i, (start, end) in enumerate(self.pieces):
            rows = slice(i * self.chunk, (i + 1) * self.chunk)
            codes = torch.fft.ifft2(self.filters[rows].conj() * image)
            at = self.positions[start:end] - i * self.chunk * self.lanes_of_filter
            parts.append(lanes(codes, self.penalty).index_select(0, at))
        return torch.cat(parts)

    def solve(self, gradient: torch.Tensor, damping: float) -> torch.Tensor:
        """Return v for the gradient with respect to the spectrum of D s."""
        e, c = self.direction, self.curvature
        base = self.diagonal + damping

        def along(v: torch.Tensor) -> torch.Tensor:
            return e * (e.conj() * v).real

        def second_derivative(v: torch.Tensor) -> torch.Tensor:
            curved = self.analyse(self.eigenvalues * self.synthesise(v)) + damping * v
            return curved + c * (v - along(v)) if self.penalty == "modulus" else curved

        def preconditioner(v: torch.Tensor) -> torch.Tensor:
            if self.penalty == "components":
                return v / base
            parallel = along(v)
            return parallel / base + (v - parallel) / (base + c)

        n_pixels = gradient[0].numel()
        right = self.analyse(gradient.to(torch.complex128) * n_pixels)
        result = _solve(second_derivative, right, preconditioner)
        return result

    def weights_gradient(self, v: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the weights `(K, 1, y, x)`."""
        per_lane = -(self.direction.conj() * v).real if v.is_complex() else -self.direction * v
        n_lanes = self.shape[0] * self.lanes_of_filter
        flat = per_lane.new_zeros(n_lanes).scatter_(0, self.positions, per_lane)
        return flat.view(*self.shape, -1).sum(dim=-1)


def _solve(
    operator: Callable[[torch.Tensor], torch.Tensor],
    right: torch.Tensor,
    preconditioner: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    if right.numel() == 0:
        return right
    result = cg(
        operator, right, preconditioner=preconditioner,
        iterations=_CG_ITERATIONS, tolerance=_CG_TOLERANCE,
    )  # fmt: skip
    if result.residual and result.residual[-1] > _CG_TOLERANCE:
        _LOG.warning(
            "implicit differentiation: the linear system has a residual of %.2g after %d "
            "iterations, asked was %.2g; raise the damping.",
            result.residual[-1], len(result.residual), _CG_TOLERANCE,
        )  # fmt: skip
    return result.solution
