"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import ismrmrd  # noqa: F401 - its import resets the warning filters, so it must come first
import pytest
import torch

# A shell starts its background jobs with SIGINT ignored, which processes inherit: a test that
# interrupts would then wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several workers one thread: more would wait for each other most of the time."""
    if hasattr(config, "workerinput"):
        torch.set_num_threads(1)
        os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests unless asked for, and checks whose data or browser are absent."""
    wanted = config.getoption("-m")
    dropped = [
        item
        for item in items
        if ("slow" in item.keywords and "slow" not in wanted)
        or ("shared_data" in item.keywords and not SHARED_DATA.is_dir())
        or ("browser" in item.keywords and shutil.which("chromium") is None)
    ]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder with the developers' real data."""
    return SHARED_DATA
