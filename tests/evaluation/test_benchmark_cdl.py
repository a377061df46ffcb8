"""`benchmark cdl`: all solve the same problem, and the verdict follows the numbers."""

from __future__ import annotations

import copy
import json
import subprocess

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, cdl_speed, find_benchmark
from lowfield_recon.evaluation.benchmark.cdl_speed_problem import (
    NOISE_FRACTIONS,
    bank_kernels,
    benchmark_image,
    coding_problem,
)
from lowfield_recon.evaluation.benchmark.cdl_speed_report import gain, report_text, verdict
from lowfield_recon.evaluation.benchmark.cdl_speed_worker import TASKS, measure
from lowfield_recon.solvers.sparse_coding import sparse_codes_fista


@pytest.fixture(scope="module")
def request_(tmp_path_factory) -> dict[str, object]:
    path = tmp_path_factory.mktemp("image") / "image.npy"
    np.save(path, benchmark_image((), 24)[0].numpy())
    return {
        "image": str(path), "filters": 16, "kernel": 9, "planes": 1, "noise": 0.06, "repeats": 1,
        "iterations": 200, "pgd_iterations": 0, "threads": torch.get_num_threads(), "device": "cpu",
    }  # fmt: skip


def _report() -> dict:
    times = {"bare": [1.0], "descent": [1.5], "fista": [1.5], "admm": [1.9]}
    far = {"gaps": dict.fromkeys(("descent", "admm", "fista"), 1e-4),
           "iterations_to_gap": {"descent": 10, "pgd": 100},
           "request": {"pgd_iterations": 100}}  # fmt: skip
    return {
        "size": "full", "image": "a", "grid": 320, "filters": 64, "kernel": 11,
        "environment": {"cpu": "c", "cores": 2, "load_at_start": 0.0},
        "results": {
            "iteration, 2 threads": {"request": {}, **times},
            "pgd, 2 threads": {"seconds": [6.0]},
            "slice, 2 threads": {"seconds": [5.0]},
            "slice, GPU": {"gpu": None},
            "memory": {"peak_mib": 900.0, "request": {"filters": 128}},
            "16 filters": {"request": {"filters": 16, "planes": 1}, **times},
            **{f"convergence, noise {n:g}": copy.deepcopy(far) for n in NOISE_FRACTIONS},
        },
    }  # fmt: skip


def test_the_image_is_real_and_fills_the_grid():
    for size in (64, 320):
        image, what = benchmark_image((), size)
        assert tuple(image.shape) == (size, size)
        assert float(image.max()) == pytest.approx(1.0)
        assert float(image.std()) > 0.1
        assert what == "brain_4coil_t2w.h5"


def test_a_users_image_is_taken(tmp_path):
    np.save(tmp_path / "head.npy", np.full((3, 20, 30), 2.0, dtype=np.float32))
    image, what = benchmark_image((str(tmp_path / "head.npy"),), 24)
    assert what == "head, slice 1"
    assert torch.equal(image[2:22], torch.ones(20, 24))
    assert not image[:2].any()


def test_the_problem_is_the_high_pass_of_noisy_data():
    image, _ = benchmark_image((), 48)
    problem = coding_problem(image, bank_kernels(16, 9), noise=1e-6, planes=2)
    low = torch.fft.ifft2(torch.fft.fft2(image) - problem.rhs[0] / problem.bound()[0].clamp(min=1))
    rough = sum(2 * low - low.roll(1, d) - low.roll(-1, d) for d in (0, 1))
    inside = problem.bound()[0] > 0
    stationary = torch.fft.fft2(low + rough - image)[inside]
    assert float(stationary.abs().max()) <= 1e-4 * float(torch.fft.fft2(image).abs().max())
    assert problem.rhs.shape[0] == 2
    assert not torch.equal(problem.rhs[0], problem.rhs[1])


def test_pgd_solves_the_problem_that_is_timed(request_, monkeypatch):
    """What `pgd` returns has our codes, shifted as its Fourier transform is centred."""
    import mrpro.algorithms.optimizers as optimizers

    found = {}
    original = optimizers.pgd

    def kept(*args, **kwargs):
        found["codes"] = original(*args, **kwargs)[0]
        return (found["codes"],)

    monkeypatch.setattr(optimizers, "pgd", kept)
    assert len(TASKS["pgd"](request_)["seconds"]) == 3
    image = torch.from_numpy(np.load(request_["image"]))
    problem = coding_problem(image, bank_kernels(16, 9), noise=0.06)
    expected = sparse_codes_fista(problem, iterations=4, momentum="delayed").codes
    codes = torch.fft.ifftshift(found["codes"].reshape(expected.shape), dim=(-2, -1))
    assert expected.any()
    assert torch.linalg.vector_norm(codes - expected) <= 1e-4 * expected.norm()


def test_each_task_answers(request_):
    times = measure({**request_, "task": "iteration"})
    assert {name: len(seconds) for name, seconds in times.items()} == dict.fromkeys(
        ("bare", "bare in chunks", "descent", "fista", "admm"), 3
    )
    whole = measure({**request_, "task": "whole_slice", "iterations": 2, "repeats": 2})
    assert len(whole["seconds"]) == 2
    assert whole["peak_mib"] > 50
    found = measure({**request_, "task": "convergence", "pgd_iterations": 400})
    assert 0 <= found["gaps"]["descent"] <= 1e-3
    assert found["gaps"]["fista"] > found["gaps"]["descent"]
    assert found["iterations_to_gap"]["descent"] <= 64
    assert found["iterations_to_gap"]["pgd"] > 64


def test_the_verdict_follows_the_numbers():
    report = _report()
    assert all(verdict(report).values())
    assert gain(report, 2) == pytest.approx(100 * 6.0 / (10 * 1.5))
    for name, key, value, index in (
        ("iteration, 2 threads", "descent", [1.7], 1),
        ("pgd, 2 threads", "seconds", [3.0], 2),
        ("memory", "peak_mib", 1500.0, 3),
    ):
        worse = copy.deepcopy(report)
        worse["results"][name][key] = value
        assert [i for i, ok in enumerate(verdict(worse).values()) if not ok] == [index]
    worse = copy.deepcopy(report)
    worse["results"]["convergence, noise 0.12"]["gaps"]["descent"] = 2e-2
    assert list(verdict(worse).values()).count(False) == 1
    worse["size"] = "small"
    assert list(verdict(worse).values()) == [False]


def test_pgd_that_does_not_arrive_is_no_gain():
    report = _report()
    report["results"]["convergence, noise 0.06"]["iterations_to_gap"]["pgd"] = None
    assert gain(report, 2) is None
    assert not all(verdict(report).values())
    assert "not reached within 100" in report_text({**report, "verdict": verdict(report)})


def test_it_runs_and_writes_json_and_table(tmp_path, monkeypatch):
    asked = []

    def answer(name, request):
        asked.append(request)
        found = _report()["results"]
        task = {"iteration": "iteration, 2 threads", "pgd": "pgd, 2 threads",
                "whole_slice": "slice, 2 threads",
                "convergence": "convergence, noise 0.06"}[request["task"]]  # fmt: skip
        extra = {"gpu": None, "peak_mib": 900.0} if request["task"] == "whole_slice" else {}
        return {**extra, **found[task], "request": request}

    monkeypatch.setattr(cdl_speed, "_ask", answer)
    options = BenchmarkOptions(size="full", threads=(1, 2))
    outcome = find_benchmark("cdl").run(options, tmp_path)
    report = json.loads(outcome.json_path.read_text())
    assert outcome.has_passed
    assert outcome.markdown_path.read_text() == outcome.table
    assert {r["threads"] for r in asked} == {1, 2}
    assert report["results"]["memory"]["request"]["filters"] == 128
    assert "64 filters of 11x11" in outcome.table
    assert "NOT met" not in outcome.table
    assert sorted(p.name for p in tmp_path.iterdir()) == ["benchmark_cdl.json", "benchmark_cdl.md"]


def test_a_process_of_its_own_has_its_threads(request_):
    found = cdl_speed._ask("a", {**request_, "task": "iteration", "filters": 16})
    assert found["request"]["threads"] == request_["threads"]
    assert len(found["descent"]) == 3


def test_a_process_that_fails_is_named(request_, monkeypatch):
    ended = subprocess.CompletedProcess([], 3, stdout="", stderr="one\nno memory\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(DataError, match="memory: its process ended with 3: no memory"):
        cdl_speed._ask("memory", {**request_, "task": "whole_slice"})


def test_an_unknown_size_is_named(tmp_path):
    with pytest.raises(UsageError, match="--size 'ful'"):
        cdl_speed.run(BenchmarkOptions(size="ful"), tmp_path)
