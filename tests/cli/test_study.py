"""`study` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

STUDY = """\
title: Tiny
question: Which one?
methods:
  - {name: zero, method: adjoint, reference: true}
  - {name: tv, settings: {iterations: 3}}
images: [{domain: brain, images: [brain_4coil_t2w.h5], matrix: 32}]
shifts: {noise: [0.3]}
metrics: [ssim]
bootstrap: {resamples: 200}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return the YAML of a study of a sample that ships."""
    (tmp_path / "s.yaml").write_text(STUDY)
    return tmp_path / "s.yaml"


def test_a_study_says_its_verdict_and_where_it_wrote(run, study, tmp_path):
    done = run("study", study, "-o", tmp_path / "out")
    assert done.code == 0
    assert "Too few subjects to decide" in done.out
    assert "4 rows, 0 of them failures" in done.out
    names = {path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")}
    assert names == {
        "rows.csv", "rows.parquet", "study.json", "timing.json", "panels", "report.html"
    }  # fmt: skip
    done = run("study", study, "-o", tmp_path / "out", "--json", "--figures")
    verdict = json.loads(done.out)
    assert verdict[0]["supports"] is None
    assert {path.suffix for path in (tmp_path / "out" / "figures").iterdir()} >= {".pdf", ".png"}
    assert run("study", study, "-o", tmp_path / "out").out.count("4 results of an earlier run") == 1


def test_a_dry_run_counts_and_writes_nothing(run, study, tmp_path):
    done = run("study", study, "-o", tmp_path / "out", "--dry-run")
    assert done.code == 0
    assert "4 rows: 2 methods, 2 conditions, 1 images of 1 subjects, 1 seeds" in done.out
    assert not (tmp_path / "out").exists()


def test_the_studies_that_ship_are_listed_and_can_be_run(run, tmp_path):
    done = run("study", "--list")
    assert {line.split(":")[0] for line in done.out.splitlines()} == {
        "study_small",
        "study_heads",
        "study_ablation",
        "study_full",
    }
    done = run("study", "study_small", "-o", tmp_path / "out", "--dry-run")
    assert done.code == 0
    assert "7 methods" in done.out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "expected a study"),
        (["study_smal"], "Did you mean 'study_small'"),
        (["missing.yaml"], "no such study"),
        (["STUDY", "-o", "no/such/folder"], "does not exist"),
        (["STUDY", "--workers", "0"], "--workers"),
    ],
)
def test_wrong_use_is_one_line(run, study, words, text):
    done = run("study", *(study if word == "STUDY" else word for word in words))
    assert done.code in (1, 2)
    assert text in done.err
    assert done.err.count("\n") == 1
