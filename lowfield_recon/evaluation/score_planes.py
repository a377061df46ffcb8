"""The arithmetic of `score_all`: one image at a time, in memory that is allocated once.

Every step runs over contiguous memory. Windows are summed along y by offsets of whole rows and
along x by offsets of single pixels of the flattened image; those that wrap around a row's end are
never counted. Sums over 7 pixels take four additions, as 2 + 2 + 2 + 1 pixels. The Laplacian of
Gaussian is a product in the cosine domain, where a symmetric filter with mirrored edges is
diagonal. Differences of a running mean need only the four pixels at its ends.

SSIM, whose variances cancel, is computed in double precision. HFEN and the blur effect are ratios
of sums of differences, for which single precision suffices where many pixels are summed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from numpy.typing import NDArray
from scipy import fft, ndimage

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.arrays import Array, Mask, magnitude_pair
from lowfield_recon.evaluation.blur_planes import BlurPlanes, Plane

SSIM_WINDOW = 7
"""Rows and columns of the uniform window of SSIM [pixels]."""

_K1, _K2 = 0.01, 0.03
_LOG_SIGMA, _LOG_RADIUS = 1.5, 7

_SAFE_CONTRAST = 1e-6
"""Contrasts above it and below its inverse can be squared in single precision."""


class ScorePlanes:
    """Memory and tables for images of one size, at least 7 x 7 pixels.

    Parameters
    ----------
    ny
        Rows.
    nx
        Columns.
    single_precision
        Whether HFEN and the blur effect may be computed so: where all of many pixels count.
    """

    def __init__(self, ny: int, nx: int, *, single_precision: bool) -> None:
        """Allocate them."""
        dtype = numpy.float32 if single_precision else numpy.float64
        self._size = ny, nx
        self._x, self._x_ref, *self._pixels = numpy.empty((8, ny * nx))
        self._images = numpy.empty((2, ny, nx), dtype=dtype)
        self._log_symbol = _log_symbol(ny, nx).astype(dtype)
        self._blur = BlurPlanes(ny, nx, dtype)
        self._extent = 0.0, 0.0

    def load(self, image: NDArray[Any], reference: NDArray[Any]) -> None:
        """Take in an image and its reference.

        Parameters
        ----------
        image
            Image `(y, x)`, real or complex, of which the magnitude counts.
        reference
            Reference of the same shape and unit.

        Raises
        ------
        DataError
            If a value is not finite, or the reference is constant.
        """
        for given, plane in ((image, self._x), (reference, self._x_ref)):
            magnitude = plane.reshape(self._size)
            if given.dtype.kind == "c":
                numpy.abs(given, out=magnitude)
            else:
                magnitude[:] = given
        lowest, highest = self._extent = float(self._x_ref.min()), float(self._x_ref.max())
        # A NaN or infinite number shows in these; the difference is NaN or infinite then.
        is_finite = math.isfinite(highest - lowest) and math.isfinite(self._x.sum())
        if not is_finite or lowest == highest:
            magnitude_pair(image, reference)  # says what is wrong, if anything is

    def scores(
        self, data_range: float, kept: Mask | None
    ) -> tuple[float, float, float, float, float]:
        """Compute all metrics of the image that was taken in.

        Parameters
        ----------
        data_range
            Range of values that PSNR and SSIM refer to, in the unit of the image.
        kept
            Pixels that count, bool, or None for all.

        Returns
        -------
            PSNR [dB], SSIM, NRMSE, HFEN and blur effect.

        Raises
        ------
        DataError
            If the reference is zero wherever pixels count, or none counts for SSIM.
        """
        x, x_ref = self._x.reshape(self._size), self._x_ref.reshape(self._size)
        error = numpy.subtract(x, x_ref, out=self._pixels[0].reshape(self._size))
        squared_error, squared_reference = _energy(error, kept), _energy(x_ref, kept)
        mean = squared_error / (x.size if kept is None else int(kept.sum()))
        return (
            math.inf if mean == 0 else 10 * math.log10(data_range**2 / mean),
            self._ssim(data_range, kept),
            _relative(squared_error, squared_reference),
            *self._hfen_and_blur_effect(kept),
        )

    def _ssim(self, data_range: float, kept: Mask | None) -> float:
        """Return SSIM from sums over n pixels, with d the error and c the covariance.

        With ``2 u v = u^2 + v^2 - (u - v)^2`` it is ``p c / ((h + p)(s + c))``: p is u v and c the
        covariance of both images, h half of (u - v)^2 and s half the variance of d, p and c with
        their constants.
        """
        x, x_ref = self._x, self._x_ref
        u, v, a, b, c, s = self._pixels
        n = SSIM_WINDOW**2
        error = numpy.subtract(x, x_ref, out=a)
        self._window_sum(numpy.multiply(error, error, out=a), s, u, v)
        self._window_sum(numpy.multiply(x, x_ref, out=a), c, u, v)
        self._window_sum(x, u, a, b)
        self._window_sum(x_ref, v, a, b)
        p = numpy.multiply(u, v, out=a)
        h = numpy.subtract(u, v, out=b)
        h *= h
        h *= 0.5
        c *= n
        c -= p
        s *= n / 2
        s -= h
        p += (_K1 * data_range * n) ** 2 / 2
        c += (_K2 * data_range) ** 2 * n * (n - 1) / 2
        h += p
        s += c
        p *= c
        h *= s
        p /= h
        return float(self._counted_windows(p, kept).mean())

    def _window_sum(self, x: Array, out: Array, two: Array, seven: Array) -> None:
        """Write the sums over the windows that begin at each pixel of a flattened image."""
        n, nx = x.size, self._size[1]
        numpy.add(x[: n - nx], x[nx:], out=two[: n - nx])
        m = n - 6 * nx
        numpy.add(two[:m], two[2 * nx : 2 * nx + m], out=seven[:m])
        seven[:m] += two[4 * nx : 4 * nx + m]
        seven[:m] += x[6 * nx :]
        numpy.add(seven[: m - 1], seven[1:m], out=two[: m - 1])
        k = m - 6
        numpy.add(two[:k], two[2 : k + 2], out=out[:k])
        out[:k] += two[4 : k + 4]
        out[:k] += seven[6:m]
        out[k:] = 1.0  # no window begins there; nothing undefined may be computed with

    def _counted_windows(self, similarity: Array, kept: Mask | None) -> Array:
        (ny, nx), radius = self._size, SSIM_WINDOW // 2
        inside = similarity.reshape(ny, nx)[: ny - 2 * radius, : nx - 2 * radius]
        if kept is None:
            return inside
        centres = kept[radius : ny - radius, radius : nx - radius]
        if not centres.any():
            raise DataError(
                f"mask: no pixel lies {radius} or more pixels inside the image; widen it."
            )
        counted: Array = inside[centres]
        return counted

    def _hfen_and_blur_effect(self, kept: Mask | None) -> tuple[float, float]:
        lowest, highest = self._extent
        contrast = highest - lowest
        scale = 1.0 if _SAFE_CONTRAST < contrast < 1 / _SAFE_CONTRAST else 1 / contrast
        # Where the image stands on a pedestal, single precision would lose its differences.
        offset = lowest if abs(lowest) > contrast else 0.0
        x, x_ref = self._images
        for plane, image in ((self._x, x), (self._x_ref, x_ref)):
            source = plane
            if offset != 0 or scale != 1:
                source = numpy.subtract(plane, offset, out=self._pixels[0])
                source *= scale
            image.reshape(-1)[:] = source
        blur_effect = self._blur.blur_effect(x, kept)
        x -= x_ref
        error = self._filtered_energy(x, 0.0, kept)
        return _relative(error, self._filtered_energy(x_ref, offset * scale, kept)), blur_effect

    def _filtered_energy(self, image: Plane, offset: float, kept: Mask | None) -> float:
        """Return the energy of the Laplacian of Gaussian of an image and an offset to it."""
        spectrum = fft.dctn(image, norm="ortho", overwrite_x=True)
        spectrum[0, 0] += offset * math.sqrt(image.size)
        spectrum *= self._log_symbol
        # The transform is orthonormal, so that the energy can be taken on either side.
        if kept is not None:
            spectrum = fft.idctn(spectrum, norm="ortho", overwrite_x=True)
        return _energy(spectrum, kept)


def _energy(x: NDArray[Any], kept: Mask | None) -> float:
    values = x.ravel() if kept is None else x[kept]
    return float(numpy.vdot(values, values))


def _relative(squared_error: float, squared_reference: float) -> float:
    if squared_reference == 0:
        raise DataError("reference: is zero wherever the mask is set; choose another mask.")
    return math.sqrt(squared_error / squared_reference)


def _log_symbol(ny: int, nx: int) -> Array:
    """Return the factors of the Laplacian of Gaussian in the cosine domain, `(y, x)`."""
    smooth_y, second_y = _symbols(ny)
    smooth_x, second_x = _symbols(nx)
    return numpy.outer(second_y, smooth_x) + numpy.outer(smooth_y, second_x)


def _symbols(n: int) -> tuple[Array, Array]:
    """Return the factors of a Gaussian and of its second derivative, along an axis of n pixels."""
    point = numpy.zeros(2 * _LOG_RADIUS + 1)
    point[_LOG_RADIUS] = 1
    offsets = numpy.arange(-_LOG_RADIUS, _LOG_RADIUS + 1)
    waves = numpy.cos(numpy.pi / n * numpy.outer(numpy.arange(n), offsets))
    smooth, second = (
        waves
        @ ndimage.gaussian_filter1d(
            point, _LOG_SIGMA, order=order, radius=_LOG_RADIUS, mode="constant"
        )
        for order in (0, 2)
    )
    return smooth, second
