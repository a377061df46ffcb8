"""The image that fits data and a given field of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.solvers.functionals import Apply, inner


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldData:
    """What the image is held to besides the field."""

    rhs: torch.Tensor
    """``A^H y``."""

    gram: Apply
    """``x -> A^H A x``."""

    eigenvalues: torch.Tensor
    """Of A^H A, or of a circulant near to it, in FFT order, broadcastable to the image."""

    is_exact: bool
    """Whether they are those of A^H A itself."""

    observed: torch.Tensor | None = None
    """Pixels, bool, that keep their value in `rhs` exactly; None where the data only weigh."""


class GradientFit:
    r"""Solves ``(A^H A + w sum_d l_d D_d^T D_d) x = A^H y + w sum_d l_d D_d^T F_d``.

    One division in Fourier space where both sides are diagonal there; otherwise conjugate
    gradients, started at the last image and preconditioned by the circulant ``a(k) + w sum_d l_d
    S_d(k)``. With `observed` pixels, those keep their values and the rest solves ``U L U x = U
    (sum_d l_d D_d^T F_d - L x_observed)``, ``L = sum_d l_d D_d^T D_d``, by conjugate gradients.

    Parameters
    ----------
    data
        What the image is held to.
    axes
        Axes (negative) of the differences.
    weights
        l_d, one for each axis.
    strength
        w > 0; without meaning where pixels are observed exactly.
    periodic
        Whether differences wrap around.
    iterations
        Conjugate gradient steps of a call.

    References
    ----------
    Xu S et al. Neural gradient regularizer. arXiv:2308.16612

    Examples
    --------
    >>> x = torch.arange(6.0).reshape(1, 1, 1, 1, 6)
    >>> seen = torch.tensor([True, False, False, False, False, False]).reshape(x.shape)
    >>> data = FieldData(rhs=x * seen, gram=lambda v: v * seen, eigenvalues=torch.ones(1),
    ...                  is_exact=False, observed=seen)
    >>> fit = GradientFit(data, axes=(-1,), weights=(1.0,), strength=1.0, periodic=False)
    >>> fit(fit.differences(x), torch.zeros_like(x), iterations=6).flatten().round(decimals=3)
    tensor([0., 1., 2., 3., 4., 5.])
    """

    def __init__(
        self,
        data: FieldData,
        *,
        axes: Sequence[int],
        weights: Sequence[float],
        strength: float,
        periodic: bool = True,
        iterations: int = 10,
    ) -> None:
        """Prepare the preconditioner."""
        self.data = data
        self.iterations = iterations
        self._strength = strength
        self._gradient = GradientOp(axes, periodic=periodic)
        real = data.rhs.real.dtype
        shape = (len(axes), *([1] * data.rhs.ndim))
        self._weights = torch.tensor(weights, dtype=real, device=data.rhs.device).reshape(shape)
        self._symbol = self._spectrum(axes, weights).to(real)
        self._is_division = data.is_exact and periodic and data.observed is None

    def _spectrum(self, axes: Sequence[int], weights: Sequence[float]) -> torch.Tensor:
        """Eigenvalues of the periodic ``sum_d l_d D_d^T D_d``, which precondition the other too."""
        shape, device = self.data.rhs.shape, self.data.rhs.device
        total = torch.zeros([1] * len(shape), dtype=torch.float64, device=device)
        for axis, weight in zip(axes, weights, strict=True):
            n = shape[axis]
            omega = 2 * torch.pi * torch.arange(n, dtype=torch.float64, device=device) / n
            place = [1] * len(shape)
            place[axis] = n
            total = total + weight * (2 - 2 * torch.cos(omega)).reshape(place)
        return total

    def differences(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``D_d x``, shape `(len(axes), *x.shape)`."""
        (fields,) = self._gradient(x)
        return fields

    def divergence(self, fields: torch.Tensor) -> torch.Tensor:
        """Return ``sum_d l_d D_d^T F_d`` of fields `(len(axes), *x.shape)`."""
        (image,) = self._gradient.adjoint(fields * self._weights)
        return image

    def laplacian(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``L x = sum_d l_d D_d^T D_d x``."""
        return self.divergence(self.differences(x))

    def energy(self, fields: torch.Tensor) -> float:
        """Return ``1/2 sum_d l_d ||F_d||^2``."""
        return 0.5 * inner(fields, fields * self._weights)

    def __call__(
        self, fields: torch.Tensor, x: torch.Tensor, *, iterations: int | None = None
    ) -> torch.Tensor:
        """Return the image for fields F.

        Parameters
        ----------
        fields
            F, shape `(len(axes), *x.shape)`.
        x
            Where conjugate gradients start.
        iterations
            Their number; None for the one given at first.

        Returns
        -------
            The image, of the shape of x.
        """
        steps = self.iterations if iterations is None else iterations
        pull = self.divergence(fields)
        if self.data.observed is not None:
            return self._constrained(pull, x, self.data.observed, steps)
        rhs = self.data.rhs + self._strength * pull
        if self._is_division:
            return self._divided(rhs)
        return _conjugate_gradients(self._normal, rhs, x, self._divided, steps)

    def _normal(self, x: torch.Tensor) -> torch.Tensor:
        return self.data.gram(x) + self._strength * self.laplacian(x)

    def _divided(self, rhs: torch.Tensor) -> torch.Tensor:
        """Divide by the circulant; a frequency that neither side determines becomes zero."""
        symbol = self.data.eigenvalues + self._strength * self._symbol
        floor = torch.finfo(symbol.dtype).eps * float(symbol.max())
        axes = list(range(-min(rhs.ndim, 5), 0))
        spectrum = torch.fft.fftn(rhs, dim=axes)
        result: torch.Tensor = torch.fft.ifftn(
            torch.where(symbol > floor, spectrum / symbol.clamp(min=floor), 0), dim=axes
        )
        return result if rhs.is_complex() else result.real

    def _constrained(
        self, pull: torch.Tensor, x: torch.Tensor, observed: torch.Tensor, steps: int
    ) -> torch.Tensor:
        free = ~observed
        known = torch.where(observed, self.data.rhs, 0)
        rhs = torch.where(free, pull - self.laplacian(known), 0)

        def normal(v: torch.Tensor) -> torch.Tensor:
            return torch.where(free, self.laplacian(v), 0)

        start = torch.where(free, x, 0)
        solved = _conjugate_gradients(normal, rhs, start, lambda r: r, steps)
        return torch.where(observed, self.data.rhs, solved)


def _conjugate_gradients(
    normal: Apply,
    rhs: torch.Tensor,
    x: torch.Tensor,
    precondition: Callable[[torch.Tensor], torch.Tensor],
    steps: int,
) -> torch.Tensor:
    """Take at most `steps` steps; fewer where the residual vanishes in this precision."""
    r = rhs - normal(x)
    z = precondition(r)
    p, product = z, inner(r, z)
    smallest = torch.finfo(rhs.dtype).eps ** 2 * max(inner(rhs, rhs), 1e-30)
    for _ in range(steps):
        if product <= 0 or inner(r, r) <= smallest:
            break
        q = normal(p)
        curvature = inner(p, q)
        if curvature <= 0:
            break
        x = torch.add(x, p, alpha=product / curvature)
        r = torch.sub(r, q, alpha=product / curvature)
        z = precondition(r)
        previous, product = product, inner(r, z)
        p = torch.add(z, p, alpha=product / previous)
    return x
