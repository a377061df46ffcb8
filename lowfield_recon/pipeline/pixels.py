"""Finished images of any kind as plain arrays, for scoring and for masks and kernels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lowfield_recon.files import require_file


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """Values of an image file."""

    values: NDArray[Any]
    """Image `(..., y, x)`, real or complex, leading axes of length 1 left out."""

    is_photograph: bool
    """Whether the file holds grey levels, which were scaled to 0..1."""


def read_pixels(path: Path, *, what: str = "image") -> Pixels:
    """Read an image: PNG, JPEG, TIFF, NIfTI, DICOM file or folder, ISMRMRD images, .npy or .mat.

    Parameters
    ----------
    path
        The file.
    what
        What it is, for messages.

    Returns
    -------
        Its values.

    Raises
    ------
    DataError
        If it is not there or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "image.npy"
    >>> import numpy
    >>> numpy.save(path, numpy.eye(3)[None])
    >>> read_pixels(path).values.shape
    (3, 3)
    """
    require_file(path, what)
    from lowfield_recon.scan.image_reader import read_image

    image = read_image(path)
    return Pixels(values=_squeezed(image.data.numpy()), is_photograph=image.is_photograph)


def planes_of(values: NDArray[Any]) -> NDArray[Any]:
    """Leave out axes of length 1 before (y, x), which stay even where they are one pixel long.

    Parameters
    ----------
    values
        Image `(..., y, x)`.

    Returns
    -------
        The same values `(y, x)`, `(planes, y, x)` or of more axes.

    Examples
    --------
    >>> import numpy
    >>> planes_of(numpy.zeros((3, 1, 1, 5))).shape
    (3, 1, 5)
    """
    leading = tuple(axis for axis, n in enumerate(values.shape[:-2]) if n == 1)
    return values.squeeze(leading)


def _squeezed(values: NDArray[Any]) -> NDArray[Any]:
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim >= 4 and values.shape[-3] == 1:  # photographs: (channels, z=1, y, x)
        values = values.squeeze(-3)
    return values
