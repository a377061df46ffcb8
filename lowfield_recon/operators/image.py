"""Forward operators of photographs: masks, blur, decimation and their compositions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from mrpro.operators import IdentityOp

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import Capabilities
from lowfield_recon.operators.cartesian import checked_mask


def identity_operator() -> LinearOperator:
    """Return ``A = I``, the operator of denoising.

    Returns
    -------
        mrpro's `IdentityOp`.

    Examples
    --------
    >>> (y,) = identity_operator()(torch.ones(1, 1, 1, 2, 2))
    >>> y.sum()
    tensor(4.)
    """
    return IdentityOp()


def mask_operator(mask: torch.Tensor) -> LinearOperator:
    """Return ``A = diag(mask)``, which keeps the observed pixels and sets the others to zero.

    Parameters
    ----------
    mask
        Observed pixels, bool or 0/1, broadcastable to `(*other, channels, z, y, x)`.

    Returns
    -------
        Operator between images of the same shape, ``A = A^H = A A``.

    Raises
    ------
    DataError
        If the mask has other values, too few axes or keeps no pixel.

    Examples
    --------
    >>> A = mask_operator(torch.tensor([[[[True, False]]]]))
    >>> A(torch.ones(1, 1, 1, 2))[0]
    tensor([[[[1., 0.]]]])
    """
    return MaskOp(checked_mask(mask))


def blur_operator(kernel: torch.Tensor, *, image_shape: Sequence[int]) -> LinearOperator:
    r"""Return the circular convolution with a kernel, ``(A x)[r] = sum_u h[u] x[r - u + c]``.

    The tap ``c = size // 2`` of the kernel is its origin.

    Parameters
    ----------
    kernel
        Real kernel `(ky, kx)`, no larger than the image.
    image_shape
        Shape of the image; the last two numbers are y and x.

    Returns
    -------
        Operator between images `(*other, channels, z, y, x)`; its Gram is diagonal in Fourier
        space.

    Raises
    ------
    DataError
        If the kernel is not two-dimensional, not finite, zero or larger than the image.

    Examples
    --------
    >>> A = blur_operator(torch.full((3, 3), 1 / 9), image_shape=(1, 1, 8, 8))
    >>> A(torch.ones(1, 1, 1, 8, 8))[0].mean()
    tensor(1.)
    """
    ny, nx = (int(n) for n in tuple(image_shape)[-2:])
    if kernel.ndim != 2 or kernel.is_complex() or kernel.numel() == 0:
        raise DataError(
            f"kernel: expected a real array (ky, kx), got {kernel.dtype} {tuple(kernel.shape)}."
        )
    if not bool(torch.isfinite(kernel).all()) or not bool(kernel.abs().sum() > 0):
        raise DataError("kernel: expected finite values that are not all zero.")
    if kernel.shape[0] > ny or kernel.shape[1] > nx:
        raise DataError(f"kernel: {tuple(kernel.shape)} is larger than the image ({ny}, {nx}).")
    return BlurOp(kernel, (ny, nx))


def downsample_operator(
    factor: int | Sequence[int], *, image_shape: Sequence[int]
) -> LinearOperator:
    """Return the decimation that keeps every factor-th pixel along y and x from the first on.

    Compose it with a blur for super-resolution: ``downsample_operator(...) @ blur_operator(...)``.

    Parameters
    ----------
    factor
        Factor for both axes, or (y, x).
    image_shape
        Shape of the large image; the last two numbers are y and x.

    Returns
    -------
        Operator from `(*other, channels, z, y, x)` to `(*other, channels, z, ceil(y / f), ceil(x /
        f))`; the adjoint fills with zeros, ``A A^H = I``.

    Raises
    ------
    UsageError
        If the factor is below 1 or above the image size.

    Examples
    --------
    >>> A = downsample_operator(2, image_shape=(1, 1, 4, 4))
    >>> A(torch.arange(16.0).reshape(1, 1, 1, 4, 4))[0].flatten()
    tensor([ 0.,  2.,  8., 10.])
    """
    factors = (factor, factor) if isinstance(factor, int) else tuple(int(f) for f in factor)
    ny, nx = (int(n) for n in tuple(image_shape)[-2:])
    if len(factors) != 2 or min(factors) < 1 or factors[0] > ny or factors[1] > nx:
        raise UsageError(f"factor: expected 1 to the image size ({ny}, {nx}), got {factor}.")
    return DownsampleOp(factors, (ny, nx))


class MaskOp(LinearOperator, adjoint_as_backward=True):
    """Multiply by a mask of zeros and ones, ``A = A^H = A A``, ``||A|| = 1``."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        """Store the mask (bool)."""
        super().__init__()
        self.mask = mask

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Keep the observed pixels of `(*other, channels, z, y, x)`."""
        return (x * self.mask,)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Keep the observed pixels, which is its own adjoint."""
        return (x * self.mask,)

    @property
    def gram(self) -> LinearOperator:
        """Gram operator, which is the operator itself."""
        return self

    def capabilities(self) -> Capabilities:
        """Return what is known of the operator."""
        weight = self.mask.float()
        return Capabilities(
            gram_image=weight, symbol_image=weight, norm_bound=1.0, norm_is_exact=True
        )

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x, which is that of the data."""
        try:
            fits = np.broadcast_shapes(self.mask.shape, data_shape) == tuple(data_shape)
        except ValueError:
            fits = False
        if not fits:
            raise DataError(
                f"mask: {tuple(self.mask.shape)} cannot be broadcast to the image {data_shape}; "
                "expected one value per pixel."
            )
        return data_shape


class BlurOp(LinearOperator, adjoint_as_backward=True):
    """Circular convolution, ``A = F^H diag(h) F``, ``||A|| = max |h|``."""

    symbol: torch.Tensor

    def __init__(self, kernel: torch.Tensor, size: tuple[int, int]) -> None:
        """Store the Fourier transform of the kernel, computed in double precision."""
        super().__init__()
        self._size = size
        padded = torch.zeros(size, dtype=torch.float64, device=kernel.device)
        padded[: kernel.shape[0], : kernel.shape[1]] = kernel.double()
        origin = tuple(-(n // 2) for n in kernel.shape)
        symbol = torch.fft.fft2(torch.roll(padded, origin, dims=(0, 1)))
        is_double = kernel.dtype == torch.float64
        self.symbol = symbol.to(torch.complex128 if is_double else torch.complex64)

    def _filter(self, x: torch.Tensor, symbol: torch.Tensor) -> torch.Tensor:
        if x.is_complex():
            filtered: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(x) * symbol)
            return filtered
        half = symbol[..., : self._size[1] // 2 + 1]
        filtered = torch.fft.irfft2(torch.fft.rfft2(x) * half, s=self._size)
        return filtered

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Blur images `(*other, channels, z, y, x)`."""
        return (self._filter(x, self.symbol),)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Correlate with the kernel."""
        return (self._filter(x, self.symbol.conj()),)

    def capabilities(self) -> Capabilities:
        """Return what is known of the operator."""
        symbol = self.symbol[None, None]
        gram = symbol.abs().square()
        return Capabilities(
            gram_fourier=gram,
            symbol_fourier=symbol,
            norm_bound=math.sqrt(float(gram.max())),
            norm_is_exact=True,
        )

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x, which is that of the data."""
        if data_shape[-2:] != self._size:
            raise DataError(
                f"data: expected images (..., {self._size[0]}, {self._size[1]}), got {data_shape}."
            )
        return data_shape


class DownsampleOp(LinearOperator, adjoint_as_backward=True):
    """Keep every factor-th pixel along y and x; the adjoint fills with zeros, ``||A|| = 1``."""

    def __init__(self, factors: tuple[int, ...], size: tuple[int, int]) -> None:
        """Store the factors and the size of the large image."""
        super().__init__()
        self._factors = factors
        self._size = size
        self._small = tuple(-(-n // f) for n, f in zip(size, factors, strict=True))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Decimate images `(*other, channels, z, y, x)`."""
        return (x[..., :: self._factors[0], :: self._factors[1]].clone(),)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Put the pixels back to where they were taken from, zeros between them."""
        image = x.new_zeros((*x.shape[:-2], *self._size))
        image[..., :: self._factors[0], :: self._factors[1]] = x
        return (image,)

    def capabilities(self) -> Capabilities:
        """Return what is known of the operator."""
        kept = torch.zeros(1, 1, *self._size)
        kept[..., :: self._factors[0], :: self._factors[1]] = 1
        return Capabilities(gram_image=kept, norm_bound=1.0, norm_is_exact=True)

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the large image."""
        if data_shape[-2:] != self._small:
            raise DataError(
                f"data: expected small images (..., {self._small[0]}, {self._small[1]}), got "
                f"{data_shape}."
            )
        return (*data_shape[:-2], *self._size)
