"""The undecimated piecewise-linear B-spline framelet transform, a tight frame."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import Capabilities

_FIRST = math.sqrt(2) / 4


class FrameletOp(LinearOperator, adjoint_as_backward=True):
    r"""Circular, undecimated framelet coefficients along y and x.

    Along each axis the image is filtered with ``[1, 2, 1] / 4``, ``sqrt(2) / 4 [1, 0, -1]`` and
    ``[-1, 2, -1] / 4``, whose squared moduli sum to one; the nine products are the bands of a
    level, and the next level filters the low-pass band with the same taps twice as far apart. The
    complete frame satisfies ``W^H W = I``; its detail bands alone have norm at most 1. Maps an
    image `(*other, coils, z, y, x)` to `(bands, *other, coils, z, y, x)`.

    Parameters
    ----------
    levels
        Number of levels, at least 1.
    is_complete
        Whether the last low-pass band is the first of the bands.

    Raises
    ------
    UsageError
        If `levels` is below 1.

    References
    ----------
    Daubechies I, Han B, Ron A, Shen Z. Framelets: MRA-based constructions of wavelet frames. Appl
    Comput Harmon Anal 2003;14:1-46. https://doi.org/10.1016/S1063-5203(02)00511-0

    Examples
    --------
    >>> (bands,) = FrameletOp()(torch.ones(1, 1, 1, 4, 4))
    >>> bands.shape, bands.abs().max()
    (torch.Size([8, 1, 1, 1, 4, 4]), tensor(0.))
    """

    def __init__(self, levels: int = 1, *, is_complete: bool = False) -> None:
        """Store the number of levels."""
        super().__init__()
        if levels < 1:
            raise UsageError(f"levels: expected at least 1, got {levels}.")
        self._levels = levels
        self._is_complete = is_complete

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the bands of an image."""
        low, bands = x, []
        for level in range(self._levels):
            nine = _analyse(_analyse(low[None], 2**level, -2), 2**level, -1)
            low = nine[0]
            bands.append(nine[1:])
        if self._is_complete:
            bands.insert(0, low[None])
        return (bands[0] if len(bands) == 1 else torch.cat(bands),)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the image ``W^H c`` of bands `(bands, ...)`."""
        offset = 1 if self._is_complete else 0
        low = x[0] if self._is_complete else torch.zeros_like(x[0])
        for level in reversed(range(self._levels)):
            start = offset + 8 * level
            nine = torch.cat((low[None], x[start : start + 8]))
            low = _synthesise(_synthesise(nine, 2**level, -1), 2**level, -2)[0]
        return (low,)

    def capabilities(self) -> Capabilities:
        """Return the bound 1 of the norm."""
        return Capabilities(norm_bound=1.0, norm_is_exact=self._is_complete)

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the image."""
        return data_shape[1:]

    def band_norms(self, size: Sequence[int]) -> torch.Tensor:
        """Return the 2-norm of each band's filter, by which white noise is multiplied.

        Parameters
        ----------
        size
            (y, x) of the image.

        Returns
        -------
            One number per band, float64.
        """
        point = torch.zeros(1, 1, 1, *tuple(size), dtype=torch.float64)
        point[..., 0, 0] = 1
        (bands,) = self.forward(point)
        return bands.flatten(1).square().sum(1).sqrt()


def _analyse(x: torch.Tensor, spacing: int, axis: int) -> torch.Tensor:
    """Filter `(n, ...)` with the three filters along an axis: `(3 n, ...)`, the filter first."""
    before, after = torch.roll(x, spacing, axis), torch.roll(x, -spacing, axis)
    half_sum = (before + after) * 0.25
    half = x * 0.5
    return torch.cat((half + half_sum, (after - before) * _FIRST, half - half_sum))


def _synthesise(x: torch.Tensor, spacing: int, axis: int) -> torch.Tensor:
    """Apply the adjoint of `_analyse`: `(3 n, ...)` to `(n, ...)`."""
    low, first, second = x.chunk(3)
    around = (low - second) * 0.25
    before = around + first * _FIRST
    after = around - first * _FIRST
    return (
        (low + second) * 0.5 + torch.roll(before, spacing, axis) + torch.roll(after, -spacing, axis)
    )
