"""Pictures of a report that are no magnitudes: atoms, maps in colour, and the scale of the colours.

Their pixels are shown as they are given; what a colour means is said by the scale beside them.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

import numpy
from numpy.typing import NDArray
from PIL import Image

from lowfield_recon.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """One picture as it is seen."""

    pixels: NDArray[numpy.uint8]
    """Grey `(y, x)` or colours `(y, x, 3)`."""

    description: str
    """What one sees, for those who cannot see it."""

    aspect: float = 1.0
    """Physical width over physical height."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exhibit:
    """Pictures above one another that belong together, with a caption."""

    title: str
    """Short name."""

    pictures: tuple[Picture, ...]
    """Pictures, top to bottom."""

    caption: str = ""
    """A few numbers under the pictures."""

    is_wide: bool = False
    """Whether it takes the room of two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ColourScale:
    """What the colours mean."""

    low: str
    """Number and unit at the left end."""

    high: str
    """Number and unit at the right end."""

    colours: NDArray[numpy.uint8]
    """Colours from left to right, `(n, 3)`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gallery:
    """Rows of exhibits that share one scale of colours."""

    title: str
    """Its head."""

    text: str
    """What is shown."""

    scale: ColourScale
    """What the colours mean."""

    rows: tuple[tuple[str, tuple[Exhibit, ...]], ...]
    """Label and exhibits of each row, top to bottom."""


def png_source(pixels: NDArray[numpy.uint8]) -> str:
    """Return pixels as the source of an HTML image that needs no other file.

    Parameters
    ----------
    pixels
        Grey `(y, x)` or colours `(y, x, 3)`, uint8.

    Returns
    -------
        A `data:` address of a PNG.

    Raises
    ------
    DataError
        If these are no such pixels.

    Examples
    --------
    >>> png_source(numpy.zeros((2, 2), numpy.uint8))[:22]
    'data:image/png;base64,'
    """
    is_picture = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if pixels.dtype != numpy.uint8 or not is_picture or pixels.size == 0:
        raise DataError(
            f"report: expected uint8 pixels (y, x) or (y, x, 3), got {pixels.dtype} {pixels.shape}."
        )
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def render_gallery(gallery: Gallery | None) -> str:
    """Return the HTML of a gallery, empty where there is none.

    Parameters
    ----------
    gallery
        What is shown, or None.

    Returns
    -------
        HTML.

    Raises
    ------
    DataError
        If a picture holds no pixels.

    Examples
    --------
    >>> render_gallery(None)
    ''
    """
    if gallery is None:
        return ""
    scale = gallery.scale
    bar = png_source(scale.colours[None])
    text = escape(f"Colours from {scale.low} to {scale.high}", quote=True)
    rows = "".join(
        f'<p class="label"><strong>{escape(label)}</strong></p>'
        f'<div class="grid gallery">{"".join(_exhibit(exhibit) for exhibit in exhibits)}</div>'
        for label, exhibits in gallery.rows
    )
    return (
        f"<h3>{escape(gallery.title)}</h3>\n<p>{escape(gallery.text)}</p>\n"
        f'<p class="scale"><span>{escape(scale.low)}</span>'
        f'<img src="{bar}" alt="{text}" width="256" height="16">'
        f"<span>{escape(scale.high)}</span></p>\n{rows}"
    )


def _exhibit(exhibit: Exhibit) -> str:
    wide = ' class="wide"' if exhibit.is_wide else ""
    images = "".join(
        f'<img src="{png_source(picture.pixels)}" alt="{escape(picture.description, quote=True)}" '
        f'width="512" height="{max(1, round(512 / picture.aspect))}">'
        for picture in exhibit.pictures
    )
    return (
        f"<figure{wide}>{images}<figcaption><strong>{escape(exhibit.title)}</strong> "
        f"{escape(exhibit.caption)}</figcaption></figure>"
    )
