"""Tables that read well as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table with aligned columns.

    Parameters
    ----------
    header
        Column names.
    rows
        Cells, one list per row, as many as there are columns.

    Returns
    -------
        The table, without a line break at its end.

    Examples
    --------
    >>> print(markdown_table(["tool", "s"], [["ours", "0.1"]]))
    | tool | s   |
    |------|-----|
    | ours | 0.1 |
    """
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(header), rule, *(line(row) for row in rows)])


def seconds_text(seconds: float) -> str:
    """Write a time with three digits and a unit.

    Parameters
    ----------
    seconds
        Time [s].

    Returns
    -------
        E.g. `"12.3 ms"`.

    Examples
    --------
    >>> seconds_text(0.01234), seconds_text(3.21), seconds_text(45.67)
    ('12.3 ms', '3.21 s', '45.7 s')
    """
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s"
