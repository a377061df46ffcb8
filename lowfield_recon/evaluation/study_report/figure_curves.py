"""Curves of scores and of their changes over the levels of shifts, for print."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from lowfield_recon.evaluation.study_report.content import Axis, Entry, StudyContent, finite
from lowfield_recon.evaluation.study_report.figure_frame import (
    add_legend,
    axis_title,
    places,
    plain,
    style,
)


def draw_curves(
    content: StudyContent, metric: str, section: Literal["levels", "degradation"]
) -> Figure | None:
    """Draw scores, or their changes, over the levels of every shift with 95 % intervals.

    Parameters
    ----------
    content
        The study.
    metric
        Name of the metric.
    section
        `"levels"` or `"degradation"`.

    Returns
    -------
        The figure; None without numbers.
    """
    rows = {
        (str(e["method"]), str(e["condition"])): e
        for e in content.sections[section]
        if e["metric"] == metric and finite(e["mean"]) is not None
    }
    names = content.names("conditions")
    methods = content.names("methods")
    axes = [
        axis
        for axis in content.axes
        if any(
            (method, names[c]) in rows
            for method in methods
            for c in axis.conditions
            if content.axis_of(names[c])
        )
    ]
    if not axes:
        return None
    figure, plots = places(len(axes), width=3.2, height=2.7)
    title = axis_title(content, metric)
    for plot, axis in zip(plots, axes, strict=True):
        _draw_axis(plot, content, axis, rows)
        if section == "degradation":
            plot.axhline(0, color="0.5", linewidth=0.8, linestyle="--", zorder=0)
        plot.set_title(plain(axis.title, 44), fontsize=9, loc="left")
        plot.set_ylabel(title if section == "levels" else f"change of {title}")
        if axis.unit:
            plot.set_xlabel(plain(axis.unit))
    add_legend(figure, plots)
    return figure


def _draw_axis(
    plot: Any, content: StudyContent, axis: Axis, rows: dict[tuple[str, str], Entry]
) -> None:
    names, methods = content.names("conditions"), content.names("methods")
    shown = [c for c in axis.conditions if any((m, names[c]) in rows for m in methods)]
    positions = {c: x for x, c in enumerate(shown)}
    for i, method in enumerate(methods):
        own = [(positions[c], rows[method, names[c]]) for c in shown if (method, names[c]) in rows]
        if not own:
            continue
        aside = (i - (len(methods) - 1) / 2) * min(0.08, 0.6 / len(methods))
        means = np.array([entry["mean"] for _, entry in own], dtype=float)
        plot.errorbar(
            [x + aside for x, _ in own],
            means,
            yerr=_reach(means, [entry for _, entry in own]),
            elinewidth=0.8,
            **style(content, i),
        )
    conditions = content.sections["conditions"]
    words = [
        "reference" if conditions[c].get("is_reference") else plain(conditions[c].get("level"), 22)
        for c in shown
    ]
    is_long = sum(map(len, words)) > 34
    turned = {"rotation": 32, "ha": "right", "rotation_mode": "anchor"} if is_long else {}
    plot.set_xticks(range(len(shown)), words, **turned)
    plot.set_xlim(-0.6, len(shown) - 0.4)


def _reach(means: Any, entries: list[Entry]) -> Any:
    """Return how far intervals reach below and above the means, `(2, n)`; nothing where unknown."""
    low = [finite(entry.get("low")) for entry in entries]
    high = [finite(entry.get("high")) for entry in entries]
    below = [0.0 if v is None else max(0.0, m - v) for m, v in zip(means, low, strict=True)]
    above = [0.0 if v is None else max(0.0, v - m) for m, v in zip(means, high, strict=True)]
    return np.array([below, above])
