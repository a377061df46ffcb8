"""A folder for the problems while a benchmark runs, in memory where there is a RAM disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lowfield_recon.evaluation.benchmark.objective import Problem
from lowfield_recon.evaluation.benchmark.problems import ProblemSize, build_problem, write_problem


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder that is removed at the end.

    Yields
    ------
        An empty folder, in memory where `/dev/shm` can be written to.

    Examples
    --------
    >>> with scratch_folder() as folder:
    ...     folder.is_dir()
    True
    >>> folder.exists()
    False
    """
    ramdisk = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    parent = ramdisk if ramdisk.is_dir() and os.access(ramdisk, os.W_OK) else None
    with tempfile.TemporaryDirectory(
        prefix="lowfield-recon-", dir=parent, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def lay_out(sizes: list[ProblemSize], folder: Path) -> dict[str, tuple[Problem, Path]]:
    """Simulate every size once and write it for the tools.

    Parameters
    ----------
    sizes
        Sizes, each once.
    folder
        Scratch folder.

    Returns
    -------
        Problem and its folder by the size's name.
    """
    problems = {}
    for size in sizes:
        place = folder / size.name
        place.mkdir()
        problems[size.name] = (build_problem(size), place)
        write_problem(*problems[size.name])
    return problems
