"""`benchmark metrics`: what is timed is what is compared, and the verdict follows the numbers."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, find_benchmark, metrics_speed
from lowfield_recon.evaluation.benchmark.metrics_speed import ratio, report_text, verdict
from lowfield_recon.evaluation.benchmark.metrics_speed_worker import differences, measure, pairs


def _report() -> dict:
    times = {"score_all": [3.0, 1.0, 2.0], "scikit-image": [4.0, 5.0, 4.0]}
    answer = {"seconds": times, "cpu_seconds": times}
    agreeing = {"scikit-image": {"ssim": 1e-9}, "fastmri": {"nmse": 0.0}}
    return {
        "size": "full", "image": "brain", "grid": 320, "images": 1000, "distinct": 100,
        "repeats": 3,
        "results": {
            "float32": copy.deepcopy(answer),
            "float64": {**copy.deepcopy(answer), "differences": agreeing},
        },
    }  # fmt: skip


def test_the_verdict_follows_the_numbers():
    report = _report()
    assert list(verdict(report).values()) == [True] * 3
    assert ratio(report["results"]["float32"], "score_all") == 0.5
    slow = _report()
    slow["results"]["float64"]["seconds"]["score_all"] = [4.1, 4.1, 1.0]
    assert list(verdict(slow).values()) == [True, True, False]
    off = _report()
    off["results"]["float64"]["differences"]["fastmri"]["nmse"] = 2e-6
    assert list(verdict(off).values()) == [False, True, True]
    assert len(verdict({**slow, "size": "small"})) == 1
    text = report_text({**slow, "verdict": verdict(slow)})
    assert "| float32   | score_all    |" in text
    assert "| 2 s " in text
    assert "(float64): NOT met" in text


def test_differences_are_those_of_the_worst_image(monkeypatch):
    images, references = pairs(np.random.default_rng(1).random((40, 40)), 3, "float64", 0)
    assert len({float(r.sum()) for r in references}) == 3
    found = differences(images, references)
    assert set(found["scikit-image"]) == {"ssim", "psnr_db", "nrmse", "blur_effect"}
    assert max(max(of_tool.values()) for of_tool in found.values()) < 1e-6
    from lowfield_recon.evaluation.benchmark import metrics_speed_worker as worker

    def wrong(x, r, *, data_ranges):
        scores = score_all(x, r, data_ranges=data_ranges)
        scores["hfen"][1] += 0.5
        return scores

    score_all = worker.score_all
    monkeypatch.setattr(worker, "score_all", wrong)
    assert differences(images, references)["metrics"]["hfen"] == pytest.approx(0.5)


def test_it_runs_and_writes(tmp_path, monkeypatch):
    asked, told = [], []

    def here(_worker, name, request):
        asked.append(name)
        assert request["threads"] == 1
        return measure({**request, "threads": torch.get_num_threads()})

    monkeypatch.setattr(metrics_speed, "ask", here)
    outcome = find_benchmark("metrics").run(
        BenchmarkOptions(size="small", repeats=2), tmp_path, lambda a, b, what: told.append(what)
    )
    report = json.loads(outcome.json_path.read_text())
    assert asked == told == ["float32", "float64"]
    seconds = report["results"]["float32"]["seconds"]
    assert set(seconds) == {"score_all", "scikit-image"}
    assert all(len(times) == 2 and min(times) > 0 for times in seconds.values())
    assert outcome.has_passed
    assert outcome.markdown_path.read_text() == outcome.table
    assert not list(tmp_path.glob(".metrics-*"))
    with pytest.raises(UsageError, match="full"):
        find_benchmark("metrics").run(BenchmarkOptions(size="ful"), tmp_path)
