"""Coil sensitivity maps from the fully sampled centre of k-space.

References
----------
Uecker M et al. ESPIRiT, an eigenvalue approach to autocalibrating parallel MRI. Magn Reson Med
2014;71:990-1001. https://doi.org/10.1002/mrm.24751
Walsh DO, Gmitro AF, Marcellin MW. Adaptive reconstruction of phased array MR imagery. Magn Reson
Med 2000;43:682-690.
https://doi.org/10.1002/(SICI)1522-2594(200005)43:5%3C682::AID-MRM10%3E3.0.CO;2-G
Inati SJ, Hansen MS, Kellman P. A fast optimal method for coil sensitivity estimation and adaptive
coil combination for complex images. Proc ISMRM 2014;22:4407.
"""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import numpy as np
import torch

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare.cropping import crop_center, pad_center
from lowfield_recon.prepare.enlarging import enlarged
from lowfield_recon.prepare.undersampling import calibration_width as width_of_mask

logger = logging.getLogger(__name__)

CoilMapMethod = Literal["espirit", "walsh", "inati"]

_SMALLEST_WIDTH = 6
_KERNEL_WIDTH = 6
_POWER_ITERATIONS = 30
_SMOOTHING_WIDTH = 5
_TILE_BYTES = 128 << 20
_LARGEST_VOLUME = 48
_ZERO = 1e-9


def estimate_coil_maps(
    kspace: torch.Tensor,
    method: CoilMapMethod = "espirit",
    *,
    mask: torch.Tensor | None = None,
    calibration_width: int = 24,
    eigenvalue_threshold: float = 0.8,
) -> torch.Tensor:
    r"""Estimate coil sensitivities c with ``sum_c |c(r)|^2 = 1`` wherever there is signal.

    The calibration block is the largest fully sampled centre of k-space, at most
    `calibration_width` wide. `"espirit"` (sigpy) finds c as the eigenvectors with eigenvalue 1 of
    the local operator that the block is consistent with; voxels whose eigenvalue is below the
    threshold get zero. A volume is transformed along one complete axis and worked through plane by
    plane, so that memory stays bounded. `"walsh"` and `"inati"` (mrpro) take the dominant
    eigenvector of the local coil covariance of the low-pass filtered images, the latter with a
    smooth phase.

    Parameters
    ----------
    kspace
        Cartesian k-space, complex, `(*other, coils, k2, k1, k0)`, zero where nothing was acquired.
    method
        `"espirit"`, `"walsh"` or `"inati"`.
    mask
        Acquired samples, bool, broadcastable to `kspace`; None takes the samples that are not zero.
    calibration_width
        Largest width of the calibration block, in samples.
    eigenvalue_threshold
        ESPIRiT eigenvalue below which a voxel counts as empty, 0 to 1.

    Returns
    -------
        Sensitivities, complex, `(*other, coils, z, y, x)`; for a single coil ones.

    Raises
    ------
    UsageError
        If the method is unknown or a setting is out of range.
    DataError
        If the centre of k-space is not sampled densely enough to calibrate.

    Examples
    --------
    >>> coils = torch.tensor([3.0, 4j]).reshape(1, 2, 1, 1, 1) * torch.ones(1, 1, 1, 16, 16)
    >>> from lowfield_recon.operators.fourier import centred_fft
    >>> k = centred_fft(coils, (-2, -1))
    >>> maps = estimate_coil_maps(k, "inati", mask=torch.ones(16, 16).bool())
    >>> maps[0, :, 0, 8, 8].abs()
    tensor([0.6000, 0.8000])

    References
    ----------
    https://doi.org/10.1002/mrm.24751 (ESPIRiT); Walsh et al. and Inati et al. as named above.
    """
    known = ("espirit", "walsh", "inati")
    if method not in known:
        raise UsageError(f"coil maps '{method}': {nearest_name(method, known)}")
    if not (calibration_width >= 1 and 0 <= eigenvalue_threshold <= 1):
        raise UsageError(
            f"coil maps: expected calibration_width >= 1 and eigenvalue_threshold from 0 to 1, got "
            f"{calibration_width} and {eigenvalue_threshold}."
        )
    if kspace.ndim < 4 or not kspace.is_complex():
        raise DataError(
            f"kspace: expected complex (*other, coils, k2, k1, k0), got {kspace.dtype} of shape "
            f"{tuple(kspace.shape)}."
        )
    if kspace.shape[-4] == 1:
        return torch.ones_like(kspace)
    flat = kspace.reshape(-1, *kspace.shape[-4:])
    masks = _masks(flat, mask, kspace.shape)
    maps = torch.empty_like(flat)
    for i, k in enumerate(flat):
        width = _calibration_width(masks[i], calibration_width)
        # mrpro's epsilons are absolute, so the data are scaled to 1.
        scaled = k / k.abs().max().clamp(min=torch.finfo(k.real.dtype).tiny)
        if method == "espirit":
            maps[i] = _espirit(scaled, masks[i], width, eigenvalue_threshold)
        else:
            maps[i] = _from_images(scaled, width, method)
    return _normalised(maps).reshape(kspace.shape)


def _masks(flat: torch.Tensor, mask: torch.Tensor | None, shape: torch.Size) -> list[torch.Tensor]:
    """Return for every volume the samples `(k2, k1, k0)` that all coils have."""
    if mask is None:
        return [(k.abs().amax(dim=0) > _ZERO * k.abs().max()) for k in flat]
    try:
        full = mask.bool().expand(*shape[:-4], mask.shape[-4] if mask.ndim > 3 else 1, *shape[-3:])
        return list(full.reshape(-1, *full.shape[-4:]).all(dim=1))
    except RuntimeError as error:
        raise DataError(
            f"mask: shape {tuple(mask.shape)} does not fit kspace {tuple(shape)}; expected one "
            "that broadcasts to it."
        ) from error


def _calibration_width(mask: torch.Tensor, largest: int) -> int:
    width = min(width_of_mask(mask), largest)
    if width < min(_SMALLEST_WIDTH, max(mask.shape)):
        raise DataError(
            f"coil maps: the fully sampled centre of k-space is {width} samples wide, expected at "
            f"least {_SMALLEST_WIDTH}. Pass coil maps, or acquire calibration lines."
        )
    return width


def _espirit(
    kspace: torch.Tensor, mask: torch.Tensor, width: int, threshold: float
) -> torch.Tensor:
    """ESPIRiT of one volume `(coils, k2, k1, k0)`, plane by plane along a complete axis.

    Large volumes are calibrated on a coarse grid and interpolated: the maps are smooth, and the
    time goes with the number of voxels.
    """
    size = tuple(kspace.shape[1:])
    coarse = tuple(min(n, _LARGEST_VOLUME) for n in size)
    if min(size) > 1 and coarse != size:
        for d, n in enumerate(coarse):
            kspace, mask = crop_center(kspace, n, d + 1), crop_center(mask, n, d)
        return enlarged(_espirit(kspace, mask, width, threshold), size)
    axis = _plane_axis(mask, width)
    block = kspace
    for d in (1, 2, 3):
        if d != axis:
            block = crop_center(block, min(width, kspace.shape[d]), d)
    planes = centred_ifft(block, (axis - 4,)).movedim(axis, 0)
    shape = tuple(n for d, n in enumerate(kspace.shape) if d not in (0, axis))
    maps = [_espirit_plane(plane, shape, threshold) for plane in planes]
    return torch.stack(maps).movedim(0, axis)


def _plane_axis(mask: torch.Tensor, width: int) -> int:
    """Choose the shortest complete axis (1 to 3, after the coils) whose other two can calibrate."""
    sizes = mask.shape
    for d in sorted(range(3), key=lambda axis: sizes[axis]):
        others = [n for e, n in enumerate(sizes) if e != d]
        centre = mask
        for e in range(3):
            if e != d:
                centre = crop_center(centre, min(width, sizes[e]), e)
        if bool(centre.all()) and min(min(n, width) for n in others) >= min(3, width):
            return d + 1
    raise DataError(
        f"coil maps: ESPIRiT needs one axis of k-space {tuple(sizes)} that is complete over the "
        f"{width} central lines; use method 'walsh' or 'inati', or pass coil maps."
    )


def _espirit_plane(
    calibration: torch.Tensor, shape: tuple[int, ...], threshold: float
) -> torch.Tensor:
    """Run sigpy's ESPIRiT on a calibration block `(coils, h, w)` for an image of `shape`."""
    padded = pad_center(pad_center(calibration, shape[0], 1), shape[1], 2)
    if not bool(calibration.any()):
        return torch.zeros_like(padded)
    side = min(calibration.shape[1:])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from sigpy.mri.app import EspiritCalib

        maps = EspiritCalib(
            padded.numpy(force=True),
            calib_width=side,
            kernel_width=min(_KERNEL_WIDTH, max(1, side // 2)),
            crop=threshold,
            max_iter=_POWER_ITERATIONS,
            show_pbar=False,
        ).run()
    return torch.from_numpy(np.ascontiguousarray(maps)).to(padded)


def _from_images(kspace: torch.Tensor, width: int, method: str) -> torch.Tensor:
    """Walsh or Inati maps of one volume, tile by tile with an overlap, from low-pass images."""
    images = _low_pass_images(kspace, width)
    from mrpro.algorithms.csm.inati import inati
    from mrpro.algorithms.csm.walsh import walsh
    from mrpro.data.SpatialDimension import SpatialDimension

    coils, nz, ny, nx = images.shape
    depth = min(_SMOOTHING_WIDTH, nz - 1 + nz % 2)  # odd, and no deeper than the volume
    smoothing = SpatialDimension(depth, _SMOOTHING_WIDTH, _SMOOTHING_WIDTH)
    window = depth * _SMOOTHING_WIDTH**2 if method == "inati" else 4 * coils
    voxels = max(_TILE_BYTES // (8 * coils * (coils + window)), 1)
    step_y = max(min(ny, voxels // nx), 8)
    step_z = max(voxels // (nx * step_y), 1)
    maps = torch.empty_like(images)
    for z in range(0, nz, step_z):
        for y in range(0, ny, step_y):
            inner_z, tile_z = _with_halo(z, step_z, nz)
            inner_y, tile_y = _with_halo(y, step_y, ny)
            tile = images[:, tile_z, tile_y]
            found = walsh(tile, smoothing) if method == "walsh" else inati(tile, smoothing)
            maps[:, z : z + step_z, y : y + step_y] = found[:, inner_z, inner_y]
    return maps


def _with_halo(start: int, step: int, n: int) -> tuple[slice, slice]:
    """Return where a tile's own voxels lie in it, and the tile with its halo.

    The halo is a whole window wide, since mrpro narrows a window that is wider than the tile.
    """
    stop = min(start + step, n)
    first, last = max(start - _SMOOTHING_WIDTH, 0), min(stop + _SMOOTHING_WIDTH, n)
    return slice(start - first, stop - first), slice(first, last)


def _low_pass_images(kspace: torch.Tensor, width: int) -> torch.Tensor:
    """Return coil images of the Hann-weighted calibration block, `(coils, z, y, x)`."""
    block = kspace
    for d in (1, 2, 3):
        n = min(width, kspace.shape[d])
        window = torch.hann_window(n + 2, periodic=False, dtype=torch.float64)[1:-1]
        weights = window.to(kspace.real.dtype).to(kspace.device)
        block = crop_center(block, n, d) * (weights.reshape(-1, *([1] * (3 - d))) if n > 2 else 1)
    for d in (1, 2, 3):
        block = pad_center(block, kspace.shape[d], d)
    return centred_ifft(block, (-3, -2, -1))


def _normalised(maps: torch.Tensor) -> torch.Tensor:
    """Scale to ``sum_c |c|^2 = 1``; voxels without a finite direction become zero."""
    maps = torch.where(torch.isfinite(maps), maps, 0)
    norm = torch.linalg.vector_norm(maps, dim=-4, keepdim=True)
    return torch.where(norm > 0.5, maps / norm.clamp(min=0.5), 0)
