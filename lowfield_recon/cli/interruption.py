"""Ctrl-C and polite requests to end: both interrupt what runs, wherever they arrive."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_RETRY_SECONDS = 0.01


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, and see that no interrupt gets lost.

    Python raises KeyboardInterrupt wherever the main thread happens to be. Inside a finaliser or
    the callback of a weak reference it is only reported and then forgotten, and tensors bring many
    of these: such an interrupt is raised again a moment later. On other threads nothing changes.

    Yields
    ------
        Nothing; when the block ends, all handlers are as they were.

    Examples
    --------
    >>> try:
    ...     with interruptible():
    ...         signal.raise_signal(signal.SIGTERM)
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    interrupted
    """
    names = [name for name in ("SIGTERM", "SIGALRM") if hasattr(signal, name)]
    try:
        before = {name: signal.signal(getattr(signal, name), _interrupt) for name in names}
    except ValueError:  # not on the main thread
        yield
        return
    report = sys.unraisablehook

    def retry(args: UnraisableHookArgs, /) -> None:
        if args.exc_type is KeyboardInterrupt and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, _RETRY_SECONDS)
        else:
            report(args)

    sys.unraisablehook = retry
    try:
        yield
    finally:
        sys.unraisablehook = report
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
