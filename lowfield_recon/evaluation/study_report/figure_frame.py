"""What the figures for print share: the look of a method, places for plots, one legend."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from lowfield_recon.evaluation.study_report.content import StudyContent

COLOURS = (
    "#0b5cad", "#c4500c", "#1a7f4b", "#8a3ea8", "#8f6c00", "#c2286b", "#147e8c", "#5f666d",
)  # fmt: skip
"""Colours of methods, in the order of the study; the dashes change where they begin anew."""

_MARKERS = "os^Dv"
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 2)))
_COLUMNS = 3


def style(content: StudyContent, i: int) -> dict[str, Any]:
    """Return how the lines and marks of a method look.

    Parameters
    ----------
    content
        The study.
    i
        Position of the method.

    Returns
    -------
        Options of matplotlib.
    """
    is_reference = content.names("methods")[i] == content.reference_method
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": _MARKERS[i % len(_MARKERS)],
        "linestyle": _DASHES[i // len(COLOURS) % len(_DASHES)],
        "linewidth": 2.2 if is_reference else 1.2,
        "markersize": 4.0,
        "label": plain(content.label("methods", content.names("methods")[i])),
    }


def plain(text: object, limit: int = 60) -> str:
    r"""Return a text in which nothing is taken for a formula, at most `limit` letters of it.

    Parameters
    ----------
    text
        Name or title.
    limit
        Most letters.

    Returns
    -------
        The text.

    Examples
    --------
    >>> plain("5 $", 10)
    '5 \\$'
    """
    found = str(text)
    found = found if len(found) <= limit else found[: limit - 1] + "…"
    return found.replace("$", r"\$")


def axis_title(content: StudyContent, metric: str) -> str:
    """Return a metric's title with its unit.

    Parameters
    ----------
    content
        The study.
    metric
        Its name.

    Returns
    -------
        Title, unit in brackets.
    """
    units = [e.get("unit") for e in content.sections["metrics"] if str(e["name"]) == metric]
    title = plain(content.label("metrics", metric))
    return f"{title} [{plain(units[0])}]" if units and units[0] else title


def places(n_plots: int, *, width: float, height: float) -> tuple[Figure, list[Any]]:
    """Return a figure with as many plots as asked for, at most three beside each other.

    Parameters
    ----------
    n_plots
        How many.
    width, height
        Size of one of them [inch].

    Returns
    -------
        The figure and its plots.
    """
    n_columns = min(_COLUMNS, n_plots)
    n_rows = math.ceil(n_plots / n_columns)
    figure = Figure(figsize=(width * n_columns, height * n_rows + 0.4), layout="constrained")
    plots = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for plot in plots[n_plots:]:
        plot.axis("off")
    return figure, plots[:n_plots]


def add_legend(figure: Figure, plots: list[Any]) -> None:
    """Add one legend below for the methods of all plots.

    Parameters
    ----------
    figure
        The figure.
    plots
        Its plots.
    """
    found = {
        text: line
        for plot in plots
        for line, text in zip(*plot.get_legend_handles_labels(), strict=True)
    }
    if found:
        columns = 4 if len(plots) > 1 else 2
        figure.legend(list(found.values()), list(found), loc="outside lower left", ncols=columns)
