"""The benchmark of dictionary learning, with a peer that stands in for sporco."""

from __future__ import annotations

import dataclasses
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.ndimage
import scipy.optimize
import torch

from lowfield_recon.errors import MissingDependencyError, UsageError
from lowfield_recon.evaluation.benchmark import BENCHMARKS, BenchmarkOptions
from lowfield_recon.evaluation.benchmark import dictionary_learning as benchmark
from lowfield_recon.evaluation.benchmark import dictionary_learning_runs as runs
from lowfield_recon.evaluation.benchmark.sparse_coding_agreement import Agreement

CASE = runs.LearningCase(
    name="tiny", start="patches", n_kernels=3, kernel_size=5, crop=24, n_train=4, passes=2
)


def _unit(*shape: int, seed: int = 0) -> torch.Tensor:
    kernels = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]


def _optimum(kernels: np.ndarray, image: np.ndarray, weight: float) -> float:
    """Solve the sparse coding of one image as a bounded quadratic problem with a dense matrix."""
    points = np.eye(image.size).reshape(-1, *image.shape)
    columns = [
        scipy.ndimage.convolve(point, kernel, mode="wrap").ravel()
        for kernel in kernels
        for point in points
    ]
    matrix = np.array(columns).T
    both = np.concatenate([matrix, -matrix], axis=1)

    def value(s: np.ndarray) -> tuple[float, np.ndarray]:
        rest = both @ s - image.ravel()
        return 0.5 * rest @ rest + weight * s.sum(), both.T @ rest + weight

    found = scipy.optimize.minimize(
        value, np.zeros(both.shape[1]), jac=True, bounds=[(0, None)] * both.shape[1],
        method="L-BFGS-B", options={"maxiter": 20000, "maxfun": 40000, "ftol": 1e-15, "gtol": 1e-9},
    )  # fmt: skip
    return float(found.fun)


def test_the_judge_finds_the_optimum_of_a_dense_solver():
    kernels = _unit(2, 3, 3)
    images = [torch.randn(8, 9, generator=torch.Generator().manual_seed(s)) for s in (1, 2, 3)]
    expected = [_optimum(kernels.double().numpy(), im.double().numpy(), 0.4) for im in images]
    found = runs.mean_objective(kernels, images, 0.4)
    assert found == pytest.approx(sum(expected) / (3 * 72), rel=1e-4)
    underway = runs.mean_objective(kernels, images, 0.4, is_final=False)
    assert found <= underway <= 1.01 * found


def test_images_are_real_scans_and_held_out_ones_are_others():
    train, held_out = runs.brain_images(CASE)
    assert (len(train), len(held_out)) == (4, 3)
    assert all(image.shape == (24, 24) and float(image.min()) >= 0 for image in train + held_out)
    assert not any(torch.equal(a, b) for a in train for b in held_out)


@pytest.mark.parametrize("start", ["patches", "random"])
def test_ours_is_timed_after_every_pair(start):
    case = dataclasses.replace(CASE, start=start)
    images, _ = runs.brain_images(case)
    kernels = runs.start_kernels(case, runs.prepared(images, case.options(0)), 0)
    assert torch.allclose(kernels.flatten(1).norm(dim=1), torch.ones(3))
    found = runs.learn_with_ours(case, images, kernels, 0)
    assert found.n_images == [2, 4, 6, 8]
    assert found.cpu_seconds == sorted(found.cpu_seconds)
    assert not torch.equal(found.kernels[0], found.kernels[-1])


class _Peer:
    """Learns nothing: the dictionary stays as it was."""

    Options = staticmethod(dict)

    def __init__(self, kernels, weight, options):
        assert kernels.shape == (5, 5, 3)
        assert (weight, options["DataType"]) == (CASE.weight, "float32")
        self.kernels = kernels

    def solve(self, image, dimK):
        assert image.shape == (24, 24)
        assert dimK == 0
        return self.kernels[:, :, None, None, :]


@pytest.fixture
def peer(monkeypatch):
    fft = SimpleNamespace(pyfftw_threads=7)
    learner = SimpleNamespace(OnlineConvBPDNDictLearn=_Peer)
    monkeypatch.setitem(sys.modules, "sporco.fft", fft)
    monkeypatch.setitem(sys.modules, "sporco.dictlrn.onlinecdl", learner)
    monkeypatch.setattr(benchmark, "package_version", lambda _: "0.0.0")
    monkeypatch.setitem(benchmark.CASES, "small", (CASE,))
    monkeypatch.setattr(benchmark, "SPORCO_SETTINGS", {"as it comes": {}})
    return fft


def test_the_report_compares_and_judges(tmp_path, monkeypatch, peer):
    agreement = [Agreement(name="one weight", objective=1e-5, image=1e-6)]
    monkeypatch.setattr(benchmark, "sparse_coding_agreement", lambda *_: agreement)
    threads = torch.get_num_threads()
    outcome = benchmark.run(BenchmarkOptions(size="small"), tmp_path)
    assert outcome.has_passed
    assert (peer.pyfftw_threads, torch.get_num_threads()) == (7, threads)
    report = json.loads(outcome.json_path.read_text())
    (result,) = report["results"]
    ours, *theirs = result["runs"]
    assert [r["settings"] for r in theirs] == ["as it comes"]
    for record in theirs:
        assert record["n_images"] == [2, 4, 6, 8]
        unchanged = [result["start_objective"]] * 4
        assert record["objective_underway"] == pytest.approx(unchanged, rel=1e-6)
    assert ours["objective"] < result["start_objective"]
    assert ours["seconds_to_best"] is not None
    assert outcome.markdown_path.read_text() == outcome.table
    assert "one weight" in outcome.table


@pytest.mark.parametrize(
    ("objective", "image", "is_met"),
    [(1e-5, 1e-4, True), (-1e-3, 1e-4, False), (0.0, 1e-2, False), (None, 1e-6, False)],
)
def test_codes_that_differ_do_not_agree(objective, image, is_met):
    assert Agreement(name="a", objective=objective, image=image).is_met is is_met


def test_a_slower_or_worse_dictionary_does_not_pass():
    record = {"tool": "ours", "objective": 1.0, "held_out_objective": 1.0}
    times = {"seconds_to_best": 1.0, "seconds_to_within_1_percent": 1.0}
    slow = dict.fromkeys(times, 2.0)

    def verdict(ours, theirs):
        result = {"case": {"name": "a"}, "runs": [ours, theirs], "agreement": [{"is_met": True}]}
        return benchmark._verdict(result, is_timed=True)

    passed, sentence = verdict(record | times, record | slow)
    assert passed
    assert "2 times our time" in sentence
    assert not verdict(record | slow, record | times)[0]
    assert not verdict(record | times | {"objective": 1.02}, record | slow)[0]
    assert not verdict(record | times | {"held_out_objective": 1.02}, record | slow)[0]
    result = {"case": {"name": "a"}, "runs": [record | times, record | slow]}
    assert not benchmark._verdict({**result, "agreement": [{"is_met": False}]}, is_timed=False)[0]
    never = record | times | {"seconds_to_best": None}
    passed, sentence = verdict(never, record | slow)
    assert not passed
    assert "not reached" in sentence


def test_what_does_not_exist_and_a_missing_peer_are_refused(tmp_path, monkeypatch):
    assert BENCHMARKS["dictionary-learning"].module == benchmark.__name__
    with pytest.raises(UsageError, match="Did you mean 'small'"):
        benchmark.run(BenchmarkOptions(size="smal"), tmp_path)
    with pytest.raises(UsageError, match="Did you mean 'random'"):
        benchmark.run(BenchmarkOptions(cases=("randm",)), tmp_path)
    monkeypatch.setattr(benchmark, "package_version", lambda _: None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        benchmark.run(BenchmarkOptions(size="small"), tmp_path)
    assert list(tmp_path.iterdir()) == []
