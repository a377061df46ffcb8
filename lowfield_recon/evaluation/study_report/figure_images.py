"""Image by image: scatter plots, ranks, and the images with their errors and maps, for print."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from lowfield_recon.evaluation.study_report.content import StudyContent, finite
from lowfield_recon.evaluation.study_report.figure_frame import (
    add_legend,
    axis_title,
    places,
    plain,
    style,
)
from lowfield_recon.evaluation.study_report.pictures import StudyPanel, error_colours

_WIDTH = 1.7


def draw_scatter(content: StudyContent, metric: str) -> Figure | None:
    """Draw the score of every image under the last level of each shift over its reference score.

    Parameters
    ----------
    content
        The study.
    metric
        Name of the metric.

    Returns
    -------
        The figure; None without pairs.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for entry in content.sections["pairs"]:
        before, after = finite(entry["reference"]), finite(entry["shifted"])
        if entry["metric"] == metric and before is not None and after is not None:
            marks = found.setdefault(str(entry["condition"]), {})
            marks.setdefault(str(entry["method"]), []).append((before, after))
    names = content.names("conditions")
    shown = [
        [names[c] for c in axis.conditions if names[c] in found][-1]
        for axis in content.axes
        if any(names[c] in found for c in axis.conditions)
    ]
    if not shown:
        return None
    figure, plots = places(len(shown), width=3.0, height=2.9)
    for plot, condition in zip(plots, shown, strict=True):
        _draw_marks(plot, content, found[condition])
        plot.set_title(plain(content.label("conditions", condition), 40), fontsize=9, loc="left")
        plot.set_xlabel(f"{axis_title(content, metric)}, reference condition")
        plot.set_ylabel("under the shift")
    add_legend(figure, plots)
    return figure


def _draw_marks(
    plot: Any, content: StudyContent, marks: dict[str, list[tuple[float, float]]]
) -> None:
    for i, method in enumerate(content.names("methods")):
        if method in marks:
            look = style(content, i) | {"linestyle": "none", "markersize": 3.0}
            plot.plot(*np.array(marks[method]).T, alpha=0.6, **look)
    values = np.array([pair for pairs in marks.values() for pair in pairs])
    low, high = values.min(axis=0).max(), values.max(axis=0).min()
    if high > low:
        plot.plot([low, high], [low, high], color="0.5", linewidth=0.8, linestyle="--", zorder=0)


def draw_ranks(content: StudyContent, metric: str) -> Figure | None:
    """Draw the rank of every method under every condition as a table of colours and numbers.

    Parameters
    ----------
    content
        The study.
    metric
        Name of the metric.

    Returns
    -------
        The figure; None without ranks.
    """
    ranks = {
        (str(e["condition"]), str(e["method"])): rank
        for e in content.sections["ranks"]
        if e["metric"] == metric and (rank := finite(e["rank"])) is not None
    }
    conditions = [c for c in content.names("conditions") if any(key[0] == c for key in ranks)]
    methods = [m for m in content.names("methods") if any(key[1] == m for key in ranks)]
    if not ranks:
        return None
    table = np.array([[ranks.get((c, m), math.nan) for m in methods] for c in conditions])
    figure = Figure(
        figsize=(2.4 + 0.42 * len(methods), 1.2 + 0.22 * len(conditions)), layout="tight"
    )
    plot = figure.subplots()
    plot.imshow(table, cmap="Blues_r", vmin=1, vmax=1.6 * len(methods), aspect="auto")
    for (y, x), rank in np.ndenumerate(table):
        text = "–" if math.isnan(rank) else f"{rank:g}"
        is_dark = rank < 1 + 0.25 * len(methods)
        plot.text(x, y, text, ha="center", va="center", fontsize=7, color="w" if is_dark else "k")
    plot.set_xticks(
        range(len(methods)), [plain(content.label("methods", m), 24) for m in methods],
        rotation=40, ha="right", rotation_mode="anchor",
    )  # fmt: skip
    plot.set_yticks(
        range(len(conditions)), [plain(content.label("conditions", c), 48) for c in conditions]
    )
    plot.tick_params(length=0)
    for side in plot.spines.values():
        side.set_visible(False)
    plot.set_title(f"Ranks by {axis_title(content, metric)}", fontsize=9, loc="left")
    return figure


def draw_panel(content: StudyContent, panel: StudyPanel) -> Figure:
    """Draw the images of a panel, their errors below, and sparsity-level maps below these.

    Parameters
    ----------
    content
        The study.
    panel
        The panel.

    Returns
    -------
        The figure.
    """
    methods = [m for m in content.names("methods") if m in panel.images]
    has_maps = any(m in panel.maps for m in methods)
    n_rows = 1 + bool(panel.errors) + has_maps
    first = panel.reference if panel.reference is not None else panel.images[methods[0]]
    height = _WIDTH * first.shape[0] / first.shape[1]
    figure = Figure(figsize=(_WIDTH * (1 + len(methods)) + 0.6, n_rows * height + 0.7))
    plots = figure.subplots(n_rows, 1 + len(methods), squeeze=False)
    top = 1 - 0.5 / (n_rows * height + 0.7)
    figure.subplots_adjust(left=0, right=0.93, bottom=0, top=top, wspace=0.03, hspace=0.03)
    for plot in plots.flat:
        plot.axis("off")
    if panel.reference is not None:
        plots[0, 0].imshow(panel.reference, cmap="gray", vmin=0, vmax=panel.white)
        plots[0, 0].set_title("reference", fontsize=7.5)
    error_look = {
        "cmap": ListedColormap(error_colours() / 255.0),
        "vmin": -panel.error_limit,
        "vmax": panel.error_limit,
    }
    for x, method in enumerate(methods, 1):
        plots[0, x].imshow(panel.images[method], cmap="gray", vmin=0, vmax=panel.white)
        plots[0, x].set_title(plain(content.label("methods", method), 28), fontsize=7.5)
        if method in panel.errors:
            shown = plots[1, x].imshow(panel.errors[method], **error_look)
            _scale(figure, plots[1, -1], shown, "error")
        if method in panel.maps:
            shown = plots[-1, x].imshow(panel.maps[method], vmin=0, vmax=panel.map_limit)
            _scale(figure, plots[-1, -1], shown, "sparsity level")
    seed = f", seed {panel.seed}" if panel.seed else ""
    title = f"{content.label('conditions', panel.condition)}, {panel.image}{seed}"
    figure.suptitle(plain(title, 100), x=0.003, y=0.995, ha="left", fontsize=8.5)
    return figure


def _scale(figure: Figure, last: Any, shown: Any, title: str) -> None:
    """Add one scale of colours right of a row, once."""
    if any(axes.get_gid() == title for axes in figure.axes):
        return
    box = last.get_position()
    axes = figure.add_axes((0.94, box.y0 + 0.08 * box.height, 0.008, 0.84 * box.height), gid=title)
    bar = figure.colorbar(shown, cax=axes)
    bar.ax.tick_params(labelsize=6)
    bar.set_label(title, fontsize=6.5)
