"""`score` reads images of every kind and states data range and pixels."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from lowfield_recon.evaluation import metrics


@pytest.fixture
def pair(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy version of a photograph and the photograph, both float32."""
    noise = np.random.default_rng(3).normal(0, 0.05, photograph.shape)
    return (photograph + noise).astype(np.float32), photograph.astype(np.float32)


def test_arrays_refer_to_the_largest_magnitude_of_the_reference(run, pair, tmp_path):
    np.save(tmp_path / "a.npy", 3 * pair[0][None, None])
    np.save(tmp_path / "b.npy", 3 * pair[1][None])
    done = run("score", tmp_path / "a.npy", tmp_path / "b.npy", "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    peak = 3 * float(pair[1].max())
    expected = metrics.score(3 * pair[0], 3 * pair[1], data_range=peak)
    assert found["psnr_db"] == pytest.approx(expected.psnr_db)
    assert found["ssim"] == pytest.approx(expected.ssim)
    assert found["data_range"] == pytest.approx(peak)
    assert found["n_pixels"] == pair[0].size
    assert found["inputs"]["image"]["name"] == "a.npy"


def test_photographs_refer_to_one_and_text_names_units(run, pair, tmp_path):
    for name, image in zip(("a.png", "b.png"), pair, strict=True):
        Image.fromarray((np.clip(image, 0, 1) * 255).round().astype(np.uint8)).save(tmp_path / name)
    done = run("score", tmp_path / "a.png", tmp_path / "b.png")
    assert done.out.startswith("PSNR ")
    assert "dB (data range 1)" in done.out
    assert all(word in done.out for word in ("SSIM", "NRMSE", "HFEN", "blur effect", "pixels"))


def test_data_range_and_mask_are_the_users(run, pair, tmp_path):
    mask = np.zeros(pair[0].shape)
    mask[10:40, 10:50] = 1
    for name, array in (("a", pair[0]), ("b", pair[1]), ("m", mask)):
        np.save(tmp_path / f"{name}.npy", array)
    words = ["--data-range", "2", "--mask", tmp_path / "m.npy", "--json"]
    found = json.loads(run("score", tmp_path / "a.npy", tmp_path / "b.npy", *words).out)
    assert (found["data_range"], found["n_pixels"]) == (2.0, 1200)
    expected = metrics.psnr(pair[0], pair[1], data_range=2.0, mask=mask)
    assert found["psnr_db"] == pytest.approx(expected)


def test_what_reconstruct_writes_can_be_scored_in_every_format(run, scan_file, tmp_path):
    found = {}
    for ending in (".nii.gz", ".h5", ".npy"):
        for method in ("adjoint", "tv"):
            run("reconstruct", scan_file, "-o", tmp_path / f"{method}{ending}", "--method", method)
        done = run("score", tmp_path / f"tv{ending}", tmp_path / f"adjoint{ending}", "--json")
        assert done.code == 0, done.err
        found[ending] = json.loads(done.out)["nrmse"]
    assert 0 < found[".npy"] < 1
    assert found[".nii.gz"] == pytest.approx(found[".npy"], rel=1e-4)
    assert found[".h5"] == pytest.approx(found[".npy"], rel=1e-4)


def test_equal_images_have_infinite_psnr_and_null_in_json(run, pair, tmp_path):
    np.save(tmp_path / "a.npy", pair[1])
    assert "PSNR         inf dB" in run("score", tmp_path / "a.npy", tmp_path / "a.npy").out
    done = run("score", tmp_path / "a.npy", tmp_path / "a.npy", "--json")
    assert json.loads(done.out)["psnr_db"] is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("missing.npy", "no such"),
        ("other.npy", "shape"),
        ("flat.npy", "every pixel"),
        ("x.h5", "x.h5"),
    ],
)
def test_what_cannot_be_scored_is_refused(run, pair, tmp_path, name, text):
    np.save(tmp_path / "a.npy", pair[0])
    np.save(tmp_path / "other.npy", pair[1][:-1])
    np.save(tmp_path / "flat.npy", np.ones_like(pair[1]))
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    done = run("score", tmp_path / "a.npy", tmp_path / name)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert text in done.err


def test_a_scan_is_not_an_image(run, scan_file, tmp_path):
    np.save(tmp_path / "a.npy", np.eye(8))
    done = run("score", tmp_path / "a.npy", scan_file)
    assert done.code == 1
    assert "not an image" in done.err


def test_volumes_of_other_programs_can_be_scored(run, pair, tmp_path):
    for name, image in zip(("a.nii", "b.nii"), pair, strict=True):
        nibabel.save(nibabel.Nifti1Image(image.T[..., None], np.eye(4)), tmp_path / name)
    done = run("score", tmp_path / "a.nii", tmp_path / "b.nii", "--json")
    assert json.loads(done.out)["nrmse"] == pytest.approx(metrics.nrmse(*pair), rel=1e-5)
