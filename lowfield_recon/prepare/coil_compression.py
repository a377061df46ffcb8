"""Fewer virtual coils that hold nearly all of the signal.

References
----------
Buehrer M et al. Array compression for MRI with large coil arrays. Magn Reson Med 2007;57:1131-1139.
https://doi.org/10.1002/mrm.21237
Zhang T, Pauly JM, Vasanawala SS, Lustig M. Coil compression for accelerated imaging with Cartesian
sampling. Magn Reson Med 2013;69:571-582. https://doi.org/10.1002/mrm.24267
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.operators.fourier import centred_fft, centred_ifft

CompressionMethod = Literal["svd", "geometric"]

_METHODS = ("svd", "geometric")
_DEFAULT_ENERGY = 0.95
_HALF_WINDOW = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CoilCompression:
    """How coils are compressed, and to how many.

    Raises
    ------
    UsageError
        If the method is unknown, both numbers are given, or one is out of range.

    Examples
    --------
    >>> CoilCompression(virtual_coils=6).method
    'svd'
    """

    method: CompressionMethod = "svd"
    """`"svd"`: one matrix; `"geometric"`: one for each position along the readout, aligned."""

    virtual_coils: int | None = None
    """Number of virtual coils."""

    energy: float | None = None
    """Instead of a number: the part of the energy that the virtual coils hold at least, 0 to 1;
    0.95 where neither is given."""

    @property
    def least_energy(self) -> float:
        """Part of the energy that is kept where no number of virtual coils is given."""
        return _DEFAULT_ENERGY if self.energy is None else self.energy

    def __post_init__(self) -> None:
        """Check what the types cannot say."""
        if self.method not in _METHODS:
            raise UsageError(
                f"coil compression '{self.method}': {nearest_name(self.method, _METHODS)}"
            )
        if self.virtual_coils is not None and self.energy is not None:
            raise UsageError(
                "coil compression: expected a number of virtual coils or an energy, got both; "
                "leave one of them out."
            )
        if self.virtual_coils is not None and self.virtual_coils < 1:
            raise UsageError(
                f"coil compression: expected at least 1 virtual coil, got {self.virtual_coils}."
            )
        if self.energy is not None and not 0 < self.energy <= 1:
            raise UsageError(
                f"coil compression: expected an energy above 0 and at most 1, got {self.energy}."
            )


def compression_matrices(kspace: torch.Tensor, choice: CoilCompression) -> torch.Tensor:
    r"""Find the matrices that turn coils into virtual coils.

    ``K = U S V^H`` with the coils as rows gives ``A = U_n^H``, the n directions of largest energy.
    For `"geometric"`, K holds the samples near one position along the readout (five positions,
    after the inverse transform along k0), and neighbouring matrices are rotated onto each other,
    ``A_x <- V U^H A_x`` with ``A_x A_{x-1}^H = U S V^H``, so that virtual coils stay smooth.

    Rows are orthonormal: white noise stays white with the same standard deviation.

    Parameters
    ----------
    kspace
        Acquired samples, complex, `(*other, coils, k2, k1, k0)`, zero where nothing was acquired.
        For `"geometric"` the readouts must be complete.
    choice
        Method and number of virtual coils; at most as many as there are coils are made.

    Returns
    -------
        Complex, `(virtual, coils)`, for `"geometric"` `(x, virtual, coils)`.

    Raises
    ------
    DataError
        If `kspace` is not complex k-space, or empty.

    Examples
    --------
    >>> coil = torch.randn(1, 1, 1, 8, 8, dtype=torch.complex64)
    >>> kspace = torch.cat([coil, 1j * coil, 0.5 * coil], dim=1)
    >>> compression_matrices(kspace, CoilCompression(energy=0.99)).shape
    torch.Size([1, 3])

    References
    ----------
    One matrix: https://doi.org/10.1002/mrm.21237. Aligned matrices along the readout:
    https://doi.org/10.1002/mrm.24267
    """
    if kspace.ndim < 4 or not kspace.is_complex():
        raise DataError(
            f"kspace: expected complex (*other, coils, k2, k1, k0), got {kspace.dtype} of shape "
            f"{tuple(kspace.shape)}."
        )
    covariance = _covariance(kspace, choice.method)
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    energies, vectors = eigenvalues.clamp(min=0).flip(-1), vectors.flip(-1)
    n = _count(energies.sum(dim=0), choice)
    matrices: torch.Tensor = vectors[..., :n].mH
    if choice.method == "svd":
        return matrices[0].to(kspace.dtype)
    return _aligned(matrices, start=int(energies.sum(dim=-1).argmax())).to(kspace.dtype)


def compress_coils(kspace: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Combine coils into virtual coils: ``k' = A k``, or ``k' = F_x A_x F_x^H k``.

    Parameters
    ----------
    kspace
        Complex, `(*other, coils, k2, k1, k0)`.
    matrices
        From `compression_matrices`.

    Returns
    -------
        k-space `(*other, virtual, k2, k1, k0)`.

    Raises
    ------
    DataError
        If the matrices are for another number of coils or another readout.

    Examples
    --------
    >>> kspace = torch.ones(1, 2, 1, 4, 4, dtype=torch.complex64)
    >>> compress_coils(kspace, torch.full((1, 2), 0.5**0.5 + 0j)).abs().mean().round(decimals=3)
    tensor(1.4140)
    """
    if matrices.ndim == 2:
        return compress_coil_maps(kspace, matrices)
    return centred_fft(compress_coil_maps(centred_ifft(kspace, (-1,)), matrices), (-1,))


def compress_coil_maps(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Combine coil images or maps as `compress_coils` combines k-space.

    Parameters
    ----------
    images
        Coil images or maps, complex, `(*other, coils, z, y, x)`.
    matrices
        From `compression_matrices`.

    Returns
    -------
        Virtual coils `(*other, virtual, z, y, x)`.

    Raises
    ------
    DataError
        If the matrices are for another number of coils or another size along x.

    Examples
    --------
    >>> maps = torch.ones(1, 2, 1, 4, 4, dtype=torch.complex64)
    >>> compress_coil_maps(maps, torch.full((4, 1, 2), 0.5 + 0j)).shape
    torch.Size([1, 1, 1, 4, 4])
    """
    n_coils, n_x = images.shape[-4], images.shape[-1]
    if matrices.shape[-1] != n_coils or (matrices.ndim == 3 and matrices.shape[0] != n_x):
        raise DataError(
            f"matrices: shape {tuple(matrices.shape)} does not fit {n_coils} coils and {n_x} "
            "positions along the readout; expected (virtual, coils) or (x, virtual, coils)."
        )
    A = matrices.to(dtype=images.dtype, device=images.device)
    if matrices.ndim == 2:
        return torch.einsum("vc,...czyx->...vzyx", A, images)
    return torch.einsum("xvc,...czyx->...vzyx", A, images)


def _covariance(kspace: torch.Tensor, method: CompressionMethod) -> torch.Tensor:
    """Return ``K K^H``, `(1 or x, coils, coils)`, adding up one k2 after the other."""
    total: torch.Tensor | None = None
    for plane in kspace.reshape(-1, *kspace.shape[-4:]).movedim(2, 0):
        samples = plane if method == "svd" else centred_ifft(plane, (-1,))
        K = samples.movedim(1, 0).flatten(1, -2).permute(2, 0, 1).to(torch.complex128)
        products = K @ K.mH
        products = products.sum(dim=0, keepdim=True) if method == "svd" else products
        total = products if total is None else total + products
    if total is None:
        raise DataError(f"kspace: shape {tuple(kspace.shape)} holds no samples.")
    return total if method == "svd" else _windowed(total)


def _windowed(covariance: torch.Tensor) -> torch.Tensor:
    """Add up the covariances of neighbouring positions; the window is cut at the ends."""
    summed = covariance.clone()
    for step in range(1, min(_HALF_WINDOW, len(covariance) - 1) + 1):
        summed[step:] += covariance[:-step]
        summed[:-step] += covariance[step:]
    return summed


def _count(energies: torch.Tensor, choice: CoilCompression) -> int:
    """Return the number of virtual coils for energies in decreasing order."""
    if choice.virtual_coils is not None:
        return min(choice.virtual_coils, len(energies))
    wanted = choice.least_energy * float(energies.sum()) * (1 - 1e-12)
    return min(int((energies.cumsum(0) < wanted).sum()) + 1, len(energies))


def _aligned(matrices: torch.Tensor, start: int) -> torch.Tensor:
    """Rotate the matrices onto their neighbours, outwards from the one with most energy."""
    aligned = matrices.clone()
    for positions in (range(start + 1, len(matrices)), range(start - 1, -1, -1)):
        previous = aligned[start]
        for x in positions:
            U, _, Vh = torch.linalg.svd(matrices[x] @ previous.mH)
            previous = aligned[x] = Vh.mH @ U.mH @ matrices[x]
    return aligned
