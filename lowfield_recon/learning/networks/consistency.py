r"""Data consistency inside networks: proximal steps and projections, differentiable.

References
----------
Aggarwal HK, Mani MP, Jacob M. MoDL: model-based deep learning architecture for inverse problems.
IEEE Trans Med Imaging 2019;38:394-405. https://doi.org/10.1109/TMI.2018.2865356
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from lowfield_recon.learning.measured import Measured
from lowfield_recon.solvers import cg

Apply = Callable[[torch.Tensor], torch.Tensor]

_ITERATIONS = 40
_TOLERANCE = 1e-5
_PROJECTION_ITERATIONS = 15
_SEEN = 1e-3


def proximal_step(measured: Measured, image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    r"""Return ``argmin_x 1/2 ||A x - y||^2 + w/2 ||x - z||^2 = (A^H A + w)^-1 (A^H y + w z)``.

    In closed form where ``A^H A`` is diagonal in Fourier space, by conjugate gradients with the
    derivative of the solution itself otherwise.

    Parameters
    ----------
    measured
        Data.
    image
        z, complex `(planes, y, x)`.
    weight
        w > 0, real, a number or `(planes,)`.

    Returns
    -------
        x, of the same shape, differentiable in z and w.

    Examples
    --------
    >>> y = torch.full((1, 2, 2), 4 + 0j)
    >>> measured = Measured(adjoint=y, gram=lambda x: x, pixel_noise=torch.ones(1))
    >>> proximal_step(measured, torch.zeros(1, 2, 2) + 0j, torch.tensor(3.0))[0, 0, 0].real
    tensor(1.)
    """
    w = weight.reshape(-1, 1, 1)
    rhs = measured.adjoint + w * image
    if measured.eigenvalues is not None:
        solved: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(rhs) / (measured.eigenvalues + w))
        return solved
    result: torch.Tensor = _Solution.apply(rhs, w, measured.gram, 1 if measured.are_separate else 0)
    return result


def projection(measured: Measured, image: torch.Tensor) -> torch.Tensor:
    r"""Return the image nearest to z among those that fit the data as well as any can.

    With a mask m of k-space, ``F x = y`` where m = 1 and ``F x = F z`` elsewhere. Where ``A^H A``
    is not diagonal in Fourier space, conjugate gradients on ``A^H A x = A^H y`` from z, which stay
    with z on what the data do not see, stopped after a few steps.

    Parameters
    ----------
    measured
        Data.
    image
        z, complex `(planes, y, x)`.

    Returns
    -------
        x, of the same shape, differentiable in z.

    Examples
    --------
    >>> seen = torch.tensor([[[1.0, 0.0]]])
    >>> y = torch.fft.ifft2(torch.tensor([[[6.0, 0.0]]]) + 0j)
    >>> measured = Measured(
    ...     adjoint=y, gram=lambda x: torch.fft.ifft2(seen * torch.fft.fft2(x)),
    ...     pixel_noise=torch.ones(1), eigenvalues=seen,
    ... )
    >>> torch.fft.fft2(projection(measured, torch.fft.ifft2(torch.ones(1, 1, 2) + 0j))).real
    tensor([[[6., 1.]]])
    """
    if measured.eigenvalues is not None:
        g = measured.eigenvalues
        seen = g > _SEEN * g.amax(dim=(-2, -1), keepdim=True)
        given = torch.fft.fft2(measured.adjoint) / torch.where(seen, g, 1.0)
        projected: torch.Tensor = torch.fft.ifft2(torch.where(seen, given, torch.fft.fft2(image)))
        return projected
    return cg(
        measured.gram, measured.adjoint, initial=image, iterations=_PROJECTION_ITERATIONS,
        tolerance=_TOLERANCE, batch_ndim=1 if measured.are_separate else 0,
    ).solution  # fmt: skip


class _Solution(torch.autograd.Function):
    """``x = (A^H A + w)^-1 b``; backward solves the same system once more."""

    @staticmethod
    def forward(
        ctx: Any, rhs: torch.Tensor, weight: torch.Tensor, gram: Apply, batch_ndim: int
    ) -> torch.Tensor:
        x = _solve(gram, rhs, weight, batch_ndim)
        ctx.save_for_backward(x, weight)
        ctx.gram, ctx.batch_ndim = gram, batch_ndim
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        x, weight = ctx.saved_tensors
        v = _solve(ctx.gram, gradient, weight, ctx.batch_ndim)
        of_weight = -(v.conj() * x).real
        return v, of_weight.sum_to_size(weight.shape), None, None


@torch.no_grad()
def _solve(gram: Apply, rhs: torch.Tensor, weight: torch.Tensor, batch_ndim: int) -> torch.Tensor:
    def shifted(x: torch.Tensor) -> torch.Tensor:
        return gram(x) + weight * x

    return cg(
        shifted, rhs, iterations=_ITERATIONS, tolerance=_TOLERANCE, batch_ndim=batch_ndim
    ).solution
