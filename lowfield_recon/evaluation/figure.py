"""The first images of every section of a report as one labelled figure."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lowfield_recon.evaluation.report import Report
from lowfield_recon.files import atomic_path


def write_figure(path: Path, report: Report) -> Path:
    """Draw the first row of every section as one labelled panel.

    Parameters
    ----------
    path
        PNG to write.
    report
        The report whose images are drawn.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    rows = [section.row for section in report.sections]
    n_columns = max(len(row.panels) for row in rows)
    heights = [max(panel.image.shape[0] / panel.image.shape[1] for panel in r.panels) for r in rows]
    width = 2.3
    figure = Figure(figsize=(width * n_columns, sum(width * h + 0.55 for h in heights)))
    FigureCanvasAgg(figure)
    ratios = [width * h + 0.55 for h in heights]
    parts = figure.subfigures(len(rows), 1, height_ratios=ratios, squeeze=False)[:, 0]
    for section, part in zip(report.sections, parts, strict=True):
        axes = part.subplots(1, n_columns, squeeze=False)[0]
        part.subplots_adjust(left=0.004, right=0.996, bottom=0.13, top=0.89, wspace=0.02)
        part.suptitle(section.title, x=0.006, ha="left", fontsize=10, fontweight="bold")
        for axis in axes:
            axis.axis("off")
        for axis, panel in zip(axes, section.row.panels, strict=False):
            axis.imshow(panel.image, cmap="gray", vmin=0, vmax=section.row.white)
            axis.text(
                0.5,
                -0.02,
                f"{panel.title}\n{panel.caption}",
                transform=axis.transAxes,
                ha="center",
                va="top",
                fontsize=7.5,
            )
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, facecolor="white")
    return path
