"""Forward operators of MRI: coil sensitivities, Fourier transform, sampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mrpro.data import KTrajectory

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.cartesian import CartesianOp, is_finite
from lowfield_recon.operators.noncartesian import NonCartesianOp


def kspace_operator(
    *,
    mask: torch.Tensor | None = None,
    coil_maps: torch.Tensor | None = None,
    trajectory: KTrajectory | torch.Tensor | None = None,
    image_shape: Sequence[int] | None = None,
) -> LinearOperator:
    """Build the forward operator of an MRI scan, ``A = P F S``.

    S multiplies by the coil maps, F is the centred orthonormal Fourier transform over z, y and x
    (or the non-uniform one at the samples of `trajectory`), P keeps the acquired samples and sets
    the others to zero. Axes of length one are not transformed; slices of a multi-slice scan belong
    into `*other`.

    Parameters
    ----------
    mask
        Acquired samples of a Cartesian scan, bool or 0/1, broadcastable to `(*other, coils, k2, k1,
        k0)`. None: everything was acquired.
    coil_maps
        Complex coil maps `(*other, coils, z, y, x)`; None for a single coil.
    trajectory
        Sample positions of a non-Cartesian scan in cycles per field of view, as an mrpro
        `KTrajectory` or as a real tensor `(*other, k2, k1, k0, 3)` of (kz, ky, kx), each within
        +-n/2.
    image_shape
        Image size `(z, y, x)`; needed for a trajectory without coil maps, otherwise checked.

    Returns
    -------
        Operator from images `(*other, 1, z, y, x)` to k-space `(*other, coils, k2, k1, k0)`.

    Raises
    ------
    UsageError
        If both a mask and a trajectory are given, or a trajectory without an image size.
    DataError
        If mask, maps or trajectory have the wrong type or do not fit each other.

    References
    ----------
    Pruessmann KP et al. Magn Reson Med 2001;46:638-651. https://doi.org/10.1002/mrm.1241

    Examples
    --------
    >>> mask = torch.tensor([True, False, True, True]).reshape(1, 1, 1, 4, 1)
    >>> A = kspace_operator(mask=mask)
    >>> (y,) = A(torch.ones(1, 1, 1, 4, 4, dtype=torch.complex64))
    >>> y[0, 0, 0].abs().nonzero().tolist()
    [[2, 2]]
    """
    if mask is not None and trajectory is not None:
        raise UsageError(
            "kspace_operator: both mask and trajectory were given; a Cartesian scan has a mask, "
            "a non-Cartesian one a trajectory."
        )
    size = None if image_shape is None else _checked_size(image_shape)
    if coil_maps is not None:
        _check_maps(coil_maps, size)
        size = tuple(coil_maps.shape[-3:])
    if trajectory is None:
        return CartesianOp(mask=mask, coil_maps=coil_maps, image_shape=size)
    if size is None:
        raise UsageError(
            "kspace_operator: a trajectory without coil maps does not tell the image size; "
            "pass image_shape=(z, y, x)."
        )
    return NonCartesianOp(trajectory, coil_maps=coil_maps, image_shape=size)


def _checked_size(image_shape: Sequence[int]) -> tuple[int, ...]:
    size = tuple(int(n) for n in image_shape)[-3:]
    if len(size) != 3 or min(size) < 1:
        raise DataError(
            f"image_shape: expected (z, y, x), each at least 1, got {tuple(image_shape)}."
        )
    return size


def _check_maps(coil_maps: torch.Tensor, size: tuple[int, ...] | None) -> None:
    if not coil_maps.is_complex() or coil_maps.ndim < 4:
        raise DataError(
            f"coil_maps: expected a complex tensor (*other, coils, z, y, x), got {coil_maps.dtype} "
            f"{tuple(coil_maps.shape)}."
        )
    if coil_maps.numel() == 0:
        raise DataError(f"coil_maps: shape {tuple(coil_maps.shape)} holds no coil or no pixel.")
    if not is_finite(coil_maps):
        raise DataError("coil_maps: some values are NaN or infinite; estimate the maps again.")
    if size is not None and tuple(coil_maps.shape[-3:]) != size:
        raise DataError(
            f"coil_maps: expected image size {size} as given by image_shape, got "
            f"{tuple(coil_maps.shape[-3:])}."
        )
