"""`benchmark cdl-quality`: statistics, best scalar, rows in words, and going on after a stop."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lowfield_recon import load_dictionary
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, cdl_quality
from lowfield_recon.evaluation.benchmark.best_scalar import best_octaves
from lowfield_recon.evaluation.benchmark.quality_gathering import shipped_images
from lowfield_recon.evaluation.benchmark.quality_methods import (
    BEST_PSNR,
    BEST_SSIM,
    RULE,
    Unit,
    quality_units,
    solve,
)
from lowfield_recon.evaluation.benchmark.quality_scans import ScanPlan, simulated_scans
from lowfield_recon.evaluation.benchmark.quality_statistics import (
    Difference,
    paired_difference,
    verdict,
)
from lowfield_recon.evaluation.benchmark.quality_table import ScoredScan, conclusions, summarise
from lowfield_recon.evaluation.benchmark.quality_weights import WeightsChoice, choose_weights
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile, result_key
from lowfield_recon.learning.cdl_lambda import CdlLambdaModel, ModelSettings
from lowfield_recon.learning.image_set import ImageSet
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.resources import sample_path


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name, network in {
        "set": {"name": "set", "filters": 4, "stages": 2},
        "v1": {"name": "v1", "filters": 4, "stages": 2, "level": 0.5, "n_kernels": 16},
    }.items():
        settings = ModelSettings(network=network)
        header = {
            "method": "cdl-lambda",
            "architecture": settings.model_dump(mode="json"),
            "architecture_version": 1,
        }
        state = CdlLambdaModel(settings, seed=1).state_dict()
        paths[name] = str(save_weights(folder / f"my-{name}.safetensors", state, header, {}))
    return paths


def _options(weights, **changes) -> BenchmarkOptions:
    chosen = {
        "size": "small", "weights": (weights["set"], weights["v1"]),
        "images": (str(sample_path("brain_0055t_t2w.h5")),), **changes,
    }  # fmt: skip
    return BenchmarkOptions(**chosen)


@pytest.fixture(scope="module")
def finished(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, cdl_quality.run(_options(weights), folder)


def test_the_interval_of_many_subjects_is_the_normal_one():
    generator = np.random.default_rng(3)
    ours = {f"s{i}": float(v) for i, v in enumerate(generator.normal(1.0, 2.0, 200))}
    found = paired_difference(ours, dict.fromkeys(ours, 0.25))
    values = np.array(list(ours.values())) - 0.25
    half = 1.96 * values.std() / math.sqrt(200)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_one_subject_has_no_interval_and_none_is_an_error():
    found = paired_difference({"a": 2.0, "c": 9.0}, {"a": 1.5, "b": 7.0})
    assert (found.mean, found.low, found.n_subjects) == (0.5, None, 1)
    with pytest.raises(ValueError, match="no subject"):
        paired_difference({"a": 1.0}, {"b": 1.0})


@pytest.mark.parametrize(
    ("psnr", "ssim", "expected"),
    [
        ((0.2, 0.1, 0.3), (0.02, 0.01, 0.03), "ours better"),
        ((0.2, -0.1, 0.3), (0.02, 0.01, 0.03), "ours better on average, PSNR unsure"),
        ((-0.2, -0.3, -0.1), (0.02, 0.01, 0.03), "ours NOT better in PSNR"),
        ((-0.2, -0.3, -0.1), (-0.1, -0.2, -0.1), "ours NOT better in PSNR and SSIM"),
        ((0.2, 0.1, 0.3), (0.0, -0.1, 0.1), "ours NOT better in SSIM (by chance or not)"),
        ((0.2, None, None), (0.1, None, None), "ours better (one subject)"),
    ],
)
def test_the_verdict_in_words(psnr, ssim, expected):
    made = [Difference(mean=m, low=lo, high=hi, n_subjects=6) for m, lo, hi in (psnr, ssim)]
    assert verdict(*made) == expected


@pytest.mark.parametrize("peak", [-3.2, -0.4, 0.0, 0.3, 2.75])
def test_the_search_finds_the_peak_of_any_parabola_and_asks_once_per_place(peak):
    asked = []

    def score_at(t):
        asked.append(t)
        return {"a": 5 - 0.3 * (t - peak) ** 2, "b": -t}

    found = best_octaves(score_at, ["a", "b"])
    assert found["a"] == pytest.approx(peak, abs=1e-9)
    assert found["b"] == -5
    assert len(asked) == len(set(asked)) <= 13


def test_the_best_scalar_is_that_of_a_dense_search():
    plan = ScanPlan(windows=(0.7,), snrs=(8,), crop=48)
    problem = simulated_scans(shipped_images(), plan)[0].build()
    dictionary = load_dictionary("brain_K16_k9_lam2_beta0.5")
    unit = quality_units((), dictionary, iterations=15, search_iterations=15)[-1]
    rows = unit.solve(problem)
    start = rows[RULE].record["regularization_weight"]
    settings = {"dictionary": dictionary, "iterations": 15}
    dense = [
        solve(problem, "cdl", {**settings, "regularization_weight": start * 2**octave}).record
        for octave in np.arange(-2, 2.01, 0.125)
    ]
    for row, metric, slack in ((BEST_PSNR, "psnr_db", 0.03), (BEST_SSIM, "ssim", 0.001)):
        best = max(record[metric] for record in dense)
        assert best - slack <= rows[row].record[metric]
        assert rows[row].record[metric] >= rows[RULE].record[metric]
        assert rows[row].record["weight_over_rule"] == pytest.approx(
            rows[row].record["regularization_weight"] / start
        )


def test_only_scores_and_the_best_scalar_depend_on_the_truth(weights):
    plan = ScanPlan(windows=(0.7,), snrs=(8,), crop=48)
    problem = simulated_scans(shipped_images(), plan)[0].build()
    other = dataclasses.replace(problem, reference=problem.reference.flip(-1) + 0.1)
    choices, _ = choose_weights([weights["set"]])
    dictionary = load_dictionary("brain_K16_k9_lam2_beta0.5")
    for unit in quality_units(choices, dictionary, iterations=6, search_iterations=4):
        seen, unseen = unit.solve(problem), unit.solve(other)
        for row in set(unit.rows) - {BEST_PSNR, BEST_SSIM}:
            assert np.array_equal(seen[row].image, unseen[row].image)
            assert seen[row].record["psnr_db"] != unseen[row].record["psnr_db"]


def test_means_are_over_subjects_and_differences_are_paired():
    images = simulated_scans(
        _images({"a": 2, "b": 1}), ScanPlan(windows=(0.5,), snrs=(8, 16), slices=2)
    )
    ours = iter([10.0, 20, 11, 21, 30, 40])
    scored = []
    for scan in images:
        value = next(ours)
        names = {"ours": value, "other": value - (1 if scan.subject == "a" else 3)}
        scored.append(ScoredScan(scan=scan, records={n: _record(v) for n, v in names.items()}))
    first, _, everything = summarise(scored, ["other", "ours"], "ours")
    assert (first["setting"], first["n_subjects"], first["n_scans"]) == ("window 0.5, snr 8", 2, 3)
    other, own = first["rows"]
    assert own["psnr_db"] == pytest.approx(((10 + 11) / 2 + 30) / 2)
    assert other["psnr_difference"]["mean"] == pytest.approx((1 + 3) / 2)
    assert other["psnr_difference"]["low"] == pytest.approx(1)
    assert "verdict" not in own
    assert everything["setting"] == "all settings"
    assert everything["rows"][1]["psnr_db"] == pytest.approx((15.5 + 35) / 2)
    (sentence,) = conclusions(
        [first, _], [WeightsChoice(label="ours", source="", network="set", sha256="")]
    )
    assert "PSNR in 2 of 2 settings" in sentence
    assert "NOT" not in sentence.partition("SSIM")[0]


def test_the_margin_against_the_network_of_one_dictionary_is_told():
    (scan,) = simulated_scans(_images({"a": 1}), ScanPlan(windows=(0.5,), snrs=(8,)))
    choices = [WeightsChoice(label=n, source="", network=n, sha256="") for n in ("set", "v1")]
    for behind, said in ((0.002, "within 0.003 in SSIM in 1 of 1"), (0.004, "in SSIM in 0 of 1")):
        records = {"set": _record(30.0), "v1": _record(29.0, ssim=0.9 + behind)}
        summaries = summarise([ScoredScan(scan=scan, records=records)], ["set", "v1"], "set")
        (sentence,) = conclusions(summaries, choices)
        assert "mean SSIM in 0 of 1 settings (NOT in window 0.5, snr 8)" in sentence
        assert said in sentence


def _images(counts):
    return ImageSet(
        images={name: tuple(torch.rand(32, 32) for _ in range(n)) for name, n in counts.items()}
    )


def _record(psnr: float, ssim: float = 0.9) -> dict[str, float]:
    return {
        "psnr_db": psnr, "ssim": ssim, "head_psnr_db": psnr, "head_ssim": ssim, "seconds": 1.0
    }  # fmt: skip


def test_it_writes_table_report_results_and_a_picture_per_window(finished):
    folder, outcome = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "benchmark_cdl-quality.json",
        "benchmark_cdl-quality.md",
        "benchmark_cdl-quality_results.json",
        "benchmark_cdl-quality_window-0.5.png",
        "benchmark_cdl-quality_window-0.7.png",
    ]
    assert outcome.markdown_path.read_text() == outcome.table
    report = json.loads(outcome.json_path.read_text())
    assert report["ours"] == "my-set"
    assert [w["network"] for w in report["weights"]] == ["set", "v1"]
    rows = ["zero-filled", "tv", RULE, BEST_PSNR, BEST_SSIM, "my-set", "my-v1"]
    assert all(list(scan["results"]) == rows for scan in report["scans"])
    assert {scan["kind"] for scan in report["scans"]} == {"simulated", "recorded"}
    assert "found WITH the truth" in outcome.table
    assert "holds independent noise" in outcome.table
    assert "| my-set (ours)" in outcome.table


def test_weights_that_do_not_fit_the_dictionary_are_a_row_without_scores(finished):
    _, outcome = finished
    report = json.loads(outcome.json_path.read_text())
    refused = report["summaries"][0]["rows"][-1]
    assert "trained for 16 kernels, got 32" in refused["refused"]
    assert "not possible: " in outcome.table
    assert "simulated: my-v1 could not be compared." in outcome.table


def _scores(folder):
    report = json.loads((folder / "benchmark_cdl-quality.json").read_text())
    return [
        {
            row: {key: value for key, value in record.items() if key != "seconds"}
            for row, record in scan["results"].items()
        }
        for scan in report["scans"]
    ]


def test_an_interrupted_run_goes_on_where_it_stopped(weights, finished, tmp_path, monkeypatch):
    def stop(step, total, what):
        assert total == 4 * 5
        if step == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cdl_quality.run(_options(weights), tmp_path, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["benchmark_cdl-quality_results.json"]
    solved = []
    solve_unit = Unit.solve

    def count(unit, problem, view):
        solved.append(unit.name)
        return solve_unit(unit, problem, view)

    monkeypatch.setattr(Unit, "solve", count)
    outcome = cdl_quality.run(_options(weights), tmp_path)
    assert len(solved) == 4 * 5 - 12
    assert "12 results were taken from an earlier run" in outcome.table
    assert _scores(tmp_path) == _scores(finished[0])
    cdl_quality.run(_options(weights), tmp_path)
    assert len(solved) == 4 * 5 - 12


def test_a_results_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "results.json"
    for content in ("{", "[]", '{"schema": "other", "results": {}}'):
        path.write_text(content)
        with pytest.raises(DataError, match=r"results\.json") as error:
            ResultsFile(path)
        assert "\n" not in str(error.value)
    assert result_key("a", {"b": 1, "c": 2}) == result_key("a", {"c": 2, "b": 1})
    assert result_key("a") != result_key("b")


def test_wrong_choices_are_named(weights, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"fits 24, e\.g\..*takes one"):
        cdl_quality.run(_options(weights, dictionaries=("brain_K16_*",)), tmp_path)
    with pytest.raises(UsageError, match="fits none of the bank"):
        cdl_quality.run(_options(weights, dictionaries=("brian",)), tmp_path)
    with pytest.raises(UsageError, match="huge"):
        cdl_quality.run(_options(weights, size="huge"), tmp_path)
    with pytest.raises(UsageError, match="same name"):
        choose_weights([weights["set"], weights["set"]])
    monkeypatch.setattr(
        "lowfield_recon.evaluation.benchmark.quality_weights.available_weights", lambda method: ()
    )
    with pytest.raises(UsageError, match="none of cdl-lambda_set"):
        choose_weights([])
    assert not list(tmp_path.iterdir())


def test_weights_of_one_name_are_told_apart_by_their_folders(weights, tmp_path):
    for name in ("set", "v1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").write_bytes(Path(weights[name]).read_bytes())
    paths = [str(tmp_path / name / "weights.safetensors") for name in ("set", "v1")]
    choices, left_out = choose_weights(paths)
    assert [choice.label for choice in choices] == ["set/weights", "v1/weights"]
    assert left_out == ()
