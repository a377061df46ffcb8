"""Exit codes, one line per error, global flags, interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lowfield_recon import __version__
from lowfield_recon.cli import app
from lowfield_recon.cli.interruption import interruptible
from lowfield_recon.errors import DataError, UsageError


def _one_line(text: str) -> str:
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "Traceback" not in text
    return text


def test_help_lists_every_command_and_each_has_its_own(run):
    listing = run("--help")
    assert listing.code == 0
    assert all(f"  {name} " in listing.out for name in app.COMMANDS)
    for name in app.COMMANDS:
        done = run(name, "--help")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"Usage: {app.PROGRAM} {name}")


def test_no_words_show_the_help(run):
    assert run().out == run("--help").out


def test_the_version_is_printed(run):
    assert run("--version").out == f"lowfield-recon {__version__}\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["reconstrct"], "Did you mean 'reconstruct'"),
        (["reconstruct", "a.h5"], "Missing option '-o'"),
        (["info"], "Missing argument"),
        (["reconstruct", "a.h5", "-o", "b.png", "--methd", "tv"], "--method"),
        (["reconstruct", "a.h5", "-o", "b.png", "--part", "real"], "magnitude"),
        (["reconstruct", "a.h5", "-o", "b.png", "--acceleration", "0"], "--acceleration"),
        (["restore", "a.png", "-o", "b.png", "--task", "sharpen"], "deblur"),
        (["--verbos", "info", "a.h5"], "--verbose"),
    ],
)
def test_wrong_use_is_one_line_with_the_nearest_name_and_code_2(run, words, hint):
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert hint in _one_line(done.err)
    assert "--help'" in done.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("a.h5: is\nodd."), 1, "error: a.h5: is odd.\n"),
        (UsageError("no such thing"), 2, "error: no such thing\n"),
        (FileNotFoundError(2, "x", "a.h5"), 1, "a.h5: no such file or directory; check the path"),
        (PermissionError(13, "x", "a.h5"), 1, "a.h5: permission denied; check its permissions"),
        (OSError(28, "x", "out.nii"), 1, "out.nii: no space left on device; free some space"),
        (OSError("Unable to open file"), 1, "Unable to open file"),
        (MemoryError("4 GiB"), 1, "not enough memory (4 GiB)"),
        (RuntimeError("CUDA out of memory. Tried"), 1, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_of_a_command_become_one_line_and_a_code(run, monkeypatch, error, code, text):
    def fail() -> None:
        raise error

    monkeypatch.setattr("lowfield_recon.cli.methods.methods", fail)
    done = run("methods")
    assert done.code == code
    assert text in _one_line(done.err)


def test_debug_lets_the_error_through(run, monkeypatch):
    def fail() -> None:
        raise DataError("a")

    monkeypatch.setattr("lowfield_recon.cli.methods.methods", fail)
    for words in (["--debug", "methods"], ["methods", "--debug"]):
        with pytest.raises(DataError):
            run(*words)


def test_an_error_nobody_foresaw_is_one_line_too():
    code = (
        "import sys, lowfield_recon.cli.methods as m\n"
        "def fail() -> None: raise ZeroDivisionError('odd')\n"
        "m.methods = fail\n"
        "from lowfield_recon.cli.app import main\nsys.exit(main(['methods']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unexpected ZeroDivisionError: odd" in _one_line(done.stderr)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_reconstruction_leaves_nothing(
    scan_file: Path, tmp_path: Path, number: signal.Signals, code: int
):
    words = ["reconstruct", scan_file, "-o", tmp_path / "a.nii.gz", "--set", "iterations=100000000"]
    words += ["--set", "tolerance=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lowfield_recon.cli.app", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert any(tmp_path.iterdir())
    process.send_signal(number)
    _, err = process.communicate(timeout=200)
    assert process.returncode == code
    assert "interrupted" in _one_line(err)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_inside_a_finaliser_is_not_lost():
    class Interrupted:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), interruptible():
        Interrupted()
        time.sleep(30)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_numbers_after_fov_need_no_quotes():
    words = ["--debug", "convert", "a.npy", "--fov", "220", "200.5", "5", "b.h5", "--", "--quiet"]
    expected = ["--debug", "convert", "a.npy", "--fov", "220 200.5 5", "b.h5", "--", "--quiet"]
    assert app._arrange([*words[1:6], "--debug", *words[6:]]) == expected


def test_a_closed_pipe_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lowfield_recon.cli.app", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert "Traceback" not in done.stderr
