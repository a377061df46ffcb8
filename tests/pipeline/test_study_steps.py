"""Training, study and report as steps of a pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from skimage.transform import resize

from lowfield_recon.cli.app import main
from lowfield_recon.evaluation.study import running
from lowfield_recon.learning.cdl_lambda_task import CdlLambdaTask

STUDY = """\
title: Small
question: Which one?
methods:
  - {name: cdl-lambda, reference: true, settings: {iterations: 2}, weights: mine.safetensors}
  - {name: zero, method: adjoint}
images: [{domain: photo, images: [photo0.npy, photo1.npy]}]
shifts: {noise: [0.3]}
metrics: [ssim]
bootstrap: {resamples: 200}
"""

PIPELINE = """\
name: p
description: a test
steps:
  - name: trained
    uses: train
    with:
      config: cdl_lambda_v1
      images: [photos]
      seed: 3
      settings: {fit.steps: 2, fit.validate_every: 1, fit.warmup_steps: 0, examples.crop: [32, 32],
        unroll.iterations: 2, data.held_out: 1, data.tested: [], validation.n_subjects: 1}
    save_as: mine.safetensors
  - name: study
    uses: study
    with: {study: s.yaml, data: [photos], weights: "${trained.weights}"}
    save_as: study
  - name: report
    uses: report
    with: {study: "${study.study}"}
    save_as: report.html
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a pipeline, a study and three small images."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, source in enumerate((data.camera(), data.coins(), data.moon())):
        image = resize(source / 255, (48, 48), anti_aliasing=True)
        np.save(photos / f"photo{index}.npy", image.astype(np.float32))
    (tmp_path / "s.yaml").write_text(STUDY)
    (tmp_path / "p.yaml").write_text(PIPELINE)
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.relative_to(folder).parts[0].startswith(".cache")
    }


def test_training_study_and_report_run_and_a_second_run_gives_the_same_bytes(folder: Path, capfd):
    words = ["run", str(folder / "p.yaml"), "-o"]
    assert main([*words, str(folder / "one")]) == 0
    written = tree(folder / "one")
    assert {"report.html", "study/rows.csv", "study/study.json", "study/rows.parquet"} <= set(
        written
    )
    assert not any("timing" in name or ".study" in name for name in written)
    assert any(name.endswith(".pdf") for name in written)
    record = json.loads(written["study/study.json"])
    assert record["failures"] == []
    (arm, _) = record["methods"]
    assert arm["weights"] == ["mine.safetensors"]
    (folder / "p.yaml").write_text(PIPELINE.partition("  - name: report")[0])
    assert main([*words, str(folder / "two")]) == 0
    again = tree(folder / "two")
    assert {"mine.safetensors", "study/study.json"} <= set(again)
    assert again == {name: content for name, content in written.items() if name in again}
    (folder / "p.yaml").write_text(PIPELINE)
    capfd.readouterr()
    assert main([*words, str(folder / "one")]) == 0
    assert "0 made, 3 taken from the cache" in capfd.readouterr().out


def test_an_image_that_changes_is_studied_again(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(running, "study_code", lambda: "the same")
    text = STUDY.replace("weights: mine.safetensors", "weights: cdl-lambda_v1")
    (folder / "s.yaml").write_text(text)
    (folder / "q.yaml").write_text(
        "name: q\ndescription: a test\nsteps:\n  - name: study\n    uses: study\n"
        f"    with: {{study: s.yaml, data: [photos], state: {folder / 'state'}}}\n"
        "    save_as: study\n"
    )
    words = ["run", str(folder / "q.yaml"), "-o", str(folder / "out")]
    assert main(words) == 0
    before = (folder / "out" / "study" / "rows.csv").read_text()
    n_lines = (folder / "state" / "study" / ".study" / "results.jsonl").read_text().count("\n")
    photo = folder / "photos" / "photo1.npy"
    np.save(photo, np.load(photo)[::-1])
    capfd.readouterr()
    assert main(words) == 0
    assert "1 made" in capfd.readouterr().out
    assert (folder / "out" / "study" / "rows.csv").read_text() != before
    # Two methods and two conditions of the image that changed; the other was known.
    after = (folder / "state" / "study" / ".study" / "results.jsonl").read_text().count("\n")
    assert (n_lines, after) == (8, 12)


def test_a_training_goes_on_where_it_was_interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch):
    text = PIPELINE.partition("  - name: study")[0].replace(
        "validate_every: 1", "checkpoint_every: 1"
    )
    (folder / "one.yaml").write_text(text)
    (folder / "two.yaml").write_text(
        text.replace("seed: 3", f"seed: 3\n      state: {folder}/kept")
    )
    assert main(["run", str(folder / "one.yaml"), "-o", str(folder / "one")]) == 0
    words = ["run", str(folder / "two.yaml"), "-o", str(folder / "two")]
    steps, loss = [], CdlLambdaTask.loss

    def interrupted(task: CdlLambdaTask, step: int) -> torch.Tensor:
        steps.append(step)
        if steps == [0, 1]:
            raise KeyboardInterrupt
        return loss(task, step)

    monkeypatch.setattr(CdlLambdaTask, "loss", interrupted)
    assert main(words) != 0
    assert main(words) == 0
    assert steps == [0, 1, 1]
    names = [f"{out}/mine.safetensors" for out in ("one", "two")]
    assert len({(folder / name).read_bytes() for name in names}) == 1


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("config: cdl_lambda_v1", "config: cdl_lambda_v1\n      method: cdl-lamda", "Did you mean"),
        ("config: cdl_lambda_v1", "config: cdl_lambda_v9", "config 'cdl_lambda_v9': none ships"),
        ("fit.steps: 2", "fit.steps: -2", "steps"),
        ("study: s.yaml", "study: p.yaml", "'name' is no setting here"),
    ],
)
def test_mistakes_are_found_before_anything_runs(folder: Path, capfd, old, new, text):
    (folder / "p.yaml").write_text(PIPELINE.replace(old, new))
    assert main(["run", str(folder / "p.yaml"), "-o", str(folder / "out")]) == 2
    message = capfd.readouterr().err
    assert text in message
    assert message.count("\n") == 1
    assert not (folder / "out").exists()


def test_changes_of_the_full_study_may_hold_lists(folder: Path, capfd):
    """The command that the README gives for the ablation."""
    words = ["changes=fit.steps=1000, examples.crop=[64,64]", f"data={folder}", "seed=1"]
    command = ["run", "ood_study", f"images={folder / 'photos'}", "config=cdl_lambda_set", *words]
    assert main([*command, "-o", str(folder / "out"), "--dry-run"]) == 0
    assert "to run" in capfd.readouterr().out
    wrong = [word.replace("[64,64]", "[64") for word in command]
    assert main([*wrong, "-o", str(folder / "out"), "--dry-run"]) == 2
    assert "examples.crop" in capfd.readouterr().err
