"""Noise covariance of the receive channels, and prewhitening.

References
----------
Hansen MS, Kellman P. Image reconstruction: an overview for clinicians. J Magn Reson Imaging
2015;41:573-585. https://doi.org/10.1002/jmri.24687
Roemer PB et al. The NMR phased array. Magn Reson Med 1990;16:192-225.
https://doi.org/10.1002/mrm.1910160203
"""

from __future__ import annotations

import math

import torch

from lowfield_recon.errors import DataError

_SAMPLES_PER_COIL = 10
_LOWEST_PIVOT = 1e-5


def noise_covariance(noise: torch.Tensor) -> torch.Tensor:
    r"""Estimate the covariance of the noise between the receive channels.

    ``N = (1/M) n n^H`` over M noise samples.

    Parameters
    ----------
    noise
        Noise readouts, complex, `(coils, samples)`; further axes are taken as samples.

    Returns
    -------
        Hermitian covariance, complex128, `(coils, coils)`, in the squared unit of `noise`.

    Raises
    ------
    DataError
        If `noise` is not complex or not finite, or has fewer than ten samples for each coil, which
        does not determine a covariance.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = torch.randn(2, 4000, dtype=torch.complex64, generator=generator)
    >>> noise_covariance(noise).real.round(decimals=1).abs()
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)

    References
    ----------
    Roemer PB et al. https://doi.org/10.1002/mrm.1910160203
    """
    if noise.ndim < 2 or not noise.is_complex():
        raise DataError(
            f"noise: expected complex samples (coils, samples), got {noise.dtype} of shape "
            f"{tuple(noise.shape)}."
        )
    n = noise.reshape(noise.shape[0], -1).to(torch.complex128)
    n_coils, n_samples = n.shape
    if n_samples < _SAMPLES_PER_COIL * n_coils or n_coils == 0:
        raise DataError(
            f"noise: {n_samples} samples do not determine the covariance of {n_coils} coils; "
            f"expected at least {_SAMPLES_PER_COIL * n_coils}. Record more noise, or "
            "leave prewhitening out."
        )
    if not bool(torch.isfinite(n).all()):
        raise DataError("noise: holds NaN or infinite values; leave prewhitening out.")
    return n @ n.mH / n_samples


def prewhiten(kspace: torch.Tensor, noise: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
    r"""Give all channels independent noise of unit variance.

    ``k' = sqrt(scale) L^-1 k`` with ``N = L L^H``. With the right `scale` the complex noise of
    every sample has ``E|e|^2 = 1`` afterwards (0.5 in each of real and imaginary part).

    Parameters
    ----------
    kspace
        k-space, complex, `(*other, coils, k2, k1, k0)`.
    noise
        Noise readouts of the same coils, complex, `(coils, samples)`.
    scale
        Ratio of noise variances, noise readout over imaging readout:
        ``dwell time of the image / dwell time of the noise * relative receiver noise bandwidth``.

    Returns
    -------
        Whitened k-space of the same shape and dtype, in units of the noise.

    Raises
    ------
    DataError
        If the coils differ, `scale` is not positive, there are too few noise samples, or the
        covariance is not positive definite (a dead or duplicated channel).

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = 3 * torch.randn(1, 10000, dtype=torch.complex64, generator=generator)
    >>> k = 3 * torch.randn(1, 1, 1, 100, 100, dtype=torch.complex64, generator=generator)
    >>> round(float(prewhiten(k, noise).abs().square().mean()), 1)
    1.0

    References
    ----------
    Hansen MS, Kellman P. https://doi.org/10.1002/jmri.24687 (there real and imaginary part
    have unit variance each, a factor of sqrt(2) in amplitude).
    """
    if kspace.ndim < 4 or not kspace.is_complex():
        raise DataError(
            f"kspace: expected complex (*other, coils, k2, k1, k0), got {kspace.dtype} of shape "
            f"{tuple(kspace.shape)}."
        )
    if not (math.isfinite(scale) and scale > 0):
        raise DataError(f"scale: expected a positive ratio of noise variances, got {scale}.")
    if noise.shape[:1] != kspace.shape[-4:-3]:
        raise DataError(
            f"noise: {tuple(noise.shape)[:1]} coils do not fit the {kspace.shape[-4]} coils of "
            f"kspace {tuple(kspace.shape)}; expected noise readouts (coils, samples) of the "
            "same channels."
        )
    L = _cholesky(noise_covariance(noise))
    L = (L / math.sqrt(scale)).to(dtype=kspace.dtype, device=kspace.device)
    whitened: torch.Tensor = torch.linalg.solve_triangular(L, kspace.flatten(-3), upper=False)
    return whitened.reshape(kspace.shape)


def _cholesky(covariance: torch.Tensor) -> torch.Tensor:
    """Return L of ``N = L L^H``, refusing channels that are dead or copies of others."""
    std = covariance.diagonal().real.sqrt()
    L: torch.Tensor
    L, failed = torch.linalg.cholesky_ex(covariance)
    pivots = L.diagonal().real
    bad = ~(pivots > _LOWEST_PIVOT * std)
    if int(failed) > 0 or bool(bad.any()):
        channel = int(failed) - 1 if int(failed) > 0 else int(bad.nonzero()[0, 0])
        raise DataError(
            f"noise: the covariance is not positive definite; the noise of channel {channel} "
            "(from 0) is zero or a mixture of the channels before it. Remove that channel, or "
            "leave prewhitening out."
        )
    return L
