"""Progress bars on stderr, drawn only on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowfield_recon.problem import ProgressCallback


ProgressBars = Callable[
    [str, int], AbstractContextManager[Callable[[int], "ProgressCallback | None"]]
]
"""What `progress_bar` is: label and number of images in, a callback for each image out."""


@contextmanager
def progress_bar(
    label: str, n_images: int, *, noun: str = "image"
) -> Iterator[Callable[[int], ProgressCallback | None]]:
    """Show one bar over all images and the iterations within each.

    Parameters
    ----------
    label
        What is being done, e.g. the method's name.
    n_images
        How many images there are to reconstruct.
    noun
        What to call one of them.

    Yields
    ------
        A function of the image's index that gives its progress callback, or None where no bar is
        drawn: when stderr is not a terminal, or with `--quiet`.

    Examples
    --------
    >>> with progress_bar("tv", 2) as progress_of:
    ...     progress_of(0) is None or callable(progress_of(0))
    True
    """
    is_quiet = logging.getLogger("lowfield_recon").level > logging.WARNING
    if is_quiet or not sys.stderr.isatty():
        yield lambda _index: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=n_images)

        def progress_of(index: int) -> ProgressCallback:
            image = f", {noun} {index + 1} of {n_images}" if n_images > 1 else ""

            def callback(iteration: int, total: int, objective: float | None) -> None:
                value = "" if objective is None else f", objective {objective:.4g}"
                bar.update(
                    task,
                    completed=index + iteration / max(total, 1),
                    description=f"{label}{image}, iteration {iteration} of {total}{value}",
                )

            return callback

        yield progress_of
        bar.update(task, completed=n_images)


def nested_bars(callback: ProgressCallback | None) -> ProgressBars:
    """Return a stand-in for `progress_bar` that reports into one entry of a larger bar.

    Parameters
    ----------
    callback
        Callback of that entry, or None where no bar is drawn.

    Returns
    -------
        To be used like `progress_bar`.

    Examples
    --------
    >>> def show(iteration, total, objective):
    ...     print(f"{iteration / total:.0%}")
    >>> with nested_bars(show)("tv", 4) as progress_of:
    ...     progress_of(1)(5, 10, None)
    38%
    """

    @contextmanager
    def bars(_label: str, n_images: int) -> Iterator[Callable[[int], ProgressCallback | None]]:
        def progress_of(index: int) -> ProgressCallback | None:
            if callback is None:
                return None
            outer = callback

            def inner(iteration: int, total: int, objective: float | None) -> None:
                outer(index * total + iteration, n_images * total, objective)

            return inner

        yield progress_of

    return bars
