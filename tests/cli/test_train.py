"""`lowfield-recon train` as a user meets it, with a training that takes milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from lowfield_recon.cli import train as command
from lowfield_recon.learning import trainer
from lowfield_recon.learning.tasks import TASKS
from lowfield_recon.learning.tensor_files import read_tensors

CONFIG = """\
fit:
  steps: 8
  validate_every: 4
  learning_rate: 0.01
width: 5
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    if request.node.name != "test_it_trains_and_says_what_it_wrote":
        monkeypatch.setattr(trainer, "draw_curves", lambda *things: None)
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "learning")
    monkeypatch.setitem(TASKS, "toy", "toy_task")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret-place").mkdir()
    for name in ("a.nii", "b.nii", "c.nii"):
        (tmp_path / "secret-place" / name).write_bytes(b"image")
    (tmp_path / "small.yaml").write_text(CONFIG)
    return tmp_path


def test_it_trains_and_says_what_it_wrote(run, folder):
    images = [folder / "secret-place" / name for name in ("a.nii", "b.nii", "c.nii")]
    (folder / "small.yaml").rename(folder / "secret-place" / "small.yaml")
    config = folder / "secret-place" / "small.yaml"
    done = run("train", "toy", config, "--images", *images, "-o", "out", "--device", "cpu")
    assert done.code == 0
    assert "all steps are done: 8 steps" in done.out
    assert "wrote out/weights.safetensors" in done.out
    validations = [line for line in done.err.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in validations] == ["step 4 of 8", "step 8 of 8"]
    files = {entry.name for entry in (folder / "out").iterdir()}
    assert files == {
        "checkpoint.safetensors", "curves.jsonl", "curves.png", "weights.json",
        "weights.safetensors",
    }  # fmt: skip
    card = json.loads((folder / "out" / "weights.json").read_text())
    assert card["command"] == (
        "lowfield-recon train toy small.yaml -o out --images a.nii b.nii c.nii --device cpu"
    )
    assert card["architecture"] == {"width": 5}
    for name in files - {"curves.png"}:
        assert b"secret-place" not in (folder / "out" / name).read_bytes()


def test_settings_of_the_command_line_come_before_those_of_the_file(run, folder):
    words = ["train", "toy", "small.yaml", "--images", "secret-place", "-o", "out"]
    sets = ["--set", "fit.steps=3", "--set", "width=2", "--set", "fit.seed=7"]
    threads = torch.get_num_threads()
    assert run(*words, *sets, "--threads", threads + 2, "--device", "cpu").code == 0
    torch.set_num_threads(threads)
    card = json.loads((folder / "out" / "weights.json").read_text())
    assert (card["fit"]["steps"], card["fit"]["learning_rate"]) == (3, 0.01)
    assert card["settings"]["width"] == 2
    assert card["settings"]["seed"] == 7
    assert card["training"]["threads"] == threads + 2


def test_the_same_command_goes_on_and_other_settings_are_refused(run, folder):
    words = ["train", "toy", "small.yaml", "--images", "secret-place", "-o", "out"]
    assert run(*words, "--set", "fit.steps=5").code == 0
    more = run(*words)
    assert more.code == 0
    assert "going on after step 5" in more.err
    refused = run(*words, "--set", "fit.learning_rate=0.5")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "fit.learning_rate = 0.01, now it is 0.5" in refused.err
    before = read_tensors(folder / "out" / "checkpoint.safetensors")[1]["counters"]["step"]
    assert before == 8
    anew = run(*words, "--set", "fit.learning_rate=0.5", "--restart")
    assert anew.code == 0
    assert "going on" not in anew.err


def test_quiet_says_only_the_result(run, folder):
    words = ["train", "toy", "small.yaml", "--images", "secret-place", "-o", "out", "--quiet"]
    assert run(*words).err == ""


def test_configurations_that_ship_are_found_by_name(run, folder, monkeypatch):
    (folder / "configs").mkdir()
    (folder / "small.yaml").rename(folder / "configs" / "toy-small.yaml")
    monkeypatch.setattr(command, "_CONFIGS", folder / "configs")
    words = ["--images", "secret-place", "-o", "out"]
    assert run("train", "toy", "toy-small", *words).code == 0
    wrong = run("train", "toy", "toy-smal", *words)
    assert wrong.code == 2
    assert "Did you mean 'toy-small'?" in wrong.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["tooy", "small.yaml"], 2, "Did you mean 'toy'? Known: cdl-lambda, cpr, modl, ncpr,"),
        (["toy", "none.yaml"], 1, "none.yaml: no such configuration"),
        (["toy", "none"], 2, "no configuration of that name ships"),
        (["toy", "small.yaml", "--set", "fit.step=3"], 2, "Did you mean 'steps'?"),
        (["toy", "small.yaml", "--set", "wdth=3"], 2, "Did you mean 'width'?"),
        (["toy", "small.yaml", "--set", "fit.steps=many"], 2, "fit.steps: input should be"),
        (["toy", "small.yaml", "--set", "fit.steps"], 2, "expected KEY=VALUE"),
        (["toy", "small.yaml", "--set", "fit.steps=[1"], 2, "is not a YAML value"),
        (["toy", "small.yaml", "--set", "width.deep=1"], 2, "'width' holds no settings"),
        (["toy", "small.yaml", "--set", "fit=3"], 2, "fit: input should be"),
        (["toy", "small.yaml", "--set", "fit.warmup_steps=8"], 2, "fewer than the 8 steps"),
        (["toy", "small.yaml", "--device", "tpu"], 2, "expected auto, cpu or cuda"),
        (["toy", "small.yaml", "--images", "d.nii"], 1, "d.nii: no such image or folder"),
        (["toy", "small.yaml", "-o", "no/such"], 1, "its folder no does not exist"),
        (["toy", "small.yaml", "-o", "small.yaml"], 1, "small.yaml"),
    ],
)
def test_what_is_wrong_is_one_line(run, folder, words, code, said):
    out = [] if "-o" in words else ["-o", "out"]
    done = run("train", *words, "--images", "secret-place", *out)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert said in done.err
    assert not (folder / "out").exists()


def test_a_broken_file_is_named_with_its_line(run, folder):
    (folder / "small.yaml").write_text("fit:\n  steps: 3\n  steps: 4\n")
    done = run("train", "toy", "small.yaml", "--images", "secret-place", "-o", "out")
    assert done.code == 2
    assert "small.yaml, line 3: 'steps' is given twice" in done.err


def test_every_configuration_that_ships_has_a_loop_that_is_valid():
    from lowfield_recon.configuration import read_document
    from lowfield_recon.learning.tasks import fit_settings

    for path in sorted(command._CONFIGS.glob("*.yaml")) if command._CONFIGS.is_dir() else []:
        assert fit_settings(read_document(path).content).steps > 0
