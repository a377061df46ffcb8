"""Tuning scores what the commands would score, goes on where it stopped, and says what failed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import resize

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.pipeline import tuning_evaluation
from lowfield_recon.pipeline.degrading import Degradation, degrade, degrade_file, degraded_problem
from lowfield_recon.pipeline.tuning import TuningJob, tune
from lowfield_recon.pipeline.tuning_images import (
    ScanPreparation,
    photograph_images,
    scan_images,
)
from lowfield_recon.pipeline.tuning_search import SearchOptions
from lowfield_recon.reconstructors import create
from lowfield_recon.scan.problems import Undersampling

COARSE = SearchOptions(stop_factor=1.5)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> list[Path]:
    """Return two small photographs."""
    folder = tmp_path_factory.mktemp("photographs")
    paths = [folder / "camera.npy", folder / "coins.npy"]
    for path, image in zip(paths, (data.camera(), data.coins()), strict=True):
        np.save(path, resize(image / 255, (32, 40), anti_aliasing=True).astype(np.float32))
    return paths


@pytest.fixture
def job(photographs) -> TuningJob:
    """Return a search for the weight of `tv` that takes a few seconds."""
    noise = Degradation(task="denoise", noise_std=0.1)
    return TuningJob(
        method="tv",
        start={"regularization_weight": 0.02},
        images=photograph_images(photographs, noise),
        settings={"iterations": 10},
        search=COARSE,
    )


def _lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "degradation",
    [
        Degradation(task="denoise", noise_std=0.1, seed=5),
        Degradation(task="inpaint", kept_fraction=0.4),
        Degradation(task="deblur", kernel="gaussian:1.2"),
        Degradation(task="super-resolve", factor=2, super_resolution_kernel="gaussian:0.8"),
    ],
    ids=lambda degradation: degradation.task,
)
def test_the_score_is_that_of_the_restored_photograph(photographs, degradation, tmp_path):
    images = photograph_images(photographs, degradation)
    record = tune(
        TuningJob(
            method="tv", start={"regularization_weight": 0.03}, images=images,
            settings={"iterations": 10}, margin=3, search=SearchOptions(max_points=1),
        ),
        tmp_path / "t",
    )  # fmt: skip
    assert record["settings"] == {"iterations": 10, "regularization_weight": 0.03}
    method, entries = create("tv", record["settings"]), record["tuned_on"]["images"]
    for seed, (path, entry) in enumerate(zip(photographs, entries, strict=True)):
        truth = torch.from_numpy(np.load(path))[None, None, None]
        problem = images[seed].problem()
        y, _ = degrade(truth, replace(degradation, seed=degradation.seed + seed))
        assert torch.equal(problem.data, y)
        restored = method.reconstruct(problem).image[0, 0, 0, 3:-3, 3:-3].numpy()
        expected = peak_signal_noise_ratio(np.load(path)[3:-3, 3:-3], restored, data_range=1.0)
        assert entry["score"] == pytest.approx(expected, abs=1e-4)
    scores = [entry["score"] for entry in entries]
    assert record["tuned_on"]["mean_score"] == pytest.approx(np.mean(scores))


def test_a_kernel_of_super_resolution_stands_in_the_description(photographs, tmp_path):
    how = Degradation(
        task="super-resolve", factor=2, super_resolution_kernel="gaussian:1.5", noise_std=0.0
    )
    truth, description = degrade_file(photographs[0], tmp_path / "small.npy", how)
    problem = degraded_problem(tmp_path / "small.npy", description)
    clean = np.load(truth)
    expected = ndimage.gaussian_filter(clean, 1.5, mode="wrap", truncate=4)[::2, ::2]
    np.testing.assert_allclose(problem.data[0, 0, 0], expected, atol=1e-5)
    (modelled,) = problem.operator(torch.from_numpy(clean)[None, None, None])
    np.testing.assert_allclose(modelled[0, 0, 0], expected, atol=1e-5)


def test_the_best_weight_is_better_than_its_neighbours_and_everything_is_written(job, tmp_path):
    told = []
    record = tune(job, tmp_path / "t", tell=told.append)
    weight = record["settings"]["regularization_weight"]
    assert record["on_border"] == {}
    assert record["without_influence"] == []
    assert record["failures"] == []

    def mean_psnr(weight: float) -> float:
        method = create("tv", {"iterations": 10, "regularization_weight": weight})
        scores = []
        for image in job.images:
            restored = method.reconstruct(image.problem()).image[0, 0, 0].numpy()
            truth = np.load(image.path)
            scores.append(peak_signal_noise_ratio(truth, restored, data_range=1))
        return np.mean(scores)

    assert mean_psnr(weight) > max(mean_psnr(weight * 1.5), mean_psnr(weight / 1.5))
    assert json.loads((tmp_path / "t" / "tuned.json").read_text()) == record
    assert "no test score" in record["note"]
    assert (tmp_path / "t" / "tuning.png").stat().st_size > 5000
    assert len(_lines(tmp_path / "t")) == 1 + 2 * record["search"]["n_points"]
    assert len(told) >= 3
    assert str(tmp_path) not in json.dumps(record)


def test_the_number_of_workers_changes_nothing(job, tmp_path):
    job = replace(job, search=SearchOptions(max_points=4))
    one = tune(job, tmp_path / "one")
    two = tune(replace(job, workers=2), tmp_path / "two")
    assert one == two
    same = [sorted((str(x["settings"]), x["image"], x["score"]) for x in _lines(tmp_path / n)[1:])
            for n in ("one", "two")]  # fmt: skip
    assert same[0] == same[1]


def test_an_interrupted_search_goes_on_and_repeats_nothing(job, tmp_path, monkeypatch):
    whole = tune(job, tmp_path / "whole")
    calls = []

    def counted(name, settings):
        calls.append(settings["regularization_weight"])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return create(name, settings)

    monkeypatch.setattr(tuning_evaluation, "create", counted)
    monkeypatch.setattr(tuning_evaluation, "check_search", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        tune(job, tmp_path / "t")
    assert len(_lines(tmp_path / "t")) == 1 + 3  # one call checks the settings, one was cut off
    with (tmp_path / "t" / "evaluations.jsonl").open("a") as stream:
        stream.write('{"settings": {"regulari')
    calls[:] = [0.0] * 10
    assert tune(job, tmp_path / "t") == whole
    n_evaluations = 2 * whole["search"]["n_points"]
    assert len(calls) - 10 == n_evaluations - 3 + 1
    lines = _lines(tmp_path / "t")[1:]
    assert len({(str(x["settings"]), x["image"]) for x in lines}) == len(lines) == n_evaluations
    calls[:] = [0.0] * 10
    assert tune(job, tmp_path / "t") == whole
    assert len(calls) == 10 + 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"settings": {"iterations": 11}}, "settings"),
        ({"metric": "ssim"}, "metric"),
        ({"margin": 2}, "margin"),
        ({"conditions": {"task": "denoise"}}, "conditions"),
        ({"start": {"tolerance": 0.01}}, "searched"),
        ({"method": "wavelet"}, "method"),
    ],
)
def test_another_tuning_in_the_same_folder_is_refused(job, tmp_path, change, word):
    few = replace(job, search=SearchOptions(max_points=1))
    tune(few, tmp_path / "t")
    before = (tmp_path / "t" / "evaluations.jsonl").read_bytes()
    with pytest.raises(UsageError, match=f"another tuning, with other {word};"):
        tune(replace(few, **change), tmp_path / "t")
    with pytest.raises(UsageError, match="with other images;"):
        tune(replace(few, images=few.images[:1]), tmp_path / "t")
    assert (tmp_path / "t" / "evaluations.jsonl").read_bytes() == before
    tune(replace(few, search=SearchOptions(max_points=2)), tmp_path / "t")


def _failing_above(limit: float, error: Exception, where: int):
    """Return a stand-in for `create` whose method fails on images of one size."""

    def make(name, settings):
        method = create(name, settings)
        whole = method.reconstruct

        def reconstruct(problem, progress=None):
            if settings["regularization_weight"] > limit and problem.data.shape[-1] == where:
                raise error
            return whole(problem, progress=progress)

        method.reconstruct = reconstruct
        return method

    return make


def test_a_point_that_fails_on_one_image_counts_as_failed_and_is_reported(
    job, photographs, tmp_path, monkeypatch
):
    np.save(tmp_path / "small.npy", np.load(photographs[0])[:, :30])
    images = photograph_images([*photographs, tmp_path / "small.npy"], job.images[0].degradation)
    job = replace(job, images=images)
    fails = _failing_above(0.03, DataError("it\ndiverges."), 30)
    monkeypatch.setattr(tuning_evaluation, "create", fails)
    record = tune(job, tmp_path / "t")
    assert 0 < record["settings"]["regularization_weight"] <= 0.03
    assert record["on_border"] == {"regularization_weight": "highest"}
    assert record["failures"][0] == "small.npy at regularization_weight=0.08: it diverges"
    failed = [x for x in _lines(tmp_path / "t")[1:] if x["error"] is not None]
    assert {x["image"] for x in failed} == {"small.npy"}
    assert len(failed) == len(record["failures"])
    assert all(x["score"] is None for x in failed)


def test_a_method_that_always_fails_ends_the_tuning_with_its_error(job, tmp_path, monkeypatch):
    fails = _failing_above(0.0, RuntimeError("singular"), 40)
    monkeypatch.setattr(tuning_evaluation, "create", fails)
    with pytest.raises(DataError, match=r"tv: fails at every point; camera\.npy at .*: singular\."):
        tune(job, tmp_path / "t")
    assert not (tmp_path / "t" / "tuned.json").exists()


def test_a_lack_of_memory_is_tried_again_another_time(job, tmp_path, monkeypatch):
    fails = _failing_above(0.03, MemoryError("4 GiB"), 40)
    monkeypatch.setattr(tuning_evaluation, "create", fails)
    assert tune(job, tmp_path / "t")["failures"]
    monkeypatch.setattr(tuning_evaluation, "create", create)
    record = tune(job, tmp_path / "t")
    assert record["failures"] == []
    assert record["settings"]["regularization_weight"] > 0.03


def test_scans_give_one_image_per_slice_and_need_all_samples(tmp_path):
    generator = np.random.default_rng(0)
    image = resize(data.camera() / 255, (48, 64), anti_aliasing=True)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
    noise = generator.normal(0, 0.02, (2, 2, 48, 64))
    kspace = np.stack([spectrum, spectrum.conj()]) + noise[0] + 1j * noise[1]
    np.save(tmp_path / "scan.npy", kspace.astype(np.complex64))
    how = ScanPreparation(
        undersampling=Undersampling(acceleration=2, calibration_lines=8), axes="slice y x"
    )
    images = scan_images([tmp_path / "scan.npy"], how)
    assert [entry.name for entry in images] == ["scan.npy[0]", "scan.npy[1]"]
    assert [e.index for e in scan_images([tmp_path / "scan.npy"], how, slices="1")] == [1]
    problem = images[1].problem()
    full = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace[1]), norm="ortho"))
    np.testing.assert_allclose(problem.reference[0, 0, 0], full, atol=1e-5)
    assert 0.3 < float((problem.data != 0).float().mean()) < 0.7
    kspace[:, ::2] = 0
    np.save(tmp_path / "half.npy", kspace.astype(np.complex64))
    (half, _) = scan_images([tmp_path / "half.npy"], how)
    job = TuningJob(method="tv", start={"regularization_weight": 1.0}, images=[half])
    with pytest.raises(DataError, match=r"half\.npy: has no reference"):
        tune(job, tmp_path / "t")


@dataclass(frozen=True)
class _EndsItsProcess:
    """An image that ends the process that receives it."""

    name: str = "deadly"
    sha256: str = "0"
    peak: float = 1.0

    def __reduce__(self):
        return os._exit, (3,)


def test_a_worker_that_is_killed_ends_the_tuning_with_advice(job, tmp_path):
    with pytest.raises(DataError, match=r"a worker process ended .* fewer --workers"):
        tune(replace(job, images=[_EndsItsProcess()], workers=2), tmp_path / "t")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"start": {"regularisation_weight": 1.0}}, "Did you mean 'regularization_weight'"),
        ({"start": {"seed": 1.0}}, "is of type int"),
        ({"start": {"regularization_weight": 0.0}}, "expected a start above 0"),
        ({"start": {"regularization_weight": -1.0}}, "expected a start above 0"),
        ({"start": {"iterations": 10.0}}, "also given by --set"),
        ({"images": []}, "no image"),
        ({"margin": 16}, "a margin of 16 pixels leaves nothing of 32 x 40"),
        ({"method": "tvv"}, "Did you mean 'tv'"),
    ],
)
def test_what_cannot_be_tuned_is_refused_before_anything_is_solved(job, tmp_path, change, text):
    with pytest.raises((UsageError, DataError), match=text):
        tune(replace(job, **change), tmp_path / "t")


def test_an_image_is_named_once(job, photographs, tmp_path):
    with pytest.raises(UsageError, match=r"camera\.npy: is named twice"):
        photograph_images([photographs[0], photographs[0]], Degradation(task="denoise"))
    with pytest.raises(UsageError, match=r"camera\.npy: the same image is there twice"):
        tune(replace(job, images=[job.images[0], job.images[0]]), tmp_path / "t")


def test_a_folder_is_for_one_process_at_a_time_and_a_damaged_line_is_named(job, tmp_path):
    few = replace(job, search=SearchOptions(max_points=1))

    def again(_line):
        with pytest.raises(DataError, match="another tuning is writing"):
            tune(few, tmp_path / "t")

    tune(few, tmp_path / "t", tell=again)
    with (tmp_path / "t" / "evaluations.jsonl").open("a") as stream:
        stream.write('{"settings": {}}\n')
    with pytest.raises(DataError, match="holds a line that no tuning wrote"):
        tune(few, tmp_path / "t")
