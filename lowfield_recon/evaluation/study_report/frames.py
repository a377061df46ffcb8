"""Parts that several sections of a study's page are made of."""

from __future__ import annotations

from html import escape

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent, finite
from lowfield_recon.evaluation.study_report.numbers import brief
from lowfield_recon.evaluation.study_report.tables import Cell, Line, cells

_HINT = "Point at a mark, or focus a figure and use the arrow keys, to read a value."


def chart_frame(key: str, title: str, text: str) -> str:
    """Return the place of a figure that the script draws.

    Parameters
    ----------
    key
        Identifier within the page.
    title
        Its head.
    text
        How it is read.

    Returns
    -------
        HTML.
    """
    return (
        f'<figure class="chart" id="{key}" aria-labelledby="{key}-head">'
        f'<figcaption><h3 id="{key}-head">{escape(title)}</h3><p>{escape(text)}</p></figcaption>'
        f'<div class="drawn"></div><p class="readout" aria-live="polite" hidden>{_HINT}</p>'
        "<noscript><p>Figures are drawn by a script; the numbers stand in the tables.</p>"
        "</noscript></figure>"
    )


def value_cell(value: object) -> Cell:
    """Return a cell that shows a value of any kind and is sorted by it where it is a number.

    Parameters
    ----------
    value
        Anything that JSON holds.

    Returns
    -------
        The cell.
    """
    return Cell(text=brief(value), value=finite(value))


def score_line(content: StudyContent, entry: Entry, *others: str | Cell) -> Line:
    """Return a row of method, condition and more, with what it can be filtered by.

    Parameters
    ----------
    content
        The study.
    entry
        Entry with `method` and `condition`, and `metric` where it has one.
    *others
        Cells behind these two.

    Returns
    -------
        The row.
    """
    tags = [("axis", content.axis_of(entry["condition"])), ("method", str(entry["method"]))]
    if "metric" in entry:
        tags.append(("metric", str(entry["metric"])))
    return Line(
        cells=cells(
            content.label("methods", entry["method"]),
            content.label("conditions", entry["condition"]),
            *others,
        ),
        tags=tuple(tags),
    )
