"""What was compared with what, on which images, with which settings, on which machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent, finite
from lowfield_recon.evaluation.study_report.numbers import MISSING, brief
from lowfield_recon.evaluation.study_report.tables import (
    Cell,
    Line,
    SortableTable,
    cells,
    render_table,
)


def about_section(content: StudyContent) -> str:
    """Return methods, conditions, images, settings and environment.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        HTML.
    """
    notes = "".join(f"<li>{escape(note)}</li>" for note in content.notes)
    seconds = "" if content.seconds is None else f"<p>The study took {content.seconds:.0f} s.</p>"
    return "\n".join(
        [
            '<section id="about" aria-labelledby="about-head">',
            '<h2 id="about-head">What was done</h2>',
            f"<ul>{notes}</ul>" if notes else "",
            seconds,
            render_table(_methods(content)),
            render_table(_conditions(content)),
            _folded("Images", render_table(_images(content))),
            _folded("Settings", _facts(content.facts["settings"])),
            _folded("Environment", _facts(content.facts["environment"])),
            "</section>",
        ]
    )


def _methods(content: StudyContent) -> SortableTable:
    columns = ("Method", "Name", "Weights", "Settings", "Note", "Parameters")
    return SortableTable(
        key="method-table",
        n_names=5,
        caption="The methods, with the number of their learned parameters.",
        columns=columns,
        lines=tuple(
            Line(
                cells=cells(
                    content.label("methods", entry["name"]),
                    str(entry.get("method") or entry["name"]),
                    _listed(entry.get("weights")),
                    _compact(entry.get("settings")),
                    str(entry.get("note") or ""),
                    _count(entry.get("parameters")),
                )
            )
            for entry in content.sections["methods"]
        ),
    )


def _conditions(content: StudyContent) -> SortableTable:
    trained = {i for axis in content.axes for i in axis.trained}
    asked = {i for axis in content.axes if axis.trained for i in axis.conditions}
    return SortableTable(
        key="condition-table",
        n_names=6,
        caption="The conditions under which every method was tried.",
        columns=("Condition", "Shift", "Level", "Unit", "Objects", "Trained on"),
        lines=tuple(
            Line(
                cells=cells(
                    content.label("conditions", entry["name"]),
                    _shift(entry, content.axis_titles),
                    Cell(
                        text=brief(entry.get("level")),
                        value=finite(entry.get("numeric_level")),
                    ),
                    str(entry.get("unit") or ""),
                    "the same"
                    if entry.get("is_reference") or entry.get("is_paired")
                    else "other images",
                    "yes" if i in trained else "no" if i in asked else MISSING,
                )
            )
            for i, entry in enumerate(content.sections["conditions"])
        ),
    )


def _shift(entry: Entry, titles: Mapping[str, str]) -> str:
    if entry.get("is_reference"):
        return "none (reference condition)"
    return titles.get(str(entry["axis"]), str(entry["axis"]))


def _images(content: StudyContent) -> SortableTable:
    return SortableTable(
        key="image-table",
        n_names=3,
        caption="The images, with the subject that they show; subjects are resampled as a whole.",
        columns=("Image", "Subject", "Domain"),
        lines=tuple(
            Line(
                cells=cells(
                    str(entry["name"]), brief(entry.get("subject")), brief(entry.get("domain"))
                )
            )
            for entry in content.sections["images"]
        ),
    )


def _count(value: object) -> Cell:
    found = finite(value)
    if found is None:
        return Cell(text=brief(value))
    return Cell(text=f"{found:,.0f}".replace(",", " "), value=found)


def _listed(value: object) -> str:
    parts = value if isinstance(value, list | tuple) else [value]
    return ", ".join(_compact(v) if isinstance(v, Mapping) else brief(v) for v in parts) or MISSING


def _compact(value: object) -> str:
    """Write settings as `name value`, without those that the method chooses by itself."""
    if not isinstance(value, Mapping):
        return "" if value is None else brief(value)
    return "; ".join(
        f"{name} {_listed(found)}" for name, found in value.items() if found is not None
    )


def _folded(title: str, html: str) -> str:
    return f"<details><summary>{title}</summary>{html}</details>" if html else ""


def _facts(facts: Entry) -> str:
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in _flat("", facts)
    )
    return f"<dl>{entries}</dl>" if entries else ""


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield names joined by points, with their values as text."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), inner)
    elif isinstance(value, list | tuple):
        yield prefix, _listed(value)
    else:
        yield prefix, brief(value)
