"""A report one can look at: images side by side, numbers with units, provenance, in one HTML file.

The page is a function of the records below. It holds everything it needs, images included, and runs
no script.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy
from numpy.typing import NDArray
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.report_gallery import Gallery, render_gallery
from lowfield_recon.evaluation.report_style import STYLE
from lowfield_recon.files import atomic_path


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One image of a row, with its difference from what it is compared with."""

    title: str
    """Short name, usually the method's."""

    description: str
    """What one sees, for those who cannot see it."""

    image: NDArray[numpy.floating]
    """Magnitudes `(y, x)`."""

    caption: str = ""
    """A few numbers under the image."""

    difference: NDArray[numpy.floating] | None = None
    """Absolute difference `(y, x)` in the unit of `image`, or None."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """Images that share one grey scale."""

    label: str
    """What the images have in common, e.g. the slice."""

    panels: tuple[Panel, ...]
    """Images, left to right."""

    white: float
    """Value shown as white; black is 0."""

    gain: float = 1.0
    """How many times brighter differences are shown."""

    aspect: float = 1.0
    """Physical width over physical height of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Numbers, with their units in the head."""

    caption: str
    """What the numbers are and what they were measured against."""

    columns: tuple[str, ...]
    """Heads, the first for the names of the rows."""

    rows: tuple[tuple[str, ...], ...]
    """Cells as text, the first a name."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """One comparison."""

    title: str
    """Head of the section."""

    text: str
    """What was done and what to look at."""

    row: Row
    """Images shown at once."""

    table: Table
    """Numbers."""

    more_rows: tuple[Row, ...] = ()
    """Further images, shown on demand."""

    facts: tuple[tuple[str, str], ...] = ()
    """What was set, assumed and repaired, shown on demand."""

    gallery: Gallery | None = None
    """Pictures that explain a method, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where data come from and what may be done with them."""

    name: str
    """Name of the data."""

    text: str
    """What it is."""

    licence: str
    """Licence."""

    address: str = ""
    """Where it was published (https)."""

    citation: str = ""
    """Publication to cite."""

    assumptions: tuple[str, ...] = ()
    """What the publication does not say and was decided."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """All that the page shows."""

    title: str
    """Head of the page."""

    summary: str
    """First paragraph."""

    sections: tuple[Section, ...]
    """Comparisons, in order."""

    sources: tuple[Source, ...] = ()
    """Provenance of the data."""

    facts: tuple[tuple[str, str], ...] = field(default=())
    """Versions, device, seconds."""


def write_report(path: str | Path, report: Report) -> Path:
    """Write a report as one self-contained HTML file.

    Parameters
    ----------
    path
        File to write.
    report
        What it shows.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If an image is empty, not finite or not two-dimensional, or the folder is missing.

    Examples
    --------
    >>> import tempfile
    >>> path = write_report(
    ...     Path(tempfile.mkdtemp()) / "report.html", Report(title="A", summary="b", sections=())
    ... )
    >>> path.read_text().startswith("<!DOCTYPE html>")
    True
    """
    target = Path(path)
    page = render(report)
    with atomic_path(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return target


def render(report: Report) -> str:
    """Return the page of a report.

    Parameters
    ----------
    report
        What it shows.

    Returns
    -------
        HTML.

    Raises
    ------
    DataError
        If an image is empty, not finite or not two-dimensional.

    Examples
    --------
    >>> "<h1>A &amp; B</h1>" in render(Report(title="A & B", summary="", sections=()))
    True
    """
    sections = [_section(number, section) for number, section in enumerate(report.sections, 1)]
    links = "".join(
        f'<li><a href="#s{number}">{escape(section.title)}</a></li>'
        for number, section in enumerate(report.sections, 1)
    )
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            '<a class="skip" href="#content">Skip to the images</a>',
            f"<header><h1>{escape(report.title)}</h1>\n<p>{escape(report.summary)}</p>",
            f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>' if links else "</header>",
            '<main id="content">',
            *sections,
            _sources(report.sources),
            _facts("How this page was made", report.facts),
            "</main>\n</body>\n</html>\n",
        ]
    )


def grey_png(image: NDArray[numpy.floating], white: float) -> bytes:
    """Encode magnitudes as an 8-bit PNG, 0 black, `white` and above white.

    Parameters
    ----------
    image
        Magnitudes `(y, x)`.
    white
        Value shown as white.

    Returns
    -------
        The PNG file.

    Raises
    ------
    DataError
        If the image is empty, not finite or not two-dimensional.

    Examples
    --------
    >>> grey_png(numpy.eye(4), 1.0)[1:4]
    b'PNG'
    """
    if image.ndim != 2 or image.size == 0 or not numpy.isfinite(image).all():
        raise DataError(f"report: expected finite magnitudes (y, x), got shape {image.shape}.")
    levels = numpy.clip(image / (white if white > 0 else 1.0), 0, 1) * 255
    buffer = io.BytesIO()
    Image.fromarray(levels.round().astype(numpy.uint8)).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _section(number: int, section: Section) -> str:
    more = "".join(_row(row) for row in section.more_rows)
    return "\n".join(
        [
            f'<section id="s{number}" aria-labelledby="h{number}">',
            f'<h2 id="h{number}">{escape(section.title)}</h2>\n<p>{escape(section.text)}</p>',
            _row(section.row),
            _table(section.table, number),
            render_gallery(section.gallery),
            f"<details><summary>Further slices</summary>{more}</details>" if more else "",
            _details("Settings, assumptions and repairs", section.facts),
            "</section>",
        ]
    )


def _row(row: Row) -> str:
    figures = "".join(_figure(panel, row) for panel in row.panels)
    scale = f"White is {row.white:.3g} in the unit of the data."
    if any(panel.difference is not None for panel in row.panels):
        scale += f" Differences are shown {row.gain:g} times brighter."
    return (
        f'<div class="row"><p class="label"><strong>{escape(row.label)}</strong> '
        f'{escape(scale)}</p><div class="grid">{figures}</div></div>'
    )


def _figure(panel: Panel, row: Row) -> str:
    parts = [_image(panel.image, row.white, row.aspect, panel.description)]
    if panel.difference is not None:
        text = f"Absolute difference of {panel.title} from what it is compared with"
        parts.append(_image(panel.difference, row.white / row.gain, row.aspect, text))
    return (
        f"<figure>{''.join(parts)}<figcaption><strong>{escape(panel.title)}</strong> "
        f"{escape(panel.caption)}</figcaption></figure>"
    )


def _image(image: NDArray[numpy.floating], white: float, aspect: float, text: str) -> str:
    data = base64.b64encode(grey_png(image, white)).decode("ascii")
    width = 512
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(text, quote=True)}" '
        f'width="{width}" height="{max(1, round(width / aspect))}">'
    )


def _table(table: Table, number: int) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    body = "".join(
        f'<tr><th scope="row">{escape(cells[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells[1:])
        + "</tr>"
        for cells in table.rows
    )
    return (
        f'<p class="label" id="t{number}">{escape(table.caption)}</p>'
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="t{number}">'
        f'<table aria-labelledby="t{number}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _details(title: str, facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    return f"<details><summary>{escape(title)}</summary>{_list(facts)}</details>"


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> str:
    return f"<section><h2>{escape(title)}</h2>{_list(facts)}</section>" if facts else ""


def _list(facts: Sequence[tuple[str, str]]) -> str:
    entries = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return f"<dl>{entries}</dl>"


def _sources(sources: Sequence[Source]) -> str:
    if not sources:
        return ""
    entries = []
    for source in sources:
        link = ""
        if source.address.startswith("https://"):
            address = escape(source.address, quote=True)
            link = f' <a href="{address}" rel="noreferrer">{address}</a>.'
        citation = f" {escape(source.citation)}" if source.citation else ""
        notes = "".join(f"<li>{escape(note)}</li>" for note in source.assumptions)
        entries.append(
            f"<li><strong>{escape(source.name)}</strong>: {escape(source.text)} Licence: "
            f"{escape(source.licence)}.{citation}{link}{f'<ul>{notes}</ul>' if notes else ''}</li>"
        )
    return f"<section><h2>Where the data come from</h2><ul>{''.join(entries)}</ul></section>"
