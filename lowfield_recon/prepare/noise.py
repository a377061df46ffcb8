"""Noise level of a scan that has no noise readouts, from the outer samples of its k-space.

References
----------
Donoho DL, Johnstone IM. Ideal spatial adaptation by wavelet shrinkage. Biometrika 1994;81:425-455.
https://doi.org/10.1093/biomet/81.3.425
Gudbjartsson H, Patz S. The Rician distribution of noisy MRI data. Magn Reson Med 1995;34:910-914.
https://doi.org/10.1002/mrm.1910340618
"""

from __future__ import annotations

import math

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_ifft

_FRACTIONS = (0.2, 0.1, 0.05)
_GROUP = 65
_ZERO = 1e-9
_PADDING = 1e-6
_SPIKE = 5.0
_RAMP = (0.5, 1.0)


def estimate_noise_std(
    kspace: torch.Tensor, mask: torch.Tensor | None = None, *, readout_only: bool = False
) -> float:
    r"""Estimate the standard deviation of the complex noise of one k-space sample.

    For complex Gaussian noise with ``E|e|^2 = s^2`` the magnitude is Rayleigh distributed, so
    ``median|e| = s sqrt(ln 2)``. The outer samples of k-space are taken twice. First as they are:
    the median over groups of neighbouring lines, among the 20, 10 and 5 % farthest from the centre,
    the lowest counts. Then as an image: after a smooth high-pass that begins half-way out, edges
    fill few pixels and noise fills all, so the median over the image hardly sees them. Samples
    above five times the first result (spikes) are cut to that before.

    What is spread over the whole image counts: white noise, not lines of interference. Detail at
    the limit of resolution all over the image raises the result. Zeros that a writer or an
    interpolation put around the samples do not count.

    Parameters
    ----------
    kspace
        k-space, complex, `(*other, coils, k2, k1, k0)`.
    mask
        Acquired samples, bool, broadcastable to `kspace`; None takes the samples that are not zero.
    readout_only
        For trajectories such as radial ones: measure the distance from the centre along k0 alone,
        and take only the first of the two results.

    Returns
    -------
        Noise standard deviation in the unit of `kspace`; over several coils the root mean square.

    Raises
    ------
    DataError
        If nothing was acquired or `mask` does not fit.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = torch.randn(1, 2, 1, 256, 256, dtype=torch.complex64, generator=generator)
    >>> round(estimate_noise_std(3 * noise))
    3

    References
    ----------
    The median of a high-pass: https://doi.org/10.1093/biomet/81.3.425. The Rayleigh distribution of
    the magnitude of noise: https://doi.org/10.1002/mrm.1910340618
    """
    volumes = kspace.reshape(-1, *kspace.shape[-4:])
    acquired = volumes.abs() > _ZERO * volumes.abs().max()
    if mask is not None:
        acquired &= _full_mask(mask, kspace).reshape(volumes.shape)
    acquired &= ~_padding(volumes.abs())
    radius = _radius(acquired.any(dim=0).any(dim=0), readout_only)
    variances = []
    for c in range(volumes.shape[1]):
        k, kept = volumes[:, c], acquired[:, c]
        level = _lowest_level(k.abs(), kept, radius.expand(k.shape))
        if level is not None and level > 0 and not readout_only:
            level = _image_level(k, kept, radius, _SPIKE * level)
        if level is not None:
            variances.append(level**2)
    if not variances:
        raise DataError(
            "kspace: no acquired sample differs from zero; there is no noise to measure."
        )
    return math.sqrt(sum(variances) / len(variances))


def _full_mask(mask: torch.Tensor, kspace: torch.Tensor) -> torch.Tensor:
    try:
        return mask.bool().expand(kspace.shape)
    except RuntimeError as error:
        raise DataError(
            f"mask: shape {tuple(mask.shape)} does not fit kspace {tuple(kspace.shape)}; expected "
            "one that broadcasts to it."
        ) from error


def _padding(magnitude: torch.Tensor) -> torch.Tensor:
    """Find rows, columns and planes of zeros, also those that a Fourier transform left not exact.

    Noise in every sample of a line is never a millionth of the largest sample.
    """
    limit = _PADDING * magnitude.max()
    padding = torch.zeros((1, 1, *magnitude.shape[-3:]), dtype=torch.bool, device=magnitude.device)
    for axis in (-3, -2, -1):
        if magnitude.shape[axis] > 1:
            others = [d for d in range(-magnitude.ndim, 0) if d != axis]
            padding = padding | (magnitude.amax(dim=others, keepdim=True) < limit)
    return padding


def _radius(acquired: torch.Tensor, readout_only: bool) -> torch.Tensor:
    """Return the distance from the centre, 1 where sampling ends along an axis, `(k2, k1, k0)`."""
    squared = torch.zeros(acquired.shape, device=acquired.device)
    for axis, n in enumerate(acquired.shape):
        if n > 1 and (axis == 2 or not readout_only):
            offset = (torch.arange(n, device=acquired.device) - n // 2).abs()
            sampled = acquired.any(dim=[d for d in range(3) if d != axis])
            reach = int((offset * sampled).max()) or 1
            along = [-1 if a == axis else 1 for a in range(3)]
            squared = squared + (offset / reach).square().reshape(along)
    return squared.sqrt()


def _lowest_level(
    magnitude: torch.Tensor, acquired: torch.Tensor, radius: torch.Tensor
) -> float | None:
    """Return the noise level of one coil, None where nothing was acquired."""
    values, distances = magnitude[acquired], radius[acquired]
    if not len(values):
        return None
    order = distances.argsort(stable=True)
    levels = []
    for fraction in _FRACTIONS:
        n_outer = max(math.ceil(fraction * len(values)), min(len(values), 4 * _GROUP))
        outer = order[len(values) - n_outer :].sort().values  # back in the order of the lines
        size = min(_GROUP, n_outer)
        groups = values[outer][: n_outer // size * size].reshape(-1, size)
        medians = groups.median(dim=1).values
        levels.append(float((medians.square().mean() / math.log(2)).sqrt()))
    return min(levels)


def _image_level(
    kspace: torch.Tensor, acquired: torch.Tensor, radius: torch.Tensor, limit: float
) -> float:
    """Return the noise level of one coil from the median of its high-passed images."""
    ramp = ((radius - _RAMP[0]) / (_RAMP[1] - _RAMP[0])).clamp(0, 1)
    weights = ramp.square() * (3 - 2 * ramp)
    variances = []
    for k, kept in zip(kspace, acquired, strict=True):
        share = float((kept * weights.square()).mean())
        if share > 0:
            capped = k * kept * (limit / k.abs().clamp(min=limit))
            median = centred_ifft(capped * weights, (-3, -2, -1)).abs().median()
            variances.append(float(median) ** 2 / (share * math.log(2)))
    if not variances:  # a grid of a few samples, none of them off the centre
        return limit / _SPIKE
    return math.sqrt(sum(variances) / len(variances))
