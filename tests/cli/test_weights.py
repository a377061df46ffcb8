"""`lowfield-recon weights` as a user runs it."""

from __future__ import annotations

import json

import torch

from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings, load_patch_prior
from lowfield_recon.learning.weight_files import SHIPPED

CONFIG = {
    "dict_params": {"atom_size": 5, "nb_atoms": 14, "nb_free_atoms": 12, "beta_init": 2.0},
    "prox_params": {"prox_type": "l1norm", "lambda_init": 0.002, "order": 1.8, "groupsize": 2},
    "sigma": 25,
}


def write_checkpoint(path):
    prior = PatchPrior(PatchPriorSettings(patch=5, atoms=14, free_atoms=12, beta_map="relu"))
    state = dict(prior.state_dict())
    state["prox.scaling_lmbda"] = state.pop("scaling").reshape(1, 14, 1, 1)
    torch.save({"state_dict": state, "config": CONFIG, "optimizer": {}}, path)
    return path


def test_list_names_all_that_ship_by_method(run):
    done = run("weights", "list")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "cdl-lambda:",
        "cpr:",
        "modl:",
        "ncpr:",
        "srdensenet:",
        "tv-lambda:",
        "unet:",
        "varnet:",
    ]
    assert "  ncpr_sigma5: 219 kB, published NCPR, trained on noise of 5/255" in lines
    found = json.loads(run("weights", "list", "--json").out)
    assert set(found) == {path.stem for path in SHIPPED.glob("*.safetensors")}
    assert found["cpr_sigma25"]["n_parameters"] == 54281
    assert found["cdl-lambda_set"]["method"] == "cdl-lambda"


def test_show_tells_licence_origin_settings_and_figures(run):
    done = run("weights", "show", "ncpr_sigma25")
    assert done.code == 0
    for said in ("licence: MIT", "Stanislas Ducotterd", "385708f91c24", "base_scale: 0.0125"):
        assert said in done.out
    assert max(map(len, done.out.splitlines())) < 300
    card = json.loads(run("weights", "show", "ncpr_sigma25", "--json").out)
    assert card["name"] == "ncpr_sigma25"
    assert card["figures"]["rank"] == 48
    assert card["architecture"]["potential"] == "power"


def test_show_takes_a_file_and_refuses_others(run, tmp_path):
    assert run("weights", "show", SHIPPED / "cdl-lambda_set.safetensors").code == 0
    done = run("weights", "show", "ncpr_sigma52")
    assert done.code == 2
    assert "Did you mean 'ncpr_sigma" in done.err
    assert run("weights", "show", tmp_path / "none.safetensors").code == 2
    (tmp_path / "bad.safetensors").write_bytes(b"not tensors")
    done = run("weights", "show", tmp_path / "bad.safetensors")
    assert done.code == 1
    assert done.err.count("\n") == 1


def test_convert_writes_weights_and_card(run, tmp_path):
    out = tmp_path / "mine.safetensors"
    done = run("weights", "convert", write_checkpoint(tmp_path / "checkpoint.pth"), "-o", out)
    assert done.code == 0
    assert "not one of the four published files" in done.out
    assert load_patch_prior(out, method="cpr").settings.patch == 5
    assert json.loads(run("weights", "show", out, "--json").out)["licence"] == "not known"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.pth", "mine.json", "mine.safetensors"
    ]  # fmt: skip


def test_convert_refuses_in_one_line(run, tmp_path):
    source = write_checkpoint(tmp_path / "checkpoint.pth")
    cases = [
        (tmp_path / "none.pth", tmp_path / "a.safetensors", 1, "no such checkpoint"),
        (source, tmp_path / "a.pth", 2, "weights end in .safetensors"),
        (source, tmp_path / "no" / "a.safetensors", 1, "does not exist; create it first"),
    ]
    for checkpoint, out, code, said in cases:
        done = run("weights", "convert", checkpoint, "-o", out)
        assert done.code == code
        assert said in done.err
        assert done.err.count("\n") == 1
        assert not out.exists()
    source.write_bytes(source.read_bytes()[:5000])
    done = run("weights", "convert", source, "-o", tmp_path / "a.safetensors")
    assert done.code == 1
    assert done.err.startswith("error: checkpoint.pth: is damaged")
