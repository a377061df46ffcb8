"""Steps that turn the samples of one image into those that a reconstruction gets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import cast

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.prepare import prewhiten, remove_readout_oversampling, undersampling_mask
from lowfield_recon.prepare.partial_fourier import sampled_extent
from lowfield_recon.prepare.undersampling import MaskKind
from lowfield_recon.scan.records import RawKSpace, Shape

_UNEVEN = 0.02
"""Part of the grid by which the two sides of a complete block may differ."""

CALIBRATION_WIDTH = 24
"""Largest width of the calibration block, in samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undersampling:
    """Samples to be left out after the fact, to see what a shorter scan would have given.

    Examples
    --------
    >>> Undersampling(acceleration=4).kind
    'random'
    """

    acceleration: float
    """R >= 1: about one in R phase encodings is kept."""

    calibration_lines: int = 24
    """Width of the complete centre of k-space, in lines."""

    kind: MaskKind = "random"
    """Which lines are kept, see `lowfield_recon.prepare.undersampling_mask`."""

    seed: int | str = 0
    """Seed of random lines; for the masks of fastMRI also the name of a file."""


def whitened(raw: RawKSpace, noise: torch.Tensor, scale: float) -> RawKSpace:
    """Whiten samples and calibration lines with the same noise readouts.

    Parameters
    ----------
    raw
        Samples of one image.
    noise
        Noise readouts `(coils, samples)`.
    scale
        Ratio of noise variances, see `lowfield_recon.prepare.prewhiten`.

    Returns
    -------
        Samples whose noise has variance 1.

    Raises
    ------
    DataError
        If the noise does not determine a covariance.
    """
    calibration = raw.calibration
    return dataclasses.replace(
        raw,
        data=prewhiten(raw.data, noise, scale=scale),
        calibration=None if calibration is None else prewhiten(calibration, noise, scale=scale),
    )


def without_oversampling(raw: RawKSpace, n_x: int) -> RawKSpace:
    """Cut the field of view along the readout to its central `n_x` pixels.

    Of an incomplete readout, the new samples between acquired ones count as acquired; next to its
    ends they are interpolated from zeros on one side.

    Parameters
    ----------
    raw
        Samples on a grid.
    n_x
        Number of readout pixels to keep.

    Returns
    -------
        Samples on the smaller grid, with a mask to match.
    """
    if n_x == raw.data.shape[-1]:
        return raw
    mask, n = _narrower(raw.mask, n_x), raw.data.shape[-1]
    data = remove_readout_oversampling(raw.data, n_x)
    if mask is not None and mask.shape[-1] == n_x and n_x != n:
        data = data * mask
    calibration = raw.calibration
    return dataclasses.replace(
        raw,
        data=data,
        mask=mask,
        calibration=None if calibration is None else remove_readout_oversampling(calibration, n_x),
        calibration_mask=_narrower(raw.calibration_mask, n_x),
    )


def _narrower(mask: torch.Tensor | None, n_x: int) -> torch.Tensor | None:
    """Say which of `n_x` wider-spaced samples lie between acquired ones."""
    if mask is None or mask.shape[-1] == 1:
        return mask
    n = mask.shape[-1]
    position = n // 2 + (torch.arange(n_x, dtype=torch.float64) - n_x // 2) * (n / n_x)
    low = position.floor().long().clamp(0, n - 1)
    high = position.ceil().long().clamp(0, n - 1)
    return mask[..., low] & mask[..., high]


def undersampled(raw: RawKSpace, choice: Undersampling) -> RawKSpace:
    """Set phase encodings to zero and take them out of the mask.

    Parameters
    ----------
    raw
        Samples on a grid.
    choice
        Which encodings to keep.

    Returns
    -------
        Samples with fewer acquired.

    Raises
    ------
    UsageError
        If the choice does not fit the grid.
    """
    pattern = undersampling_mask(
        tuple(raw.data.shape[-3:]),
        acceleration=choice.acceleration,
        calibration_lines=choice.calibration_lines,
        kind=choice.kind,
        seed=choice.seed,
    )
    mask = pattern if raw.mask is None else raw.mask & pattern
    return dataclasses.replace(raw, data=raw.data * mask, mask=mask)


def is_complete(raw: RawKSpace) -> bool:
    """Say whether samples on a grid are all there is to know of the image at their resolution.

    That is a complete grid, or a complete block of it that lies about the centre: what fastMRI and
    others fill up with zeros. A partial Fourier scan lacks one side and is not complete.

    Parameters
    ----------
    raw
        Samples on a grid.

    Returns
    -------
        Whether their adjoint may serve as the reference of a shorter scan.
    """
    if raw.mask is None:
        return False
    z, y, x = raw.data.shape[-3:]
    try:
        extent = sampled_extent(raw.mask, (z, y, x))
    except UsageError:
        return False
    sides = zip(extent.first, extent.last, (z, y, x), strict=True)
    return all(abs(low + high) <= max(_UNEVEN * n, 2) for low, high, n in sides)


def fewer_readouts(raw: RawKSpace, choice: Undersampling) -> RawKSpace:
    """Keep one in R readouts of a trajectory; calibration lines have no meaning there.

    Parameters
    ----------
    raw
        Samples along a trajectory.
    choice
        How many readouts to keep, and whether they are random.

    Returns
    -------
        Samples along fewer readouts.

    Raises
    ------
    UsageError
        If the kind is one for grids, or the seed no integer.
    """
    if choice.kind not in ("random", "regular") or isinstance(choice.seed, str):
        raise UsageError(
            f"kind '{choice.kind}': of a non-Cartesian scan readouts are left out by 'random' or "
            "'regular', with an integer as seed."
        )
    n = raw.data.shape[-2]
    count = max(1, round(n / choice.acceleration))
    if choice.kind == "random":
        order = torch.randperm(n, generator=torch.Generator().manual_seed(choice.seed))
        chosen = order[:count].sort().values
    else:
        chosen = torch.arange(count) * n // count
    positions = cast(torch.Tensor, raw.trajectory)
    return dataclasses.replace(
        raw, data=raw.data[..., chosen, :], trajectory=positions[..., chosen, :, :]
    )


def gridded(data: torch.Tensor, trajectory: torch.Tensor, shape: Shape) -> torch.Tensor:
    """Return Cartesian k-space of the coil images, samples weighted by the density |k|.

    Good enough for coil maps, which are smooth; it is no reconstruction.

    Parameters
    ----------
    data
        Samples `(1, coils, k2, k1, k0)`.
    trajectory
        Their positions `(1, k2, k1, k0, 3)`, cycles per field of view.
    shape
        Image size (z, y, x).

    Returns
    -------
        k-space on the grid `(1, coils, z, y, x)`.
    """
    radius = torch.linalg.vector_norm(trajectory, dim=-1)
    n_axes = sum(n > 1 for n in shape)
    weights = (radius.square() + 0.25).pow(0.5 * (n_axes - 1))[:, None]
    A = kspace_operator(trajectory=trajectory, image_shape=shape)
    images = [A.H(data[:, c : c + 1] * weights)[0] for c in range(data.shape[1])]
    dims = tuple(d for d in (-3, -2, -1) if shape[d] > 1)
    return centred_fft(torch.cat(images, dim=1), dims)


def sampled_width(trajectory: torch.Tensor) -> int:
    """Return the width of the centre where neighbouring spokes are at most one sample apart.

    ``2 n / pi`` for n spokes through the centre in a plane.

    Parameters
    ----------
    trajectory
        Positions `(1, k2, k1, k0, 3)`.

    Returns
    -------
        Width in samples, 8 to 24.
    """
    n_readouts = trajectory.shape[-3] * trajectory.shape[-4]
    return int(min(CALIBRATION_WIDTH, max(8, 2 * n_readouts / torch.pi)))
