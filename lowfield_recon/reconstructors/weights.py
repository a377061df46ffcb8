"""The noise level, and the regularisation weights that follow from it."""

from __future__ import annotations

import math

import numpy as np
import torch

from lowfield_recon.operators import capabilities
from lowfield_recon.problem import InverseProblem


def noise_level(problem: InverseProblem) -> tuple[float, str]:
    r"""Return the noise standard deviation of one sample and where it comes from.

    `problem.noise_std` where it is given. Otherwise it is estimated from the data: of k-space from
    the quarter of the acquired samples that lie furthest out, by ``median |y| = noise_std sqrt(ln
    2)`` of complex Gaussian noise; of an image from the diagonal details of the Haar transform, by
    ``median |d| = 0.6745 noise_std``. Both overestimate where there is signal in those samples.

    Parameters
    ----------
    problem
        Data and operator.

    Returns
    -------
        Noise standard deviation in the unit of the data, and `"given"` or `"estimated from ..."`.

    References
    ----------
    Donoho DL, Johnstone IM. Biometrika 1994;81:425-455. https://doi.org/10.1093/biomet/81.3.425

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> noise = torch.randn(1, 1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> problem = InverseProblem(data=noise, operator=identity_operator(), image_domain="real")
    >>> round(noise_level(problem)[0], 1)
    1.0
    """
    if problem.noise_std is not None:
        return problem.noise_std, "given"
    y = problem.data
    if capabilities(problem.operator).data_domain == "kspace" and y.is_complex():
        return _outer_kspace(y), "estimated from the outer quarter of k-space"
    return _finest_details(y), "estimated from the finest details of the image"


def _outer_kspace(y: torch.Tensor) -> float:
    modulus = y.abs()
    radius = torch.zeros(1, device=y.device)
    for dim in (-3, -2, -1):
        n = y.shape[dim]
        if n > 1:
            position = (torch.arange(n, device=y.device) - n // 2) / (n / 2)
            radius = torch.maximum(radius, position.abs().reshape(-1, *([1] * (-dim - 1))))
    acquired = modulus > 0
    distances = radius.expand_as(modulus)[acquired]
    if distances.numel() == 0:
        return 0.0
    outer = modulus[acquired][
        distances >= distances.float().sort().values[3 * distances.numel() // 4]
    ]
    return float(outer.median()) / math.sqrt(math.log(2))


def _finest_details(y: torch.Tensor) -> float:
    if y.shape[-1] < 2 or y.shape[-2] < 2:
        return 0.0
    a, b = y[..., 0:-1:2, 0:-1:2], y[..., 0:-1:2, 1::2]
    c, d = y[..., 1::2, 0:-1:2], y[..., 1::2, 1::2]
    details = (0.5 * (a - b - c + d)).abs()
    observed = details[(a != 0) & (b != 0) & (c != 0) & (d != 0)]
    if observed.numel() == 0:
        return 0.0
    quantile = math.sqrt(math.log(2)) if y.is_complex() else 0.6745
    return float(observed.median()) / quantile


def backprojected_noise(
    problem: InverseProblem, eigenvalues: torch.Tensor, noise_std: float
) -> float:
    r"""Return the standard deviation of the noise of one pixel of ``A^H y``.

    ``noise_std sqrt(trace(A^H A) / n)``, so that a weight in its proportion means the same for a
    full scan and for an undersampled one.

    Parameters
    ----------
    problem
        Data and operator.
    eigenvalues
        Eigenvalues of A^H A, or of the circulant nearest to it, which has the same trace.
    noise_std
        Noise standard deviation of one sample of y.

    Returns
    -------
        Standard deviation in the unit of the data.
    """
    mean = float(eigenvalues.expand(np.broadcast_shapes(eigenvalues.shape, problem.shape)).mean())
    return noise_std * math.sqrt(max(mean, 0.0))


def signal_power(problem: InverseProblem, noise_std: float) -> float:
    """Return the mean of ``|x|^2``, from ``(||y||^2 - m noise_std^2) / n`` (m samples, n pixels).

    Parameters
    ----------
    problem
        Data and operator; the sampling is taken to be about norm preserving.
    noise_std
        Noise standard deviation of one sample.

    Returns
    -------
        Mean squared modulus of the image, at least a thousandth of its value without the
        correction.
    """
    energy = float(problem.data.abs().square().sum())
    n_samples = int((problem.data != 0).sum())
    n_pixels = math.prod(problem.shape)
    return max(energy - n_samples * noise_std**2, 1e-3 * energy) / n_pixels
