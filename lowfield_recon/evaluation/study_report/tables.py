"""Tables that can be read without a script, and sorted and filtered with one."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value."""

    text: str
    """What is read."""

    value: float | None = None
    """What it is sorted by, or None to sort by the text."""

    look: str = ""
    """Class of its look, or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row."""

    cells: tuple[Cell, ...]
    """Cells, the first of which names the row."""

    tags: tuple[tuple[str, str], ...] = ()
    """What it can be filtered by: `metric`, `axis` or `method`, each with a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SortableTable:
    """Numbers with their heads."""

    key: str
    """Identifier within the page."""

    caption: str
    """What the numbers are."""

    columns: tuple[str, ...]
    """Heads with units."""

    lines: tuple[Line, ...]
    """Rows."""

    filters: tuple[str, ...] = field(default=())
    """Tags for which there is a filter."""

    n_names: int = 1
    """How many columns, from the left, hold words."""


def cells(*values: str | Cell) -> tuple[Cell, ...]:
    """Return cells of texts and cells.

    Parameters
    ----------
    *values
        Texts, or cells as they are.

    Returns
    -------
        Cells.

    Examples
    --------
    >>> cells("a")[0].text
    'a'
    """
    return tuple(value if isinstance(value, Cell) else Cell(text=value) for value in values)


def render_table(table: SortableTable) -> str:
    """Return the HTML of a table in a region that scrolls by itself.

    Parameters
    ----------
    table
        The table.

    Returns
    -------
        HTML; a sentence where it has no rows.

    Examples
    --------
    >>> render_table(SortableTable(key="t", caption="Nothing", columns=("a",), lines=()))
    '<p class="label">Nothing: the study has none.</p>'
    """
    caption = escape(table.caption)
    if not table.lines:
        return f'<p class="label">{caption.rstrip(".")}: the study has none.</p>'
    key = escape(table.key, quote=True)
    heads = "".join(
        f'<th scope="col"{_look(i, table)}>{escape(column)}</th>'
        for i, column in enumerate(table.columns)
    )
    body = "\n".join(_line(line, table) for line in table.lines)
    return (
        f'<div class="table" id="{key}" data-filters="{" ".join(table.filters)}">'
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{key}-caption">'
        f'<table><caption><span id="{key}-caption">{caption}</span></caption>'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table></div></div>"
    )


def _line(line: Line, table: SortableTable) -> str:
    tags = "".join(f' data-{name}="{escape(value, quote=True)}"' for name, value in line.tags)
    first, *others = line.cells
    return (
        f'<tr{tags}><th scope="row"{_attributes(first)}>{escape(first.text)}</th>'
        + "".join(
            f"<td{_look(i, table) or _attributes(cell)}>{escape(cell.text)}</td>"
            for i, cell in enumerate(others, 1)
        )
        + "</tr>"
    )


def _look(column: int, table: SortableTable) -> str:
    return ' class="name"' if column < table.n_names else ""


def _attributes(cell: Cell) -> str:
    look = f' class="{cell.look}"' if cell.look else ""
    return look if cell.value is None else f'{look} data-value="{cell.value!r}"'
