"""The demonstration reconstructs shipped real scans, and its report says what was computed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon import load_dictionary
from lowfield_recon.cli.app import main
from lowfield_recon.configuration import load_configuration
from lowfield_recon.evaluation.demo import head_mask, load_scans
from lowfield_recon.evaluation.demo_plan import DemoPlan, check_labels
from lowfield_recon.evaluation.metrics import nrmse
from lowfield_recon.learning.cdl_lambda import CdlLambdaModel, ModelSettings
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.resources import shipped_folder

PLAN = """
title: Small
summary: One scan.
experiments:
  - name: all
    title: All data
    text: Nothing left out.
    sample: brain_0055t_t2w.h5
    slices: [1, 2]
    quarter_turns: 1
    methods: [{name: adjoint}, {name: tv, settings: {iterations: 20}}]
  - name: half
    title: Half the data
    text: One line in two left out.
    sample: brain_0055t_t2w.h5
    slices: [1]
    undersampling: {acceleration: 2, calibration_lines: 24, seed: 1}
    methods: [{name: adjoint}, {name: tv}]
"""

TWICE = """
title: Two dictionaries
summary: One network.
experiments:
  - name: one
    title: One slice
    text: Twice the same method.
    sample: brain_0055t_t2w.h5
    slices: [1]
    quarter_turns: 1
    methods:
      - {name: adjoint}
      - name: cdl-lambda
        label: brains
        settings: {dictionary: brain_K16_k9_lam2_beta0.5, WEIGHTS}
      - name: cdl-lambda
        label: photographs
        settings: {dictionary: natural_K32_k11_lam2_beta0.25, WEIGHTS}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that a small demonstration filled."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "plan.yaml").write_text(PLAN)
    assert main(["demo", "-o", str(folder / "out"), "--plan", str(folder / "plan.yaml")]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a demonstration of one method with two dictionaries."""
    folder = tmp_path_factory.mktemp("twice")
    architecture = ModelSettings(network={"name": "set", "filters": 4, "stages": 2})
    header = {
        "method": "cdl-lambda",
        "architecture": architecture.model_dump(mode="json"),
        "architecture_version": 1,
    }
    state = CdlLambdaModel(architecture, seed=3).state_dict()
    save_weights(folder / "small.safetensors", state, header, {})
    settings = f"weights: {folder}/small.safetensors, keep_maps: true, iterations: 4"
    (folder / "plan.yaml").write_text(TWICE.replace("WEIGHTS", settings))
    assert main(["demo", "-o", str(folder / "out"), "--plan", str(folder / "plan.yaml")]) == 0
    return folder / "out"


def test_one_method_with_two_dictionaries_stands_under_its_labels(twice: Path):
    names = {path.name for path in twice.iterdir() if path.suffix == ".gz"}
    assert names == {f"one_{label}.nii.gz" for label in ("adjoint", "brains", "photographs")}
    records = [json.loads((twice / f"{name}.json").read_text()) for name in sorted(names)[1:]]
    assert [record["label"] for record in records] == ["brains", "photographs"]
    assert {record["method"] for record in records} == {"cdl-lambda"}
    used = [record["images"][0]["settings"]["dictionary"] for record in records]
    assert used == ["brain_K16_k9_lam2_beta0.5", "natural_K32_k11_lam2_beta0.25"]
    images = [nibabel.load(twice / name).get_fdata() for name in sorted(names)]
    assert nrmse(images[1], images[2]) > 1e-4


def test_the_report_shows_maps_and_atoms_of_either_dictionary(twice: Path):
    page = (twice / "report.html").read_text()
    for name, n in (("brain_K16_k9_lam2_beta0.5", 16), ("natural_K32_k11_lam2_beta0.25", 32)):
        assert page.count('alt="Map of filter') == 12
        assert page.count(f'alt="All filters of {name}"') == 1
        assert len(re.findall(rf'alt="Filter \d+ of {re.escape(name)}"', page)) == 6
        assert f"{n} of " in page
    assert page.count("<h3>What the network decided</h3>") == 1
    assert "<td>maps</td>" in page


def test_the_json_holds_the_shape_of_the_maps_and_not_the_maps(twice: Path):
    path = twice / "one_photographs.png.json"
    maps = json.loads(path.read_text())["images"][0]["diagnostics"]["maps"]
    assert maps == {"shape": [32, 1, 126, 128], "dtype": "torch.float32"}
    assert path.stat().st_size < 20_000


def test_without_maps_the_report_has_no_gallery(done: Path):
    assert "What the network decided" not in (done / "report.html").read_text()


def test_every_image_is_there_with_its_json(done: Path):
    stems = {"all_adjoint", "all_tv", "half_adjoint", "half_tv"}
    expected = {f"{stem}{end}" for stem in stems for end in (".nii.gz", ".png")}
    expected |= {f"{name}.json" for name in expected} | {"report.html", "figure.png"}
    assert {path.name for path in done.iterdir()} == expected
    assert nibabel.load(done / "all_tv.nii.gz").shape[2] == 2


def test_the_json_holds_settings_scores_and_assumptions(done: Path):
    record = json.loads((done / "half_tv.nii.gz.json").read_text())
    assert record["options"]["undersampling"]["acceleration"] == 2
    assert record["images"][0]["settings"]["regularization_weight"] > 0
    tv = record["scores_in_the_head_against_full_reconstruction"][0]
    record = json.loads((done / "half_adjoint.nii.gz.json").read_text())
    adjoint = record["scores_in_the_head_against_full_reconstruction"][0]
    assert tv["nrmse"] < adjoint["nrmse"]
    assert 0 < tv["n_pixels"] < 128 * 126


def test_the_report_states_the_scores_of_the_json_and_the_provenance(done: Path):
    page = (done / "report.html").read_text()
    record = json.loads((done / "half_tv.nii.gz.json").read_text())
    psnr_db = record["scores_in_the_head_against_full_reconstruction"][0]["psnr_db"]
    assert f"<td>{psnr_db:.2f}</td>" in page
    for text in ("CC0-1.0", "itself noisy", "10.1038/s41467-021-27317-1", "turned for display"):
        assert text in page


def test_the_written_images_are_those_that_were_scored(done: Path):
    full, half = (
        nibabel.load(done / name).get_fdata() for name in ("all_adjoint.nii.gz", "half_tv.nii.gz")
    )
    record = json.loads((done / "half_tv.nii.gz.json").read_text())
    reference = full[..., 0].squeeze().T
    mask = head_mask(reference, 0.1)
    expected = record["scores_in_the_head_against_full_reconstruction"][0]["nrmse"]
    assert nrmse(half.squeeze().T, reference, mask=mask) == pytest.approx(expected, rel=1e-3)


def test_the_figure_shows_something(done: Path):
    with Image.open(done / "figure.png") as figure:
        pixels = np.asarray(figure.convert("L"))
    assert min(pixels.shape) > 300
    assert pixels.std() > 20


def test_the_shipped_plan_names_samples_and_methods_that_exist():
    plan = load_configuration(shipped_folder("pipelines") / "demo.yaml", DemoPlan)
    assert len(load_scans(plan)) == len(plan.experiments)
    assert {experiment.undersampling is None for experiment in plan.experiments} == {True, False}


def test_the_shipped_plan_shows_two_dictionaries_with_the_weights_that_ship():
    plan = load_configuration(shipped_folder("pipelines") / "demo.yaml", DemoPlan)
    check_labels(plan)
    for experiment in (e for e in plan.experiments if "0055t" in e.sample):
        found = [m for m in experiment.methods if m.name == "cdl-lambda"]
        assert all(m.settings["keep_maps"] and "weights" not in m.settings for m in found)
        brain, other = (load_dictionary(m.settings["dictionary"]) for m in found)
        assert brain.name.startswith("brain_")
        assert not torch.equal(brain.kernels, other.kernels)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("sample: brain_0055t_t2w.h5", "sample: brain.h5", "there is none of that name"),
        ("{name: adjoint}", "{name: adjont}", "Did you mean 'adjoint'"),
        ("acceleration: 2", "accelerations: 2", "Did you mean 'acceleration'"),
        ("slices: [1, 2]", "slices: [9]", "there are 0 to 3"),
        ("{iterations: 20}", "{iteration: 20}", "Did you mean 'iterations'"),
        ("{name: adjoint}", "{name: adjoint, label: TV}", "give one of them another 'label'"),
        ("{name: adjoint}", "{name: adjoint, label: a/b}", "should match pattern"),
    ],
)
def test_a_wrong_plan_is_one_line(tmp_path, capsys, old, new, text):
    (tmp_path / "plan.yaml").write_text(PLAN.replace(old, new))
    out = tmp_path / "out"
    assert main(["demo", "-o", str(out), "--plan", str(tmp_path / "plan.yaml")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert text in err
