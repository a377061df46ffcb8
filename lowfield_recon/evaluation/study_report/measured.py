"""What was measured on single images: calibrated uncertainty, and invented structure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent
from lowfield_recon.evaluation.study_report.frames import chart_frame, score_line, value_cell
from lowfield_recon.evaluation.study_report.tables import SortableTable, render_table

_TITLES = {
    "null_space_fraction": "Share that the data do not see",
    "mean_std": "Mean standard deviation",
}


def uncertainty_section(content: StudyContent) -> str:
    """Return how often the intervals of a method hold the truth.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        HTML; empty where the study asked for none.
    """
    entries = content.sections["uncertainty"]
    if not entries:
        return ""
    shares = sorted({str(share) for entry in entries for share in entry["coverage"] or ()})
    measured = [
        {**entry, **{f"{share} promised": (entry["coverage"] or {}).get(share) for share in shares}}
        for entry in entries
    ]
    table = _measured_table(
        content,
        "uncertainty-table",
        "Share of pixels whose interval holds the reference, by the share that it promises.",
        [{k: v for k, v in entry.items() if k != "coverage"} for entry in measured],
    )
    return (
        '<section id="uncertainty" aria-labelledby="uncertainty-head">'
        '<h2 id="uncertainty-head">Uncertainty</h2>'
        + chart_frame(
            "calibration",
            "Calibration",
            "On the line, an interval holds the truth as often as it promises; below it, the "
            "method is too sure of itself. Every mark is the mean over images.",
        )
        + render_table(table)
        + "</section>"
    )


def check_section(content: StudyContent) -> str:
    """Return how much of the images the data did not see, and what small changes of data can do.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        HTML; empty where the study asked for none.
    """
    entries = content.sections["checks"]
    if not entries:
        return ""
    table = _measured_table(
        content,
        "check-table",
        "How much of an image stems from the method alone, and how much the worst small change of "
        "the data, in units of noise, changes it.",
        entries,
    )
    return (
        '<section id="checks" aria-labelledby="checks-head">'
        '<h2 id="checks-head">Invented structure</h2>' + render_table(table) + "</section>"
    )


def _measured_table(
    content: StudyContent, key: str, caption: str, entries: Sequence[Entry]
) -> SortableTable:
    """Return a table of whatever was measured on single images, without columns of nothing."""
    known = ("method", "condition", "image", "seed")
    flat = [dict(_unfolded(entry)) for entry in entries]
    found = dict.fromkeys(name for entry in flat for name, v in entry.items() if v is not None)
    measured = [name for name in found if name not in known]
    return SortableTable(
        key=key,
        n_names=3,
        caption=caption,
        columns=(
            "Method",
            "Condition",
            "Image",
            "Seed",
            *(_TITLES.get(name, name.replace("_", " ").capitalize()) for name in measured),
        ),
        lines=tuple(
            score_line(
                content,
                entry,
                str(entry.get("image", "")),
                str(entry.get("seed", "")),
                *(value_cell(entry.get(name)) for name in measured),
            )
            for entry in flat
        ),
        filters=("axis", "method"),
    )


def _unfolded(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Yield names and values; those of an entry inside the entry follow its name."""
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", found) for inner, found in value.items())
        else:
            yield name, value
