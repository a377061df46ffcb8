"""All metrics of many images at once, in less time than scikit-image takes for SSIM and PSNR.

The definitions are those of `metrics`; only how they are computed differs, see `score_planes`.
"""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.arrays import Array, Mask, check_range, select_pixels
from lowfield_recon.evaluation.score_planes import SSIM_WINDOW, ScorePlanes

SCORE_NAMES = ("psnr_db", "ssim", "nrmse", "hfen", "blur_effect")
"""What `score_all` returns, as `metrics.Scores` calls it."""


_MANY_PIXELS = 4096
"""From here on single precision is enough for sums over an image."""


def score_all(
    images: Any, references: Any, *, data_ranges: Any, mask: Any = None
) -> dict[str, NDArray[numpy.float64]]:
    """Compute all metrics of each image of a stack against its reference.

    The same numbers as `metrics.score` image by image, within rounding of double precision.

    Parameters
    ----------
    images
        Images `(n, y, x)`, NumPy or torch, real or complex; magnitudes count.
    references
        References of the same shape and unit.
    data_ranges
        Range of values that PSNR and SSIM refer to, in the unit of the images: one number, or one
        for each image.
    mask
        Pixels that count, bool, `(y, x)` or `(n, y, x)`; None for all.

    Returns
    -------
        `psnr_db`, `ssim`, `nrmse`, `hfen` and `blur_effect`, each `(n,)` float64; PSNR is infinite
        for equal images, the blur effect NaN for constant ones.

    Raises
    ------
    DataError
        If shapes differ, values are not finite, a reference is constant, or zero wherever its mask
        is set, a data range is not positive, an image is smaller than 7 x 7 pixels or a mask fits
        nothing; the message says which image.

    Examples
    --------
    >>> references = numpy.stack([numpy.eye(16), numpy.tri(16)])
    >>> scores = score_all(0.9 * references, references, data_ranges=1.0)
    >>> scores["nrmse"].round(6).tolist()
    [0.1, 0.1]

    References
    ----------
    Wang Z et al. IEEE Trans Image Process 2004;13:600-612. https://doi.org/10.1109/TIP.2003.819861
    Ravishankar S, Bresler Y. IEEE Trans Med Imaging 2011;30:1028-1041.
    https://doi.org/10.1109/TMI.2010.2090538
    Crete F et al. Proc SPIE 2007;6492:64920I. https://doi.org/10.1117/12.702790
    """
    stacks = _numbers(images, "images"), _numbers(references, "references")
    n, ny, nx = _checked_shape(*(stack.shape for stack in stacks))
    ranges = _checked_ranges(data_ranges, n)
    masks = _checked_masks(mask, n, ny, nx)
    is_single = masks is None and ny * nx >= _MANY_PIXELS
    planes = ScorePlanes(ny, nx, single_precision=is_single)
    columns = numpy.empty((n, len(SCORE_NAMES)))
    for i in range(n):
        kept = None if masks is None else masks[min(i, len(masks) - 1)]
        try:
            planes.load(stacks[0][i], stacks[1][i])
            columns[i] = planes.scores(float(ranges[i]), kept)
        except DataError as error:
            raise DataError(f"image {i} of {n}: {error}") from error
    return {name: columns[:, k].copy() for k, name in enumerate(SCORE_NAMES)}


def _numbers(values: Any, name: str) -> NDArray[Any]:
    array = numpy.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.dtype.kind not in "fciub":
        raise DataError(f"{name}: expected numbers, got an array of {array.dtype}.")
    return array


def _checked_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3 or shape[0] == 0:
        raise DataError(f"images: expected a stack (n, y, x) of at least one, got shape {shape}.")
    if shape != expected:
        raise DataError(
            f"images: expected the shape of the references {expected}, got {shape}; crop or "
            "resample one of them first."
        )
    n, ny, nx = shape
    if min(ny, nx) < SSIM_WINDOW:
        raise DataError(
            f"images: expected at least {SSIM_WINDOW} x {SSIM_WINDOW} pixels, got {ny} x {nx}."
        )
    return n, ny, nx


def _checked_ranges(data_ranges: Any, n: int) -> Array:
    given = numpy.asarray(data_ranges, dtype=numpy.float64)
    if given.shape not in ((), (1,), (n,)):
        raise DataError(
            f"data_ranges: expected one number or one for each of {n} images, got shape "
            f"{given.shape}."
        )
    ranges = numpy.broadcast_to(given, (n,))
    for value in ranges:
        check_range(float(value))
    return ranges


def _checked_masks(mask: Any, n: int, ny: int, nx: int) -> Mask | None:
    """Return one mask for all images or one for each, or None."""
    if mask is None:
        return None
    is_shared = numpy.ndim(mask) == 2
    return select_pixels(mask, (1, ny, nx) if is_shared else (n, ny, nx))
