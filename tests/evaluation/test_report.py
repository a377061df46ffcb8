"""The report is one self-contained, accessible page whose images and numbers are those given."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.report import (
    Panel,
    Report,
    Row,
    Section,
    Source,
    Table,
    grey_png,
    render,
    write_report,
)

RAMP = np.linspace(0, 2, 12).reshape(3, 4)


def _report(image: np.ndarray = RAMP) -> Report:
    panel = Panel(
        title="tv", caption="30 dB", description="a <ramp>", image=image, difference=image / 10
    )
    row = Row(label="Slice 1.", panels=(panel,), white=1.0, gain=5.0, aspect=2.0)
    table = Table(
        caption="against the reference", columns=("Method", "PSNR [dB]"), rows=(("tv", "30.00"),)
    )
    section = Section(
        title="Brain & skull", text="What was done.", row=row, more_rows=(row,), table=table,
        facts=(("tv", "iterations 100"),),
    )  # fmt: skip
    source = Source(
        name="brain.h5", text="A scan.", licence="CC0-1.0", address="https://example.org/data",
        assumptions=("The orientation is not known.",),
    )  # fmt: skip
    return Report(
        title="A report", summary="In short.", sections=(section,), sources=(source,),
        facts=(("Versions", "torch 2"),),
    )  # fmt: skip


class _Reader(HTMLParser):
    """Collects tags and text, and checks that tags are closed in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def _images(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs():
    reader = _read(render(_report()))
    assert all(tag not in ("script", "link", "iframe", "object") for tag, _ in reader.tags)
    sources = [attributes["src"] for _, attributes in reader.tags if "src" in attributes]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in render(_report())
    assert "@import" not in render(_report())


def test_images_are_shown_on_the_stated_scale():
    image, difference = _images(render(_report()))[:2]
    assert np.array_equal(
        image, np.clip(RAMP, 0, 1) * 255 // 1 + (np.clip(RAMP, 0, 1) * 255 % 1 >= 0.5)
    )
    assert np.array_equal(difference, np.rint(np.clip(RAMP / 10 * 5, 0, 1) * 255))
    assert "5 times brighter" in render(_report())


def test_every_image_has_a_description_and_its_physical_shape():
    for tag, attributes in _read(render(_report())).tags:
        if tag == "img":
            assert attributes["alt"]
            assert int(attributes["width"]) == 2 * int(attributes["height"])


def test_texts_are_escaped_and_numbers_appear_with_units():
    page = render(_report())
    assert "a &lt;ramp&gt;" in page
    reader = _read(page)
    for text in ("Brain & skull", "PSNR [dB]", "30.00", "iterations 100", "CC0-1.0", "torch 2"):
        assert text in reader.text
    assert "The orientation is not known." in reader.text


def test_the_page_can_be_used_with_a_keyboard_and_on_a_phone():
    reader = _read(render(_report()))
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("h1") == 1
    assert tags.count("main") == 1
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    labelled = [a["aria-labelledby"] for _, a in reader.tags if "aria-labelledby" in a]
    assert set(labelled) <= set(ids)
    regions = [attributes for _, attributes in reader.tags if attributes.get("role") == "region"]
    assert all(region["tabindex"] == "0" for region in regions)
    assert 'name="viewport"' in render(_report())
    assert "prefers-color-scheme: dark" in render(_report())
    assert dict(reader.tags)["html"]["lang"] == "en"


def test_only_web_addresses_become_links():
    report = Report(
        title="A", summary="b", sections=(),
        sources=(Source(name="a", text="b", licence="c", address="javascript:alert(1)"),),
    )  # fmt: skip
    assert "javascript" not in render(report)


@pytest.mark.parametrize("image", [np.full((2, 2), np.nan), np.zeros((0, 2)), np.zeros((2, 2, 2))])
def test_images_that_cannot_be_shown_are_refused_and_leave_no_file(image, tmp_path: Path):
    with pytest.raises(DataError, match="expected finite magnitudes"):
        write_report(tmp_path / "report.html", _report(image))
    assert list(tmp_path.iterdir()) == []


def test_an_all_black_image_can_be_shown():
    assert np.asarray(Image.open(io.BytesIO(grey_png(np.zeros((2, 2)), 0.0)))).max() == 0
