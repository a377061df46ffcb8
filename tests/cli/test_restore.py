"""`restore` mends degraded photographs, and refuses inputs that do not fit the task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from lowfield_recon.evaluation.metrics import psnr
from lowfield_recon.pipeline.restoration import (
    area_kernel,
    build_problem,
    gaussian_kernel,
    read_kernel,
)


def _save(path: Path, image: np.ndarray) -> Path:
    Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(path)
    return path


def _load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image) / 255


@pytest.fixture
def mask(photograph: np.ndarray) -> np.ndarray:
    """Return a mask that keeps 60 % of the pixels."""
    return np.random.default_rng(1).random(photograph.shape) < 0.6


def test_inpainting_keeps_white_and_fills_the_rest(run, photograph, mask, tmp_path):
    spoilt = np.where(mask, photograph, 1.0)  # what lies under the mask must not matter
    image, kept = _save(tmp_path / "i.png", spoilt), _save(tmp_path / "m.png", mask * 1.0)
    words = ["--task", "inpaint", "--mask", kept, "--noise-std", "0.005"]
    done = run("restore", image, "-o", tmp_path / "o.png", *words)
    assert (done.code, done.err) == (0, "")
    restored = _load(tmp_path / "o.png")
    assert psnr(restored, photograph, data_range=1.0) > 25
    assert psnr(restored, photograph, data_range=1.0, mask=mask) > 30
    _save(image, np.where(mask, photograph, 0.0))
    run("restore", image, "-o", tmp_path / "o2.png", *words)
    assert np.array_equal(restored, _load(tmp_path / "o2.png"))


def test_a_photograph_is_restored_with_the_dictionary_that_is_named(run, photograph, tmp_path):
    image = _save(tmp_path / "i.png", photograph)
    words = ["--task", "denoise", "--noise-std", "0.1", "--method", "cdl", "--set", "iterations=2"]
    for name in ("cosine_k7_K48", "natural_K32_k11_lam2_beta0.25"):
        out = tmp_path / f"{name}.png"
        done = run("restore", image, "-o", out, *words, "--dictionary", name)
        assert (done.code, done.err) == (0, "")
        record = json.loads(out.with_name(out.name + ".json").read_text())
        assert record["settings"]["dictionary"] == name
    done = run("restore", image, "-o", tmp_path / "o.png", *words[:4], "--dictionary", name)
    assert done.code == 2
    assert "'tv' takes no dictionary; expected a method that does: cdl, cdl-lambda" in done.err


def test_denoising_lowers_the_error_in_grey_and_colour(run, photograph, tmp_path):
    generator = np.random.default_rng(2)
    for name, clean in (
        ("g", photograph),
        ("c", np.stack([photograph, 1 - photograph, photograph], -1)),
    ):
        noisy = np.clip(clean + generator.normal(0, 0.1, clean.shape), 0, 1)
        image = _save(tmp_path / f"{name}.png", noisy)
        out = tmp_path / f"{name}_out.png"
        done = run("restore", image, "-o", out, "--task", "denoise", "--noise-std", "0.1")
        assert done.code == 0
        restored = _load(out)
        assert restored.shape == clean.shape
        planes = [np.moveaxis(np.atleast_3d(a), -1, 0) for a in (restored, clean, noisy)]
        after, before = (psnr(p, planes[1], data_range=1.0) for p in (planes[0], planes[2]))
        assert after > before + 3


def test_deblurring_sharpens(run, photograph, tmp_path):
    blurred = ndimage.gaussian_filter(photograph, 1.5, mode="wrap")
    image = _save(tmp_path / "i.png", blurred)
    words = ["--task", "deblur", "--kernel", "gaussian:1.5", "--noise-std", "0.002"]
    assert run("restore", image, "-o", tmp_path / "o.npy", *words).code == 0
    before = psnr(blurred, photograph, data_range=1.0)
    assert psnr(np.load(tmp_path / "o.npy"), photograph, data_range=1.0) > before + 2


def test_super_resolution_enlarges_and_beats_repetition(run, photograph, tmp_path):
    small = photograph.reshape(24, 2, 32, 2).mean(axis=(1, 3))
    image = _save(tmp_path / "i.png", small)
    words = ["--task", "super-resolve", "--factor", "2", "--noise-std", "0.002"]
    assert run("restore", image, "-o", tmp_path / "o.png", *words).code == 0
    restored = _load(tmp_path / "o.png")
    assert restored.shape == photograph.shape
    repeated = small.repeat(2, 0).repeat(2, 1)
    assert psnr(restored, photograph, data_range=1.0) > psnr(repeated, photograph, data_range=1.0)


def test_blur_decimation_and_missing_pixels_are_undone_together(run, photograph, tmp_path):
    blurred = ndimage.gaussian_filter(photograph, 1.0, mode="wrap")
    small = blurred[::2, ::2]
    kept = np.random.default_rng(5).random(small.shape) < 0.7
    np.save(tmp_path / "i.npy", np.where(kept, small, 0.3).astype(np.float32))
    np.save(tmp_path / "m.npy", kept)
    words = ["--task", "mixed", "--kernel", "gaussian:1", "--factor", "2", "--noise-std", "0.002"]
    out = tmp_path / "o.npy"
    done = run("restore", tmp_path / "i.npy", "-o", out, *words, "--mask", tmp_path / "m.npy")
    assert (done.code, done.err) == (0, "")
    restored = np.load(out)
    assert restored.shape == photograph.shape
    found = ndimage.gaussian_filter(restored, 1.0, mode="wrap")[::2, ::2]
    assert np.abs(found - small)[kept].mean() < 0.01
    nearest = ndimage.distance_transform_edt(~kept, return_indices=True)[1]
    filled = small[tuple(nearest)].repeat(2, 0).repeat(2, 1)
    assert psnr(restored, photograph, data_range=1.0) > psnr(filled, photograph, data_range=1.0) + 2


def test_each_channel_has_its_mask_where_that_is_said(run, photograph, tmp_path):
    colours = np.stack([photograph, 1 - photograph, photograph**2], -1)
    masks = np.random.default_rng(6).random(colours.shape) < 0.6
    image = _save(tmp_path / "i.png", np.where(masks, colours, 0))
    _save(tmp_path / "m.png", masks * 1.0)
    np.save(tmp_path / "m.npy", np.moveaxis(masks, -1, 0))
    words = ["--task", "inpaint", "--noise-std", "0.002", "--mask"]
    for name, more in (("png", ["--mask-per-channel"]), ("npy", [])):
        out = tmp_path / f"{name}.png"
        done = run("restore", image, "-o", out, *words, tmp_path / f"m.{name}", *more)
        assert (done.code, done.err) == (0, "")
    restored = _load(tmp_path / "png.png")
    assert np.array_equal(restored, _load(tmp_path / "npy.png"))
    assert np.abs(restored - colours)[masks].mean() < 0.01
    assert np.abs(restored - colours)[~masks].mean() < 0.06
    run("restore", image, "-o", tmp_path / "mean.png", *words, tmp_path / "m.png")
    # by the mean of the channels, missing values pass for black ones
    assert np.abs(_load(tmp_path / "mean.png") - colours)[~masks].mean() > 0.1


def test_the_json_names_inputs_and_clipping(run, photograph, mask, tmp_path):
    image = _save(tmp_path / "i.png", photograph)
    kept = _save(tmp_path / "m.png", mask * 1.0)
    run("restore", image, "-o", tmp_path / "o.png", "--task", "inpaint", "--mask", kept)
    record = json.loads((tmp_path / "o.png.json").read_text())
    assert set(record["inputs"]) == {"image", "mask"}
    assert record["options"]["task"] == "inpaint"
    assert 0 <= record["clipped_fraction"] < 1
    assert record["settings"]["iterations"] > 0
    assert str(tmp_path) not in json.dumps(record)


def test_npy_keeps_what_png_clips(run, photograph, tmp_path):
    image = _save(tmp_path / "i.png", np.where(photograph > 0.5, 1.0, 0.0))
    words = ["--task", "deblur", "--kernel", "gaussian:0.8", "--noise-std", "0.001"]
    done = run("restore", image, "-o", tmp_path / "o.png", *words)
    run("restore", image, "-o", tmp_path / "o.npy", *words)
    assert "clipped" in done.out
    values = np.load(tmp_path / "o.npy")
    assert values.max() > 1
    assert np.allclose(np.clip(values, 0, 1), _load(tmp_path / "o.png"), atol=0.5 / 255 + 1e-6)


def test_the_area_kernel_takes_the_mean_of_what_becomes_one_pixel():
    image = torch.rand(1, 1, 1, 12, 9, generator=torch.Generator().manual_seed(0))
    small = image.reshape(1, 1, 1, 4, 3, 3, 3).mean(dim=(4, 6))
    problem = build_problem(small, "super-resolve", factor=3)
    (found,) = problem.operator(image)
    assert torch.allclose(found, small, atol=1e-6)
    assert float(area_kernel(3).sum()) == pytest.approx(1)


def test_kernels_come_from_files_too(tmp_path, photograph):
    np.save(tmp_path / "k.npy", gaussian_kernel(1.0).numpy())
    assert torch.equal(read_kernel(str(tmp_path / "k.npy")), gaussian_kernel(1.0))
    _save(tmp_path / "k.png", gaussian_kernel(1.0).numpy() * 5)
    kernel = read_kernel(str(tmp_path / "k.png"))
    assert float(kernel.sum()) == pytest.approx(1)
    assert torch.allclose(kernel, gaussian_kernel(1.0), atol=2e-3)


CASES = [
    (["--task", "inpaint"], 2, "needs --mask"),
    (["--task", "deblur"], 2, "needs --kernel"),
    (["--task", "super-resolve"], 2, "needs --factor"),
    (["--task", "denoise", "--factor", "2"], 2, "no meaning"),
    (["--task", "super-resolve", "--factor", "100000"], 2, "smaller factor"),
    (["--task", "inpaint", "--mask", "black.png"], 1, "keeps no pixel"),
    (["--task", "inpaint", "--mask", "small.png"], 1, "size of the image (48, 64), got (8, 8)"),
    (["--task", "inpaint", "--mask", "colour.npy"], 1, "has 3 channels, the image 1"),
    (["--task", "inpaint", "--mask", "m.png", "--mask-per-channel"], 1, "has one channel"),
    (["--task", "denoise", "--mask-per-channel"], 2, "without --mask"),
    (["--task", "mixed"], 2, "needs --kernel, --factor or --mask"),
    (["--task", "mixed", "--factor", "2", "--mask", "small.png"], 1, "(48, 64), got (8, 8)"),
    (["--task", "mixed", "--kernel", "gaussian:40"], 1, "larger than the image"),
    (["--task", "mix"], 2, "'mixed'"),
    (["--task", "inpaint", "--mask", "missing.png"], 1, "no such mask"),
    (["--task", "denoise", "--noise-std", "25"], 2, "0..1"),
    (["--task", "denoise", "--noise-std", "-1"], 2, "noise-std"),
    (["--task", "deblur", "--kernel", "gaussian:0"], 2, "above 0"),
    (["--task", "deblur", "--kernel", "gaussian:wide"], 2, "gaussian:SIGMA"),
    (["--task", "deblur", "--kernel", "gaussian:40"], 1, "larger than the image"),
    (["--task", "denoise", "--method", "wavlet"], 2, "Did you mean 'wavelet'"),
    (["--task", "denoise", "--set", "weight=1"], 2, "regularization_weight"),
]


@pytest.mark.parametrize(("words", "code", "text"), CASES)
def test_what_does_not_fit_is_refused_in_one_line(run, photograph, tmp_path, words, code, text):
    _save(tmp_path / "i.png", photograph)
    _save(tmp_path / "black.png", 0 * photograph)
    _save(tmp_path / "small.png", np.ones((8, 8)))
    _save(tmp_path / "m.png", np.ones_like(photograph))
    np.save(tmp_path / "colour.npy", np.ones((3, *photograph.shape)))
    before = sorted(path.name for path in tmp_path.iterdir())
    words = [tmp_path / word if word.endswith((".png", ".npy")) else word for word in words]
    done = run("restore", tmp_path / "i.png", "-o", tmp_path / "o.png", *words)
    assert done.code == code
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert text in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["o.jpg", "o", "o.tiff"])
def test_lossy_or_unknown_endings_are_refused(run, photograph, tmp_path, name):
    image = _save(tmp_path / "i.png", photograph)
    done = run("restore", image, "-o", tmp_path / name, "--task", "denoise")
    assert done.code == 2
    assert "expected the ending .png" in done.err
