"""`ncpr`, `cpr` and `decompose` on the command line: what is written, said and refused."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.learning.weight_files import SHIPPED
from lowfield_recon.pipeline.decomposing import DecompositionJob, decompose_and_write
from lowfield_recon.reconstructors.ncpr import Ncpr

FEW = ("--set", "iterations=3")


def _save(path: Path, image: np.ndarray) -> Path:
    Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(path)
    return path


@pytest.fixture
def noisy(photograph: np.ndarray, tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).normal(0, 0.1, photograph.shape)
    return _save(tmp_path / "noisy.png", photograph + noise)


@pytest.mark.parametrize("method", ["ncpr", "cpr"])
@pytest.mark.parametrize(
    "words",
    [
        ("denoise", "--noise-std", "0.1"),
        ("super-resolve", "--factor", "2"),
        ("deblur", "--kernel", "gaussian:1.2"),
        ("inpaint", "--mask"),
    ],
)
def test_every_task_says_which_weights_and_strength(run, noisy, tmp_path, method, words):
    if words[-1] == "--mask":
        words = (
            *words,
            _save(tmp_path / "m.png", np.random.default_rng(1).random((48, 64)).round()),
        )
    out = tmp_path / "o.png"
    done = run("restore", noisy, "-o", out, "--method", method, "--task", *words, *FEW)
    assert (done.code, done.err) == (0, "")
    used = done.out.splitlines()[0]
    assert used.startswith(f"used: weights {method}_sigma")
    assert "regularization_weight" in used
    assert "strength: trained strength times the noise ratio" in used
    record = json.loads((tmp_path / "o.png.json").read_text())
    assert record["diagnostics"]["strength_rule"] in used
    assert record["settings"]["weights"] in used


def test_colour_and_an_odd_size_are_padded_and_it_is_said(run, photograph, tmp_path):
    colour = np.stack([photograph, photograph**2, 1 - photograph], -1)[:47, :63]
    out = tmp_path / "o.png"
    image = _save(tmp_path / "i.png", colour)
    done = run("restore", image, "-o", out, "--method", "cpr", "--task", "denoise", *FEW)
    assert (done.code, done.err) == (0, "")
    assert "1 row and 1 column added, since groups of 2 x 2 pixels need even sides" in done.out
    with Image.open(out) as written:
        assert (written.size, written.mode) == ((63, 47), "RGB")


def test_the_json_of_a_scan_holds_shapes_of_the_parts_and_no_tensors(run, scan_file, tmp_path):
    out = tmp_path / "o.nii.gz"
    words = ("--method", "ncpr", "--set", "keep_parts=true", "--set", "preset=mri-8x-pd", *FEW)
    done = run("reconstruct", scan_file, "-o", out, "--slices", "0,2", *words)
    assert (done.code, done.err) == (0, "")
    assert "strength: published optimum 'mri-8x-pd'" in done.out
    path = next(tmp_path.glob("*.json"))
    assert path.stat().st_size < 20_000
    kept = json.loads(path.read_text())["images"][1]["diagnostics"]["sparse_part"]
    assert kept == {"shape": [1, 1, 1, 48, 64], "dtype": "torch.complex64"}


@pytest.mark.parametrize("domain", ["real", "nonnegative"])
def test_the_image_domain_of_a_scan_is_chosen(run, scan_file, tmp_path, domain):
    words = ("--method", "ncpr", "--image-domain", domain, "--acceleration", "2", *FEW)
    words = (*words, "--calibration-lines", "10", "--slices", "0")
    done = run("reconstruct", scan_file, "-o", tmp_path / "o.npy", *words)
    assert (done.code, done.err) == (0, "")
    assert f"image taken to be {domain}: its phase is not reconstructed" in done.out
    image = np.load(tmp_path / "o.npy")
    assert not np.iscomplexobj(image) or not image.imag.any()
    assert (image.real.min() >= 0) == (domain == "nonnegative")
    record = json.loads((tmp_path / "o.npy.json").read_text())
    assert record["options"]["image_domain"] == domain
    assert record["mean_score_against_full_reconstruction"]["psnr_db"] > 15


def test_a_picture_is_decomposed_and_drawn(run, noisy, tmp_path):
    out = tmp_path / "d.png"
    done = run("decompose", noisy, "-o", out, "--noise-std", "0.1", "--set", "iterations=20")
    assert (done.code, done.err) == (0, "")
    assert "the sparse part holds" in done.out
    assert done.out.splitlines()[-1] == f"wrote {out}"
    with Image.open(out) as drawn:
        assert drawn.size[0] > 1000
        assert np.asarray(drawn.convert("L")).std() > 20
    record = json.loads((tmp_path / "d.png.json").read_text())
    found = record["decomposition"]
    assert record["command"] == "decompose"
    assert found["atoms"] == 200
    assert found["shares_of_atoms_shown"] == sorted(found["shares_of_atoms_shown"], reverse=True)
    assert 0.3 < sum(found["shares_of_atoms_shown"]) <= 1.0001
    assert found["sparse_range"][0] < 0 < found["sparse_range"][1]
    assert 0 < found["sparse_energy_over_image_energy"] < 0.2


def test_one_slice_of_a_scan_is_decomposed(run, scan_file, tmp_path):
    out = tmp_path / "d.png"
    words = ("--method", "cpr", "--slices", "2", "--acceleration", "2", *FEW)
    done = run("decompose", scan_file, "-o", out, *words, "--calibration-lines", "12")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("assumed: ")
    assert "used: weights cpr_sigma25" in done.out
    assert out.is_file()
    assert json.loads((tmp_path / "d.png.json").read_text())["inputs"]["scan"]["name"] == "scan.h5"


def test_a_raw_array_is_a_scan_once_its_axes_are_named(run, kspace, tmp_path):
    np.save(tmp_path / "k.npy", kspace)
    words = ("-o", tmp_path / "d.png", *FEW)
    assert run("decompose", tmp_path / "k.npy", *words, "--axes", "slice y x").code == 0
    done = run("decompose", tmp_path / "k.npy", *words)
    assert done.code == 1
    assert "expected a real image" in done.err


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--noise-std", "25"], 2, "divide levels of 0..255 by 255"),
        (["--slices", "0"], 2, "a picture, for which --slices has no meaning"),
        (["--acceleration", "2"], 2, "a picture, for which --acceleration has no meaning"),
        (["--method", "tv"], 2, "'ncpr', 'cpr'"),
        (["--set", "weights=cdl-lambda_set"], 2, "weights 'cdl-lambda_set': none of that name"),
        (["--set", "beta=0"], 2, "beta = 0"),
        (["--set", "preset=mri-8x-p"], 2, "Did you mean 'mri-8x-pd'"),
    ],
)
def test_wrong_words_are_refused_in_one_line(run, noisy, tmp_path, words, code, text):
    done = run("decompose", noisy, "-o", tmp_path / "d.png", *words)
    assert done.code == code
    assert text in done.err
    assert done.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["noisy.png"]


@pytest.mark.parametrize(
    ("out", "words", "text"),
    [
        ("d.jpg", [], "choose a name ending in .png"),
        ("d.png", ["--slices", "0,1"], "one slice is drawn; name one of 0 to 2"),
        ("d.png", ["--noise-std", "0.1"], "--noise-std is for pictures"),
    ],
)
def test_a_scan_that_cannot_be_drawn_is_refused(run, scan_file, tmp_path, out, words, text):
    done = run("decompose", scan_file, "-o", tmp_path / out, *words)
    assert done.code == 2
    assert text in done.err
    assert not list(tmp_path.iterdir())


BAD_WEIGHTS = [
    ("model.pth", "lowfield-recon weights convert model.pth -o model.safetensors"),
    ("cut.safetensors", "cut.safetensors"),
    ("gone.safetensors", "there is no such file"),
    ("other.safetensors", "weights of the method 'cpr'; expected those of 'ncpr'"),
]


@pytest.mark.parametrize(("name", "text"), BAD_WEIGHTS)
def test_bad_weights_are_refused_in_one_line(run, noisy, tmp_path, name, text):
    (tmp_path / "model.pth").write_bytes(b"\x80\x02")
    (tmp_path / "cut.safetensors").write_bytes(
        (SHIPPED / "ncpr_sigma5.safetensors").read_bytes()[:999]
    )
    (tmp_path / "other.safetensors").write_bytes((SHIPPED / "cpr_sigma5.safetensors").read_bytes())
    words = ("--task", "denoise", "--method", "ncpr", "--set", f"weights={tmp_path / name}")
    done = run("restore", noisy, "-o", tmp_path / "o.png", *words)
    assert done.code in (1, 2)
    assert text in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "o.png").exists()


@pytest.mark.parametrize(
    ("shape", "text"),
    [((12, 40), "smaller than the patches"), ((40, 1), "smaller than the patches")],
)
def test_small_pictures_are_refused_in_one_line(run, tmp_path, shape, text):
    np.save(tmp_path / "i.npy", np.full(shape, 0.5, dtype=np.float32))
    done = run(
        "restore",
        tmp_path / "i.npy",
        "-o",
        tmp_path / "o.png",
        "--task",
        "denoise",
        "--method",
        "cpr",
    )
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert text in done.err


def test_numbers_of_any_kind_and_a_constant_picture_are_taken(run, tmp_path):
    for name, values in (
        ("int", np.full((20, 20), 3, dtype=np.int16)),
        ("double", np.full((20, 20), 0.25)),
        ("zero", np.zeros((20, 20), dtype=np.float32)),
    ):
        np.save(tmp_path / f"{name}.npy", values)
        out = tmp_path / f"{name}_out.npy"
        words = ("--task", "denoise", "--method", "ncpr", *FEW)
        done = run("restore", tmp_path / f"{name}.npy", "-o", out, *words)
        assert (done.code, done.err) == (0, "")
        assert np.allclose(np.load(out), values, atol=1e-5)


def test_an_interrupt_leaves_nothing_half_written(run, noisy, tmp_path, monkeypatch):
    solve = Ncpr.solve

    def interrupted(self, problem, progress):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        return solve(self, problem, progress)

    monkeypatch.setattr(Ncpr, "solve", interrupted)
    words = ("--set", "iterations=100000", "--set", "tolerance=0")
    done = run("decompose", noisy, "-o", tmp_path / "d.png", *words)
    assert done.code == 130
    assert "interrupted" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["noisy.png"]


def test_other_methods_have_no_parts(noisy, tmp_path):
    with pytest.raises(ValueError, match="tv: its images have no parts; expected ncpr or cpr"):
        decompose_and_write(DecompositionJob(file=noisy, method="tv"), tmp_path / "d.png")
