"""Differences in differences with their intervals, and calibration, for print."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent, finite
from lowfield_recon.evaluation.study_report.drawing_data import share_of
from lowfield_recon.evaluation.study_report.figure_frame import (
    COLOURS,
    add_legend,
    axis_title,
    places,
    plain,
    style,
)


def draw_forest(content: StudyContent, metric: str) -> Figure | None:
    """Draw differences in differences with 95 % intervals: last levels, and those named in advance.

    Parameters
    ----------
    content
        The study.
    metric
        Name of the metric.

    Returns
    -------
        The figure; None without numbers.
    """
    names = content.names("conditions")
    last = {[names[c] for c in a.conditions if content.axis_of(names[c])][-1] for a in content.axes}
    entries = [
        e
        for e in content.sections["difference_in_differences"]
        if e["metric"] == metric
        and finite(e["mean"]) is not None
        and (e["condition"] in last or e.get("is_primary"))
    ]
    if not entries:
        return None
    methods = content.names("methods")
    figure = Figure(figsize=(6.4, 0.6 + 0.19 * (len(entries) + 1.4 * len(names))), layout="tight")
    plot = figure.subplots()
    y, ticks, words = 0.0, [], []
    for condition in names:
        own = [e for e in entries if e["condition"] == condition]
        if not own:
            continue
        ticks.append(y)
        words.append(plain(content.label("conditions", condition), 44))
        for entry in own:
            y += 1
            _draw_difference(plot, content, methods.index(str(entry["method"])), entry, y)
            ticks.append(y)
            words.append("   " + plain(content.label("methods", entry["method"]), 40))
        y += 1.4
    plot.axvline(0, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
    plot.set_yticks(ticks, words, fontsize=7)
    for label in plot.get_yticklabels():
        if not label.get_text().startswith(" "):
            label.set_fontweight("bold")
    plot.tick_params(axis="y", length=0)
    plot.set_ylim(y, -1)
    name = plain(content.label("methods", content.reference_method))
    plot.set_xlabel(f"change of {axis_title(content, metric)} minus that of {name}")
    return figure


def _draw_difference(plot: Any, content: StudyContent, i: int, entry: Entry, y: float) -> None:
    low, high = finite(entry.get("low")), finite(entry.get("high"))
    colour = COLOURS[i % len(COLOURS)]
    is_clear = low is not None and high is not None and (low > 0 or high < 0)
    if low is not None and high is not None:
        plot.plot([low, high], [y, y], color=colour, linewidth=1.2)
    plot.plot(
        [entry["mean"]],
        [y],
        marker="D" if entry.get("is_primary") else "o",
        color=colour,
        markerfacecolor=colour if is_clear else "white",
        markersize=4.5,
        gid=plain(content.names("methods")[i]),
    )


def draw_calibration(content: StudyContent) -> Figure | None:
    """Draw the share of pixels whose interval holds the truth over the share that it promises.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        The figure; None without numbers.
    """
    entries = content.sections["uncertainty"]
    conditions = [
        c for c in content.names("conditions") if any(e["condition"] == c for e in entries)
    ]
    if not conditions:
        return None
    figure, plots = places(len(conditions), width=2.9, height=2.9)
    for plot, condition in zip(plots, conditions, strict=True):
        plot.plot([0, 1], [0, 1], color="0.5", linewidth=0.8, linestyle="--")
        for i, method in enumerate(content.names("methods")):
            kept: dict[float, list[float]] = {}
            for e in entries:
                if e["condition"] == condition and e["method"] == method:
                    for share, value in (e["coverage"] or {}).items():
                        found, promised = finite(value), share_of(share)
                        if found is not None and promised is not None:
                            kept.setdefault(promised, []).append(found)
            if kept:
                shares = sorted(kept)
                plot.plot(shares, [np.mean(kept[s]) for s in shares], **style(content, i))
        plot.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="promised", ylabel="kept")
        plot.set_title(plain(content.label("conditions", condition), 40), fontsize=9, loc="left")
    add_legend(figure, plots)
    return figure
