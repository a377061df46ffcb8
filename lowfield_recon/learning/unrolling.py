r"""Unrolled convolutional sparse coding, differentiated exactly without storing the codes.

The backward pass of ``s = prox(z - tau D^H (A^H A D z - b))`` needs of an iteration only where its
codes are not zero and, there, the derivative of the shrinkage. What lies between two iterations is
linear; it is carried on the image, ``D``, so that between the two Fourier transforms of a filter
only the few codes that are not zero are touched, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.autograd.function import once_differentiable

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.unrolled_backward import backward
from lowfield_recon.learning.unrolled_iterations import Unrolling, forward, make_plan
from lowfield_recon.solvers.convolutional_model import FilterSpectra
from lowfield_recon.solvers.sparse_coding import Momentum, Penalty, extrapolation

Solver = Literal["fista", "admm"]


def unrolled_detail(
    spectra: FilterSpectra,
    rhs: torch.Tensor,
    weights: torch.Tensor,
    *,
    eigenvalues: torch.Tensor | None = None,
    normal: Callable[[torch.Tensor], torch.Tensor] | None = None,
    norm_squared: float | None = None,
    iterations: int,
    tracked: int | None = None,
    restart_momentum: bool = False,
    solver: Solver = "fista",
    momentum: Momentum = "delayed",
    penalty: Penalty = "modulus",
) -> torch.Tensor:
    r"""Return the spectrum of ``D s_T`` after T iterations, with exact gradients.

    ``s_T`` approaches ``argmin_s 1/2 ||A D s - y||^2 + sum_k ||Lambda_k s_k||_1``. Every plane is
    solved on its own: its step is 1/L with its own L, and its ``rho_k`` of ADMM are in proportion
    to its own mean of ``Lambda_k``.

    Gradients flow to `rhs` and `weights`, not to the dictionary, the operator, the step or
    ``rho``, which count as constants although ADMM takes ``rho`` from `weights`. Kept for the
    backward pass are, of each tracked iteration, the positions of the codes that are not zero
    (int32, or a byte for each code where more than a quarter of them is taken) and there the value
    before shrinking (`"modulus"`) or the sign in one byte (`"components"`). Nothing is kept under
    `torch.no_grad` or where neither tensor requires a gradient.

    Parameters
    ----------
    spectra
        The dictionary on the grid of the images.
    rhs
        Unnormalised DFT of ``b = A^H y``, complex `(planes, y, x)`.
    weights
        Lambda, real, > 0, broadcastable to `(K, planes, y, x)`.
    eigenvalues
        Eigenvalues g >= 0 of A^H A in FFT order, real, broadcastable to `(planes, y, x)`.
    normal
        Where `eigenvalues` is None: A^H A, self-adjoint and linear, from spectrum to spectrum
        `(planes, y, x)`.
    norm_squared
        Where `normal` is given: upper bound of ``||A||^2``.
    iterations
        T.
    tracked
        Differentiate the last so many iterations only and take the codes before them as constants;
        None all. The result does not depend on it unless `restart_momentum`.
    restart_momentum
        Whether the momentum starts anew at the first tracked iteration instead of being carried.
    solver
        `"fista"`, or `"admm"`, which needs `eigenvalues`.
    momentum
        Rule of FISTA, see `lowfield_recon.solvers.sparse_coding.sparse_codes_fista`.
    penalty
        ``Lambda |s|`` or ``Lambda (|Re s| + |Im s|)``.

    Returns
    -------
        Unnormalised DFT of ``D s_T``, complex `(planes, y, x)`.

    Raises
    ------
    UsageError
        If neither or both of `eigenvalues` and `normal` are given, `normal` comes without
        `norm_squared`, ADMM has no eigenvalues, `restart_momentum` is asked of ADMM, which has no
        momentum, a count is negative, or the sizes do not fit.

    References
    ----------
    Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
    dictionaries. arXiv:2602.21707.
    Shaban A, Cheng C-A, Hatch N, Boots B. Truncated back-propagation for bilevel optimization.
    AISTATS 2019. arXiv:1810.10667.

    Examples
    --------
    >>> from lowfield_recon.solvers.convolutional_model import filter_spectra
    >>> spectra = filter_spectra(torch.ones(1, 1, 1), (4, 4))
    >>> rhs = torch.fft.fft2(torch.full((1, 4, 4), 2.0, dtype=torch.complex64))
    >>> weights = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    >>> x = unrolled_detail(spectra, rhs, weights, eigenvalues=torch.ones(4, 4), iterations=1)
    >>> torch.fft.ifft2(x.detach())[0, 0, 0]
    tensor(1.5000+0.j)
    >>> torch.fft.ifft2(x).real.sum().backward()
    >>> float(weights.grad[0, 0, 0, 0])
    -1.0
    """
    _check(spectra, rhs, eigenvalues, normal, norm_squared, solver, restart_momentum)
    if iterations < 0 or (tracked is not None and tracked < 0):
        raise UsageError(
            f"unrolled_detail: iterations {iterations} and tracked {tracked} must not be negative."
        )
    weights = weights.to(rhs.real.dtype).expand(-1, *rhs.shape).contiguous()
    first = 0 if tracked is None else max(iterations - tracked, 0)
    counts = [n - first if restart_momentum and n >= first else n for n in range(iterations)]
    plan = make_plan(
        spectra,
        weights.detach(),
        eigenvalues=eigenvalues,
        normal=normal,
        norm_squared=norm_squared,
        solver=solver,
        penalty=penalty,
        extrapolations=tuple(extrapolation(momentum, n) for n in counts),
        first=first,
    )
    if torch.is_grad_enabled() and (rhs.requires_grad or weights.requires_grad):
        result: torch.Tensor = _Unrolled.apply(rhs, weights, plan)
        return result
    return forward(plan, rhs.detach(), weights.detach(), None)


def _check(
    spectra: FilterSpectra,
    rhs: torch.Tensor,
    eigenvalues: torch.Tensor | None,
    normal: Callable[[torch.Tensor], torch.Tensor] | None,
    norm_squared: float | None,
    solver: Solver,
    restart_momentum: bool,
) -> None:
    if (eigenvalues is None) == (normal is None):
        raise UsageError("unrolled_detail: give either eigenvalues or normal, not both or none.")
    if eigenvalues is None and norm_squared is None:
        raise UsageError("unrolled_detail: normal needs norm_squared, a bound of ||A||^2.")
    if solver == "admm" and (eigenvalues is None or restart_momentum):
        raise UsageError(
            "unrolled_detail: ADMM needs the Fourier eigenvalues of A^H A and has no momentum to "
            "restart; use solver='fista'."
        )
    if rhs.ndim != 3 or spectra.values.shape[-2:] != rhs.shape[-2:]:
        raise UsageError(
            f"unrolled_detail: rhs has shape {tuple(rhs.shape)}, expected (planes, y, x) with the "
            f"grid {tuple(spectra.values.shape[-2:])} of the dictionary."
        )


class _Unrolled(torch.autograd.Function):
    """The iterations as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, rhs: torch.Tensor, weights: torch.Tensor, plan: Unrolling
    ) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        image = forward(plan, rhs, weights, kept)
        ctx.plan = plan
        ctx.save_for_backward(weights, *kept)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        weights, *kept = ctx.saved_tensors
        return (*backward(ctx.plan, gradient, weights, kept), None)
