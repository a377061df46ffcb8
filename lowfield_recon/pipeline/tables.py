"""Values from many JSON files as one table: CSV for programs, Markdown for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path


def read_rows(files: Sequence[Path], columns: Mapping[str, str]) -> list[list[Any]]:
    """Pick values from JSON files.

    Parameters
    ----------
    files
        One JSON file per row.
    columns
        Heading of each column and place of its value, e.g. `"inputs.scan.name"`.

    Returns
    -------
        One list per file; None where the file holds nothing at that place.

    Raises
    ------
    DataError
        If a file is no JSON object, or no file knows the first word of a place.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.json"
    >>> _ = path.write_text('{"scores": {"psnr_db": 30.5}}')
    >>> read_rows([path], {"PSNR": "scores.psnr_db"})
    [[30.5]]
    """
    records = [_read(path) for path in files]
    for heading, place in columns.items():
        if not any(_has(record, place.split(".")[0]) for record in records):
            known = ", ".join(sorted({key for record in records for key in record}))
            raise DataError(
                f"table: column '{heading}': no file holds '{place}'; at the top they hold {known}."
            )
    return [[_value(record, place) for place in columns.values()] for record in records]


def write_table(path: Path, headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[Path]:
    """Write a table as CSV and Markdown.

    Parameters
    ----------
    path
        Name of the CSV file; that of the Markdown file differs in its ending.
    headings
        Names of the columns.
    rows
        Values; None leaves a cell empty.

    Returns
    -------
        Paths of the CSV and of the Markdown file.

    Raises
    ------
    DataError
        If the folder is missing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> print(write_table(path, ["method", "PSNR"], [["tv", 30.52541]])[1].read_text())
    | method | PSNR |
    | --- | ---: |
    | tv | 30.53 |
    <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    numeric = [
        all(row[i] is None or _is_number(row[i]) for row in rows) for i in range(len(headings))
    ]
    lines = [
        _line([str(heading) for heading in headings]),
        _line(["---:" if is_number else "---" for is_number in numeric]),
        *(_line([_cell(value) for value in row]) for row in rows),
    ]
    markdown = path.with_suffix(".md")
    for target, content in ((path, text.getvalue()), (markdown, "\n".join(lines) + "\n")):
        with atomic_path(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return [path, markdown]


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path.name}: is no JSON; expected scores or the record of an image."
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{path.name}: expected a JSON object, got {type(record).__name__}.")
    return record


def _has(record: Any, place: str) -> bool:
    for key in place.split("."):
        if not isinstance(record, dict) or key not in record:
            return False
        record = record[key]
    return True


def _value(record: Any, place: str) -> Any:
    if not _has(record, place):
        return None
    for key in place.split("."):
        record = record[key]
    return record if isinstance(record, str | int | float | None) else json.dumps(record)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
