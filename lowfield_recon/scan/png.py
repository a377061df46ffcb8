"""Images as one grey PNG: a single image, or a grid of all of them on one common scale."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path

if TYPE_CHECKING:
    from lowfield_recon.scan.writers import Layout

logger = logging.getLogger(__name__)

Plane = npt.NDArray[np.float32]

_QUANTILE = 0.999
_BINS = 1 << 16
_LARGEST_PIXELS = 1 << 28


@contextmanager
def open_png(path: Path, layout: Layout) -> Iterator[Callable[[npt.NDArray[np.generic]], None]]:
    """Open an 8-bit grey PNG; planes fill the grid row by row, volumes after each other.

    Each plane is drawn as it is stored: y downwards and x to the right, whatever they mean in the
    patient, so that the picture equals the rows and columns of a `.npy` or DICOM file. Black is 0
    and white the 99.9th percentile of all pixels of all images, one scale for the whole grid; a
    phase image runs from -pi to pi. The scale is stored as text in the file and logged. The planes
    wait in a temporary file until the scale is known.

    Parameters
    ----------
    path
        Name of the file.
    layout
        Number and shape of the images.

    Yields
    ------
        Function that takes the next image `(z, y, x)`.

    Raises
    ------
    DataError
        If the grid would be larger than 2^28 pixels.
    """
    n_z, n_y, n_x = layout.shape
    n_planes = layout.n_volumes * layout.n_slices * n_z
    if n_planes * n_y * n_x > _LARGEST_PIXELS:
        raise DataError(
            f"{path.name}: {n_planes} planes of {n_y} x {n_x} are too many pixels for one PNG; "
            "write .nii.gz."
        )
    with atomic_path(path) as temporary, TemporaryFile() as stream:

        def write(image: npt.NDArray[np.generic]) -> None:
            stream.write(np.ascontiguousarray(image, dtype=np.float32).data)

        yield write
        stream.flush()
        planes = np.memmap(stream, dtype=np.float32, mode="r", shape=(n_planes, n_y, n_x))
        low, high = (-math.pi, math.pi) if layout.part == "phase" else (0.0, white_level(planes))
        logger.info("%s: black is %.6g, white is %.6g.", path.name, low, high)
        text = PngInfo()
        text.add_text("scale", f"black {low:.9g}, white {high:.9g}")
        grid = montage(planes, low, high)
        Image.fromarray(grid).save(temporary, format="PNG", pnginfo=text)


def white_level(planes: Iterable[Plane]) -> float:
    """Return the 99.9th percentile of all pixels, plane by plane, from a fine histogram.

    Parameters
    ----------
    planes
        Magnitudes, `(y, x)` each; they are gone through twice.

    Returns
    -------
        The level, at most the maximum, exact to 1/65536 of it; 1 for an empty image.

    Examples
    --------
    >>> white_level(np.ones((2, 3, 3), dtype=np.float32))
    1.0
    """
    peak = max(float(plane.max()) for plane in planes)
    if peak <= 0:
        return 1.0
    counts = np.zeros(_BINS, dtype=np.int64)
    for plane in planes:
        counts += np.histogram(plane, bins=_BINS, range=(0, peak))[0]
    bin_index = int(np.searchsorted(counts.cumsum(), _QUANTILE * counts.sum()))
    return peak * (bin_index + 1) / _BINS


def montage(planes: Plane, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Arrange planes in a grid that is about as wide as high, as 8-bit grey values.

    Parameters
    ----------
    planes
        Images, `(planes, y, x)`.
    low
        Value that becomes black.
    high
        Value that becomes white; values outside are clipped.

    Returns
    -------
        Grid, uint8, `(rows * y, columns * x)`; empty places are black.

    Examples
    --------
    >>> montage(np.ones((3, 2, 2), dtype=np.float32), 0.0, 1.0).shape
    (4, 4)
    """
    n, n_y, n_x = planes.shape
    columns = min(n, max(1, math.ceil(math.sqrt(n * n_y / n_x))))
    rows = math.ceil(n / columns)
    grid = np.zeros((rows * n_y, columns * n_x), dtype=np.uint8)
    for i, plane in enumerate(planes):
        y, x = i // columns * n_y, i % columns * n_x
        grey = np.clip((plane - low) / (high - low), 0, 1) * 255
        grid[y : y + n_y, x : x + n_x] = np.rint(grey).astype(np.uint8)
    return grid
