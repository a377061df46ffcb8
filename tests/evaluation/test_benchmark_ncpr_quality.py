"""`benchmark ncpr-quality`: rows, tables, verdict, and that an interrupted run goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, find_benchmark
from lowfield_recon.evaluation.benchmark.ncpr_quality_images import QualityImage, quality_images
from lowfield_recon.evaluation.benchmark.ncpr_quality_rows import choose_rows, published_pairs
from lowfield_recon.evaluation.benchmark.ncpr_quality_table import (
    quality_tables,
    summarise,
    verdict,
)
from lowfield_recon.evaluation.benchmark.published_tasks import TASKS


def _record(psnr: float, iterations: int | None = 10) -> dict:
    return {"psnr_db": psnr, "iterations": iterations, "seconds": 2.0,
            "stopping_reason": "tolerance"}  # fmt: skip


def _task(difference: float = -0.04) -> dict:
    rows = ["input", "ncpr", "ncpr, published"]
    records = {
        "a": {"input": _record(20.0, None), "ncpr": _record(30.0 + difference),
              "ncpr, published": _record(30.0)},
        "b": {"input": _record(22.0, None), "ncpr": _record(28.0),
              "ncpr, published": _record(28.0)},
    }  # fmt: skip
    return {
        "name": "denoise-sigma25", "title": "denoising", "records": records,
        "disagreement": {"ncpr": 1e-6},
        "summary": summarise(records, rows, {"ncpr, published": "ncpr"}),
    }  # fmt: skip


def test_means_and_differences_are_over_images():
    summary = _task()["summary"]
    assert [row["name"] for row in summary["rows"]] == ["input", "ncpr", "ncpr, published"]
    assert summary["rows"][0]["psnr_db"] == pytest.approx(21.0)
    assert summary["rows"][0]["iterations"] is None
    (pair,) = summary["pairs"]
    assert pair["mean_db"] == pytest.approx(-0.02)
    assert (pair["smallest_of"], pair["largest_of"]) == ("a", "b")


def test_the_verdict_follows_the_numbers():
    assert all(verdict([_task()]).values())
    assert list(verdict([_task(-0.2)]).values()) == [False, True]
    assert all(verdict([_task(+0.2)]).values())
    apart = _task() | {"disagreement": {"ncpr": 1e-3}}
    assert list(verdict([apart]).values()) == [True, False]


def test_what_was_cut_off_is_no_yardstick():
    task = _task(-0.2)
    task["records"]["a"]["ncpr, published"]["stopping_reason"] = "iterations"
    task["summary"] = summarise(
        task["records"], ["ncpr", "ncpr, published"], {"ncpr, published": "ncpr"}
    )
    assert list(verdict([task]).values()) == [True]
    assert "published cut off" in quality_tables([task])
    assert "cut off" not in quality_tables([_task()])


def test_tables_name_every_image():
    text = quality_tables([_task()])
    assert "### denoising (2 images)" in text
    assert "-0.020 (-0.040 to +0.000)" in text
    assert "| a         | 20.000" in text


def test_rows_are_ours_theirs_further_weights_and_peers():
    rows = choose_rows((), ("cpr_sigma5",))
    assert [row.name for row in rows] == [
        "input", "ncpr", "ncpr, published", "cpr", "cpr, published", "cpr_sigma5", "tv", "wavelet",
    ]  # fmt: skip
    assert published_pairs(rows) == {"ncpr, published": "ncpr", "cpr, published": "cpr"}
    further = rows[5]
    assert further.method == "cpr"
    assert further.takes(TASKS["denoise-sigma5"])
    assert not further.takes(TASKS["mri-8x"])
    with pytest.raises(UsageError, match="wavelet"):
        choose_rows(("wavelets",), ())
    with pytest.raises(UsageError):
        choose_rows((), ("nothing_of_that_name",))


def test_settings_are_the_published_optimum_or_the_weights_own():
    ours, published = choose_rows(("cpr",), ())[1:]
    assert ours.settings(TASKS["mri-16x"]) == {
        "weights": "cpr_sigma25", "beta": 0.311805, "regularization_weight": 2.5e-4, "scale": 1.0,
    }  # fmt: skip
    own = ours.settings(TASKS["denoise-sigma5"])
    assert own["weights"] == "cpr_sigma5"
    assert own["beta"] == pytest.approx(0.1313, abs=5e-5)
    assert own["regularization_weight"] == pytest.approx(0.002)
    assert published.settings(TASKS["mri-8x"]) == ours.settings(TASKS["mri-8x"])
    assert published.identity(TASKS["mri-8x"], None) != ours.identity(TASKS["mri-8x"], None)
    assert len(ours.identity(TASKS["mri-8x"], None)[-1]) == 32  # of the solver's code
    assert choose_rows(("tv",), ())[1].settings(TASKS["mri-8x"]) == {}


def test_images_keep_their_levels_but_for_mri(tmp_path):
    pixels = np.full((40, 41), 100, dtype=np.uint8)
    pixels[0, 0] = 51
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    np.save(tmp_path / "large.npy", np.full((2, 33, 20), 5.0, dtype=np.float32))
    paths = (str(tmp_path),)
    denoise = quality_images(paths, TASKS["denoise-sigma5"], slices=2)
    assert [image.name for image in denoise] == ["grey", "large, slice 0", "large, slice 1"]
    assert float(denoise[0].pixels.max()) == pytest.approx(100 / 255)
    assert float(denoise[1].pixels.max()) == 1.0
    assert float(quality_images(paths, TASKS["mri-8x"])[0].pixels.max()) == 1.0
    even = denoise[0].even()
    assert even.pixels.shape == (40, 40)
    assert even.identity != denoise[0].identity
    assert quality_images((), TASKS["mri-8x"], crop=32)[0].pixels.shape == (32, 32)
    assert quality_images((), TASKS["super-resolve"])[0].name == "camera"


def test_identity_is_of_pixels_and_shape():
    flat = torch.zeros(4, 6)
    assert (
        QualityImage(name="a", pixels=flat).identity == QualityImage(name="b", pixels=flat).identity
    )
    assert (
        QualityImage(name="a", pixels=flat).identity
        != QualityImage(name="a", pixels=flat.reshape(6, 4)).identity
    )


def test_it_runs_writes_and_goes_on(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, size=(37, 36), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "odd.png")
    folder = tmp_path / "out"
    folder.mkdir()
    options = BenchmarkOptions(
        size="small", images=(str(tmp_path / "odd.png"),), tasks=("denoise", "mri-8x"), sigma=(25,),
        threads=(torch.get_num_threads(),), tools=("cpr", "wavelet"),
    )  # fmt: skip
    told = []
    run = find_benchmark("ncpr-quality").run
    outcome = run(options, folder, lambda step, total, what: told.append(what))
    report = json.loads(outcome.json_path.read_text())
    assert [task["name"] for task in report["tasks"]] == ["denoise-sigma25", "mri-8x"]
    assert told[0] == "denoise-sigma25, odd: input"
    for task in report["tasks"]:
        assert list(task["records"]["odd"]) == ["input", "cpr", "cpr, published", "wavelet"]
        assert task["disagreement"]["cpr"] <= 1e-5
        assert (folder / task["picture"]).stat().st_size > 1000
    assert outcome.markdown_path.read_text() == outcome.table
    again = json.loads(run(options, folder).json_path.read_text())
    assert again["results_of_an_earlier_run"] == 10
    assert again["tasks"] == report["tasks"]


def test_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(UsageError, match="denoise"):
        find_benchmark("ncpr-quality").run(BenchmarkOptions(tasks=("denois",)), tmp_path)
