"""Analysis and synthesis of patches in their penalised subspace, by Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

_CHUNK_VALUES = 1_000_000
"""Values of the channels that are transformed at once, so that a chunk stays in the cache."""


class PatchSubspace:
    r"""``z_k = U P_k x`` for the patch around each pixel, and its adjoint, with circular boundary.

    Correlation with the rows of U is, in Fourier space, multiplication with ``conj(U^)``; so
    ``sum_k P_k^T U^T U P_k`` is multiplication with ``h = sum_u |U^_u|^2``. A complex image is
    treated as two real ones. Coefficients are real, `(r, planes, members, groups)`: the members of
    a group are coupled by the potential, the pixels of a `block` x `block` square and the real and
    imaginary part.

    Parameters
    ----------
    basis
        U, orthonormal, `(r, ky, kx)`, real, odd sides.
    size
        Rows and columns of the image, multiples of `block`; not smaller than a patch.
    block
        Side of the squares whose pixels make a group.

    Examples
    --------
    >>> basis = torch.eye(9).reshape(9, 3, 3)[4:5]
    >>> PatchSubspace(basis, (4, 4)).analyse(torch.ones(1, 4, 4)).shape
    torch.Size([1, 1, 1, 16])
    """

    def __init__(self, basis: torch.Tensor, size: tuple[int, int], *, block: int = 1) -> None:
        """Transform the filters."""
        self.size = size
        self.block = block
        self.rank = basis.shape[0]
        _, ky, kx = basis.shape
        padded = basis.new_zeros((self.rank, *size))
        padded[:, :ky, :kx] = basis
        centred = torch.roll(padded, (-(ky // 2), -(kx // 2)), (-2, -1))
        self._spectra = torch.fft.rfft2(centred)
        half = self._spectra.abs().square().sum(0)
        self.response = _full_spectrum(half, size)
        """h, real, `(y, x)`, in FFT order."""

    def analyse(self, image: torch.Tensor) -> torch.Tensor:
        """Return z, real, `(r, planes, members, groups)`, of images `(planes, y, x)`."""
        z = self.response.new_empty((self.rank, *self.shape(image)))
        for rows, part in self.analysed(image):
            z[rows] = part
        return z

    def analysed(self, image: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield (rows of U, their part of z) while it is in the cache, until all had their turn."""
        parts = torch.stack((image.real, image.imag), 1) if image.is_complex() else image[:, None]
        spectrum = torch.fft.rfft2(parts)
        for rows in self._chunks(parts.shape[0] * parts.shape[1]):
            filtered = self._spectra[rows, None, None].conj() * spectrum
            yield rows, self._grouped(torch.fft.irfft2(filtered, s=self.size))

    def shape(self, image: torch.Tensor) -> tuple[int, int, int]:
        """Return the numbers of planes, members and groups of images `(planes, y, x)`."""
        components = 2 if image.is_complex() else 1
        return image.shape[0], components * self.block**2, self._n_groups

    def synthesise(self, z: torch.Tensor, *, is_complex: bool) -> torch.Tensor:
        """Return ``sum_k P_k^T U^T z_k``, images `(planes, y, x)`: the adjoint of `analyse`."""
        planes = z.shape[1]
        components = 2 if is_complex else 1
        columns = self.size[1] // 2 + 1
        spectrum = self._spectra.new_zeros((planes, components, self.size[0], columns))
        for rows in self._chunks(planes * components):
            transformed = torch.fft.rfft2(self._ungrouped(z[rows], components))
            spectrum += transformed.mul_(self._spectra[rows, None, None]).sum(0)
        parts = torch.fft.irfft2(spectrum, s=self.size)
        return torch.complex(parts[:, 0], parts[:, 1]) if is_complex else parts[:, 0]

    @property
    def _n_groups(self) -> int:
        return math.prod(self.size) // self.block**2

    def _chunks(self, images: int) -> list[slice]:
        step = max(1, _CHUNK_VALUES // (math.prod(self.size) * images))
        return [slice(i, min(i + step, self.rank)) for i in range(0, self.rank, step)]

    def _grouped(self, maps: torch.Tensor) -> torch.Tensor:
        """Sort maps `(r, planes, components, y, x)` into members and groups."""
        rank, planes, components = maps.shape[:3]
        if self.block == 1:
            return maps.flatten(-2)
        b, (ny, nx) = self.block, self.size
        squares = maps.reshape(rank, planes, components, ny // b, b, nx // b, b)
        return squares.permute(0, 1, 2, 4, 6, 3, 5).reshape(
            rank, planes, components * b * b, self._n_groups
        )

    def _ungrouped(self, z: torch.Tensor, components: int) -> torch.Tensor:
        """Undo `_grouped`."""
        rank, planes = z.shape[:2]
        b, (ny, nx) = self.block, self.size
        if b == 1:
            return z.reshape(rank, planes, components, ny, nx)
        squares = z.reshape(rank, planes, components, b, b, ny // b, nx // b)
        return squares.permute(0, 1, 2, 5, 3, 6, 4).reshape(rank, planes, components, ny, nx)


def _full_spectrum(half: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Complete the half spectrum of an even real response to `(y, x)`."""
    columns = torch.arange(size[1], device=half.device)
    mirrored = torch.minimum(columns, size[1] - columns)
    rows = torch.arange(size[0], device=half.device)
    # |U^(-k)|^2 = |U^(k)|^2: columns past the middle are those of the opposite frequency.
    opposite = (-rows) % size[0]
    past = columns > size[1] // 2
    direct = half[:, mirrored]
    return torch.where(past, half[opposite][:, mirrored], direct)
