"""Budget, preview, oracle and Ctrl-C of `restore` and `reconstruct`, with a method that fits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field

from lowfield_recon.learning.untrained.loop import Estimate, run_fit
from lowfield_recon.learning.untrained.rules import LastIterate
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors import registry
from lowfield_recon.reconstructors.base import Outcome, Reconstructor, Settings

ROOT = Path(__file__).resolve().parents[2]


class FitSettings(Settings):
    iterations: int = Field(default=30, ge=1)
    budget: float | None = Field(default=None, gt=0)
    interrupt_image: int | None = None
    interrupt_at: int = 5


class Fit(Reconstructor[FitSettings]):
    """Landweber iterations through the loop that methods without training data share."""

    name = "fit"
    summary = "a stand-in"
    settings_type = FitSettings
    seen: ClassVar[list[tuple[int, InverseProblem]]] = []

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        Fit.seen.append((id(self), problem))
        image = torch.zeros(problem.shape, dtype=problem.image_dtype)
        chosen = self.settings
        is_interrupted = chosen.interrupt_image == len(Fit.seen) - 1

        def advance(i: int) -> Estimate:
            if is_interrupted and i == chosen.interrupt_at:
                signal.raise_signal(signal.SIGINT)
            residual = problem.data - problem.operator(image)[0]
            image.add_(0.1 * problem.operator.adjoint(residual)[0])
            return Estimate(image=image, objective=float(residual.abs().square().sum()))

        fitted = run_fit(
            advance,
            LastIterate(),
            iterations=chosen.iterations,
            budget=chosen.budget,
            progress=progress,
        )
        diagnostics = {
            "objective": fitted.objective,
            "iterations": fitted.iterations,
            "stopping_reason": fitted.stopping_reason,
        }
        return Outcome(fitted.image, diagnostics, {})


@pytest.fixture(autouse=True)
def fit(monkeypatch: pytest.MonkeyPatch) -> type[Fit]:
    """Register the stand-in as the method 'fit'."""
    module = ModuleType("fit_stand_in")
    module.Fit = Fit
    monkeypatch.setitem(sys.modules, "fit_stand_in", module)
    monkeypatch.setitem(registry._BUILT_IN, "fit", "fit_stand_in:Fit")
    monkeypatch.setattr(Fit, "seen", [])
    return Fit


@pytest.fixture
def noisy(photograph: np.ndarray, tmp_path: Path) -> Path:
    """Return a noisy photograph; the clean one lies beside it as truth.png."""
    values = photograph + np.random.default_rng(0).normal(0, 0.05, photograph.shape)
    np.save(tmp_path / "noisy.npy", values.astype(np.float32))
    levels = (photograph * 255).round().astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "truth.png")
    return tmp_path / "noisy.npy"


def _record(path: Path) -> dict:
    return json.loads(path.with_name(path.name + ".json").read_text())


DENOISE = ("--task", "denoise", "--noise-std", "0.05", "--method", "fit")
FIRST = ("--method", "fit", "--slices", "0")
INTERRUPT = ("--set", "interrupt_image=0")


def test_the_preview_stays_with_the_last_image_that_was_shown(run, noisy, tmp_path):
    preview = tmp_path / "p.png"
    words = ["--preview", preview, "--preview-seconds", "0"]
    done = run("restore", noisy, "-o", tmp_path / "o.png", *DENOISE, *words)
    assert (done.code, done.err) == (0, "")
    assert f"preview {preview}: iteration 30, the last one shown" in done.out.splitlines()
    with Image.open(preview) as shown, Image.open(tmp_path / "o.png") as written:
        assert np.array_equal(np.asarray(shown), np.asarray(written))


def test_a_preview_of_a_scan_names_the_slice(run, scan_file, tmp_path):
    preview = tmp_path / "p.png"
    words = ["--preview", preview, "--preview-seconds", "0"]
    done = run("reconstruct", scan_file, "-o", tmp_path / "o.npy", "--method", "fit", *words)
    assert (done.code, done.err) == (0, "")
    assert f"preview {preview}: image 3 of 3, iteration 30, the last one shown" in done.out
    with Image.open(preview) as shown:
        assert shown.info["shows"] == "image 3 of 3, iteration 30"
        magnitude = np.abs(np.load(tmp_path / "o.npy")[0, 2]).squeeze()
        levels = np.asarray(shown).astype(float)
    assert np.corrcoef(levels.ravel(), magnitude.ravel())[0, 1] > 0.999


def test_all_slices_go_through_one_object(run, scan_file, tmp_path, fit):
    assert run("reconstruct", scan_file, "-o", tmp_path / "o.npy", "--method", "fit").code == 0
    assert len(fit.seen) == 3
    assert len({key for key, _ in fit.seen}) == 1


@pytest.mark.parametrize("command", ["restore", "reconstruct"])
def test_a_method_that_shows_no_images_has_no_preview_and_says_so(
    run, noisy, scan_file, tmp_path, command
):
    words = ["--preview", tmp_path / "p.png", "--set", "iterations=2"]
    if command == "restore":
        words += ["--task", "denoise", "--reference", tmp_path / "truth.png", "--oracle"]
        missing = "no preview and no oracle: 'tv' shows no images while it runs"
    else:
        words += ["--slices", "0"]
        missing = "no preview: 'tv' shows no images while it runs"
    done = run(command, noisy if command == "restore" else scan_file, "-o", tmp_path / "o.npy",
               *words)  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert missing in done.out.splitlines()
    assert not (tmp_path / "p.png").exists()
    assert "oracle" not in _record(tmp_path / "o.npy")


def test_the_budget_is_that_of_the_settings(run, noisy, scan_file, tmp_path):
    words = ["--budget", "0.001", "--set", "iterations=1000000"]
    assert run("restore", noisy, "-o", tmp_path / "o.png", *DENOISE, *words).code == 0
    record = _record(tmp_path / "o.png")
    assert record["settings"]["budget"] == 0.001
    assert record["diagnostics"]["stopping_reason"] == "budget"
    assert run("reconstruct", scan_file, "-o", tmp_path / "o.npy", *FIRST, *words).code == 0
    assert _record(tmp_path / "o.npy")["stopping_reason"] == "budget"


def test_an_interrupted_photograph_is_written_as_far_as_it_got(run, noisy, tmp_path):
    out = tmp_path / "o.npy"
    done = run("restore", noisy, "-o", out, *DENOISE, *INTERRUPT)
    assert done.code == 130
    assert done.err == "error: interrupted: wrote the best image so far\n"
    assert f"wrote {out}" in done.out.splitlines()
    assert _record(out)["diagnostics"]["stopping_reason"] == "interrupted"
    run("restore", noisy, "-o", tmp_path / "four.npy", *DENOISE, "--set", "iterations=4")
    assert np.array_equal(np.load(out), np.load(tmp_path / "four.npy"))


def test_an_interrupt_before_there_is_an_image_leaves_nothing(run, noisy, scan_file, tmp_path):
    before = sorted(tmp_path.iterdir())
    words = [*INTERRUPT, "--set", "interrupt_at=1"]
    for start in (["restore", noisy, *DENOISE], ["reconstruct", scan_file, *FIRST]):
        Fit.seen.clear()
        done = run(*start, "-o", tmp_path / "o.npy", *words)
        assert done.code == 130
        assert done.err == "error: interrupted; nothing half-written was left\n"
        assert sorted(tmp_path.iterdir()) == before


def test_an_interrupted_single_slice_is_written(run, scan_file, tmp_path):
    out = tmp_path / "o.npy"
    done = run("reconstruct", scan_file, "-o", out, *FIRST, *INTERRUPT)
    assert (done.code, done.err) == (130, "error: interrupted: wrote the best image so far\n")
    assert _record(out)["stopping_reason"] == "interrupted"
    assert np.load(out).size == 48 * 64


def test_an_interrupted_slice_ends_the_scan_unless_it_is_the_last(run, scan_file, tmp_path, fit):
    out = tmp_path / "o.nii.gz"
    words = ["--method", "fit", "--set"]
    done = run("reconstruct", scan_file, "-o", out, *words, "interrupt_image=1")
    assert done.code == 130
    assert done.err == (
        "error: interrupted in image 2 of 3: o.nii.gz holds all images or none and was not "
        "written; choose fewer with --slices, or give each less time with --budget.\n"
    )
    assert len(fit.seen) == 2
    assert list(tmp_path.iterdir()) == []
    fit.seen.clear()
    done = run("reconstruct", scan_file, "-o", out, *words, "interrupt_image=2")
    assert (done.code, done.err) == (130, "error: interrupted: wrote the best image so far\n")
    assert out.exists()
    reasons = [image["diagnostics"]["stopping_reason"] for image in _record(out)["images"]]
    assert reasons == ["iterations", "iterations", "interrupted"]


PLUG_IN = """
import torch
from lowfield_recon.learning.untrained.loop import Estimate, run_fit
from lowfield_recon.learning.untrained.rules import LastIterate
from lowfield_recon.reconstructors.base import Outcome, Reconstructor


class Count(Reconstructor):
    name = "count"
    summary = "the number of the iteration"

    def solve(self, problem, progress):
        def advance(i):
            weight = torch.zeros(64, 64, requires_grad=True)
            with torch.enable_grad():
                (weight.exp() - 1).square().sum().backward()
            return Estimate(image=torch.full(problem.shape, float(i)), objective=1.0)

        fitted = run_fit(advance, LastIterate(), iterations=10**9, progress=progress)
        reason = {"stopping_reason": fitted.stopping_reason, "iterations": fitted.iterations}
        return Outcome(fitted.image, reason, {})
"""


def test_a_signal_from_outside_ends_in_a_whole_image(noisy, tmp_path):
    plug_in = tmp_path / "plug_in"
    metadata = plug_in / "count_plug_in-1.0.dist-info"
    metadata.mkdir(parents=True)
    (plug_in / "count_plug_in.py").write_text(PLUG_IN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: count-plug-in\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[lowfield_recon.reconstructors]\ncount = count_plug_in:Count\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    words = ["restore", noisy, "-o", out / "o.npy", "--task", "denoise", "--method", "count"]
    words += ["--preview", out / "p.png", "--preview-seconds", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lowfield_recon.cli.app", *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(plug_in), str(ROOT)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not (out / "p.png").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (130, "error: interrupted: wrote the best image so far\n")
    assert {path.name for path in out.iterdir()} == {"o.npy", "o.npy.json", "p.png"}
    count = _record(out / "o.npy")["diagnostics"]["iterations"]
    assert np.unique(np.load(out / "o.npy")).tolist() in ([count], [count - 1])


STEPS = {
    "reconstruct": "{scan: scan.h5, method: fit, slices: '0', settings: {interrupt_image: 0}}",
    "restore": "{image: noisy.npy, task: denoise, method: fit, settings: {interrupt_image: 0}}",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_pipeline_keeps_nothing_of_an_interrupted_image(run, noisy, scan_file, step):
    folder = noisy.parent
    (folder / "scan.h5").write_bytes(scan_file.read_bytes())
    (folder / "p.yaml").write_text(
        f"name: p\ndescription: a test\nsteps:\n- name: a\n  uses: {step}\n  with: {STEPS[step]}\n"
        "  save_as: image.npy\n"
    )
    done = run("run", folder / "p.yaml", "-o", folder / "out")
    assert done.code == 130
    assert "interrupted" in done.err
    assert not list((folder / "out").rglob("*.npy"))
    again = run("run", folder / "p.yaml", "-o", folder / "out")
    assert again.code == 0
    assert "taken from the cache" not in again.out or "0 taken from the cache" in again.out
    assert list((folder / "out").glob("image.npy"))


def test_tuning_takes_an_interrupted_image_for_an_interrupt(run, noisy, tmp_path):
    words = ["--task", "denoise", "--search", "budget=100", "-o", tmp_path / "t"]
    done = run("tune", "fit", tmp_path / "truth.png", *words, *INTERRUPT)
    assert done.code == 130
    assert "interrupted" in done.err
    assert not (tmp_path / "t" / "tuned.json").exists()


def test_the_oracle_stands_beside_the_score_and_changes_nothing(run, noisy, tmp_path, fit):
    truth = tmp_path / "truth.png"
    for name, words in (
        ("plain", []),
        ("scored", ["--reference", truth]),
        ("oracle", ["--reference", truth, "--oracle"]),
    ):
        done = run("restore", noisy, "-o", tmp_path / f"{name}.png", *DENOISE, *words)
        assert (done.code, done.err) == (0, "")
    images = [(tmp_path / f"{name}.png").read_bytes() for name in ("plain", "scored", "oracle")]
    assert images[0] == images[1] == images[2]
    assert all(problem.reference is None for _, problem in fit.seen)
    assert not {"score", "oracle"} & _record(tmp_path / "plain.png").keys()
    assert "oracle" not in _record(tmp_path / "scored.png")
    record = _record(tmp_path / "oracle.png")
    assert record["inputs"]["reference"]["name"] == "truth.png"
    score = json.loads(run("score", tmp_path / "oracle.png", truth, "--json").out)
    assert record["score"]["psnr_db"] == pytest.approx(score["psnr_db"], abs=1e-9)
    assert record["oracle"]["note"] == (
        "best PSNR over all iterates that were shown, chosen with the reference; not what was "
        "written"
    )
    found = {}
    for count in (1, 10, 20, 30):
        out = tmp_path / "n.png"
        run("restore", noisy, "-o", out, *DENOISE, "--set", f"iterations={count}")
        found[count] = json.loads(run("score", out, truth, "--json").out)["psnr_db"]
    best = max(found, key=found.__getitem__)
    assert record["oracle"]["iteration"] == best
    assert record["oracle"]["psnr_db"] == pytest.approx(found[best], abs=1e-9)
    assert "oracle (best iterate, chosen with the reference, not written): PSNR" in done.out


def test_the_oracle_of_a_scan_changes_nothing_either(run, scan_file, tmp_path, fit):
    words = ["--acceleration", "2", "--calibration-lines", "12", "--method", "fit"]
    for name, more in (("plain", []), ("oracle", ["--oracle"])):
        done = run("reconstruct", scan_file, "-o", tmp_path / f"{name}.npy", *words, *more)
        assert (done.code, done.err) == (0, "")
    plain, scored = (tmp_path / f"{name}.npy" for name in ("plain", "oracle"))
    assert plain.read_bytes() == scored.read_bytes()
    assert all(problem.reference is None for _, problem in fit.seen)
    assert "oracle" not in _record(plain)
    record = _record(scored)
    per_image = [image["oracle"] for image in record["images"]]
    for image, oracle in zip(record["images"], per_image, strict=True):
        assert oracle["psnr_db"] >= image["score"]["psnr_db"] - 1e-9  # the last one was shown too
        assert oracle["iteration"] in (1, 10, 20, 30)
    assert record["oracle"]["psnr_db"] == pytest.approx(
        np.mean([entry["psnr_db"] for entry in per_image])
    )
    assert record["oracle"]["iteration"] == [entry["iteration"] for entry in per_image]


REFUSED = [
    ("restore", ["--budget", "0"], 2, "--budget 0: expected seconds above 0"),
    ("restore", ["--budget", "nan"], 2, "expected seconds above 0"),
    ("restore", ["--budget", "inf"], 2, "expected seconds above 0"),
    ("restore", ["--budget", "5", "--set", "budget=6"], 2, "given twice"),
    ("restore", ["--budget", "5", "--method", "adjoint"], 2, "'adjoint' takes no budget"),
    ("restore", ["--budget", "5", "--method", "tvv"], 2, "Did you mean 'tv'"),
    ("restore", ["--set", "budget=0"], 2, "budget = 0"),
    ("restore", ["--preview", "p.jpg"], 2, "ending in .png"),
    ("restore", ["--preview", "no/p.png"], 1, "does not exist"),
    ("restore", ["--preview", "truth.png", "--reference", "truth.png"], 2, "another file"),
    ("restore", ["--preview", "o.png"], 2, "another file"),
    ("restore", ["--preview-seconds", "2"], 2, "--preview PNG beside it"),
    ("restore", ["--preview", "p.png", "--preview-seconds", "-1"], 2, "at least 0"),
    ("restore", ["--preview", "p.png", "--preview-seconds", "nan"], 2, "at least 0"),
    ("restore", ["--oracle"], 2, "needs --reference"),
    ("restore", ["--reference", "no.png"], 1, "no such reference"),
    ("restore", ["--reference", "small.png"], 1, "1 channels of (8, 8) pixels; expected"),
    ("restore", ["--reference", "flat.png"], 1, "expected an image with contrast"),
    ("reconstruct", ["--oracle"], 2, "needs --acceleration"),
    ("reconstruct", ["--budget", "-1"], 2, "expected seconds above 0"),
    ("reconstruct", ["--budget", "1", "--method", "adjoint"], 2, "takes no budget"),
    ("reconstruct", ["--preview", "o.png"], 2, "another file"),
]


@pytest.mark.parametrize(("command", "words", "code", "text"), REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(
    run, noisy, scan_file, tmp_path, command, words, code, text
):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "small.png")
    Image.fromarray(np.full((48, 64), 9, dtype=np.uint8)).save(tmp_path / "flat.png")
    before = sorted(tmp_path.iterdir())
    placed = [tmp_path / word if word.endswith(("png", "jpg")) else word for word in words]
    start = ["restore", noisy, "--task", "denoise"] if command == "restore" else [
        "reconstruct", scan_file, "--slices", "0",
    ]  # fmt: skip
    if "--method" not in words:
        start += ["--method", "fit"]
    done = run(*start, "-o", tmp_path / "o.png", *placed)
    assert done.code == code, done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert text in done.err
    assert sorted(tmp_path.iterdir()) == before
