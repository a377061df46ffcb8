"""`benchmark ncpr-scans`: rows, best weights, table and verdict, and that a run goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, find_benchmark, ncpr_scans
from lowfield_recon.evaluation.benchmark.ncpr_quality_rows import hash_of_patch_solver
from lowfield_recon.evaluation.benchmark.ncpr_scans_rows import (
    BEST_PSNR,
    BEST_SSIM,
    PRESET,
    ScanUnit,
    scan_units,
)
from lowfield_recon.evaluation.benchmark.ncpr_scans_table import (
    OURS,
    not_better,
    scans_table,
    summarise,
    verdict,
)
from lowfield_recon.evaluation.metrics import psnr
from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.reconstructors import create
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.problems import Undersampling
from lowfield_recon.simulation import Recipe
from lowfield_recon.simulation.scan_file import simulate_scan

TV_BEST, WAVELET_BEST = f"tv, {BEST_PSNR}", f"wavelet, {BEST_PSNR}"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    image = (x**2 + y**2 < 0.7).astype(np.float32) * (1 + 0.4 * (np.abs(x - 0.2) < 0.3))
    np.save(folder / "disc.npy", image * (1 + 0.5 * (np.hypot(x + 0.3, y) < 0.2)))
    simulate_scan(folder / "disc.npy", folder / "disc.h5", Recipe(n_coils=4, snr=40, phase_rad=1))
    return folder / "disc.h5"


@pytest.fixture(scope="module")
def problem(scan):
    few = Undersampling(acceleration=4, calibration_lines=8, seed=0)
    return load_scan(scan).problems(undersampling=few)[0]


def _record(psnr_db: float, ssim: float = 0.9) -> dict:
    return {"psnr_db": psnr_db, "ssim": ssim, "seconds": 2.0}


def _records(gain: float) -> list[dict]:
    return [
        {OURS: _record(30.0 + gain + step, 0.91), TV_BEST: _record(30.0, 0.92),
         WAVELET_BEST: _record(28.0) | {"weight_over_rule": 2.0}}
        for step in (-0.1, 0.3)
    ]  # fmt: skip


def test_rows_are_ours_twice_and_peers_with_three_weights():
    units = scan_units(())
    assert [row for unit in units for row in unit.rows] == [
        "zero-filled", OURS, "ncpr, noise rule", "cpr, tuned elsewhere", "cpr, noise rule",
        "tv, noise rule", TV_BEST, f"tv, {BEST_SSIM}",
        "wavelet, noise rule", WAVELET_BEST, f"wavelet, {BEST_SSIM}", "cdl-lambda",
    ]  # fmt: skip
    assert units[1].settings == {"preset": PRESET}
    assert patch_preset("ncpr", PRESET).origin == "tuned here"
    assert [unit.method for unit in scan_units(("tv", "ncpr"))] == ["adjoint", "ncpr", "ncpr", "tv"]
    assert scan_units(("tv",), iterations=3)[1].settings == {"iterations": 3}
    with pytest.raises(UsageError, match="wavelet"):
        scan_units(("wavelets",))


def test_the_identity_holds_the_numbers_of_the_preset():
    tuned, ruled = scan_units(("cpr",))[1:]
    found = patch_preset("cpr", PRESET)
    assert tuned.identity()[-2] == [found.weights, found.beta, found.base_scale]
    assert tuned.identity() != ruled.identity()
    assert ruled.identity()[-2] == []
    assert tuned.identity()[-1] == ruled.identity()[-1] == hash_of_patch_solver()


def test_the_best_weight_is_not_below_any_on_a_fine_grid(problem):
    unit = scan_units(("wavelet",), iterations=40)[1]
    solved = unit.solve(problem)
    by_rule = solved["wavelet, noise rule"].record
    best = solved[WAVELET_BEST].record
    reference = problem.reference.to(torch.complex128).abs()
    peak = float(reference.max())

    def score(factor: float) -> float:
        weight = by_rule["regularization_weight"] * factor
        result = create("wavelet", {"iterations": 40, "regularization_weight": weight})
        image = result.reconstruct(problem).image.to(torch.complex128).abs()
        return psnr(image, reference, data_range=peak)

    assert score(1) == pytest.approx(by_rule["psnr_db"], abs=1e-9)
    assert score(best["weight_over_rule"]) == pytest.approx(best["psnr_db"], abs=1e-9)
    fine = [score(2.0**octave) for octave in np.arange(-4, 4.01, 0.25)]
    assert best["psnr_db"] > max(fine) - 0.03
    assert best["psnr_db"] > by_rule["psnr_db"]
    assert solved[f"wavelet, {BEST_SSIM}"].record["ssim"] >= best["ssim"]


def test_means_differences_verdict_and_words_follow_the_numbers():
    summary = summarise(_records(0.5), [OURS, TV_BEST, WAVELET_BEST])
    ours, tv, wavelet = summary
    assert ours["psnr_db"] == pytest.approx(30.6)
    assert "psnr_gain" not in ours
    assert tv["psnr_gain"]["mean"] == pytest.approx(0.6)
    assert tv["psnr_gain"]["smallest"] == pytest.approx(0.4)
    assert tv["psnr_gain"]["largest"] == pytest.approx(0.8)
    assert wavelet["weight_over_rule"] == 2.0
    assert list(verdict(summary).values()) == [True, True]
    assert not_better(summary) == [f"{OURS} is NOT above {TV_BEST} in SSIM (-0.0100)."]
    assert "+0.60 (+0.40 to +0.80)" in scans_table(summary)
    worse = summarise(_records(-0.5), [OURS, TV_BEST, WAVELET_BEST])
    assert list(verdict(worse).values()) == [False, True]
    assert not_better(worse)[0] == f"{OURS} is NOT above {TV_BEST} in PSNR (-0.40)."
    assert verdict(summarise(_records(1), [OURS])) == {}
    assert "psnr_gain" not in summarise(_records(1), [TV_BEST])[0]


def test_it_runs_writes_and_goes_on(scan, tmp_path, monkeypatch):
    options = BenchmarkOptions(
        size="small", images=(str(scan),), tools=("cpr", "tv"), threads=(torch.get_num_threads(),)
    )
    told = []
    run = find_benchmark("ncpr-scans").run
    outcome = run(options, tmp_path, lambda step, total, what: told.append((step, total, what)))
    report = json.loads(outcome.json_path.read_text())
    assert list(report["cases"]) == ["disc, slice 0, mask 0", "disc, slice 0, mask 1"]
    assert told[0] == (0, 8, "disc, slice 0, mask 0: zero-filled")
    assert told[-1] == (7, 8, "disc, slice 0, mask 1: tv and its best weights")
    first, second = report["cases"].values()
    assert first["zero-filled"]["psnr_db"] != second["zero-filled"]["psnr_db"]
    tuned = first["cpr, tuned elsewhere"]
    assert tuned["regularization_weight"] == patch_preset("cpr", PRESET).base_scale
    assert tuned["beta"] == pytest.approx(patch_preset("cpr", PRESET).beta, rel=1e-6)
    assert first[TV_BEST]["psnr_db"] >= first["tv, noise rule"]["psnr_db"]
    assert (tmp_path / report["picture"]).stat().st_size > 1000
    assert outcome.markdown_path.read_text() == outcome.table
    assert outcome.has_passed  # nothing was to be shown without ncpr
    assert report["verdict"] == {}

    def refuse(unit, problem):
        raise AssertionError(f"{unit.name} is solved again")

    monkeypatch.setattr(ScanUnit, "solve", refuse)
    again = json.loads(run(options, tmp_path).json_path.read_text())
    assert again["results_of_an_earlier_run"] == 8
    assert again["cases"] == report["cases"]


def test_an_incomplete_scan_and_wrong_choices_are_refused(scan, tmp_path):
    recipe = Recipe(n_coils=4, mask="random", acceleration=2, calibration_lines=8)
    simulate_scan(scan.with_name("disc.npy"), tmp_path / "half.h5", recipe)
    options = BenchmarkOptions(size="small", images=(str(tmp_path / "half.h5"),), tools=("tv",))
    with pytest.raises(DataError, match=r"half\.h5"):
        ncpr_scans.run(options, tmp_path)
    with pytest.raises(UsageError, match="huge"):
        ncpr_scans.run(BenchmarkOptions(size="huge"), tmp_path)
