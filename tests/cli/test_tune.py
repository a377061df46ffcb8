"""`tune` writes settings that `reconstruct` and `restore` take, and refuses what it cannot do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SEARCH = ("--search", "regularization_weight=0.05", "--set", "iterations=10")
COARSE = ("--stop-factor", "2.5")


@pytest.fixture
def image(photograph, tmp_path) -> Path:
    """Return a clean photograph's file."""
    np.save(tmp_path / "photograph.npy", photograph.astype(np.float32))
    return tmp_path / "photograph.npy"


def test_the_score_is_the_one_that_reconstruct_reports_for_these_settings(run, scan_file, tmp_path):
    words = ("--acceleration", "2", "--calibration-lines", "8", "--slices", "0,2", "--seed", "3")
    out = tmp_path / "t"
    done = run("tune", "tv", scan_file, "-o", out, *SEARCH, *COARSE, *words)
    assert done.code == 0
    assert "no test score" in done.out
    assert "the reference is the reconstruction from all data, itself noisy" in done.out
    record = json.loads((out / "tuned.json").read_text())
    images = record["tuned_on"]["images"]
    assert [entry["name"] for entry in images] == ["scan.h5[0]", "scan.h5[2]"]
    settings = ("--settings", out / "tuned.json")
    done = run(
        "reconstruct", scan_file, "-o", tmp_path / "a.npy", "--method", "tv", *settings, *words
    )
    assert done.code == 0
    written = json.loads((tmp_path / "a.npy.json").read_text())
    assert (
        written["settings"]["regularization_weight"]
        == (record["settings"]["regularization_weight"])
    )
    assert written["settings"]["iterations"] == 10
    scores = [entry["score"]["psnr_db"] for entry in written["images"]]
    # Single precision: a mean squared error good to 2e-5 of itself, whatever the number of threads.
    assert scores == pytest.approx([entry["score"] for entry in images], abs=1e-4)


def test_two_settings_are_searched_and_the_json_is_what_was_written(run, image, tmp_path):
    out = tmp_path / "t"
    words = ("--task", "denoise", "--noise-std", "0.1", "--crop", "32", "--metric", "ssim")
    both = ("--search", "regularization-weight=0.05, beta=0.1", "--set", "iterations=2")
    done = run("tune", "cdl", image, "-o", out, *both, *words, "--max-evaluations", "4", "--json")
    assert done.code == 0
    record = json.loads(done.out)
    assert record == json.loads((out / "tuned.json").read_text())
    assert set(record["settings"]) == {"iterations", "regularization_weight", "beta"}
    assert record["search"]["stopped_by"] == "max-evaluations"
    assert record["tuned_on"]["degradation"]["noise_std"] == 0.1
    assert 0 < record["tuned_on"]["mean_score"] < 1
    lines = (out / "evaluations.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 4
    done = run("tune", "cdl", image, "-o", out, *both, *words[:-2], "--json")
    assert done.code == 2
    assert "another tuning, with other metric" in done.err


def test_settings_of_a_file_give_way_to_those_that_are_set(run, image, tmp_path):
    (tmp_path / "s.json").write_text('{"regularization_weight": 0.07, "iterations": 4}')
    out = tmp_path / "o.npy"
    words = ("--task", "denoise", "--settings", tmp_path / "s.json", "--set", "iterations=3")
    assert run("restore", image, "-o", out, *words).code == 0
    settings = json.loads((tmp_path / "o.npy.json").read_text())["settings"]
    assert (settings["regularization_weight"], settings["iterations"]) == (0.07, 3)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is no JSON"),
        ("[1]", "expected settings by name"),
        ('{"settings": 3}', "expected settings by name"),
        ('{"method": "cdl", "settings": {}}', "holds settings of 'cdl', not of 'tv'"),
        ('{"regularisation_weight": 1}', "Did you mean 'regularization_weight'"),
        ('{"iterations": "many"}', "tv: iterations = 'many'"),
    ],
)
def test_a_file_without_settings_of_the_method_is_one_line(run, image, tmp_path, content, text):
    (tmp_path / "s.json").write_text(content)
    words = ("-o", tmp_path / "o.npy", "--task", "denoise", "--settings", tmp_path / "s.json")
    done = run("restore", image, *words)
    assert done.code in (1, 2)
    assert text in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--search", "regularisation_weight=1"], "Did you mean 'regularization_weight'"),
        (["--search", "regularization_weight=0"], "expected KEY=START with a start above 0"),
        (["--search", "regularization_weight=-1"], "expected KEY=START with a start above 0"),
        (["--search", "regularization_weight"], "expected KEY=START with a start above 0"),
        (["--search", "iterations=10"], "is of type int"),
        (["--search", "tolerance=1,tolerance=2"], "'tolerance' is there twice"),
        ([*SEARCH, "--set", "regularization_weight=1"], "also given by --set"),
        ([*SEARCH, "--factor", "2"], "--factor: has no meaning for --task denoise"),
        ([*SEARCH, "--kernel", "gaussian:1"], "--kernel: has no meaning for --task denoise"),
        ([*SEARCH, "--kept-fraction", "0.5"], "--kept-fraction: has no meaning"),
        ([*SEARCH, "--acceleration", "2"], "--acceleration: has no meaning for --task denoise"),
        ([*SEARCH, "--slices", "0"], "--slices: has no meaning for --task denoise"),
        ([*SEARCH, "--seed", "file1.h5"], "--seed file1.h5: expected an integer"),
        ([*SEARCH, "--search-factor", "1"], "factor 1: expected a ratio above 1"),
        ([*SEARCH, "--margin", "24"], "a margin of 24 pixels leaves nothing of 48 x 64"),
        ([*SEARCH, "--task", "reconstruct"], "needs --acceleration"),
        ([*SEARCH, "--task", "reconstruct", "--crop", "8"], "--crop: has no meaning"),
        ([*SEARCH, "--task", "reconstruct", "--acceleration", "2"], "photograph.npy"),
    ],
)
def test_what_cannot_be_done_is_one_line(run, image, tmp_path, words, text):
    done = run("tune", "tv", image, "-o", tmp_path / "t", "--task", "denoise", *words)
    assert done.code in (1, 2)
    assert text in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "t" / "tuned.json").exists()


def test_files_that_are_not_there_or_no_image_are_one_line(run, image, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    words = ("-o", tmp_path / "t", "--task", "denoise", *SEARCH)
    done = run("tune", "tv", tmp_path / "none.png", *words)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "no such scan or photograph" in done.err
    done = run("tune", "tv", image, bad, *words)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "bad.png" in done.err
    lines = (tmp_path / "t" / "evaluations.jsonl").read_text().splitlines()
    assert len(lines) == 1  # nothing was solved before all images had been looked at


def test_a_setting_without_influence_is_named(run, image, tmp_path):
    words = ("--task", "denoise", "--noise-std", "0.1", *COARSE, "--set", "iterations=5")
    weak = ("--search", "regularization_weight=1e-9")
    done = run("tune", "tv", image, "-o", tmp_path / "t", *words, *weak)
    assert done.code == 0
    assert "regularization_weight made no difference where it was searched" in done.out
    assert "beyond" not in done.out


def test_the_help_says_what_the_truth_may_be_used_for(run):
    text = " ".join(run("tune", "--help").out.split())
    assert "FILE are validation images, never those that the method is judged on" in text
    assert "no test score" in text


def test_a_signal_ends_it_with_its_workers_and_keeps_what_was_done(image, tmp_path):
    out = tmp_path / "t"
    command = [
        sys.executable, "-m", "lowfield_recon.cli.app", "tune", "tv", image, "-o", out,
        "--task", "denoise", "--search", "regularization_weight=0.05", "--workers", "2",
        "--set", "iterations=100000", "--set", "tolerance=0", "--set", "budget=1.5",
    ]  # fmt: skip
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    log = out / "evaluations.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert re.search(r"error: interrupted.*\n$", errors)
    kept = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert len(kept) >= 2
    assert all(line["score"] > 10 for line in kept)
    deadline = time.monotonic() + 20
    while _members_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)  # Python's own helper process notices a moment later
    assert _members_of(process.pid) == []
    assert not (out / "tuned.json").exists()


def _members_of(group: int) -> list[str]:
    """Return the processes of a group, those that have ended but not been waited for left out."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[2]) == group and words[0] != "Z":
            found.append(status.parent.name)
    return found
