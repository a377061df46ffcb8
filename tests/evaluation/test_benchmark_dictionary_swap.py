"""`benchmark dictionary-swap`: the dictionaries, the controls, the spread, and going on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lowfield_recon import load_dictionary
from lowfield_recon.dictionaries import DictionaryBank
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, dictionary_swap
from lowfield_recon.evaluation.benchmark.quality_dictionaries import (
    control_dictionaries,
    dictionary_facts,
    select_dictionaries,
)
from lowfield_recon.evaluation.benchmark.quality_methods import solve
from lowfield_recon.evaluation.benchmark.swap_report import SwapRow, spread
from lowfield_recon.learning.cdl_lambda import CdlLambdaModel, ModelSettings
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.resources import sample_path

IMAGES = (str(sample_path("brain_0055t_t2w.h5")),)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    settings = ModelSettings(network={"name": "set", "filters": 4, "stages": 2})
    header = {
        "method": "cdl-lambda",
        "architecture": settings.model_dump(mode="json"),
        "architecture_version": 1,
    }
    state = CdlLambdaModel(settings, seed=1).state_dict()
    return str(save_weights(folder / "mine.safetensors", state, header, {}))


@pytest.fixture(scope="module")
def finished(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    options = BenchmarkOptions(
        size="small",
        weights=(weights,),
        images=IMAGES,
        dictionaries=("cosine_k7_*", "brain_K16_k9_lam2_beta0.5"),
    )
    return folder, options, dictionary_swap.run(options, folder)


def test_patterns_files_and_the_whole_bank(tmp_path):
    assert [d.name for d in select_dictionaries([])] == list(DictionaryBank().names())
    kernels = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(0)).numpy()
    np.save(tmp_path / "mine.npy", kernels)
    patterns = ["cosine_*", "cosine_k7_K48", str(tmp_path / "mine.npy")]
    found = select_dictionaries(patterns)
    assert [d.name for d in found] == ["cosine_k11_K64", "cosine_k7_K48", "mine"]
    assert found[2].kernels.numpy() == pytest.approx(
        kernels / np.linalg.norm(kernels, axis=(1, 2), keepdims=True), abs=1e-6
    )
    with pytest.raises(UsageError, match="'cosine_k8' fits none of the bank"):
        select_dictionaries(["cosine_k8"])
    with pytest.raises((UsageError, DataError), match=r"gone\.npy"):
        select_dictionaries([str(tmp_path / "gone.npy")])


def test_the_controls_have_the_size_and_the_pixels_but_not_the_structure():
    model = load_dictionary("brain_K16_k9_lam2_beta0.5")
    noise, shuffled = control_dictionaries(model)
    for control in (noise, shuffled):
        assert control.kernels.shape == model.kernels.shape
        norms = torch.linalg.vector_norm(control.kernels, dim=(1, 2))
        assert norms.numpy() == pytest.approx(np.ones(16), abs=1e-5)
    ours, theirs = (d.kernels.flatten(1).sort(dim=1).values for d in (shuffled, model))
    assert torch.equal(ours, theirs)
    assert not torch.equal(shuffled.kernels, model.kernels)
    again, _ = control_dictionaries(model)
    other, _ = control_dictionaries(model, seed=1)
    assert torch.equal(noise.kernels, again.kernels)
    assert not torch.equal(noise.kernels, other.kernels)


def test_facts_of_a_dictionary_are_those_of_its_name():
    for name in ("brain_K128_k11_lam0.1_beta0.25", "knee_K32_k11_lam2_beta0.25"):
        facts = dictionary_facts(load_dictionary(name))
        family, k, size, lam, beta = name.split("_")
        assert facts["family"] == family
        assert (facts["K"], facts["kernel"]) == (int(k[1:]), int(size[1:]))
        assert (facts["lambda"], facts["beta"]) == (float(lam[3:]), float(beta[4:]))
    assert dictionary_facts(load_dictionary("cosine_k7_K48"))["lambda"] is None


def test_the_spread_leaves_out_controls_and_what_was_refused():
    def row(name, value):
        scores = {"refused": "no"} if value is None else {"psnr_db": value, "ssim": value / 100}
        facts = {"name": name, "family": name.partition("_")[0]}
        return SwapRow(facts=facts, ours=scores, scalar={"psnr_db": 1.0, "ssim": 0.1})

    rows = [row("a_1", 30.0), row("a_2", 33.0), row("b_1", 31.0), row("b_2", None)]
    found = spread([*rows, row("control_random", 99.0)])
    assert set(found) == {"bank", "a", "b"}
    assert found["bank"]["cdl-lambda"]["psnr_db"] == {
        "n": 3, "min": 30.0, "median": 31.0, "max": 33.0, "worst": "a_1", "best": "a_2"
    }  # fmt: skip
    assert found["b"]["cdl-lambda"]["ssim"]["n"] == 1
    assert found["bank"]["cdl"]["psnr_db"]["n"] == 4


def test_it_writes_table_report_and_plot_sorted_by_name(finished):
    folder, _, outcome = finished
    assert sorted(path.name for path in folder.iterdir()) == [
        "benchmark_dictionary-swap.json",
        "benchmark_dictionary-swap.md",
        "benchmark_dictionary-swap.png",
        "benchmark_dictionary-swap_results.json",
    ]
    report = json.loads(outcome.json_path.read_text())
    names = [row["name"] for row in report["rows"]]
    assert names == [
        "brain_K16_k9_lam2_beta0.5",
        "control_random_K32_k9",
        "control_shuffled_brain_K32_k9_lam2_beta0.5",
        "cosine_k7_K48",
    ]
    for row in report["rows"]:
        for method in ("cdl-lambda", "cdl"):
            assert 0 < row[method]["fraction_of_nonzero_codes"] <= 1
            assert row[method]["seconds"] > 0
    assert report["spread"]["bank"]["cdl"]["psnr_db"]["n"] == 2
    assert outcome.markdown_path.read_text() == outcome.table
    assert "| cosine_k7_K48" in outcome.table


def test_a_row_is_the_mean_over_the_scans(finished, weights):
    from lowfield_recon.evaluation.benchmark.quality_gathering import gather_scans
    from lowfield_recon.evaluation.benchmark.quality_scans import ScanPlan

    _, _, outcome = finished
    plan = ScanPlan(windows=(0.7,), snrs=(12.0,), noise_factors=(2.0,), crop=48)
    settings = {
        "dictionary": load_dictionary("cosine_k7_K48"), "weights": weights, "iterations": 8
    }  # fmt: skip
    scans = gather_scans(IMAGES, plan)
    scores = [
        solve(scan.build(), "cdl-lambda", settings, scan.view).record["psnr_db"] for scan in scans
    ]
    row = json.loads(outcome.json_path.read_text())["rows"][-1]
    assert row["cdl-lambda"]["psnr_db"] == pytest.approx(float(np.mean(scores)), abs=1e-9)


def test_a_second_run_solves_nothing(finished, monkeypatch):
    folder, options, outcome = finished
    first = json.loads(outcome.json_path.read_text())["rows"]

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(dictionary_swap, "solve", never)
    steps = []
    again = dictionary_swap.run(options, folder, lambda i, n, what: steps.append((i, n, what)))
    assert json.loads(again.json_path.read_text())["rows"] == first
    assert steps[-1] == (3, 4, "cosine_k7_K48")


def test_several_weights_are_refused(weights, tmp_path):
    options = BenchmarkOptions(size="small", weights=(weights, weights))
    with pytest.raises(UsageError):
        dictionary_swap.run(options, tmp_path)
