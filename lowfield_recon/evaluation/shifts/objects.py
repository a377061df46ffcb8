"""What is scanned: another contrast of the same object, and lesions in it."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage

from lowfield_recon.simulation.noise import object_mean

OBJECT_THRESHOLD = 0.1
"""The object is where the modulus exceeds this part of its largest."""

_BRIGHT = 0.99
_PEAK, _END = 0.25, 0.25
_CORE = 0.5
_LOWEST_RATIO = 0.6


def with_contrast(image: torch.Tensor, *, exponent: float, inversion: float) -> torch.Tensor:
    r"""Return the same object in another contrast.

    The modulus becomes ``m (|x| / m)^exponent`` with its maximum m, and then ``q ((1 - a) u + a
    h(u))`` with ``u = |x| / q``, q its 99th percentile within the object, and h that climbs
    smoothly, as ``3 t^2 - 2 t^3`` of ``t = 4 u``, to 1 at 1/4 and falls on a line to 1/4 at 1: the
    darkest tissue is then the brightest, and the background stays dark. A factor keeps the mean
    modulus within the object. Phase and sign stay.

    Parameters
    ----------
    image
        Object, real or complex, `(1, 1, 1, y, x)`.
    exponent
        1 leaves the image as it is.
    inversion
        Part a, 0 to 1; 0 leaves the image as it is.

    Returns
    -------
        The image, dtype as given; the same tensor where nothing is asked for.

    Examples
    --------
    >>> x = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 1, 1, 4)
    >>> y = with_contrast(x, exponent=1.0, inversion=1.0).flatten()
    >>> (y / y.max()).tolist()
    [0.0, 1.0, 0.75, 0.25]
    """
    if exponent == 1 and inversion == 0:
        return image
    modulus = image.abs()
    inside = modulus > OBJECT_THRESHOLD * modulus.max()
    new = modulus.max() * (modulus / modulus.max()).pow(exponent)
    if inversion > 0:
        bright = torch.quantile(new[inside], _BRIGHT, interpolation="higher")
        u = (new / bright).clamp(max=1.0)
        falling = 1 - (1 - _END) * (u - _PEAK) / (1 - _PEAK)
        t = u / _PEAK
        curve = torch.where(u < _PEAK, t.square() * (3 - 2 * t), falling)
        new = (1 - inversion) * new + inversion * bright * curve
    factor = modulus[inside].mean() / new[inside].mean()
    return _sign(image) * (factor * new)


def lesion_of(image: torch.Tensor, radius: float, generator: torch.Generator) -> torch.Tensor:
    """Draw where a lesion is: an ellipse with a smooth edge, inside the object where it fits.

    Its centre is drawn from the points of the object (holes filled) that lie deeper than its larger
    half axis, or is the deepest point where there are none. The weight is 1 within half of the half
    axes and falls to 0 at 1 as a squared cosine.

    Parameters
    ----------
    image
        Object, `(1, 1, 1, y, x)`.
    radius
        Mean half axis over the shorter side; the larger one is 0.75 to 1.25 times that, the smaller
        one 0.6 to 1 times the larger one.
    generator
        Source of place, size and direction.

    Returns
    -------
        Weight, float32, 0 to 1, of the shape of the image.

    Examples
    --------
    >>> x = torch.ones(1, 1, 1, 40, 40)
    >>> w = lesion_of(x, 0.1, torch.Generator().manual_seed(0))
    >>> w.shape, float(w.max()), bool(w[..., 0, :].any())
    (torch.Size([1, 1, 1, 40, 40]), 1.0, False)
    """
    place, size, ratio, turn = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    modulus = image.abs()[0, 0, 0]
    n_y, n_x = modulus.shape
    inside = ndimage.binary_fill_holes((modulus > OBJECT_THRESHOLD * modulus.max()).numpy())
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    larger = radius * min(n_y, n_x) * (0.75 + 0.5 * size)
    smaller = larger * (_LOWEST_RATIO + (1 - _LOWEST_RATIO) * ratio)
    deep = np.argwhere(depth > larger)
    if len(deep) == 0:
        deep = np.argwhere(depth == depth.max())
    centre = deep[min(int(place * len(deep)), len(deep) - 1)]
    y, x = np.meshgrid(np.arange(n_y) - centre[0], np.arange(n_x) - centre[1], indexing="ij")
    cosine, sine = math.cos(math.pi * turn), math.sin(math.pi * turn)
    reach = np.hypot((cosine * x + sine * y) / larger, (cosine * y - sine * x) / smaller)
    fall = ((reach - _CORE) / (1 - _CORE)).clip(0, 1)
    weight = np.cos(0.5 * math.pi * fall) ** 2 * (reach < 1)
    return torch.from_numpy(weight.astype(np.float32))[None, None, None]


def with_lesion(image: torch.Tensor, weight: torch.Tensor, amount: float) -> torch.Tensor:
    """Return the object with a lesion, ``max(|x| + c mean w, 0)`` along the phase of x.

    Parameters
    ----------
    image
        Object, real or complex, `(1, 1, 1, y, x)`.
    weight
        Where the lesion is, w.
    amount
        What it adds over the mean modulus of the object, c; 0 leaves the image as it is.

    Returns
    -------
        The image, dtype as given; the same tensor where nothing is asked for.

    Examples
    --------
    >>> x = torch.ones(1, 1, 1, 1, 3)
    >>> w = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 1, 3)
    >>> with_lesion(x, w, -0.8).flatten().tolist()
    [1.0, 0.6000000238418579, 0.19999998807907104]
    """
    if amount == 0:
        return image
    modulus = image.abs()
    mean = float(object_mean(image, OBJECT_THRESHOLD))
    return _sign(image) * (modulus + amount * mean * weight).clamp(min=0)


def _sign(image: torch.Tensor) -> torch.Tensor:
    """Return phase or sign, 1 where there is none."""
    return torch.where(image == 0, torch.ones((), dtype=image.dtype), torch.sgn(image))
