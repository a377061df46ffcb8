"""A progress bar for downloads, drawn only on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lowfield_recon.data.transfer import Report


@contextmanager
def byte_bar(name: str) -> Iterator[Report | None]:
    """Show how much of a file has arrived.

    Parameters
    ----------
    name
        The file's name.

    Yields
    ------
        What `download` reports to, or None where no bar is drawn: when stderr is not a terminal, or
        with `--quiet`.

    Examples
    --------
    >>> with byte_bar("scan.h5") as report:
    ...     report is None or callable(report)
    True
    """
    is_quiet = logging.getLogger("lowfield_recon").level > logging.WARNING
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda arrived, total: bar.update(task, completed=arrived, total=total)
