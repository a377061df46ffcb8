"""The one place where logging is set up: everything that is not a result goes to stderr."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OURS = "lowfield_recon"
_LEVELS = {"quiet": logging.ERROR, "normal": logging.WARNING, "verbose": logging.INFO}


class _OneLineFormatter(logging.Formatter):
    """Show a record as `level: message` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        message = " ".join(record.getMessage().split())
        return f"{record.levelname.lower()}: {message}"


@contextmanager
def logging_to_stderr(verbosity: str) -> Iterator[None]:
    """Send log records of this package to stderr while the block runs.

    Warnings of other packages are shown with `"verbose"` only: they speak to developers.

    Parameters
    ----------
    verbosity
        `"quiet"` (errors), `"normal"` (warnings too) or `"verbose"` (progress in words too).

    Yields
    ------
        Nothing; when the block ends, logging is as it was.

    Examples
    --------
    >>> with logging_to_stderr("quiet"):
    ...     logging.getLogger("lowfield_recon.scan").warning("not shown")
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLineFormatter())
    ours, foreign = logging.getLogger(_OURS), logging.getLogger("py.warnings")
    before = [(logger, logger.level, logger.propagate) for logger in (ours, foreign)]
    ours.setLevel(_LEVELS[verbosity])
    foreign.setLevel(logging.WARNING if verbosity == "verbose" else logging.ERROR)
    for logger in (ours, foreign):
        logger.addHandler(handler)
        logger.propagate = False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


@contextmanager
def only_errors_of(name: str) -> Iterator[None]:
    """Show no warnings of one part of the package while the block runs.

    Parameters
    ----------
    name
        Name of the logger, e.g. `"lowfield_recon.scan"`.

    Yields
    ------
        Nothing.

    Examples
    --------
    >>> with only_errors_of("lowfield_recon.scan"):
    ...     logging.getLogger("lowfield_recon.scan").warning("not shown")
    """
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
