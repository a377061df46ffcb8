"""Galleries show pixels as they are given, with descriptions and a scale of colours."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.report import Report, Row, Section, Table, render
from lowfield_recon.evaluation.report_gallery import (
    ColourScale,
    Exhibit,
    Gallery,
    Picture,
    render_gallery,
)

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (3, 6, 3), dtype=np.uint8)
BAR = RNG.integers(0, 256, (9, 3), dtype=np.uint8)


def _gallery(pixels: np.ndarray = COLOUR) -> Gallery:
    pictures = (
        Picture(pixels=GREY, description="an <atom>"),
        Picture(pixels=pixels, description="a map", aspect=2.0),
    )
    exhibits = (
        Exhibit(title="all & more", pictures=pictures[:1], is_wide=True),
        Exhibit(title="filter 3", caption="mean 1.20", pictures=pictures),
    )
    scale = ColourScale(low="0", high="2.4 and above", colours=BAR)
    return Gallery(title="Maps", text="Dark is < 1.", scale=scale, rows=(("brain", exhibits),))


def _images(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_pixels_and_scale_are_shown_as_they_are_given():
    bar, mosaic, atom, map_ = _images(render_gallery(_gallery()))
    assert np.array_equal(bar, BAR[None])
    assert np.array_equal(mosaic, GREY)
    assert np.array_equal(atom, GREY)
    assert np.array_equal(map_, COLOUR)


def test_texts_are_escaped_and_every_image_is_described():
    page = render_gallery(_gallery())
    for text in ("Dark is &lt; 1.", "an &lt;atom&gt;", "all &amp; more", "mean 1.20", "brain"):
        assert text in page
    assert re.findall(r'alt="([^"]*)"', page) == [
        "Colours from 0 to 2.4 and above", "an &lt;atom&gt;", "an &lt;atom&gt;", "a map",
    ]  # fmt: skip


def test_pictures_have_their_physical_shape_and_one_is_wide():
    page = render_gallery(_gallery())
    assert re.findall(r'width="512" height="(\d+)"', page) == ["512", "512", "256"]
    assert page.count('class="wide"') == 1


def test_a_section_shows_its_gallery_after_the_table():
    table = Table(caption="numbers", columns=("Method",), rows=(("tv",),))
    row = Row(label="Slice 1.", panels=(), white=1.0)
    section = Section(title="Brain", text="Done.", row=row, table=table, gallery=_gallery())
    page = render(Report(title="A", summary="b", sections=(section,)))
    assert page.index("</table>") < page.index("<h3>Maps</h3>") < page.index("</section>")


@pytest.mark.parametrize(
    "pixels", [COLOUR.astype(float), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2), np.uint8)]
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray):
    with pytest.raises(DataError, match="expected uint8 pixels"):
        render_gallery(_gallery(pixels))
