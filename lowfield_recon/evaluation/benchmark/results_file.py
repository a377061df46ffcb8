"""Results that a benchmark keeps while it runs, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.environment import package_version
from lowfield_recon.files import atomic_path

SCHEMA = "lowfield-recon benchmark results, version 1"


class ResultsFile:
    """A JSON of results by the hash of what they depend on, written after each one.

    Parameters
    ----------
    path
        File; it is made with the first result.

    Raises
    ------
    DataError
        If the file is there and is something else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "results.json"
    >>> key = result_key("scan 1", "tv")
    >>> ResultsFile(path).store(key, {"psnr_db": 30.0})
    >>> ResultsFile(path).find(key)
    {'psnr_db': 30.0}
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.n_found = 0
        self._results = _read(path) if path.exists() else {}

    def find(self, key: str) -> Any:
        """Return a result of this or an earlier run, or None; `n_found` counts those found."""
        found = self._results.get(key)
        self.n_found += found is not None
        return found

    def store(self, key: str, result: Any) -> None:
        """Add a result and write the file; an interruption leaves the file before it."""
        self._results[key] = result
        content = {"schema": SCHEMA, "results": self._results}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def result_key(*parts: Any) -> str:
    """Return the name of a result: a hash of what it depends on and of this package's version.

    Parameters
    ----------
    parts
        What it depends on; JSON can hold each.

    Returns
    -------
        32 hexadecimal digits.

    Examples
    --------
    >>> result_key("a", 1) == result_key("a", 2)
    False
    """
    text = json.dumps([package_version("lowfield-recon"), *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path.name}: cannot be read ({error}); remove it to begin anew."
        ) from error
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict) or content.get("schema") != SCHEMA:
        raise DataError(
            f"{path.name}: holds no results of this version; expected '{SCHEMA}'. Remove it to "
            "begin anew, or choose another folder."
        )
    return dict(results)
