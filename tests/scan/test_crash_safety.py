"""A full disk, an interrupt or a kill while a result is written leaves the old one, or nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TRIALS = Path(__file__).with_name("crash_trials.py")
WRITERS = ("image.nii.gz", "image.nii", "image.h5", "image.npy", "image.png", "image.dicom",
           "kspace.h5")  # fmt: skip
INTERRUPTED, REFUSED = 10, 11


@pytest.fixture(scope="module")
def trials(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("crashes")
    done = subprocess.run(
        [sys.executable, str(TRIALS), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of(trials: list[dict], writer: str, how: str) -> list[dict]:
    return [t for t in trials if t["writer"] == writer and t["how"] == how]


@pytest.mark.parametrize("writer", WRITERS)
def test_an_interrupt_leaves_the_old_result_and_nothing_else(trials, writer):
    found = of(trials, writer, "interrupt")
    assert len(found) >= 3
    for trial in found:
        assert trial["code"] == INTERRUPTED, trial
        assert trial["is_old_intact"], trial
        assert trial["left"] == [], trial
        assert trial["is_written_again"], trial


@pytest.mark.parametrize("writer", WRITERS)
def test_a_kill_leaves_the_old_result_and_temporary_names_that_the_next_run_ignores(trials, writer):
    found = of(trials, writer, "kill")
    assert len(found) >= 3
    for trial in found:
        assert trial["code"] == -signal.SIGKILL, trial
        assert trial["is_old_intact"], trial
        assert all(name.startswith(".tmp-") for name in trial["left"]), trial
        assert trial["is_written_again"], trial
        assert trial["left_again"] == trial["left"], trial
    assert any(trial["left"] for trial in found)  # it was killed while it wrote


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_leaves_the_old_result_and_nothing_else(trials, writer):
    found = of(trials, writer, "full disk")
    assert len(found) == 3
    for trial in found:
        assert trial["code"] == REFUSED, trial
        assert trial["is_old_intact"], trial
        assert trial["left"] == [], trial
        assert trial["is_written_again"], trial


@pytest.mark.parametrize("ending", [".nii.gz", ".h5", ".npy", ".dicom"])
def test_a_command_on_a_full_disk_says_so_in_one_line(trials, ending):
    (trial,) = of(trials, ending, "command")
    assert trial["code"] == 1, trial
    errors = [line for line in trial["said"].splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, trial
    assert errors[0].startswith("error: "), trial
    assert "unexpected" not in errors[0], trial
    assert trial["left"] == [], trial
