"""The search of a tuning as a picture: score over each setting, and over pairs as a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from lowfield_recon.files import atomic_path
from lowfield_recon.pipeline.tuning_search import SearchResult

_SHOWN_PART = 0.6


def draw_search(
    path: Path, result: SearchResult, names: Sequence[str], *, score: str, title: str
) -> Path:
    """Draw every point that worked; the worst are grey triangles on the lower edge.

    Parameters
    ----------
    path
        PNG to write.
    result
        The search.
    names
        Settings that were searched.
    score
        What the score is, with its unit.
    title
        Title of the picture.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pairs = list(combinations(range(len(names)), 2))
    worked = [i for i, value in enumerate(result.scores) if math.isfinite(value)]
    points = [result.points[i] for i in worked]
    ranked = sorted((result.scores[i] for i in worked), reverse=True)
    floor = ranked[round(_SHOWN_PART * (len(ranked) - 1))] if ranked else 0.0
    exact = [result.scores[i] for i in worked]
    shown = [max(value, floor) for value in exact]
    n_columns = len(names) + len(pairs)
    width = 4.2 * n_columns
    figure = Figure(figsize=(width, 3.7))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(
        left=0.8 / width, right=1 - 0.3 / width, bottom=0.15, top=0.86, wspace=0.32
    )
    axes = figure.subplots(1, n_columns, squeeze=False)[0]
    for axis, place in zip(axes, range(len(names)), strict=False):
        for marker, colour, is_low in (("o", "C0", False), ("v", "0.6", True)):
            part = [i for i, value in enumerate(exact) if (value < floor) == is_low]
            x, y = [points[i][place] for i in part], [shown[i] for i in part]
            axis.plot(x, y, marker, color=colour, markersize=4)
        axis.axvline(result.best[place], color="C3", linewidth=1)
        axis.set(xscale="log", xlabel=names[place], ylabel=score)
        _label_sparsely(axis.xaxis)
        axis.grid(alpha=0.3)
    for axis, (first, second) in zip(axes[len(names) :], pairs, strict=True):
        x, y = [p[first] for p in points], [p[second] for p in points]
        drawn = axis.scatter(x, y, c=shown, cmap="viridis", s=28)
        axis.plot(result.best[first], result.best[second], "*", color="C3", markersize=13)
        axis.set(xscale="log", yscale="log", xlabel=names[first], ylabel=names[second])
        _label_sparsely(axis.xaxis)
        _label_sparsely(axis.yaxis)
        figure.colorbar(drawn, ax=axis)
    figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="white")
    return path


def _label_sparsely(axis: Any) -> None:
    """Write a few plain numbers along a log axis, also where it is shorter than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axis.get_view_interval()
    subs = (1.0,) if high / low > 100 else (1.0, 3.0) if high / low > 10 else (1.0, 2.0, 4.0, 7.0)
    axis.set_major_locator(LogLocator(base=10, subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:.3g}"))
    axis.set_minor_formatter(NullFormatter())
