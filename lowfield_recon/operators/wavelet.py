"""Periodic orthogonal wavelet transforms: decimated, and shift-invariant as a tight frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import Capabilities
from lowfield_recon.operators.gradient import spatial_axes
from lowfield_recon.operators.wavelet_filters import scaling_filter


def default_levels(n: int) -> int:
    """Return the levels for an axis of n pixels, ``max(floor(log2 n) - 3, 1)``, 0 below two.

    Parameters
    ----------
    n
        Number of pixels.

    Returns
    -------
        Number of levels.

    Examples
    --------
    >>> [default_levels(n) for n in (1, 8, 126, 256)]
    [0, 1, 3, 5]
    """
    return 0 if n < 2 else max(int(math.log2(n)) - 3, 1)


class WaveletOp(LinearOperator, adjoint_as_backward=True):
    r"""Orthogonal periodic wavelet transform W over z, y and x, ``W^H W = I``.

    W is unitary. The coefficients stand in one array of the image's shape, the coarse approximation
    in its corner. Each axis must be a multiple of ``2^levels``; `padded_size` gives the next such
    size.
    """

    def __init__(
        self, image_shape: Sequence[int], wavelet: str = "db4", levels: int | None = None
    ) -> None:
        """Store the filter and the number of levels of each axis."""
        super().__init__()
        self._taps = scaling_filter(wavelet)
        self._size = tuple(image_shape[-3:])
        self._levels = axis_levels(image_shape, levels)
        if padded_size(image_shape, levels) != self._size:
            raise UsageError(
                f"wavelet: an image of {self._size} pixels cannot be halved {self._levels} times; "
                f"pad it to {padded_size(image_shape, levels)} or use fewer levels."
            )

    @property
    def coarse_size(self) -> tuple[int, ...]:
        """Size (z, y, x) of the approximation in the corner of the coefficients."""
        return tuple(n >> level for n, level in zip(self._size, self._levels, strict=True))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the coefficients of an image `(*other, coils, z, y, x)`, of the same shape."""
        coefficients = x
        for level in range(max(self._levels)):
            corner = _corner(coefficients, self._block(level))
            block = corner
            for axis in self._axes(level):
                block = _analyse(block, self._taps, axis)
            if level == 0:
                coefficients = block
            else:
                corner.copy_(block)
        return (coefficients,)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the image of coefficients, ``W^H c``, which inverts the transform."""
        image = x.clone()
        for level in reversed(range(max(self._levels))):
            corner = _corner(image, self._block(level))
            block = corner
            for axis in reversed(self._axes(level)):
                block = _synthesise(block, self._taps, axis)
            corner.copy_(block)
        return (image,)

    def _axes(self, level: int) -> tuple[int, ...]:
        return tuple(d for d in (-3, -2, -1) if self._levels[d] > level)

    def _block(self, level: int) -> tuple[int, ...]:
        """Size of the corner that a level decomposes."""
        return tuple(n >> min(level, k) for n, k in zip(self._size, self._levels, strict=True))

    def capabilities(self) -> Capabilities:
        """Return that W preserves the norm."""
        return Capabilities(norm_bound=1.0, norm_is_exact=True)

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the image."""
        return (*data_shape[:-3], *self._size)


class ShiftInvariantWaveletOp(LinearOperator, adjoint_as_backward=True):
    r"""Undecimated periodic wavelet transform, a Parseval frame: ``W^H W = I``, any image size.

    The filters of level l are dilated by ``2^l`` and scaled by ``1/sqrt 2`` along each axis. The
    bands are stacked along a new first axis: the details of each level, then the approximation.
    `band_weights` makes ``sum_b w_b ||c_b||_1`` the mean of the decimated transform's ``||W x||_1``
    over all shifts.
    """

    def __init__(
        self, image_shape: Sequence[int], wavelet: str = "db4", levels: int | None = None
    ) -> None:
        """Store the filter and the number of levels of each axis."""
        super().__init__()
        self._taps = scaling_filter(wavelet)
        self._size = tuple(image_shape[-3:])
        self._levels = axis_levels(image_shape, levels)

    @property
    def band_weights(self) -> tuple[float, ...]:
        """Weight of each band in the penalty; 0 for the approximation, which comes last."""
        weights: list[float] = []
        for level in range(max(self._levels)):
            halvings = sum(min(level + 1, k) for k in self._levels)
            weights += [2.0 ** (-halvings / 2)] * (2 ** len(self._axes(level)) - 1)
        return (*weights, 0.0)

    def _axes(self, level: int) -> tuple[int, ...]:
        return tuple(d for d in (-3, -2, -1) if self._levels[d] > level)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the bands of an image, `(bands, *other, coils, z, y, x)`."""
        axes = spatial_axes(x.shape)
        spectrum = torch.fft.fftn(x, dim=axes)
        bands = x.new_empty((len(self.band_weights), *x.shape))
        for band, response in zip(bands, self._responses(spectrum), strict=True):
            filtered = torch.fft.ifftn(spectrum * response, dim=axes)
            band.copy_(filtered if x.is_complex() else filtered.real)
        return (bands,)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return ``W^H c``, which inverts the transform."""
        axes = spatial_axes(x.shape)
        spectrum: torch.Tensor | None = None
        like = torch.empty(0, dtype=x.dtype if x.is_complex() else _complex_of(x), device=x.device)
        for band, response in zip(x, self._responses(like), strict=True):
            part = torch.fft.fftn(band, dim=axes).mul_(response.conj())
            spectrum = part if spectrum is None else spectrum.add_(part)
        assert spectrum is not None  # noqa: S101 - there is at least one band
        image = torch.fft.ifftn(spectrum, dim=axes)
        return (image if x.is_complex() else image.real,)

    def _responses(self, like: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the frequency response of each band, broadcastable to the image, in FFT order."""
        approximation = torch.ones(1, 1, 1, dtype=like.dtype, device=like.device)
        for level in range(max(self._levels)):
            responses = [approximation]
            for axis in self._axes(level):
                n = self._size[axis]
                pair = (
                    _response(self._taps, 2**level, n, axis, like),
                    _response(_high_pass(self._taps), 2**level, n, axis, like),
                )
                responses = [response * factor for response in responses for factor in pair]
            approximation, *details = responses
            yield from details
        yield approximation

    def capabilities(self) -> Capabilities:
        """Return that W preserves the norm."""
        return Capabilities(norm_bound=1.0, norm_is_exact=True)

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the image."""
        return data_shape[1:]


def axis_levels(image_shape: Sequence[int], levels: int | None) -> tuple[int, ...]:
    """Return the number of levels along z, y and x, at most `levels`.

    Parameters
    ----------
    image_shape
        Shape of the image; the last three numbers are z, y, x.
    levels
        Most levels, or None for `default_levels` of each axis.

    Returns
    -------
        Three numbers; 0 for axes of one pixel.

    Raises
    ------
    UsageError
        If `levels` is not positive or halves an axis below one pixel.

    Examples
    --------
    >>> axis_levels((1, 1, 1, 128, 256), None)
    (0, 4, 5)
    """
    size = tuple(image_shape[-3:])
    axes = spatial_axes(size)
    if levels is None:
        chosen = [
            default_levels(n) if d in axes else 0 for n, d in zip(size, (-3, -2, -1), strict=True)
        ]
        return tuple(chosen) if any(chosen) else (0, 0, 1)
    largest = max(int(math.log2(max(size[d], 2))) for d in axes)
    if not 1 <= levels <= largest:
        raise UsageError(
            f"levels: expected 1 to {largest} for an image of {size} pixels, got {levels}."
        )
    return tuple(
        min(levels, max(int(math.log2(n)), 1)) if d in axes else 0
        for n, d in zip(size, (-3, -2, -1), strict=True)
    )


def padded_size(image_shape: Sequence[int], levels: int | None) -> tuple[int, ...]:
    """Return the smallest size (z, y, x) not below the image's that can be halved `levels` times.

    Parameters
    ----------
    image_shape
        Shape of the image; the last three numbers are z, y, x.
    levels
        Most levels, or None for `default_levels` of each axis.

    Returns
    -------
        Three numbers.

    Examples
    --------
    >>> padded_size((1, 1, 1, 128, 126), None)
    (1, 128, 128)
    """
    chosen = axis_levels(image_shape, levels)
    return tuple(-(-n // 2**k) * 2**k for n, k in zip(image_shape[-3:], chosen, strict=True))


def _corner(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return x[..., : size[0], : size[1], : size[2]]


def _high_pass(taps: tuple[float, ...]) -> tuple[float, ...]:
    """Return the quadrature mirror filter ``g[k] = (-1)^k h[L - 1 - k]``."""
    return tuple((-1) ** k * h for k, h in enumerate(reversed(taps)))


def _analyse(x: torch.Tensor, taps: tuple[float, ...], axis: int) -> torch.Tensor:
    """Return low-pass and high-pass half along an axis: ``lo[n] = sum_k h[k] x[2n + k]``."""
    n = x.shape[axis]
    high = _high_pass(taps)
    extended = _extended(x, len(taps) - 2, axis)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    low_half, high_half = out.narrow(axis, 0, n // 2), out.narrow(axis, n // 2, n // 2)
    for k, (h, g) in enumerate(zip(taps, high, strict=True)):
        samples = _every_second(extended, k, n // 2, axis)
        if k == 0:
            torch.mul(samples, h, out=low_half)
            torch.mul(samples, g, out=high_half)
        else:
            low_half.add_(samples, alpha=h)
            high_half.add_(samples, alpha=g)
    return out


def _synthesise(x: torch.Tensor, taps: tuple[float, ...], axis: int) -> torch.Tensor:
    """Return the adjoint of `_analyse`, which inverts it."""
    n = x.shape[axis]
    high = _high_pass(taps)
    tail = len(taps) - 2
    shape = list(x.shape)
    shape[axis] = n + tail
    extended = x.new_zeros(shape)
    low_half, high_half = x.narrow(axis, 0, n // 2), x.narrow(axis, n // 2, n // 2)
    for k, (h, g) in enumerate(zip(taps, high, strict=True)):
        samples = _every_second(extended, k, n // 2, axis)
        samples.add_(low_half, alpha=h).add_(high_half, alpha=g)
    out = extended.narrow(axis, 0, n)
    for start in range(n, n + tail, n):  # fold what reached beyond the end back to the beginning
        length = min(n, n + tail - start)
        out.narrow(axis, 0, length).add_(extended.narrow(axis, start, length))
    return out


def _extended(x: torch.Tensor, tail: int, axis: int) -> torch.Tensor:
    """Return `x` continued periodically by `tail` samples along an axis."""
    if tail == 0:
        return x
    n = x.shape[axis]
    repeats = [x] * (tail // n) + ([x.narrow(axis, 0, tail % n)] if tail % n else [])
    return torch.cat([x, *repeats], dim=axis)


def _every_second(x: torch.Tensor, start: int, count: int, axis: int) -> torch.Tensor:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, start + 2 * count - 1, 2)
    return x[tuple(index)]


def _response(
    taps: tuple[float, ...], dilation: int, n: int, axis: int, like: torch.Tensor
) -> torch.Tensor:
    """Return the eigenvalues of ``(h x)[m] = sum_k h[k] x[m + k dilation] / sqrt 2``, periodic."""
    omega = torch.arange(n, dtype=torch.float64) * (2 * math.pi / n)
    response = torch.zeros(n, dtype=torch.complex128)
    for k, h in enumerate(taps):
        response += h * math.sqrt(0.5) * torch.exp(1j * omega * (k * dilation))
    shaped = response.reshape(-1, *([1] * (-axis - 1)))
    return shaped.to(dtype=like.dtype, device=like.device)


def _complex_of(x: torch.Tensor) -> torch.dtype:
    return torch.complex128 if x.dtype == torch.float64 else torch.complex64
