"""One number to divide data by, so that images of any scanner have values of the same order.

References
----------
Otsu N. A threshold selection method from gray-level histograms. IEEE Trans Syst Man Cybern
1979;9:62-66. https://doi.org/10.1109/TSMC.1979.4310076 (the object is what lies above a threshold).
"""

from __future__ import annotations

from typing import Literal

import torch

from lowfield_recon.errors import DataError

IntensityScale = Literal["raw", "unit"]

_QUANTILE = 0.995
_OBJECT = 0.1


def intensity_scale(image: torch.Tensor) -> float:
    r"""Find a robust largest magnitude of an image, made from measured data alone.

    The 99.5th percentile of the magnitude over the object, where the object is every voxel above a
    tenth of the 99.5th percentile over the whole image: neither a few bright voxels nor the amount
    of air around the object decides.

    Parameters
    ----------
    image
        Image, e.g. the adjoint of the data; any shape, complex or real.

    Returns
    -------
        Positive number in the unit of the image.

    Raises
    ------
    DataError
        If the image is zero or not finite.

    Examples
    --------
    >>> image = torch.zeros(100, 100)
    >>> image[40:60, 40:60] = 5.0
    >>> intensity_scale(image)
    5.0

    References
    ----------
    Objects above a threshold: https://doi.org/10.1109/TSMC.1979.4310076
    """
    magnitude = image.abs().flatten().double()
    if not bool(torch.isfinite(magnitude).all()) or not bool((magnitude > 0).any()):
        raise DataError(
            "image: expected finite values that are not all zero to find their scale from."
        )
    ordered = magnitude.sort().values
    inside = ordered[ordered > _OBJECT * _quantile(ordered)]
    return float(_quantile(inside))


def _quantile(ordered: torch.Tensor) -> torch.Tensor:
    return ordered[min(int(_QUANTILE * len(ordered)), len(ordered) - 1)]
