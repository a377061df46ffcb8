"""Forward differences, periodic or ending at the border, their adjoint and their eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import Capabilities


def spatial_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """Return those of the axes z, y, x (as -3, -2, -1) that have more than one pixel.

    Parameters
    ----------
    shape
        Shape of an image, `(*other, coils or channels, z, y, x)`.

    Returns
    -------
        Negative axes; of a single pixel image x alone, so that there is always one.

    Examples
    --------
    >>> spatial_axes((1, 1, 1, 8, 8))
    (-2, -1)
    """
    return tuple(d for d in (-3, -2, -1) if shape[d] > 1) or (-1,)


class GradientOp(LinearOperator, adjoint_as_backward=True):
    r"""Forward differences, ``(G x)_d[r] = x[r + e_d] - x[r]``, periodic unless said otherwise.

    Maps an image `(*other, coils, z, y, x)` to `(len(axes), *other, coils, z, y, x)`. ``G^H G`` is
    diagonal in Fourier space with the eigenvalues ``sum_d 2 - 2 cos w_d``, so ``||G||^2 <= 4
    len(axes)``. Without wrap-around the last difference along each axis is zero (Neumann), and the
    cosine transform diagonalises ``G^H G``.
    """

    def __init__(self, axes: Sequence[int], *, periodic: bool = True) -> None:
        """Store the axes (negative) and whether the image goes on at its other side."""
        super().__init__()
        self.axes = tuple(axes)
        self.periodic = periodic

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the differences of `x`, stacked along a new first axis."""
        differences = x.new_empty((len(self.axes), *x.shape))
        for difference, axis in zip(differences, self.axes, strict=True):
            n = x.shape[axis]
            torch.sub(
                x.narrow(axis, 1, n - 1),
                x.narrow(axis, 0, n - 1),
                out=difference.narrow(axis, 0, n - 1),
            )
            if not self.periodic:
                difference.narrow(axis, n - 1, 1).zero_()
                continue
            torch.sub(
                x.narrow(axis, 0, 1),
                x.narrow(axis, n - 1, 1),
                out=difference.narrow(axis, n - 1, 1),
            )
        return (differences,)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return ``sum_d z_d[r - e_d] - z_d[r]`` of differences `(len(axes), ...)`."""
        image = torch.zeros_like(x[0])
        for difference, axis in zip(x, self.axes, strict=True):
            n = image.shape[axis]
            inner = difference.narrow(axis, 0, n - 1)
            image.narrow(axis, 1, n - 1).add_(inner)
            if not self.periodic:
                image.narrow(axis, 0, n - 1).sub_(inner)
                continue
            image.sub_(difference)
            image.narrow(axis, 0, 1).add_(difference.narrow(axis, n - 1, 1))
        return (image,)

    def gram_symbol(self, shape: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
        """Return the eigenvalues of ``G^H G``, float64, broadcastable to the image.

        They stand in the order of the Fourier transform, or of the cosine transform where the
        differences are not periodic.
        """
        total = torch.zeros(1, 1, 1, dtype=torch.float64, device=device)
        for axis in self.axes:
            n = shape[axis]
            turn = 2 * math.pi if self.periodic else math.pi
            omega = turn * torch.arange(n, dtype=torch.float64, device=device) / n
            total = total + (2 - 2 * torch.cos(omega)).reshape(-1, *([1] * (-axis - 1)))
        return total

    def capabilities(self) -> Capabilities:
        """Return a bound of the norm."""
        return Capabilities(norm_bound=math.sqrt(4 * len(self.axes)))

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the image."""
        return data_shape[1:]
