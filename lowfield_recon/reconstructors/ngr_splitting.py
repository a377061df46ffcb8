"""The image step of `ngr`: exact, or the published splitting for masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.solvers.gradient_fit import GradientFit

_GROWTH = 1.2
_LARGEST_PENALTY = 50.0
_FIRST_PENALTY = 0.1
_START_STEPS = 40


class ImageUpdate:
    """Solves for the image exactly, or nearly so from the last one.

    Parameters
    ----------
    solver
        The linear system.
    rhs
        ``A^H y``, for the shape.
    """

    def __init__(self, solver: GradientFit, rhs: torch.Tensor) -> None:
        """Begin with the image of least gradient."""
        self._solver = solver
        zero = torch.zeros_like(rhs)
        self.start = solver(solver.differences(zero), zero, iterations=_START_STEPS)

    def __call__(self, fields: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the next image."""
        return self._solver(fields, x)


class Splitting:
    r"""The published splitting ``X + K = y``, K off the mask, with a multiplier M and a penalty mu.

    ``x = (mu + sum_d l_d D_d^T D_d)^-1 (sum_d l_d D_d^T F_d + mu (y - K) + M)`` in Fourier space,
    ``K = (1 - mask) (y - x + M / mu)``, ``M <- M + mu (y - x - K)``, ``mu <- min(50, 1.2 mu)``.
    The differences are periodic.

    Parameters
    ----------
    y
        Observed pixels, zero elsewhere, float `(..., y, x)`.
    observed
        Mask, bool, of the same shape.
    axes
        Axes of the differences.
    weights
        l_d.
    generator
        Of the random values with which missing pixels begin.

    References
    ----------
    Xu S et al. Neural gradient regularizer. arXiv:2308.16612
    """

    def __init__(
        self,
        y: torch.Tensor,
        observed: torch.Tensor,
        axes: Sequence[int],
        weights: Sequence[float],
        *,
        generator: torch.Generator,
    ) -> None:
        """Set multiplier and penalty as the authors do."""
        self._y = y
        self._observed = observed
        self._gradient = GradientOp(axes)
        place = (len(axes), *([1] * y.ndim))
        self._weights = torch.tensor(weights, dtype=y.dtype, device=y.device).reshape(place)
        third = weights[2] if len(weights) > 2 else 0.0
        rows = y.reshape(-1, y.shape[-2] * y.shape[-1])
        dual = max(
            float(torch.linalg.matrix_norm(rows, ord=2)), float(y.abs().max()) / (third + 1e-8)
        )
        if not third:
            dual = float(torch.linalg.matrix_norm(rows, ord=2))
        self.penalty = _FIRST_PENALTY / dual
        self.multiplier = y / dual
        self._off_mask = torch.zeros_like(y)
        self._symbol = _symbol(y.shape, axes, weights).to(y)
        noise = torch.rand(y.shape, generator=generator).to(y)
        self.start = torch.where(observed, y, noise)

    def __call__(self, fields: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the next image; multiplier, off-mask part and penalty move on."""
        mu = self.penalty
        (pull,) = self._gradient.adjoint(fields * self._weights)
        rhs = pull + mu * (self._y - self._off_mask) + self.multiplier
        axes = list(range(-min(rhs.ndim, 5), 0))
        x = torch.fft.ifftn(torch.fft.fftn(rhs, dim=axes) / (mu + self._symbol), dim=axes)
        x = x if rhs.is_complex() else x.real
        free = self._y - x + self.multiplier / mu
        self._off_mask = torch.where(self._observed, 0, free)
        self.multiplier = self.multiplier + mu * (self._y - x - self._off_mask)
        self.penalty = min(_LARGEST_PENALTY, _GROWTH * mu)
        return x


def _symbol(shape: torch.Size, axes: Sequence[int], weights: Sequence[float]) -> torch.Tensor:
    total = torch.zeros([1] * len(shape), dtype=torch.float64)
    for axis, weight in zip(axes, weights, strict=True):
        n = shape[axis]
        omega = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
        place = [1] * len(shape)
        place[axis] = n
        total = total + weight * (2 - 2 * torch.cos(omega)).reshape(place)
    return total
