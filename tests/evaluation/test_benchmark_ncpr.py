"""`benchmark ncpr`: what is counted is what is timed, and the verdict follows the numbers."""

from __future__ import annotations

import copy
import json
import subprocess

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, asking, find_benchmark, ncpr_speed
from lowfield_recon.evaluation.benchmark.factored_published import (
    first_disagreement,
    run_factored,
    run_ours,
)
from lowfield_recon.evaluation.benchmark.ncpr_speed_problem import (
    TASK,
    model_settings,
    speed_image,
    speed_model,
)
from lowfield_recon.evaluation.benchmark.ncpr_speed_report import (
    gain,
    iterations_to,
    published_seconds,
    report_text,
    verdict,
)
from lowfield_recon.evaluation.benchmark.ncpr_speed_worker import measure
from lowfield_recon.evaluation.benchmark.published_patch import run_published_iteration
from lowfield_recon.evaluation.benchmark.published_tasks import TASKS, normal_equations
from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.reconstructors import create
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer


def _report() -> dict:
    return {
        "size": "full", "image": "knee", "grid": [640, 368], "acquired_columns": 44,
        "environment": {"cpu": "c", "cores": 2, "load_at_start": 0.0},
        "settings": model_settings(), "disagreement": 1e-7,
        "published": {"psnr_db": [25.0, 29.0, 29.99, 30.0], "stopping_reason": "tolerance"},
        "ours": {"psnr_db": [28.0, 29.985, 30.1], "stopping_reason": "tolerance"},
        "results": {
            "direct, 1 threads": {"seconds": [9.0, 8.0, 8.5], "peak_mib": 2000.0},
            "ours, 1 threads": {"seconds": [1.0, 3.0, 1.2], "peak_mib": 900.0},
            "whole, 1 threads": {"seconds": 2.0, "iterations": 3, "stopping_reason": "tolerance",
                                 "psnr_db": 30.1, "peak_mib": 950.0},
            "direct, 2 threads": {"seconds": [6.0], "peak_mib": 2000.0},
            "ours, 2 threads": {"seconds": [0.8], "peak_mib": 900.0},
            "whole, 2 threads": {"seconds": 1.5, "iterations": 3, "stopping_reason": "tolerance",
                                 "psnr_db": 30.1, "peak_mib": 950.0},
        },
    }  # fmt: skip


def test_the_image_fills_the_grid_of_a_knee():
    image, what = speed_image((), (640, 368))
    assert image.shape == (640, 368)
    assert float(image.max()) == 1.0
    assert not image[:136].any()
    assert not image[504:].any()
    assert bool((image[136:504].amax(dim=0) > 0).all())
    assert what == "brain_4coil_t2w.h5"


def test_a_users_image_is_cut_or_padded(tmp_path):
    pixels = np.zeros((3, 20, 70), dtype=np.float32)
    pixels[1] = 4.0
    np.save(tmp_path / "knee.npy", pixels)
    image, what = speed_image((str(tmp_path / "knee.npy"),), (24, 48))
    assert what == "knee, slice 0"  # slices of zeros are no slices
    assert torch.equal(image[2:22], torch.ones(20, 48))
    assert not image[:2].any()


def test_the_model_is_the_published_optimum():
    regularizer = speed_model()
    assert regularizer.beta == pytest.approx(1.89763e-2)
    assert regularizer.dictionary.shape == (200, 13, 13)
    norm = torch.linalg.matrix_norm(regularizer.factors.double(), ord=2)
    assert float(regularizer.beta * norm**2) == pytest.approx(0.99, rel=1e-5)
    assert model_settings() == {
        "weights": "ncpr_sigma25", "beta": 1.89763e-2, "regularization_weight": 1.3139e-3,
        "scale": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([29.0, 30.0], 2), ([30.0, 29.0, 31.0], 3), ([30.0, 31.0], 1), ([31.0, 29.0], None),
     ([], None)],
)  # fmt: skip
def test_a_psnr_is_reached_when_it_is_kept(curve, expected):
    assert iterations_to(curve, 30.0) == expected


def test_the_gain_is_the_ratio_of_times_to_the_same_psnr():
    report = _report()
    assert published_seconds(report, 1) == pytest.approx(3 * 8.5)
    assert gain(report, 1) == pytest.approx(3 * 8.5 / 1.2)
    assert gain(report, 2) == pytest.approx(3 * 6.0 / 0.8)
    report["ours"]["psnr_db"][-1] = 29.9
    assert gain(report, 2) is None
    assert "not reached" in report_text({**report, "verdict": verdict(report)})


def test_the_verdict_follows_the_numbers():
    report = _report()
    assert all(verdict(report).values())
    changes = (
        (("disagreement",), 1e-3, 0),
        (("ours", "psnr_db"), [29.9], 1),
        (("results", "ours, 2 threads", "seconds"), [1.0], 2),
        (("results", "ours, 2 threads", "peak_mib"), 1500.0, 3),
        (("results", "whole, 1 threads", "peak_mib"), 1500.0, 3),
    )
    for path, value, index in changes:
        worse = copy.deepcopy(report)
        place = worse
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert index in [i for i, ok in enumerate(verdict(worse).values()) if not ok]
    slow = copy.deepcopy(report)
    slow["results"]["ours, 2 threads"]["seconds"] = [100.0]
    assert not all(verdict(slow).values())
    assert all(verdict({**slow, "size": "small"}).values())


def test_the_table_says_what_was_counted_and_timed():
    report = _report()
    text = report_text({**report, "verdict": verdict(report)})
    assert "its time is that number times the measured time of a direct iteration" in text
    assert "| 22.5 " in text
    assert "within 0.02 dB" in text
    assert "NOT met" not in text


def test_workers_time_what_they_are_asked(tmp_path):
    path = tmp_path / "image.npy"
    np.save(path, speed_image((), (64, 48))[0].numpy())
    request = {
        "image": str(path), "seed": 0, "repeats": 2, "threads": torch.get_num_threads(),
    }  # fmt: skip
    timed = measure({**request, "task": "direct", "iterations": 2})
    assert len(timed["seconds"]) == 2
    assert timed["peak_mib"] > 50
    ours = measure({**request, "task": "ours", "iterations": 2})
    assert len(ours["seconds"]) == 2
    assert min(ours["seconds"]) > 0


def test_a_process_that_fails_is_named(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "line\nno memory")
    monkeypatch.setattr(asking.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(DataError, match="ours, 2 threads: its process ended with 1: no memory"):
        asking.ask("worker", "ours, 2 threads", {"threads": 2})


def test_an_unknown_size_is_refused(tmp_path):
    with pytest.raises(UsageError, match="smal"):
        find_benchmark("ncpr").run(BenchmarkOptions(size="smal"), tmp_path)


def test_it_runs_writes_and_goes_on_from_what_it_counted(tmp_path, monkeypatch):
    asked, told = [], []

    def here(_worker, name, request):
        asked.append(name)
        assert np.load(request["image"]).shape == (64, 48)
        return measure(request)

    monkeypatch.setattr(ncpr_speed, "ask", here)
    options = BenchmarkOptions(size="small", threads=(torch.get_num_threads(),), repeats=1)
    run = find_benchmark("ncpr").run
    outcome = run(options, tmp_path, lambda step, total, what: told.append(what))
    assert [name.split(",")[0] for name in asked] == ["direct", "ours", "whole"]
    report = json.loads(outcome.json_path.read_text())
    assert report["disagreement"] <= 1e-5
    assert 1 <= len(report["published"]["psnr_db"]) <= 60
    assert report["published"]["psnr_db"][-1] > report["published"]["psnr_db"][0]
    image = speed_image((), (64, 48))[0]
    assert report["acquired_columns"] == int(TASK.problem(image).data[0, 0, 0, 0].abs().gt(0).sum())
    assert outcome.markdown_path.read_text() == outcome.table
    assert any("counting the published iterations: 2," in what for what in told)
    again = json.loads(run(options, tmp_path).json_path.read_text())
    assert again["results_of_an_earlier_run"] == 2
    assert again["published"] == report["published"]


def test_what_is_timed_is_the_method_itself():
    image = speed_image((), (96, 80))[0]
    problem = TASK.problem(image)
    settings = {**model_settings(), "iterations": 12}
    expected = create("ncpr", settings).reconstruct(problem).image[0, 0, 0]
    seen: list[torch.Tensor] = []
    found = run_ours(problem, settings, look=lambda _, x: seen.append(x.clone()))
    assert float((found.image[0] - expected).abs().max()) <= 1e-5
    assert torch.equal(seen[-1], found.image[0])


def test_the_factored_form_has_the_published_iterates_and_stops_where_it_does():
    image = speed_image((), (48, 40))[0]
    for name, method in (("mri-8x", "ncpr"), ("denoise-sigma25", "cpr"), ("super-resolve", "cpr")):
        problem = TASKS[name].problem(image)
        preset = patch_preset(method, TASKS[name].preset)
        model = load_patch_prior(preset.weights, method=method).regularizer(
            beta=preset.beta, base_scale=preset.base_scale
        )
        assert first_disagreement(problem, model, iterations=10) <= 5e-6
    rhs, _ = normal_equations(TASKS["denoise-sigma25"].problem(image))
    direct = run_published_iteration(model_of_denoising(), rhs, tolerance=2e-3)
    factored = run_factored(
        TASKS["denoise-sigma25"].problem(image), model_of_denoising(), tolerance=2e-3
    )
    assert direct.stopping_reason == factored.stopping_reason == "tolerance"
    assert direct.iterations == factored.iterations


def model_of_denoising() -> PatchRegularizer:
    return load_patch_prior("ncpr_sigma25", method="ncpr").regularizer()
