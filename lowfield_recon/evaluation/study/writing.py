"""A study's rows as CSV and Parquet, its record as JSON, its panels as arrays."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowfield_recon.errors import MissingDependencyError
from lowfield_recon.evaluation.study.records import ConditionInfo, Row
from lowfield_recon.files import atomic_path

_WORDS = ("method", "condition", "axis", "level", "image", "subject", "domain")
_HASHES = ("problem_sha256", "settings_sha256", "weights_sha256")


def write_rows(
    folder: Path,
    rows: Sequence[Row],
    conditions: Sequence[ConditionInfo],
    metrics: Sequence[str],
) -> tuple[Path, Path]:
    """Write the rows as `rows.csv` and `rows.parquet`, with the same columns.

    Parameters
    ----------
    folder
        Existing folder.
    rows
        The rows.
    conditions
        Their conditions.
    metrics
        Names of the measures.

    Returns
    -------
        Both files.

    Raises
    ------
    MissingDependencyError
        If pyarrow is not installed.
    """
    columns = _columns(rows, conditions, metrics)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    csv_path, parquet_path = folder / "rows.csv", folder / "rows.parquet"
    with atomic_path(csv_path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    with atomic_path(parquet_path) as temporary:
        _write_parquet(temporary, columns, metrics)
    return csv_path, parquet_path


def write_json(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a record, whole or not at all.

    Parameters
    ----------
    path
        The file.
    record
        What JSON can hold.

    Returns
    -------
        The file.
    """
    with atomic_path(path) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def write_panel(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> Path:
    """Write the pictures of a panel; the same arrays give the same bytes.

    Parameters
    ----------
    path
        File that ends in `.npz`.
    arrays
        Pictures `(y, x)` by name: `reference`, `image:METHOD`, `lambda:METHOD`, `std:METHOD`.

    Returns
    -------
        The file.
    """
    named = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **named)
    return path


def _columns(
    rows: Sequence[Row], conditions: Sequence[ConditionInfo], metrics: Sequence[str]
) -> dict[str, list[Any]]:
    infos = {entry.name: entry for entry in conditions}
    columns: dict[str, list[Any]] = {name: [] for name in _WORDS}
    for row in rows:
        info = infos[row.condition]
        words = (
            row.method,
            row.condition,
            info.axis,
            info.level,
            row.image,
            row.subject,
            row.domain,
        )
        for name, word in zip(_WORDS, words, strict=True):
            columns[name].append(word)
    columns["seed"] = [row.seed for row in rows]
    for metric in metrics:
        columns[metric] = [row.values.get(metric) for row in rows]
    columns["input_snr_db"] = [row.input_snr_db for row in rows]
    columns["failure"] = [row.failure for row in rows]
    for name in _HASHES:
        columns[name] = [row.hashes[name] for row in rows]
    return columns


def _write_parquet(path: Path, columns: Mapping[str, list[Any]], metrics: Sequence[str]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "a study's table needs pyarrow, which is not installed; pip install pyarrow."
        ) from error
    numbers = {*metrics, "input_snr_db"}
    arrays = []
    for name, values in columns.items():
        kind = pyarrow.int64() if name == "seed" else pyarrow.string()
        arrays.append(pyarrow.array(values, type=pyarrow.float64() if name in numbers else kind))
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=list(columns)), path)
