"""Steps on the samples of one image and on its separate calibration lines alike."""

from __future__ import annotations

import dataclasses
import math

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare.coil_compression import (
    CoilCompression,
    compress_coils,
    compression_matrices,
)
from lowfield_recon.prepare.intensity import intensity_scale
from lowfield_recon.prepare.kspace_centre import recentred
from lowfield_recon.prepare.partial_fourier import PartialFourierMethod, complete_partial_fourier
from lowfield_recon.scan.preparation import gridded
from lowfield_recon.scan.records import RawKSpace, Shape


def moved(raw: RawKSpace, shift: Shape) -> RawKSpace:
    """Move samples, masks and calibration lines by whole samples.

    Parameters
    ----------
    raw
        Samples on a grid.
    shift
        Samples along (k2, k1, k0).

    Returns
    -------
        Samples on the same grid, with masks to match.
    """
    if not any(shift):
        return raw
    mask, lines = raw.mask, raw.calibration_mask
    return dataclasses.replace(
        raw,
        data=recentred(raw.data, shift),
        mask=None if mask is None else recentred(mask, shift),
        calibration=None if raw.calibration is None else recentred(raw.calibration, shift),
        calibration_mask=None if lines is None else recentred(lines, shift),
    )


def completed(raw: RawKSpace, method: PartialFourierMethod) -> RawKSpace:
    """Fill what a partial Fourier scan left out.

    What was acquired is kept as calibration, so that coil maps come from the symmetric centre and
    not from what was filled in.

    Parameters
    ----------
    raw
        Samples on a grid.
    method
        How it is filled; `"zero-filled"` changes nothing.

    Returns
    -------
        Samples with a larger mask.

    Raises
    ------
    UsageError
        If the scan is not a partial Fourier scan of complete lines.
    """
    if method == "zero-filled" or raw.mask is None:
        return raw
    data, mask = complete_partial_fourier(raw.data, raw.mask, method)
    has_lines = raw.calibration is not None
    return dataclasses.replace(
        raw,
        data=data,
        mask=mask,
        calibration=raw.calibration if has_lines else raw.data,
        calibration_mask=raw.calibration_mask if has_lines else raw.mask,
    )


def compressing(raw: RawKSpace, choice: CoilCompression) -> torch.Tensor:
    """Find the matrices that compress the coils of one image.

    Parameters
    ----------
    raw
        Samples, whitened where there is a noise scan.
    choice
        Method and number of virtual coils.

    Returns
    -------
        See `lowfield_recon.prepare.compression_matrices`.

    Raises
    ------
    UsageError
        If `"geometric"` is asked for where readouts are incomplete or no lines of a grid.
    """
    if choice.method == "geometric" and (raw.mask is None or raw.mask.shape[-1] > 1):
        raise UsageError(
            "coil compression: 'geometric' needs complete readouts on a Cartesian grid, which this "
            "scan has not; use 'svd'."
        )
    return compression_matrices(raw.data if raw.calibration is None else raw.calibration, choice)


def compressed(raw: RawKSpace, matrices: torch.Tensor) -> RawKSpace:
    """Combine coils into virtual coils, calibration lines with the same matrices.

    Parameters
    ----------
    raw
        Samples.
    matrices
        From `compressing`.

    Returns
    -------
        Samples of the virtual coils.
    """
    lines = raw.calibration
    return dataclasses.replace(
        raw,
        data=compress_coils(raw.data, matrices),
        calibration=None if lines is None else compress_coils(lines, matrices),
    )


def scale_of(raw: RawKSpace, shape: Shape, coil_maps: torch.Tensor | None = None) -> float:
    """Find the intensity scale of one image from its samples alone.

    From the coil images, zero-filled on a grid; along a trajectory weighted by the density, times
    the factor that fits the samples best. Without coil maps they are combined by the root sum of
    squares, which is what maps with a unit sum of squares give.

    Parameters
    ----------
    raw
        Samples that a reconstruction gets.
    shape
        Size of the image (z, y, x).
    coil_maps
        Maps `(1, coils, z, y, x)` where they are known beforehand, or None.

    Returns
    -------
        See `lowfield_recon.prepare.intensity_scale`.
    """
    if raw.trajectory is None:
        return intensity_scale(_combined(centred_ifft(raw.data, (-3, -2, -1)), coil_maps))
    coils = centred_ifft(gridded(raw.data, raw.trajectory, shape), (-3, -2, -1))
    A = kspace_operator(trajectory=raw.trajectory, image_shape=shape)
    explained, energy = 0.0, 0.0
    for c in range(coils.shape[1]):
        (predicted,) = A(coils[:, c : c + 1])
        explained += float((predicted.conj() * raw.data[:, c : c + 1]).sum().real)
        energy += float(predicted.abs().square().sum())
    fit = explained / energy if energy > 0 and math.isfinite(energy) else 1.0
    return abs(fit) * intensity_scale(_combined(coils, coil_maps))


def _combined(coils: torch.Tensor, coil_maps: torch.Tensor | None) -> torch.Tensor:
    """Return the magnitude image of coil images `(1, coils, z, y, x)`."""
    if coil_maps is None:
        root_sum_of_squares: torch.Tensor = torch.linalg.vector_norm(coils, dim=1)
        return root_sum_of_squares
    weight = coil_maps.abs().square().sum(dim=1)
    total = (coil_maps.conj() * coils).sum(dim=1).abs()
    return torch.where(weight > 1e-3 * weight.max(), total / weight.clamp(min=1e-30), 0)
