"""What a benchmark ran on: processor, memory, system, packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_PACKAGES = (
    "lowfield-recon",
    "torch",
    "torchvision",
    "mrpro",
    "sigpy",
    "deepinv",
    "ismrmrd",
    "h5py",
    "numpy",
    "scipy",
    "ptwt",
    "PyWavelets",
    "numba",
    "sporco",
)


def describe_environment() -> dict[str, Any]:
    """Describe the machine and the installed packages.

    Returns
    -------
        Processor, cores, frequency policy, memory [GiB], load at this moment, system, Python,
        package versions (None where one is not installed), BLAS of numpy. No GPU is used.

    Examples
    --------
    >>> described = describe_environment()
    >>> described["cores"] >= 1 and described["gpu"] is None
    True
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "frequency_policy": _first_line(
            Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
        ),
        "memory_gib": _memory_gib(),
        "load_at_start": load,
        "gpu": None,
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {package: package_version(package) for package in _PACKAGES},
        "blas": _blas(),
    }


def usable_cores() -> int:
    """Return how many cores this process may use.

    Returns
    -------
        Number of cores, at least 1.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _first_line(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None


def package_version(package: str) -> str | None:
    """Return the installed version of a package.

    Parameters
    ----------
    package
        Its name on the package index.

    Returns
    -------
        Version, or None where it is not installed.

    Examples
    --------
    >>> package_version("no-such-package-anywhere") is None
    True
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _blas() -> str | None:
    built_with: Any = np.show_config(mode="dicts")
    blas = built_with.get("Build Dependencies", {}).get("blas", {})
    name = blas.get("name")
    return f"{name} {blas.get('version', '')}".strip() if name else None
