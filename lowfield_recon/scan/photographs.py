"""Photographs: PNG, JPEG and TIFF files as grey levels from 0 to 1."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from lowfield_recon.errors import DataError

logger = logging.getLogger(__name__)

LARGEST_PIXELS = 1 << 26
"""Largest photograph that is read, width times height."""

_FORMATS = ("PNG", "JPEG", "TIFF")
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
_SIXTEEN_BIT = 65535.0
_KEPT = ("L", "RGB")
_CONVERTED = {
    "1": "L",
    "LA": "L",
    "La": "L",
    "RGBA": "RGB",
    "RGBa": "RGB",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "LAB": "RGB",
    "PA": "RGB",
}


def read_photograph(path: str | Path) -> torch.Tensor:
    """Read a photograph; integer levels are divided by the largest that their depth allows.

    Transparency is dropped, palettes and other colour models become RGB, the camera's rotation is
    applied, and only the first picture of a file is read: each of these is logged.

    Parameters
    ----------
    path
        PNG, JPEG or TIFF file, recognised by its content.

    Returns
    -------
        Image, float32, 0 to 1, `(1, channels, 1, y, x)` with 1 or 3 channels.

    Raises
    ------
    DataError
        If the file is missing, damaged, of another format, or has more than 2^26 pixels.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "grey.png"
    >>> Image.fromarray(np.full((2, 3), 51, dtype=np.uint8)).save(file)
    >>> read_photograph(file)[0, 0, 0]
    tensor([[0.2000, 0.2000, 0.2000],
            [0.2000, 0.2000, 0.2000]])
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path.name}: there is no such file; expected a PNG, JPEG or TIFF.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as opened:
                _check_size(path, opened)
                levels = _levels(path, opened)
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more") from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{path.name}: is no PNG, JPEG or TIFF; convert it to one of these."
        ) from error
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(
            f"{path.name}: cannot be read "
            f"({str(error).splitlines()[0] if str(error) else 'damaged'}); the file is truncated "
            "or damaged. Copy it again."
        ) from error
    if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > 1:
        raise DataError(
            f"{path.name}: its values run from {levels.min():.4g} to {levels.max():.4g}; expected "
            "0 to 1 in a floating-point picture. Rescale it."
        )
    channels_first = levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)
    writable = np.require(channels_first, requirements=("C", "W"))
    return torch.from_numpy(writable)[None, :, None]


def _check_size(path: Path, opened: Image.Image) -> None:
    if opened.width * opened.height > LARGEST_PIXELS:
        raise _too_large(path, f"{opened.width} x {opened.height}")


def _too_large(path: Path, size: str) -> DataError:
    return DataError(
        f"{path.name}: {size} pixels; expected at most {LARGEST_PIXELS}. Cut or shrink the picture."
    )


def _levels(path: Path, opened: Image.Image) -> npt.NDArray[np.float32]:
    """Return grey or RGB levels from 0 to 1, `(y, x)` or `(y, x, 3)`."""
    if getattr(opened, "n_frames", 1) > 1:
        logger.warning("%s: holds several pictures; the first one is read.", path.name)
    has_alpha = "A" in opened.getbands() or "transparency" in opened.info
    picture = ImageOps.exif_transpose(opened)
    if picture.size != opened.size or picture.getexif() != opened.getexif():
        logger.warning("%s: was rotated as the camera's tag says.", path.name)
    if has_alpha:
        logger.warning("%s: transparency was dropped.", path.name)
    if _is_deep_colour(path, opened):
        logger.warning("%s: 16-bit colour is read with 8 bits.", path.name)
    mode = picture.mode
    if mode == "F":
        return np.asarray(picture, dtype=np.float32)
    if mode == "I" or mode.startswith("I;16"):
        values: npt.NDArray[Any] = np.asarray(picture)
        if values.min() < 0 or values.max() > _SIXTEEN_BIT:
            raise DataError(
                f"{path.name}: its levels run from {values.min()} to {values.max()}; expected 8 "
                "or 16 bits without sign. Convert it."
            )
        return (values / _SIXTEEN_BIT).astype(np.float32)
    if mode == "P":
        logger.warning("%s: the palette was turned into RGB.", path.name)
        picture = picture.convert("RGBA").convert("RGB")
    elif mode not in _KEPT:
        if mode not in _CONVERTED:
            raise DataError(
                f"{path.name}: pixels of kind {mode}; expected grey or RGB. Convert it."
            )
        logger.info("%s: %s was turned into %s.", path.name, mode, _CONVERTED[mode])
        picture = picture.convert(_CONVERTED[mode])
    return np.asarray(picture, dtype=np.float32) / np.float32(255)


def _is_deep_colour(path: Path, opened: Image.Image) -> bool:
    """Say whether Pillow reduces the depth: a PNG with 16 bits and more than one channel."""
    if opened.format != "PNG" or opened.mode not in ("RGB", "RGBA", "LA"):
        return False
    with path.open("rb") as stream:
        return stream.read(25)[24:25] == b"\x10"
