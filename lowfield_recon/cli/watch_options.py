"""Options of commands that may take long: time budget, live preview, the oracle's figures."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path

BudgetOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Most time for each image, above 0; short for --set budget=SECONDS.",
    ),
]
PreviewOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PNG",
        help="Picture of the running image, rewritten while the method works; it stays after.",
    ),
]
PreviewSecondsOption = Annotated[
    float | None,
    typer.Option(
        metavar="S", help="With --preview: least time between two pictures.  [default: 5]"
    ),
]

_DEFAULT_SECONDS = 5.0


def add_budget(settings: dict[str, Any], budget: float | None, method: str) -> None:
    """Put `--budget` among the settings of a method that has one.

    Parameters
    ----------
    settings
        What `parse_settings` returned; the budget is added to it.
    budget
        Seconds, or None.
    method
        Name of the method.

    Raises
    ------
    UsageError
        If it is not a number above 0, given twice, or the method takes none.

    Examples
    --------
    >>> settings = {"iterations": 50}
    >>> add_budget(settings, 60.0, "tv")
    >>> settings
    {'iterations': 50, 'budget': 60.0}
    """
    if budget is None:
        return
    if not (math.isfinite(budget) and budget > 0):
        raise UsageError(
            f"--budget {budget:g}: expected seconds above 0; leave it out for no limit."
        )
    if "budget" in settings:
        raise UsageError("--budget and --set budget: the budget is given twice; keep one of them.")
    from lowfield_recon.reconstructors import methods

    takes_one = {
        entry.name: "budget" in entry.settings
        for entry in methods()
        if entry.source != "broken plug-in"
    }
    if takes_one.get(method) is False:
        names = ", ".join(name for name, takes in takes_one.items() if takes)
        raise UsageError(
            f"--budget {budget:g}: '{method}' takes no budget; leave it out, or choose a method "
            f"that does: {names}."
        )
    settings["budget"] = budget


def check_preview(
    preview: Path | None, seconds: float | None, *, taken: Iterable[Path | None]
) -> float:
    """Check `--preview` and `--preview-seconds` before long work begins.

    Parameters
    ----------
    preview
        PNG to write, or None.
    seconds
        What was given, or None.
    taken
        Files that are read or written otherwise.

    Returns
    -------
        Least time between two pictures [s].

    Raises
    ------
    UsageError
        If the name does not end in .png or is that of another file, or the time makes no sense.
    DataError
        If its folder is missing or may not be written to.

    Examples
    --------
    >>> check_preview(None, None, taken=[])
    5.0
    """
    if preview is None:
        if seconds is not None:
            raise UsageError("--preview-seconds: expected --preview PNG beside it; leave it out.")
        return _DEFAULT_SECONDS
    if preview.suffix.lower() != ".png" or preview.is_dir():
        raise UsageError(f"--preview {preview.name}: expected the name of a file ending in .png.")
    check_output_path(preview)
    if preview.resolve() in {path.resolve() for path in taken if path is not None}:
        raise UsageError(
            f"--preview {preview.name}: is the name of another file of this command; choose a "
            "different one."
        )
    if seconds is None:
        return _DEFAULT_SECONDS
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"--preview-seconds {seconds:g}: expected a number of at least 0.")
    return seconds
