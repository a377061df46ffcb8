"""The images of a study: a viewer to compare two of them, and a sheet of all of them.

The sheet holds every picture once; the viewer shows copies of its pictures by their identifiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent
from lowfield_recon.evaluation.study_report.pictures import (
    Pixels,
    StudyPanel,
    error_colours,
    error_source,
    grey_source,
    map_colours,
    map_source,
    scale_source,
)


def gallery_section(
    content: StudyContent, panels: Sequence[StudyPanel], missing: Sequence[str]
) -> str:
    """Return the viewer, which a script fills, and the sheet of all images.

    Parameters
    ----------
    content
        The study.
    panels
        What is shown.
    missing
        Why other panels are not shown, one line each.

    Returns
    -------
        HTML.
    """
    head = (
        '<section id="images" aria-labelledby="images-head"><h2 id="images-head">Images</h2>'
        + "".join(f'<p class="warning">Not shown: {escape(line)}.</p>' for line in missing)
    )
    if not panels:
        return f"{head}<p>The study kept no images.</p></section>"
    sheets = "\n".join(_sheet(content, number, panel) for number, panel in enumerate(panels))
    return "\n".join(
        [
            head,
            "<p>All methods of an image share one grey scale, one scale of errors and one scale of "
            "maps. Errors are the magnitude minus that of the reference: orange is too bright, "
            "blue too dark, black right.</p>",
            '<form id="viewer-choice" class="choice" hidden aria-label="Which images are compared">'
            '</form><div id="stage" class="stage"></div>'
            '<p id="viewer-status" class="readout" role="status" aria-live="polite"></p>'
            '<div id="scales" class="scales">'
            f'<p class="scale" id="error-scale"><span class="low">too dark</span>'
            f'<img src="{scale_source(error_colours())}" alt="Colours of errors: pale blue, blue, '
            'black, orange, pale yellow" width="256" height="16">'
            '<span class="high">too bright</span></p>'
            f'<p class="scale" id="map-scale"><span class="low">0</span>'
            f'<img src="{scale_source(map_colours())}" alt="Colours of maps: dark violet, green, '
            'yellow" width="256" height="16"><span class="high">largest value</span></p></div>',
            "<h3>All images</h3>",
            sheets,
            "</section>",
        ]
    )


def viewer_entry(content: StudyContent, number: int, panel: StudyPanel) -> dict[str, Any]:
    """Return what the viewer must know of a panel besides its pictures.

    Parameters
    ----------
    content
        The study.
    number
        Number of the panel in the sheet.
    panel
        The panel.

    Returns
    -------
        What JSON holds.
    """
    methods = content.names("methods")
    return {
        "number": number,
        "condition": panel.condition,
        "image": panel.image,
        "seed": panel.seed,
        "methods": [i for i, method in enumerate(methods) if method in panel.images],
        "error": f"{panel.error_limit:.2g}",
        "share": f"{100 * panel.error_limit / panel.white:.2g}",
        "map": f"{panel.map_limit:.2g}",
        "std": f"{panel.deviation_limit:.2g}",
        "failures": {
            str(methods.index(str(entry["method"]))): str(entry["failure"])
            for entry in content.sections["failures"]
            if _is_of(entry, panel)
        },
    }


def _is_of(entry: Entry, panel: StudyPanel) -> bool:
    return (str(entry["condition"]), str(entry["image"]), str(entry.get("seed", ""))) == (
        panel.condition,
        panel.image,
        panel.seed,
    )


def _sheet(content: StudyContent, number: int, panel: StudyPanel) -> str:
    methods = content.names("methods")
    shown = f"{content.label('conditions', panel.condition)}, {panel.image}"
    title = f"{shown}, seed {panel.seed}" if panel.seed else shown
    figures = []
    if panel.reference is not None:
        source = grey_source(panel.reference, panel.white)
        figures.append(
            _figure(
                "Reference",
                [_image(f"i{number}-r", source, panel.reference, f"Reference, {shown}")],
            )
        )
    for i, method in enumerate(methods):
        pictures = _pictures(panel, number, i, method, content.label("methods", method), shown)
        if pictures:
            figures.append(_figure(content.label("methods", method), pictures))
    limits = f"White is {panel.white:.3g}."
    if panel.errors:
        limits += f" Strongest colours of errors: ±{panel.error_limit:.2g}."
    if panel.maps:
        limits += f" Brightest sparsity level: {panel.map_limit:.2g}."
    if panel.deviations:
        limits += f" Brightest standard deviation: {panel.deviation_limit:.2g}."
    return (
        f'<details class="sheet" id="sheet-{number}"><summary>{escape(title)}</summary>'
        f'<p class="label">{limits}</p><div class="grid">{"".join(figures)}</div></details>'
    )


def _pictures(
    panel: StudyPanel, number: int, i: int, method: str, label: str, shown: str
) -> list[str]:
    """Return image, error, map and deviation of a method, those that there are."""
    kinds: tuple[tuple[str, Mapping[str, Pixels], str], ...] = (
        ("i", panel.images, "Image by {}, {}"),
        ("e", panel.errors, "Error of {}, {}"),
        ("l", panel.maps, "Sparsity-level map of {}, {}"),
        ("u", panel.deviations, "Standard deviation per pixel of {}, {}"),
    )
    found = []
    for key, pictures, text in kinds:
        if method not in pictures:
            continue
        pixels = pictures[method]
        source = {
            "i": lambda p: grey_source(p, panel.white),
            "e": lambda p: error_source(p, panel.error_limit),
            "l": lambda p: map_source(p, panel.map_limit),
            "u": lambda p: map_source(p, panel.deviation_limit),
        }[key](pixels)
        found.append(_image(f"{key}{number}-{i}", source, pixels, text.format(label, shown)))
    return found


def _figure(title: str, images: Sequence[str]) -> str:
    caption = f"<figcaption><strong>{escape(title)}</strong></figcaption>"
    return f"<figure>{''.join(images)}{caption}</figure>"


def _image(key: str, source: str, pixels: Pixels, text: str) -> str:
    height, width = pixels.shape
    return (
        f'<img id="{key}" src="{source}" alt="{escape(text, quote=True)}" '
        f'width="{width}" height="{height}" decoding="async">'
    )
