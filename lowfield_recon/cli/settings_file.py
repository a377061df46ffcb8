"""`--settings FILE`: settings of a method from a JSON file, such as `tune` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import require_file

SettingsFileOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="JSON with settings of the method, e.g. tuned.json of `tune`; --set counts before it.",
    ),
]

_MAX_BYTES = 1 << 20


def add_settings_file(settings: dict[str, Any], path: Path | None, method: str) -> None:
    r"""Put the settings of a file among those that were given, which count before it.

    Parameters
    ----------
    settings
        What `parse_settings` returned; the file's settings are added to it.
    path
        JSON with settings by name, or with these under `settings` and, if it likes, the name of
        their method under `method`; None does nothing.
    method
        Name of the method that they are for.

    Raises
    ------
    DataError
        If there is no such file, or it is not of that form.
    UsageError
        If the settings are those of another method.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "tuned.json"
    >>> _ = path.write_text('{"method": "tv", "settings": {"iterations": 9, "tolerance": 0.1}}')
    >>> settings = {"iterations": 50}
    >>> add_settings_file(settings, path, "tv")
    >>> settings
    {'iterations': 50, 'tolerance': 0.1}
    """
    if path is None:
        return
    if require_file(path, "file with settings").stat().st_size > _MAX_BYTES:
        raise DataError(f"{path.name}: larger than 1 MiB; expected JSON with settings.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: is no JSON ({error}); expected settings by name.") from error
    found = content.get("settings", content) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise DataError(
            f'{path.name}: expected settings by name, e.g. {{"regularization_weight": 0.01}}.'
        )
    written_for = content.get("method") if found is not content else None
    if written_for is not None and written_for != method:
        raise UsageError(
            f"{path.name}: holds settings of '{written_for}', not of '{method}'; choose --method "
            f"{written_for}, or give single settings with --set."
        )
    for name, value in found.items():
        settings.setdefault(name, value)
