"""What came out, in words: claims with what speaks for and against them, and what failed."""

from __future__ import annotations

from html import escape

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent
from lowfield_recon.evaluation.study_report.numbers import interval, number, probability
from lowfield_recon.evaluation.study_report.tables import (
    Cell,
    Line,
    SortableTable,
    cells,
    render_table,
)

_BADGES = {
    True: ("for", "✓ Supports the claim"),
    False: ("against", "✗ Speaks against the claim"),
    None: ("open", "○ Undecided"),
}

_MOST_SENTENCES = 4
"""More findings than these about one shift are shown as a table first."""


def verdict_section(content: StudyContent) -> str:
    """Return the verdict, and the comparisons that were named in advance.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        HTML.
    """
    entries = content.sections["verdict"]
    claims: dict[str, list[Entry]] = {}
    for entry in entries:
        claims.setdefault(str(entry.get("claim") or ""), []).append(entry)
    parts = [_claim(content, i, claim, found) for i, (claim, found) in enumerate(claims.items())]
    primary = [e for e in content.sections["difference_in_differences"] if e.get("is_primary")]
    table = render_table(_primary_table(content, primary)) if primary else ""
    return (
        '<section id="verdict" aria-labelledby="verdict-head"><h2 id="verdict-head">Verdict</h2>'
        + ("".join(parts) or "<p>The study states no verdict.</p>")
        + table
        + "</section>"
    )


def failure_section(content: StudyContent) -> str:
    """Return what failed, counted by method, and every failure in its own words.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        HTML.
    """
    failures = content.sections["failures"]
    head = '<section id="failures" aria-labelledby="failures-head">'
    title = '<h2 id="failures-head">Failures</h2>'
    if not failures:
        return f"{head}{title}<p>Every method gave an image every time.</p></section>"
    counts: dict[str, int] = {}
    for entry in failures:
        label = content.label("methods", entry["method"])
        counts[label] = counts.get(label, 0) + 1
    told = ", ".join(f"{label} ({count})" for label, count in counts.items())
    text = (
        f"{len(failures)} reconstruction{' has' if len(failures) == 1 else 's have'} failed: {told}"
        ". They are counted in every table; means and differences use the images where there is one"
        " to compare."
    )
    table = SortableTable(
        key="failure-table",
        n_names=5,
        caption="Every failure, in the words of its error message.",
        columns=("Method", "Condition", "Image", "Seed", "What was said"),
        lines=tuple(
            Line(
                cells=cells(
                    content.label("methods", entry["method"]),
                    content.label("conditions", entry["condition"]),
                    str(entry["image"]),
                    str(entry.get("seed", "")),
                    str(entry["failure"]),
                ),
                tags=(
                    ("axis", content.axis_of(entry["condition"])),
                    ("method", str(entry["method"])),
                ),
            )
            for entry in failures
        ),
        filters=("axis", "method"),
    )
    return f'{head}{title}<p class="warning">{escape(text)}</p>{render_table(table)}</section>'


def _claim(content: StudyContent, position: int, claim: str, entries: list[Entry]) -> str:
    supports = [_supports(entry) for entry in entries]
    tally = (
        f"{supports.count(True)} of {len(entries)} findings support it, "
        f"{supports.count(False)} speak against it, {supports.count(None)} are undecided."
    )
    head = f"<h3>{escape(claim)}</h3><p>{tally}</p>" if claim else ""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(str(entry.get("axis") or ""), []).append(entry)
    few = [e for found in groups.values() if len(found) <= _MOST_SENTENCES for e in found]
    items = "".join(_finding(content, entry) for entry in few)
    many = [
        _findings_at_a_glance(content, axis, found, f"{position}-{number}")
        for number, (axis, found) in enumerate(groups.items())
        if len(found) > _MOST_SENTENCES
    ]
    return head + (f'<ul class="verdicts">{items}</ul>' if items else "") + "".join(many)


def _finding(content: StudyContent, entry: Entry) -> str:
    look, badge = _BADGES[_supports(entry)]
    about = [
        content.label(kind, entry[key])
        for key, kind in (("metric", "metrics"), ("method", "methods"))
        if entry.get(key)
    ]
    axis = str(entry.get("axis") or "")
    about += [content.axis_titles.get(axis, axis)] if axis else []
    return (
        f'<li class="{look}"><strong class="badge">{badge}</strong> '
        f"{escape(str(entry['sentence']))}"
        + (f' <span class="about">({escape(", ".join(about))})</span>' if about else "")
        + "</li>"
    )


def _findings_at_a_glance(content: StudyContent, axis: str, entries: list[Entry], key: str) -> str:
    """Return many findings as a table of methods and metrics, with their sentences on demand."""
    metrics = list(dict.fromkeys(str(entry.get("metric") or "") for entry in entries))
    methods = list(dict.fromkeys(str(entry.get("method") or "") for entry in entries))
    found = {(str(e.get("method") or ""), str(e.get("metric") or "")): e for e in entries}
    lines = tuple(
        Line(
            cells=cells(
                content.label("methods", method),
                *(_glance(found.get((method, metric))) for metric in metrics),
            )
        )
        for method in methods
    )
    title = content.axis_titles.get(axis, axis)
    table = SortableTable(
        key=f"findings-{key}",
        caption=f"Findings for {title}, by the method that is compared with and by the metric.",
        columns=("Method", *(content.label("metrics", metric) for metric in metrics)),
        lines=lines,
    )
    sentences = "".join(_finding(content, entry) for entry in entries)
    return (
        render_table(table)
        + f"<details><summary>In words, with intervals: {escape(title)}</summary>"
        + f'<ul class="verdicts">{sentences}</ul></details>'
    )


def _glance(entry: Entry | None) -> Cell:
    if entry is None:
        return Cell(text="–")
    look, badge = _BADGES[_supports(entry)]
    return Cell(text=badge.replace(" the claim", "").lower(), look=look)


def _supports(entry: Entry) -> bool | None:
    found = entry.get("supports")
    return found if isinstance(found, bool) else None


def _primary_table(content: StudyContent, primary: list[Entry]) -> SortableTable:
    lines = []
    for entry in primary:
        decimals = content.digits[str(entry["metric"])]
        lines.append(
            Line(
                cells=cells(
                    content.label("methods", entry["method"]),
                    content.label("conditions", entry["condition"]),
                    content.label("metrics", entry["metric"]),
                    number(entry["mean"], decimals, is_signed=True),
                    interval(entry, decimals, is_signed=True),
                    probability(entry.get("p")),
                    probability(entry.get("p_holm")),
                )
            )
        )
    reference = content.label("methods", content.reference_method)
    return SortableTable(
        key="primary-table",
        n_names=3,
        caption=(
            "The comparisons named before the study ran: how much more the method's score changes "
            f"under the shift than that of {reference}, with its 95 % interval; p after Holm's "
            "correction for their number. Everything else on this page is exploratory."
        ),
        columns=("Method", "Condition", "Metric", "Difference", "95 % interval", "p", "p (Holm)"),
        lines=tuple(lines),
    )
