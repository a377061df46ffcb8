"""Cropping and padding about the centre that keep index n // 2 on m // 2."""

from __future__ import annotations

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft


def crop_center(x: torch.Tensor, n: int, dim: int) -> torch.Tensor:
    """Keep the `n` central entries of an axis, so that the old index N // 2 becomes n // 2.

    The block starts at ``N // 2 - n // 2``; the common ``(N - n) // 2`` is one off from even N to
    odd n.

    Parameters
    ----------
    x
        Any tensor.
    n
        New length of the axis, 1 to the present length.
    dim
        Axis.

    Returns
    -------
        A view of `x`.

    Raises
    ------
    DataError
        If `n` is smaller than 1 or larger than the axis.

    Examples
    --------
    >>> crop_center(torch.arange(8), 5, 0)
    tensor([2, 3, 4, 5, 6])
    """
    size = x.shape[dim]
    if not 1 <= n <= size:
        raise DataError(f"crop: expected a length from 1 to {size} along axis {dim}, got {n}.")
    return x.narrow(dim, size // 2 - n // 2, n)


def pad_center(x: torch.Tensor, n: int, dim: int) -> torch.Tensor:
    """Add zeros around an axis up to length `n`, so that the old index N // 2 becomes n // 2.

    Parameters
    ----------
    x
        Any tensor.
    n
        New length of the axis, at least the present one.
    dim
        Axis.

    Returns
    -------
        A new tensor; the adjoint of `crop_center`.

    Raises
    ------
    DataError
        If `n` is smaller than the axis.

    Examples
    --------
    >>> pad_center(torch.tensor([1, 2, 3]), 6, 0)
    tensor([0, 0, 1, 2, 3, 0])
    """
    size = x.shape[dim]
    if n < size:
        raise DataError(f"pad: expected a length of at least {size} along axis {dim}, got {n}.")
    shape = list(x.shape)
    shape[dim] = n
    padded = x.new_zeros(shape)
    padded.narrow(dim, n // 2 - size // 2, size).copy_(x)
    return padded


def remove_readout_oversampling(kspace: torch.Tensor, n_x: int) -> torch.Tensor:
    r"""Reduce the field of view along the readout to its central `n_x` pixels.

    ``k' = F_m C F_n^H k`` along k0 with centred orthonormal transforms and the crop C.

    White noise stays white with the same standard deviation per sample, since ``F_m C F_n^H`` has
    orthonormal rows; so whitening before or after gives the same. Image values inside stay.

    Parameters
    ----------
    kspace
        Cartesian k-space, complex, `(*other, coils, k2, k1, k0)`, fully sampled along k0.
    n_x
        Number of readout pixels to keep.

    Returns
    -------
        k-space `(*other, coils, k2, k1, n_x)`; the input itself where nothing is to be removed.

    Raises
    ------
    DataError
        If `n_x` is smaller than 1 or larger than the readout.

    Examples
    --------
    >>> remove_readout_oversampling(torch.ones(1, 1, 1, 4, 8, dtype=torch.complex64), 4).shape
    torch.Size([1, 1, 1, 4, 4])
    """
    if n_x == kspace.shape[-1]:
        return kspace
    return centred_fft(crop_center(centred_ifft(kspace, (-1,)), n_x, -1), (-1,))
