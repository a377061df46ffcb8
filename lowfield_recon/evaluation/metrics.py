"""Image quality against a reference, on magnitudes, with explicit data range and mask.

All functions take NumPy arrays or torch tensors `(..., y, x)`, real or complex, of which the
magnitude counts; leading axes (slices, channels) are averaged over or pooled as each docstring
says. A mask is bool, broadcastable to the image, and True where pixels count. Nothing is ever
scaled to fit the reference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy
from scipy import ndimage

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.arrays import (
    Array,
    Mask,
    check_range,
    magnitude_of,
    magnitude_pair,
    select_pixels,
)

_SSIM_K1, _SSIM_K2 = 0.01, 0.03
_UNIFORM_SIZE = 7
_GAUSSIAN_SIGMA, _GAUSSIAN_RADIUS = 1.5, 5
_LOG_SIGMA, _LOG_RADIUS = 1.5, 7
_SOBEL = numpy.outer([1.0, 2.0, 1.0], [1.0, 0.0, -1.0]) / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What `score` found."""

    psnr_db: float
    """Peak signal-to-noise ratio [dB], higher is better; infinite for equal images."""

    ssim: float
    """Structural similarity, at most 1, higher is better."""

    nrmse: float
    """Root-mean-square error relative to that of an all-zero image, lower is better."""

    hfen: float
    """High-frequency error relative to that of an all-zero image, lower is better."""

    blur_effect: float
    """Perceived blur of the image, 0 (none) to 1; lower is sharper, noise counts as sharp."""

    reference_blur_effect: float
    """The same of the reference."""

    data_range: float
    """Range of values that PSNR and SSIM refer to, in the unit of the images."""

    n_pixels: int
    """How many pixels counted."""


def psnr(image: Any, reference: Any, *, data_range: float, mask: Any = None) -> float:
    r"""Compute the peak signal-to-noise ratio.

    ``PSNR = 10 log10(data_range^2 / mean(|x - x_ref|^2))``, the mean over all pixels that count.

    Parameters
    ----------
    image
        Image `(..., y, x)`.
    reference
        Reference of the same shape and unit.
    data_range
        Peak value R, in the unit of the images.
    mask
        Pixels that count, or None for all.

    Returns
    -------
        PSNR [dB]; infinite for equal images.

    Raises
    ------
    DataError
        If shapes differ, values are not finite, the reference is constant, the data range is not
        positive or the mask fits nothing.

    Examples
    --------
    >>> reference = numpy.eye(8)
    >>> round(psnr(reference + 0.1, reference, data_range=1.0), 6)
    20.0
    """
    x, x_ref = magnitude_pair(image, reference)
    check_range(data_range)
    error = numpy.mean(numpy.square(x - x_ref)[select_pixels(mask, x.shape)])
    return math.inf if error == 0 else float(10 * numpy.log10(data_range**2 / error))


def nrmse(image: Any, reference: Any, *, mask: Any = None) -> float:
    r"""Compute the root-mean-square error, normalised by the reference.

    ``NRMSE = ||x - x_ref||_2 / ||x_ref||_2`` over all pixels that count.

    Parameters
    ----------
    image
        Image `(..., y, x)`.
    reference
        Reference of the same shape and unit.
    mask
        Pixels that count, or None for all.

    Returns
    -------
        NRMSE; 0 for equal images, 1 for an all-zero image.

    Raises
    ------
    DataError
        As for `psnr`, or if the reference is zero wherever the mask is True.

    Examples
    --------
    >>> round(nrmse(0.9 * numpy.eye(8), numpy.eye(8)), 6)
    0.1
    """
    x, x_ref = magnitude_pair(image, reference)
    return _relative_error(x, x_ref, select_pixels(mask, x.shape))


def hfen(image: Any, reference: Any, *, mask: Any = None) -> float:
    r"""Compute the high-frequency error norm, normalised by the reference.

    ``HFEN = ||LoG(x) - LoG(x_ref)||_2 / ||LoG(x_ref)||_2``, with a rotationally symmetric Laplacian
    of Gaussian of standard deviation 1.5 pixels on 15 x 15 pixels, applied to each (y, x) image.

    Parameters
    ----------
    image
        Image `(..., y, x)`.
    reference
        Reference of the same shape and unit.
    mask
        Pixels of the filtered images that count, or None for all.

    Returns
    -------
        HFEN; 0 for equal images.

    Raises
    ------
    DataError
        As for `psnr`.

    Examples
    --------
    >>> round(hfen(0.9 * numpy.eye(16), numpy.eye(16)), 6)
    0.1

    References
    ----------
    Ravishankar S, Bresler Y. MR image reconstruction from highly undersampled k-space data by
    dictionary learning. IEEE Trans Med Imaging 2011;30:1028-1041.
    https://doi.org/10.1109/TMI.2010.2090538
    """
    x, x_ref = magnitude_pair(image, reference)
    return _relative_error(_log_filter(x), _log_filter(x_ref), select_pixels(mask, x.shape))


def ssim(
    image: Any,
    reference: Any,
    *,
    data_range: float,
    window: Literal["uniform", "gaussian"] = "uniform",
    mask: Any = None,
) -> float:
    r"""Compute the mean structural similarity.

    ``SSIM = (2 u v + C1)(2 s_uv + C2) / ((u^2 + v^2 + C1)(s_u^2 + s_v^2 + C2))`` from local means
    u, v, variances and covariance, C1 = (0.01 R)^2, C2 = (0.03 R)^2, averaged over pixels whose
    window lies inside the image, and over the leading axes.

    Parameters
    ----------
    image
        Image `(..., y, x)`, at least as large as the window.
    reference
        Reference of the same shape and unit.
    data_range
        Range of values R, in the unit of the images.
    window
        `"uniform"`: 7 x 7 pixels with sample (co)variances, as scikit-image and fastMRI define it;
        `"gaussian"`: 11 x 11 pixels, standard deviation 1.5, population (co)variances, as in the
        paper.
    mask
        Window centres that count, or None for all.

    Returns
    -------
        SSIM, at most 1.

    Raises
    ------
    DataError
        As for `psnr`, or if the image is smaller than the window.

    Examples
    --------
    >>> reference = numpy.eye(16)
    >>> ssim(reference, reference, data_range=1.0)
    1.0

    References
    ----------
    Wang Z et al. Image quality assessment: from error visibility to structural similarity. IEEE
    Trans Image Process 2004;13:600-612. https://doi.org/10.1109/TIP.2003.819861
    """
    x, x_ref = magnitude_pair(image, reference)
    check_range(data_range)
    radius = _UNIFORM_SIZE // 2 if window == "uniform" else _GAUSSIAN_RADIUS
    if min(x.shape[-2:]) < 2 * radius + 1:
        raise DataError(
            f"ssim: expected an image of at least {2 * radius + 1} x {2 * radius + 1} pixels, got "
            f"{x.shape[-2]} x {x.shape[-1]}."
        )
    selected = _inside(select_pixels(mask, x.shape), radius)
    return float(_ssim_map(x, x_ref, data_range, window)[selected].mean())


def blur_effect(image: Any, *, size: int = 11, mask: Any = None) -> float:
    r"""Compute how blurred an image looks, without a reference.

    Along each of y and x, the image is blurred again by a box of `size` pixels; an image that was
    sharp loses more of its neighbour differences d than one that was blurred:
    ``B = (sum d - sum max(0, d - d_blurred)) / sum d``, and the larger of the two directions
    counts. Noise lowers the value: judge it only beside NRMSE or SSIM.

    Parameters
    ----------
    image
        Image `(..., y, x)`; the mean over the leading axes is returned.
    size
        Length of the box [pixels]; compare only values of the same size.
    mask
        Pixels that count, or None for all.

    Returns
    -------
        Blur effect, 0 (sharp) to 1 (blurred); NaN if every image is constant.

    Raises
    ------
    DataError
        If the image is smaller than 4 pixels, not finite, or the mask fits nothing.

    Examples
    --------
    >>> points = numpy.zeros((32, 32))
    >>> points[8::16, 8::16] = 1
    >>> blur_effect(points) < blur_effect(ndimage.gaussian_filter(points, 2))
    True

    References
    ----------
    Crete F et al. The blur effect: perception and estimation with a new no-reference perceptual
    blur metric. Proc SPIE 2007;6492:64920I. https://doi.org/10.1117/12.702790
    """
    x = magnitude_of(image, "image")
    if min(x.shape[-2:]) < 4:
        raise DataError(f"blur_effect: expected at least 4 x 4 pixels, got {x.shape[-2:]}.")
    stack = x.reshape(-1, *x.shape[-2:])
    masks = select_pixels(mask, x.shape).reshape(stack.shape)
    effects = [_slice_blur(plane, size, kept) for plane, kept in zip(stack, masks, strict=True)]
    known = [effect for effect in effects if not math.isnan(effect)]
    return float(numpy.mean(known)) if known else math.nan


def score(image: Any, reference: Any, *, data_range: float, mask: Any = None) -> Scores:
    """Compute all metrics of one image against its reference.

    Parameters
    ----------
    image
        Image `(..., y, x)`.
    reference
        Reference of the same shape and unit.
    data_range
        Range of values that PSNR and SSIM refer to, in the unit of the images.
    mask
        Pixels that count, or None for all.

    Returns
    -------
        All scores, SSIM with the uniform window.

    Raises
    ------
    DataError
        As for the single metrics.

    Examples
    --------
    >>> scores = score(0.9 * numpy.eye(16), numpy.eye(16), data_range=1.0)
    >>> round(scores.nrmse, 6), scores.n_pixels
    (0.1, 256)
    """
    x, x_ref = magnitude_pair(image, reference)
    return Scores(
        psnr_db=psnr(x, x_ref, data_range=data_range, mask=mask),
        ssim=ssim(x, x_ref, data_range=data_range, mask=mask),
        nrmse=nrmse(x, x_ref, mask=mask),
        hfen=hfen(x, x_ref, mask=mask),
        blur_effect=blur_effect(x, mask=mask),
        reference_blur_effect=blur_effect(x_ref, mask=mask),
        data_range=float(data_range),
        n_pixels=int(select_pixels(mask, x.shape).sum()),
    )


def _relative_error(x: Array, x_ref: Array, selected: Mask) -> float:
    norm = numpy.linalg.norm(x_ref[selected])
    if norm == 0:
        raise DataError("reference: is zero wherever the mask is set; choose another mask.")
    return float(numpy.linalg.norm((x - x_ref)[selected]) / norm)


def _log_filter(x: Array) -> Array:
    sigma = (0.0,) * (x.ndim - 2) + (_LOG_SIGMA, _LOG_SIGMA)
    filtered = numpy.zeros_like(x)
    for axis in (-2, -1):
        order = [0] * x.ndim
        order[axis] = 2
        filtered += ndimage.gaussian_filter(x, sigma, order=order, radius=_LOG_RADIUS)
    return filtered


def _local_mean(x: Array, window: str) -> Array:
    if window == "uniform":
        size = (1,) * (x.ndim - 2) + (_UNIFORM_SIZE, _UNIFORM_SIZE)
        return numpy.asarray(ndimage.uniform_filter(x, size))
    sigma = (0.0,) * (x.ndim - 2) + (_GAUSSIAN_SIGMA, _GAUSSIAN_SIGMA)
    return numpy.asarray(ndimage.gaussian_filter(x, sigma, radius=_GAUSSIAN_RADIUS))


def _inside(selected: Mask, radius: int) -> Mask:
    """Keep the selected pixels that lie at least `radius` pixels inside the image."""
    ny, nx = selected.shape[-2:]
    inner = numpy.zeros_like(selected)
    inner[..., radius : ny - radius, radius : nx - radius] = True
    if not (selected & inner).any():
        raise DataError(f"mask: no pixel lies {radius} or more pixels inside the image; widen it.")
    return selected & inner


def _ssim_map(x: Array, x_ref: Array, data_range: float, window: str) -> Array:
    u, v = _local_mean(x, window), _local_mean(x_ref, window)
    n = _UNIFORM_SIZE**2
    unbiased = n / (n - 1) if window == "uniform" else 1.0
    s_uu = unbiased * (_local_mean(x * x, window) - u * u)
    s_vv = unbiased * (_local_mean(x_ref * x_ref, window) - v * v)
    s_uv = unbiased * (_local_mean(x * x_ref, window) - u * v)
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    luminance = (2 * u * v + c1) / (u * u + v * v + c1)
    return luminance * (2 * s_uv + c2) / (s_uu + s_vv + c2)


def _slice_blur(plane: Array, size: int, selected: Mask) -> float:
    inner = numpy.zeros(plane.shape, dtype=bool)
    inner[2:-1, 2:-1] = True
    kept = selected & inner
    effects = []
    for axis, sobel in ((0, _SOBEL.T), (1, _SOBEL)):
        blurred = ndimage.uniform_filter1d(plane, size, axis=axis)
        sharp_edges = numpy.abs(ndimage.convolve(plane, sobel))[kept]
        blurred_edges = numpy.abs(ndimage.convolve(blurred, sobel))[kept]
        total = sharp_edges.sum()
        if total == 0:
            continue
        lost = numpy.maximum(0, sharp_edges - blurred_edges).sum()
        effects.append((total - lost) / total)
    return max(effects, default=math.nan)
