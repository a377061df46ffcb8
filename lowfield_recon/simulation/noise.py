"""How much noise a simulated scan gets, and what that means in every other definition.

References
----------
Gudbjartsson H, Patz S. The Rician distribution of noisy MRI data. Magn Reson Med 1995;34:910-914.
https://doi.org/10.1002/mrm.1910340618
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.simulation.recipe import Recipe


def object_mean(image: torch.Tensor, threshold: float, *, together: bool = True) -> torch.Tensor:
    r"""Return the mean modulus of the object, ``mean |x(r)|`` over ``|x(r)| > threshold max |x|``.

    Parameters
    ----------
    image
        Object, `(*other, 1, z, y, x)`.
    threshold
        Part of the largest modulus, 0 to 1.
    together
        Whether maximum and mean are taken over all of `*other`, as for slices of one scan, or of
        each image on its own.

    Returns
    -------
        Mean, float, `(*other, 1, 1, 1, 1)`, or all axes 1 where taken together.

    Raises
    ------
    DataError
        If an image is zero everywhere.

    Examples
    --------
    >>> object_mean(torch.tensor([0.0, 0.01, 2.0, 4.0]).reshape(1, 1, 1, 1, 4), 0.1).item()
    3.0
    """
    modulus = image.abs()
    dims = tuple(range(modulus.ndim)) if together else (-4, -3, -2, -1)
    largest = modulus.amax(dim=dims, keepdim=True)
    if not bool((largest > 0).all()):
        raise DataError("image: is zero everywhere; there is nothing to measure noise against.")
    inside = modulus > threshold * largest
    mean: torch.Tensor = (modulus * inside).sum(dim=dims, keepdim=True, dtype=torch.float64)
    return (mean / inside.sum(dim=dims, keepdim=True)).to(modulus.dtype)


def noise_level(image: torch.Tensor, recipe: Recipe, *, together: bool = True) -> torch.Tensor:
    r"""Return the standard deviation s of the complex noise of one sample, ``E|e|^2 = s^2``.

    Since the Fourier transform is orthonormal, s is also the noise of one pixel of the fully
    sampled image of a uniform coil, or of coils whose squares add to one. By `snr`: ``s = mean |x|
    over the object / snr``. By `variance_factor` v: ``s^2 = v mean |x|^2`` over the whole image,
    which is ``v / N sum |F x|^2``. By `noise_std`: itself. Otherwise 0.

    Parameters
    ----------
    image
        Object, `(*other, 1, z, y, x)`.
    recipe
        The definition.
    together
        As for `object_mean`.

    Returns
    -------
        Standard deviation, float, `(*other, 1, 1, 1, 1)`, or all axes 1 where taken together.

    Raises
    ------
    DataError
        If the image is zero everywhere and the noise is relative to it.

    Examples
    --------
    >>> image = torch.full((1, 1, 1, 4, 4), 3.0)
    >>> noise_level(image, Recipe(snr=10)).item(), noise_level(image, Recipe(noise_std=2)).item()
    (0.30000001192092896, 2.0)
    """
    dims = tuple(range(image.ndim)) if together else (-4, -3, -2, -1)
    shape = [1] * image.ndim if together else [*image.shape[:-4], 1, 1, 1, 1]
    if recipe.snr is not None:
        return object_mean(image, recipe.object_threshold, together=together) / recipe.snr
    if recipe.variance_factor is not None:
        power = image.abs().square().mean(dim=dims, keepdim=True)
        if not bool((power > 0).all()):
            raise DataError("image: is zero everywhere; there is nothing to measure noise against.")
        return (recipe.variance_factor * power).sqrt()
    return torch.full(shape, recipe.noise_std or 0.0)


def complex_noise(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Draw circular complex Gaussian noise with ``E|e|^2 = 1``.

    Parameters
    ----------
    shape
        Shape.
    generator
        Source of random numbers.

    Returns
    -------
        Noise, complex64; real and imaginary part have variance 1/2 each.

    Examples
    --------
    >>> e = complex_noise((10000,), torch.Generator().manual_seed(0))
    >>> round(float(e.abs().square().mean()), 1)
    1.0
    """
    return torch.randn(tuple(shape), dtype=torch.complex64, generator=generator)


def noise_report(
    signal: torch.Tensor, image: torch.Tensor, mask: torch.Tensor, noise_std: float, recipe: Recipe
) -> dict[str, float | None]:
    r"""State one noise level in every definition.

    ``snr_kspace_db = 10 log10(mean_M |k|^2 / s^2)`` over the sampled points of all coils,
    ``variance_factor = s^2 / mean |x|^2``, ``snr = mean |x| over the object / s``.

    Parameters
    ----------
    signal
        Noise-free k-space, zero where nothing is sampled.
    image
        Object, `(*other, 1, z, y, x)`.
    mask
        Sampled points, bool, broadcastable to `signal`.
    noise_std
        Standard deviation s.
    recipe
        Names the threshold of the object.

    Returns
    -------
        `noise_std`, `noise_variance`, `snr`, `snr_kspace_db`, `variance_factor`; ratios to a noise
        of zero are None.

    Examples
    --------
    >>> x = torch.full((1, 1, 1, 2, 2), 2.0)
    >>> k = torch.tensor([0.0, 0, 0, 4]).reshape(1, 1, 1, 2, 2)
    >>> report = noise_report(k, x, torch.ones(1, dtype=torch.bool), 0.2, Recipe())
    >>> round(report["snr"], 3), round(report["snr_kspace_db"], 3)
    (10.0, 20.0)
    """
    power = float(image.abs().double().square().mean())
    n_sampled = int(mask.expand(signal.shape).sum())
    sampled_power = float(signal.abs().double().square().sum()) / max(n_sampled, 1)
    variance = noise_std**2
    is_noisy = variance > 0 and power > 0
    return {
        "noise_std": noise_std,
        "noise_variance": variance,
        "snr": float(object_mean(image, recipe.object_threshold)) / noise_std if is_noisy else None,
        "snr_kspace_db": 10 * math.log10(sampled_power / variance) if is_noisy else None,
        "variance_factor": variance / power if power > 0 else None,
    }
