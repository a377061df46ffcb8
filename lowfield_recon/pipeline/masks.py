"""Masks of kept pixels, one for all channels or one for each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from lowfield_recon.errors import DataError
from lowfield_recon.files import require_file
from lowfield_recon.pipeline.pixels import planes_of, read_pixels

_LOG = logging.getLogger(__name__)


def read_mask(path: Path, *, per_channel: bool = False) -> torch.Tensor:
    """Read which pixels are kept: white (at least half of the range) is kept.

    An array `(channels, y, x)` holds one mask for each channel. The channels of a picture count by
    their mean, unless each is to be a mask of its own.

    Parameters
    ----------
    path
        Image or .npy file.
    per_channel
        Whether the channels of a picture are masks of their own.

    Returns
    -------
        Mask, bool `(1, 1 or channels, 1, y, x)`.

    Raises
    ------
    DataError
        If it cannot be read, keeps no pixel, or has one channel where several are expected.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mask.npy"
    >>> numpy.save(path, numpy.random.default_rng(0).random((3, 4, 5)) < 0.7)
    >>> read_mask(path).shape
    torch.Size([1, 3, 1, 4, 5])
    """
    found, is_photograph = _pixels(path)
    values = numpy.abs(planes_of(found)).astype(numpy.float32)
    if values.ndim == 3 and is_photograph and not per_channel:
        values = values.mean(axis=0)
    if values.ndim not in (2, 3):
        raise DataError(
            f"{path.name}: expected a mask (y, x) or (channels, y, x), got shape {values.shape}."
        )
    if values.ndim == 2 and per_channel:
        raise DataError(
            f"{path.name}: has one channel; --mask-per-channel needs a colour picture. Leave it "
            "out, and the mask counts for all channels."
        )
    mask = torch.from_numpy(values >= 0.5)
    if not bool(mask.any()):
        raise DataError(f"{path.name}: the mask keeps no pixel; white (1) marks the kept ones.")
    mask = mask if mask.ndim == 3 else mask[None]
    empty = [str(channel) for channel, plane in enumerate(mask) if not bool(plane.any())]
    if empty:
        _LOG.warning("%s: keeps no pixel of channel %s", path.name, ", ".join(empty))
    return mask[None, :, None]


def _pixels(path: Path) -> tuple[NDArray[Any], bool]:
    """Return the values of a mask's file, and whether it is a picture.

    Arrays of truth values, which no image is made of, are masks as they are.
    """
    require_file(path, "mask")
    if path.suffix.lower() == ".npy":
        try:
            array = numpy.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            array = None  # what is wrong with it, the reader of images says
        if array is not None and array.dtype == bool and array.ndim >= 2 and array.size:
            return array.astype(numpy.float32), False
    pixels = read_pixels(path, what="mask")
    return pixels.values, pixels.is_photograph


def check_mask(mask: torch.Tensor, image: torch.Tensor) -> None:
    """Refuse a mask that does not fit the image that it lies on.

    Parameters
    ----------
    mask
        Kept pixels, bool `(1, 1 or channels, 1, y, x)`.
    image
        The degraded photograph `(1, channels, 1, y, x)`.

    Raises
    ------
    DataError
        If size or number of channels differ, or it keeps no pixel.

    Examples
    --------
    >>> check_mask(torch.ones(1, 1, 1, 4, 5, dtype=torch.bool), torch.zeros(1, 3, 1, 4, 5))
    """
    if mask.shape[-2:] != image.shape[-2:]:
        raise DataError(
            f"mask: expected the size of the image {tuple(image.shape[-2:])}, got "
            f"{tuple(mask.shape[-2:])}; it lies on the degraded image, and white (1) marks the "
            "pixels that are kept."
        )
    if mask.shape[1] not in (1, image.shape[1]):
        raise DataError(
            f"mask: has {mask.shape[1]} channels, the image {image.shape[1]}; expected as many, or "
            "one for all."
        )
    if not bool(mask.any()):
        raise DataError("mask: keeps no pixel; expected at least one.")
