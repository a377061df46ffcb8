"""Resident memory of a process, from the kernel's own count."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


def peak_mib(pid: int | str = "self", program: str | None = None) -> float:
    """Return the largest resident memory that a process has had.

    Parameters
    ----------
    pid
        Process; `"self"` for this one.
    program
        Name that the process must have; 0 is returned while it is still another (before `exec`).

    Returns
    -------
        Peak in MiB; 0 where it cannot be told.

    Examples
    --------
    >>> peak_mib() > 5
    True
    """
    status = _status(pid)
    if program is not None and status.get("Name") != program:
        return 0.0
    if "VmHWM" in status:
        return _mib(status["VmHWM"])
    return _largest_ever() if pid == "self" else 0.0


def resident_mib() -> float:
    """Return the resident memory of this process now; its peak where no more can be told.

    Returns
    -------
        Resident memory in MiB.

    Examples
    --------
    >>> 5 < resident_mib() <= peak_mib() + 1
    True
    """
    status = _status("self")
    return _mib(status["VmRSS"]) if "VmRSS" in status else _largest_ever()


def forget_peak() -> None:
    """Let the peak of this process start anew from its present size, where the kernel allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(pid: int | str) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _mib(words: str) -> float:
    return int(words.split()[0]) / 1024


def _largest_ever() -> float:
    """Return the peak as `getrusage` counts it: kilobytes on Linux, bytes on macOS."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)
