"""Figures of a study for print: every figure of its page as PDF and PNG."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lowfield_recon.evaluation.study_report.content import StudyContent, read_study
from lowfield_recon.evaluation.study_report.figure_curves import draw_curves
from lowfield_recon.evaluation.study_report.figure_forest import draw_calibration, draw_forest
from lowfield_recon.evaluation.study_report.figure_images import (
    draw_panel,
    draw_ranks,
    draw_scatter,
)
from lowfield_recon.evaluation.study_report.pictures import read_panel
from lowfield_recon.files import atomic_path

# matplotlib lists the names that it takes one by one, which a plain dictionary cannot promise.
_LOOK: Any = {
    "font.size": 8.0,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.facecolor": "white",
}
_FORMATS: dict[str, dict[str, Any]] = {
    "pdf": {"metadata": {"CreationDate": None, "ModDate": None}},
    "png": {"dpi": 160, "metadata": {"Software": None}},
}


def write_study_figures(
    study: Mapping[str, Any], panels: str | Path, folder: str | Path
) -> tuple[Path, ...]:
    """Draw the figures of a study as PDF and PNG, the same bytes for the same study.

    Names are `levels-METRIC`, `change-METRIC`, `differences-METRIC`, `scatter-METRIC`,
    `ranks-METRIC`, `calibration` and `images-NUMBER`; a figure without numbers is left out.

    Parameters
    ----------
    study
        Results as in `study.json`.
    panels
        Folder with the NPZ files of panels; those that cannot be read are left out.
    folder
        Where figures are written; made where it is missing.

    Returns
    -------
        The files.

    Raises
    ------
    DataError
        If these are no results of a study.

    Examples
    --------
    >>> import tempfile
    >>> study = {"schema": "lowfield-recon study, version 1"}
    >>> write_study_figures(study, "none", tempfile.mkdtemp())
    ()
    """
    content = read_study(study)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with mpl.rc_context(_LOOK):
        for name, figure in _figures(content, Path(panels)):
            if figure is not None:
                written += _save(figure, target, name)
    return tuple(written)


def _figures(content: StudyContent, panels: Path) -> Iterator[tuple[str, Figure | None]]:
    for number, metric in enumerate(content.names("metrics")):
        name = _file_name(metric, number)
        yield f"levels-{name}", draw_curves(content, metric, "levels")
        yield f"change-{name}", draw_curves(content, metric, "degradation")
        yield f"differences-{name}", draw_forest(content, metric)
        yield f"scatter-{name}", draw_scatter(content, metric)
        yield f"ranks-{name}", draw_ranks(content, metric)
    yield "calibration", draw_calibration(content)
    for number, entry in enumerate(content.sections["panels"], 1):
        panel = read_panel(entry, panels)
        if not isinstance(panel, str):
            yield f"images-{number:03d}", draw_panel(content, panel)


def _file_name(metric: str, number: int) -> str:
    """Return a name of letters, digits and `_` alone, with the number where others were taken."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", metric).strip("_")
    return plain if plain == metric else f"{plain}_{number}"


def _save(figure: Figure, folder: Path, name: str) -> list[Path]:
    FigureCanvasAgg(figure)
    # The layout is the same for both files, and finding it takes longer than drawing.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    paths = []
    for suffix, options in _FORMATS.items():
        path = folder / f"{name}.{suffix}"
        with atomic_path(path) as temporary:
            figure.savefig(
                temporary,
                format=suffix,
                metadata=options["metadata"],
                dpi=options.get("dpi", 300),
            )
        paths.append(path)
    return paths
