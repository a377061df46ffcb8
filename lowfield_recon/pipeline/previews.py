"""A picture of the running image, rewritten while a method works."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path
from lowfield_recon.scan.png import montage, white_level

PREVIEW_SECONDS = 5.0
"""Seconds between two pictures where nothing else is asked for."""

_LOG = logging.getLogger(__name__)


class Preview:
    """Writes images that a method shows as a PNG, one over the other, every few seconds.

    The file is whole at any moment and stays when the method ends. If it cannot be written, a
    warning says so once and the method goes on.

    Parameters
    ----------
    path
        PNG to write.
    seconds
        Least time between two pictures.
    white
        Value that becomes white, for photographs; None takes the 99.9th percentile of each
        picture's magnitudes.
    clock
        Gives the time in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        seconds: float = PREVIEW_SECONDS,
        white: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Store the parameters; nothing is written yet."""
        self._path = path
        self._seconds = seconds
        self._white = white
        self._clock = clock
        self._written_at = -math.inf
        self._is_broken = False
        self._label = ""
        self._last: str | None = None

    def begin(self, label: str = "") -> None:
        """Say which image comes next.

        Parameters
        ----------
        label
            What it is called, e.g. `"image 2 of 9"`; may be empty.
        """
        self._label = label

    @property
    def last(self) -> str | None:
        """Image and iteration in the file, or None where nothing was written."""
        return self._last

    @property
    def is_broken(self) -> bool:
        """Whether it could not be written."""
        return self._is_broken

    def wants_image(self, iteration: int) -> bool:  # noqa: ARG002 - the clock decides
        """Return whether it is time for a picture."""
        return not self._is_broken and self._clock() - self._written_at >= self._seconds

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        """Write an image over the one before."""
        what = f"{self._label}, iteration {iteration}" if self._label else f"iteration {iteration}"
        text = PngInfo()
        text.add_text("shows", what)
        try:
            with atomic_path(self._path) as temporary:
                levels = Image.fromarray(picture_of(image, self._white))
                levels.save(temporary, format="PNG", pnginfo=text)
        except (OSError, DataError) as error:
            self._is_broken = True
            _LOG.warning("%s: no further previews, because it cannot be written (%s)",
                         self._path.name, error)  # fmt: skip
            return
        self._last = what
        self._written_at = self._clock()


def picture_of(image: torch.Tensor, white: float | None = None) -> NDArray[np.uint8]:
    """Turn an image into grey levels or, for photographs with three channels, into colours.

    Black is 0. Of a volume or of several frames the middle plane is shown; values that are not
    finite are black.

    Parameters
    ----------
    image
        Real or complex, `(*other, coils or channels, z, y, x)`.
    white
        Value that becomes white, for photographs, whose negative values are black; None shows
        magnitudes up to their 99.9th percentile.

    Returns
    -------
        Levels, uint8, `(y, x)` or `(y, x, 3)`.

    Examples
    --------
    >>> picture_of(torch.tensor([[0.0, 1j], [-2.0, 2.0]]).reshape(1, 1, 1, 2, 2))
    array([[  0, 128],
           [255, 255]], dtype=uint8)
    >>> picture_of(torch.full((1, 3, 1, 2, 2), 0.5), white=1.0).shape
    (2, 2, 3)
    """
    values = image.detach().cpu()
    if values.is_complex() or white is None:
        values = values.abs()
    values = torch.nan_to_num(values.float(), nan=0.0, posinf=0.0, neginf=0.0)
    is_colour = white is not None and values.shape[-4] == 3
    if is_colour:
        volumes = values.reshape(-1, *values.shape[-4:])
        volume = volumes[len(volumes) // 2]
        planes = volume[:, volume.shape[1] // 2].numpy()
    else:
        flat = values.reshape(-1, *values.shape[-2:])
        planes = flat[len(flat) // 2][None].numpy()
    level = white_level(planes) if white is None else white
    levels = [montage(plane[None], 0.0, level) for plane in planes]
    return np.stack(levels, axis=-1) if is_colour else levels[0]
