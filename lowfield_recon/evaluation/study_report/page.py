"""The page of a study: one file that loads nothing, with a script that the page itself vouches for.

Figures are drawn as SVG by a short script of our own: a plotting library would make every report
four megabytes larger, and none draws marks that keys can reach and a screen reader can read.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from lowfield_recon.evaluation.report_style import STYLE
from lowfield_recon.evaluation.study_report.about import about_section
from lowfield_recon.evaluation.study_report.content import StudyContent, read_study
from lowfield_recon.evaluation.study_report.drawing_data import drawing_data
from lowfield_recon.evaluation.study_report.gallery import gallery_section
from lowfield_recon.evaluation.study_report.measured import check_section, uncertainty_section
from lowfield_recon.evaluation.study_report.pictures import StudyPanel, read_panel
from lowfield_recon.evaluation.study_report.results import results_section
from lowfield_recon.evaluation.study_report.verdicts import failure_section, verdict_section
from lowfield_recon.files import atomic_path

MAX_PIXELS = 40_000_000
"""Pixels that a page shows at most, about 40 MB; further panels stay files beside it."""

_SCRIPTS = ("base.js", "charts.js", "curves.js", "marks.js", "tables.js", "viewer.js", "start.js")
_LINKS = (
    ("verdict", "Verdict"),
    ("failures", "Failures"),
    ("results", "Results"),
    ("images", "Images"),
    ("uncertainty", "Uncertainty"),
    ("checks", "Invented structure"),
    ("about", "What was done"),
)


def write_study_report(study: Mapping[str, Any], panels: str | Path, path: str | Path) -> Path:
    """Write what came out of a study as one self-contained HTML file.

    Parameters
    ----------
    study
        Results as in `study.json`.
    panels
        Folder with the NPZ files of panels that the results name; one that is missing or cannot be
        read is named on the page.
    path
        File to write.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If these are no results of a study, or the folder of `path` is missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> study = {"schema": "lowfield-recon study, version 1", "title": "Noise & more"}
    >>> page = write_study_report(study, folder, folder / "report.html").read_text()
    >>> "<h1>Noise &amp; more</h1>" in page
    True
    """
    content = read_study(study)
    shown, missing = read_panels(content, Path(panels), max_pixels=MAX_PIXELS)
    target = Path(path)
    with atomic_path(target) as temporary:
        temporary.write_text(render_study(content, shown, missing), encoding="utf-8")
    return target


def read_panels(
    content: StudyContent, folder: Path, *, max_pixels: int
) -> tuple[list[StudyPanel], list[str]]:
    """Read panels in order until a page would become too large.

    Parameters
    ----------
    content
        The study.
    folder
        Folder with its panels.
    max_pixels
        Pixels of all pictures together.

    Returns
    -------
        The panels, and why others are not shown, one line each.
    """
    shown, missing, n_pixels = [], [], 0
    entries = content.sections["panels"]
    for number, entry in enumerate(entries):
        panel = read_panel(entry, folder)
        if isinstance(panel, str):
            missing.append(panel)
            continue
        pictures = (panel.images, panel.errors, panel.maps, panel.deviations)
        n_pixels += sum(picture.size for kind in pictures for picture in kind.values())
        if n_pixels > max_pixels:
            missing.append(
                f"{len(entries) - number} of {len(entries)} images, which would make this page too "
                "large; they lie among the study's panels"
            )
            break
        shown.append(panel)
    return shown, missing


def render_study(
    content: StudyContent, panels: Sequence[StudyPanel], missing: Sequence[str] = ()
) -> str:
    """Return the page of a study.

    Parameters
    ----------
    content
        The study.
    panels
        Panels that are shown.
    missing
        Why others are not, one line each.

    Returns
    -------
        HTML.
    """
    style = STYLE + _asset("study.css")
    code = "".join(_asset(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{code}}})();\n'
    body = [
        verdict_section(content),
        failure_section(content),
        results_section(content),
        gallery_section(content, panels, missing),
        uncertainty_section(content),
        check_section(content),
        about_section(content),
    ]
    links = "".join(
        f'<li><a href="#{key}">{text}</a></li>'
        for key, text in _LINKS
        if any(f'<section id="{key}"' in html for html in body)
    )
    numbers = drawing_data(content, panels)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(content.title)}</title>\n<style>{style}</style>\n</head>\n<body>",
            '<a class="skip" href="#verdict">Skip to the verdict</a>',
            f"<header><h1>{escape(content.title)}</h1>\n<p>{escape(content.question)}</p>",
            f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n<main id="content">',
            *(html for html in body if html),
            "</main>",
            f'<script type="application/json" id="study-data">{numbers}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        ]
    )


def _policy(style: str, script: str) -> str:
    """Allow the page's own style and script by their hashes, embedded images, and nothing else."""
    hashes = [
        "'sha256-" + b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {hashes[1]}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _asset(name: str) -> str:
    folder = resources.files("lowfield_recon.evaluation.study_report") / "assets"
    return (folder / name).read_text(encoding="utf-8")
