"""The figures of a study with the tables that hold their numbers."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent, finite
from lowfield_recon.evaluation.study_report.frames import chart_frame, score_line, value_cell
from lowfield_recon.evaluation.study_report.numbers import brief, interval, number, probability
from lowfield_recon.evaluation.study_report.tables import (
    Cell,
    Line,
    SortableTable,
    cells,
    render_table,
)


def results_section(content: StudyContent) -> str:
    """Return curves, differences, scatter plots and ranks under one choice of metric and shift.

    Parameters
    ----------
    content
        The study.

    Returns
    -------
        HTML.
    """
    reference = content.label("methods", content.reference_method)
    return "\n".join(
        [
            '<section id="results" aria-labelledby="results-head">',
            '<h2 id="results-head">How much each method suffers</h2>',
            '<form id="choice" class="choice" hidden aria-label="What the figures show"></form>',
            '<p class="label" id="choice-status" role="status"></p>',
            chart_frame(
                "levels",
                "Score under every shift",
                "The mean score over subjects; bars are 95 % intervals of a bootstrap over "
                "subjects. The levels of a shift stand at equal distances, the reference condition "
                "where it belongs among them or first. Hollow marks stand for other images than "
                "those of the reference condition. Shaded: levels of the training, "
                "where the study names them.",
            ),
            render_table(_levels_table(content)),
            chart_frame(
                "degradation",
                "Change of the score",
                "The score under the shift minus that under the reference condition: paired image "
                "by image where the object is the same, else the difference of the group means.",
            ),
            render_table(_change_table(content)),
            chart_frame(
                "forest",
                f"Change compared with {reference}",
                f"The change of the method minus the change of {reference} (difference in "
                "differences) with its 95 % interval. Filled marks: the interval leaves out 0. "
                "Diamonds: named in advance. With all shifts chosen, the last level of each is "
                "shown.",
            ),
            render_table(_difference_table(content)),
            chart_frame(
                "scatter",
                "Image by image",
                "Every mark is one image: its score under the reference condition, and under the "
                "shift or the change between them. A method that starts low has less to lose.",
            ),
            '<details id="scatter-values"><summary>Table of the marks</summary>'
            '<div class="fill"></div></details>',
            '<div id="ranks"><h3>Ranks</h3><p>The rank of every method under every condition; 1 is '
            "the best.</p>",
            *(_rank_table(content, str(metric)) for metric in content.names("metrics")),
            "</div></section>",
        ]
    )


def _scores_table(
    content: StudyContent,
    section: str,
    caption: str,
    columns: tuple[str, ...],
    row: Callable[[Entry, int], tuple[str | Cell, ...]],
) -> SortableTable:
    lines = tuple(
        score_line(
            content,
            entry,
            content.label("metrics", entry["metric"]),
            *row(entry, content.digits[str(entry["metric"])]),
        )
        for entry in content.sections[section]
    )
    return SortableTable(
        key=f"{section.replace('_', '-')}-table",
        n_names=3,
        caption=caption,
        columns=("Method", "Condition", "Metric", *columns),
        lines=lines,
        filters=("metric", "axis", "method"),
    )


def _levels_table(content: StudyContent) -> SortableTable:
    def row(entry: Entry, decimals: int) -> tuple[str | Cell, ...]:
        return (
            _score(entry["mean"], decimals),
            interval(entry, decimals),
            _score(entry.get("median"), decimals),
            _score(entry.get("trimmed_mean"), decimals),
            *(value_cell(entry.get(key)) for key in ("n_rows", "n_subjects", "n_failed")),
        )

    columns = ("Mean", "95 % interval", "Median", "Trimmed mean", "Rows", "Subjects", "Failed")
    caption = "Scores: mean, median and 10 % trimmed mean, and over how many."
    return _scores_table(content, "levels", caption, columns, row)


def _change_table(content: StudyContent) -> SortableTable:
    def row(entry: Entry, decimals: int) -> tuple[str | Cell, ...]:
        return (
            _score(entry["mean"], decimals, is_signed=True),
            interval(entry, decimals, is_signed=True),
            value_cell(entry.get("n_subjects")),
        )

    columns = ("Change", "95 % interval", "Subjects")
    caption = "Changes of the score: under the shift minus under the reference condition."
    return _scores_table(content, "degradation", caption, columns, row)


def _difference_table(content: StudyContent) -> SortableTable:
    def row(entry: Entry, decimals: int) -> tuple[str | Cell, ...]:
        return (
            _score(entry["mean"], decimals, is_signed=True),
            interval(entry, decimals, is_signed=True),
            Cell(text=probability(entry.get("p")), value=finite(entry.get("p"))),
            Cell(text=probability(entry.get("p_holm")), value=finite(entry.get("p_holm"))),
            "yes" if entry.get("is_primary") else "no",
        )

    columns = ("Difference", "95 % interval", "p", "p (Holm)", "Named in advance")
    reference = content.label("methods", content.reference_method)
    caption = f"Differences in differences: the method's change minus that of {reference}."
    return _scores_table(content, "difference_in_differences", caption, columns, row)


def _score(value: object, decimals: int, *, is_signed: bool = False) -> Cell:
    return Cell(text=number(value, decimals, is_signed=is_signed), value=finite(value))


def _rank_table(content: StudyContent, metric: str) -> str:
    ranks = {
        (entry["condition"], entry["method"]): finite(entry["rank"])
        for entry in content.sections["ranks"]
        if entry["metric"] == metric
    }
    if not ranks:
        return ""
    methods = content.names("methods")
    lines = []
    for condition in content.names("conditions"):
        found = [ranks.get((condition, method)) for method in methods]
        if all(rank is None for rank in found):
            continue
        lines.append(
            Line(
                cells=cells(
                    content.label("conditions", condition),
                    *(_rank(rank, len(methods)) for rank in found),
                ),
                tags=(("axis", content.axis_of(condition)),),
            )
        )
    title = content.label("metrics", metric)
    table = SortableTable(
        key=f"rank-table-{content.names('metrics').index(metric)}",
        caption=f"Ranks by {title}.",
        columns=("Condition", *(content.label("methods", method) for method in methods)),
        lines=tuple(lines),
        filters=("axis",),
    )
    return f'<div data-only-metric="{escape(metric, quote=True)}">{render_table(table)}</div>'


def _rank(rank: float | None, n_methods: int) -> Cell:
    """Return a cell that is the darker the better the rank, in five steps."""
    if rank is None:
        return Cell(text=brief(None))
    step = min(4, int(5 * (rank - 1) / max(1, n_methods)))
    return Cell(
        text=brief(int(rank) if rank == int(rank) else rank), value=rank, look=f"rank{step}"
    )
