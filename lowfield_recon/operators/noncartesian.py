"""Non-Cartesian sampling through mrpro's non-uniform Fourier transform."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from mrpro.data import KTrajectory, SpatialDimension
from mrpro.operators import NonUniformFastFourierOp, SensitivityOp

from lowfield_recon.errors import DataError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import Capabilities

_SPATIAL: tuple[Literal[-3], Literal[-2], Literal[-1]] = (-3, -2, -1)


class NonCartesianOp(LinearOperator):
    """Coil maps and non-uniform Fourier transform, ``A = F S``, with a Toeplitz Gram.

    The transform is scaled so that it equals the centred orthonormal one on a Cartesian trajectory.
    """

    def __init__(
        self,
        trajectory: KTrajectory | torch.Tensor,
        *,
        coil_maps: torch.Tensor | None,
        image_shape: tuple[int, ...],
    ) -> None:
        """Plan the transform; use `kspace_operator`, which checks its arguments."""
        super().__init__()
        self._image_size = image_shape
        ktrajectory = _as_ktrajectory(trajectory)
        _check_range(ktrajectory, image_shape)
        self._samples = tuple(
            np.broadcast_shapes(
                *(k.shape for k in (ktrajectory.kz, ktrajectory.ky, ktrajectory.kx))
            )
        )
        matrix = SpatialDimension(*image_shape)
        used: list[Literal[-3, -2, -1]] = [d for d in _SPATIAL if image_shape[d] > 1]
        self.fourier_op = NonUniformFastFourierOp(used, matrix, matrix, ktrajectory)
        self.sensitivity_op = None if coil_maps is None else SensitivityOp(coil_maps)
        self.trajectory = ktrajectory
        self.coil_maps = coil_maps
        self._n_coils = 1 if coil_maps is None else coil_maps.shape[-4]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Apply ``F S`` to images `(*other, 1, z, y, x)`."""
        if not x.is_complex():
            x = x.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)
        if self.sensitivity_op is not None:
            (x,) = self.sensitivity_op(x)
        return self.fourier_op(x)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Apply ``S^H F^H`` to k-space `(*other, coils, k2, k1, k0)`."""
        (x,) = self.fourier_op.adjoint(x)
        return (x,) if self.sensitivity_op is None else self.sensitivity_op.adjoint(x)

    @property
    def gram(self) -> LinearOperator:
        """Gram operator ``S^H T S`` with the Toeplitz operator T of the trajectory."""
        toeplitz = self.fourier_op.gram
        if self.sensitivity_op is None:
            return toeplitz
        return self.sensitivity_op.H @ toeplitz @ self.sensitivity_op

    def capabilities(self) -> Capabilities:
        """Return what is known of the operator: that its data is k-space."""
        return Capabilities(data_domain="kspace")

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x for k-space of a shape, or raise `DataError`."""
        samples = self._samples[-3:]
        if data_shape[-3:] != samples or data_shape[-4] != self._n_coils:
            raise DataError(
                f"data: expected k-space (*other, {self._n_coils}, "
                f"{', '.join(map(str, samples))}) as "
                f"the trajectory and coil maps say, got {data_shape}."
            )
        return (*data_shape[:-4], 1, *self._image_size)


def _as_ktrajectory(trajectory: KTrajectory | torch.Tensor) -> KTrajectory:
    if isinstance(trajectory, KTrajectory):
        return trajectory
    if trajectory.is_complex() or trajectory.ndim < 4 or trajectory.shape[-1] != 3:
        raise DataError(
            "trajectory: expected a real tensor (*other, k2, k1, k0, 3) of (kz, ky, kx) in "
            "cycles per field "
            f"of view, got {trajectory.dtype} {tuple(trajectory.shape)}."
        )
    if not bool(torch.isfinite(trajectory).all()):
        raise DataError("trajectory: some positions are NaN or infinite.")
    kz, ky, kx = (k.unsqueeze(-4).float() for k in trajectory.unbind(-1))
    if kz.ndim < 5:
        kz, ky, kx = (k[None] for k in (kz, ky, kx))
    return KTrajectory(kz=kz, ky=ky, kx=kx)


def _check_range(trajectory: KTrajectory, image_shape: tuple[int, ...]) -> None:
    for name, n in zip(("kz", "ky", "kx"), image_shape, strict=True):
        largest = float(getattr(trajectory, name).abs().max())
        if n > 1 and largest > 0.5 * n * 1.01:
            raise DataError(
                f"trajectory: |{name}| reaches {largest:.4g} cycles per field of view, but an "
                f"axis of {n} "
                f"pixels holds at most {n / 2:g}; scale the trajectory or enlarge the image."
            )
