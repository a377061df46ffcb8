"""`benchmark untrained`: what is counted is what is timed, and the verdict follows the numbers."""

from __future__ import annotations

import copy
import json
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, asking, find_benchmark
from lowfield_recon.evaluation.benchmark.untrained import speed
from lowfield_recon.evaluation.benchmark.untrained.measure import Measure
from lowfield_recon.evaluation.benchmark.untrained.speed_peers import (
    has_deepinv,
    network_size,
    stamps_of_plain_loop,
)
from lowfield_recon.evaluation.benchmark.untrained.speed_problem import (
    TASK,
    published_settings,
    speed_problem,
)
from lowfield_recon.evaluation.benchmark.untrained.speed_report import (
    budget_table,
    dip_ratio,
    first_at,
    gain,
    report_text,
    verdict,
)
from lowfield_recon.evaluation.benchmark.untrained.speed_worker import measure
from lowfield_recon.learning.networks.skip_network import SkipNetwork, SkipNetworkSettings
from lowfield_recon.reconstructors import create, registry

METHODS = {
    "dip": "lowfield_recon.reconstructors.dip:DeepImagePrior",
    "ngr": "lowfield_recon.reconstructors.ngr:NeuralGradient",
    "mg-spair": "lowfield_recon.reconstructors.mg_spair:MgSpair",
}


@pytest.fixture(autouse=True)
def _methods(monkeypatch):
    for name, place in METHODS.items():
        monkeypatch.setitem(registry._BUILT_IN, name, place)


def _prior(seconds: float) -> dict:
    return {"seconds": [9.0, seconds, seconds], "precision": "float32", "parameters": 2_200_000,
            "multiplications": 18_000_000_000, "peak_mib": 900.0}  # fmt: skip


def _report() -> dict:
    return {
        "size": "full", "image": "camera", "crop": 128, "large": 256, "threads": 2,
        "environment": {"cpu": "c", "cores": 2, "load_at_start": 0.0}, "iterations": 3,
        "results": {
            "published": {"curve": [[1, 2.0, 10.0], [2, 4.0, 21.0], [3, 6.0, 25.5], [4, 8.0, 25.0]],
                          "psnr_db": 25.0, "seconds": 8.5, "peak_mib": 1000.0},
            "ours_followed": {"curve": [[1, 0.5, 20.0], [2, 1.0, 24.0], [3, 1.5, 25.2]],
                              "psnr_db": 25.2, "seconds": 1.6, "peak_mib": 700.0},
            "ours_timed": {"seconds": [1.0, 9.0, 1.2], "psnr_db": 25.2, "peak_mib": 690.0},
            "mg_spair": {"seconds": 120.0, "iterations": 400, "stopping_reason": "settled",
                         "psnr_db": 27.0, "peak_mib": 800.0},
            "dip": _prior(0.5), "dip_float32": _prior(0.8), "plain": _prior(1.0),
            "deepinv": _prior(2.0),
        },
    }  # fmt: skip


def test_the_gain_is_the_ratio_of_times_to_the_last_psnr_of_the_published_scheme():
    report = _report()
    assert first_at(report["results"]["published"]["curve"], 25.0) == (3, 6.0)
    assert gain(report) == pytest.approx(6.0 / 1.2)
    report["results"]["ours_timed"]["psnr_db"] = 24.9
    assert gain(report) is None
    del report["results"]["ours_timed"]
    assert gain(report) is None
    assert "not reached" in report_text({**report, "verdict": verdict(report)})


def test_the_table_of_budgets_gives_what_was_there_by_then():
    _, _, published, ours = budget_table(_report()).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (published, ours)]
    assert cells[0] == ["published", "10.00", "25.00", "25.00", "25.00", "25.00", "25.00"]
    assert cells[1] == ["ngr", *["25.20"] * 6]
    early = _report()
    early["results"]["published"]["curve"][0][1] = 3.5
    assert budget_table(early).splitlines()[2].split("|")[2].strip() == "-"


def test_the_verdict_follows_the_numbers():
    report = _report()
    assert list(verdict(report).values()) == [True] * 4
    changes = (
        (("results", "ours_timed", "seconds"), [2.5], 0),
        (("results", "mg_spair", "seconds"), 301.0, 1),
        (("results", "deepinv", "seconds"), [0.4], 2),
        (("results", "plain", "seconds"), [0.4], 3),
    )
    for path, value, index in changes:
        worse = copy.deepcopy(report)
        place = worse
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert [i for i, ok in enumerate(verdict(worse).values()) if not ok] == [index]
    assert verdict({**report, "size": "small"}) == {}


def test_ratios_of_priors_are_of_medians():
    assert dip_ratio(_report(), "plain") == pytest.approx(0.5)
    report = _report()
    del report["results"]["deepinv"]
    assert dip_ratio(report, "deepinv") is None
    text = report_text({**report, "verdict": verdict(report)})
    assert "deepinv is not installed" in text


def test_the_table_says_what_was_counted_and_timed():
    report = _report()
    text = report_text({**report, "verdict": verdict(report)})
    assert "| 25.00 dB, judged | 3 " in text
    assert "| 10.00 dB         | 1 " in text
    assert "was given 8.5 s, 4 iterations" in text
    assert "NOT met" not in text


def test_the_published_scheme_is_three_networks_without_average():
    settings = published_settings(3, 5.0, 100, {}, 1)
    resolved = create("ngr", settings).settings
    assert (resolved.fields, resolved.update, resolved.channels) == ("separate", "splitting", 128)
    assert (resolved.input_channels, resolved.average, resolved.stop) == (3, 0.0, "last")
    assert (resolved.budget, resolved.precision) == (5.0, "float32")


def test_the_size_of_a_network_counts_weights_and_multiplications():
    settings = SkipNetworkSettings()
    network = SkipNetwork(3, 3, settings, generator=torch.Generator().manual_seed(0))
    found = network_size(network, torch.zeros(1, 3, 32, 32))
    assert found["parameters"] == 2_184_307  # published
    direct = torch.nn.Conv2d(2, 4, 3, stride=2, padding=1)
    assert network_size(direct, torch.zeros(1, 2, 6, 6))["multiplications"] == 9 * (4 * 2 * 9)


def _photograph(side: int = 16) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 3, side), torch.linspace(0, 2, side), indexing="ij")
    return (0.5 + 0.3 * torch.sin(2 * y + x))[None, None, None]


def test_the_plain_loop_is_the_original_one():
    problem = speed_problem(_photograph(), TASK, 0)
    network = SkipNetworkSettings(channels=4, scales=2)
    found = stamps_of_plain_loop(problem, network, inputs=2, iterations=3, seed=0)
    assert len(found["stamps"]) == 4
    assert found["stamps"] == sorted(found["stamps"])


@pytest.mark.parametrize(
    "task", ["dip", "plain", *(["deepinv"] if has_deepinv() else []), "mg_spair", "published"]
)
def test_workers_time_what_they_are_asked(tmp_path, task):
    path = tmp_path / "image.npy"
    np.save(path, _photograph(32).numpy())
    answer = measure(
        {"task": task, "threads": torch.get_num_threads(), "image": str(path), "seed": 0,
         "size": "small", "precision": "float32"}
    )  # fmt: skip
    assert answer["peak_mib"] > 50
    if task in ("dip", "plain", "deepinv"):
        assert len(answer["seconds"]) == 3
        assert min(answer["seconds"]) > 0
        assert answer["parameters"] > 1000
        assert answer["precision"] == "float32"
    else:
        assert answer["seconds"] > 0
    if task == "published":
        assert [point[0] for point in answer["curve"]] == list(range(1, 13))
        assert answer["psnr_db"] == pytest.approx(answer["curve"][-1][2], abs=0.01)


def test_the_followed_run_is_the_timed_one(tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, _photograph(32).numpy())
    request = {"threads": torch.get_num_threads(), "image": str(path), "seed": 0, "size": "small"}
    followed = measure({**request, "task": "ours_followed"})
    timed = measure({**request, "task": "ours_timed", "iterations": 7, "repeats": 2})
    assert len(timed["seconds"]) == 2
    assert timed["psnr_db"] == pytest.approx(followed["curve"][6][2], abs=0.02)


def test_it_runs_and_writes(tmp_path, monkeypatch):
    pixels = (255 * _photograph(70)[0, 0, 0]).numpy().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wave.png")
    asked, told = [], []

    def here(_worker, name, request):
        asked.append(name)
        assert np.load(request["image"]).shape[-1] in (48, 64)
        return measure(request)

    monkeypatch.setattr(speed, "ask", here)
    options = BenchmarkOptions(
        size="small", threads=(torch.get_num_threads(),), repeats=1,
        images=(str(tmp_path / "wave.png"),),
    )  # fmt: skip
    outcome = find_benchmark("untrained").run(
        options, tmp_path, lambda a, b, what: told.append(what)
    )
    report = json.loads(outcome.json_path.read_text())
    assert set(asked) == set(report["results"])
    assert {"published", "ours_followed", "mg_spair", "dip", "plain"} <= set(asked)
    assert outcome.has_passed
    assert outcome.markdown_path.read_text() == outcome.table
    assert told[0] == "published"
    assert not list(tmp_path.glob(".untrained-*"))


def test_what_cannot_be_timed_is_refused(tmp_path, monkeypatch):
    run = find_benchmark("untrained").run
    with pytest.raises(UsageError, match="full"):
        run(BenchmarkOptions(size="ful"), tmp_path)
    Image.fromarray(np.eye(40, dtype=np.uint8)).save(tmp_path / "tiny.png")
    with pytest.raises(DataError, match="tiny: expected a photograph of at least 48 x 48"):
        run(BenchmarkOptions(size="small", images=(str(tmp_path / "tiny.png"),)), tmp_path)
    failed = subprocess.CompletedProcess([], 1, "", "line\nno memory")
    monkeypatch.setattr(asking.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(DataError, match="dip: its process ended with 1: no memory"):
        asking.ask("worker", "dip", {"threads": 2})


def test_scores_of_photographs_are_of_what_is_written():
    problem = speed_problem(_photograph(), TASK, 0)
    bright = problem.reference.clone()
    bright[..., 0, 0] = 1.0
    over = bright.clone()
    over[..., 0, 0] = 7.0
    measured = Measure(problem)
    assert measured.psnr(over) == measured.psnr(bright)
    expected = 10 * np.log10(1 / float((bright - problem.reference).square().mean()))
    assert measured.psnr(bright) == pytest.approx(expected, abs=1e-4)
