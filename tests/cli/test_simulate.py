"""`simulate`, and that `reconstruct` gives the image back."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

AFFINE = np.array([[0, 2.0, 0, -30], [0, 0, -3.0, 12], [-1.5, 0, 0, 7], [0, 0, 0, 1]])
OBLIQUE = np.array([[1.6, -1.2, 0, 5], [1.2, 1.6, 0, -9], [0, 0, 4.0, 21], [0, 0, 0, 1]])


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture
def png(tmp_path: Path, photograph: np.ndarray) -> Path:
    levels = (255 * photograph).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "even.png")
    Image.fromarray(levels[:47, :61]).save(tmp_path / "odd.png")
    return tmp_path


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, shape, affine in (("even", (20, 24, 8), AFFINE), ("odd", (19, 23, 7), OBLIQUE)):
        voxels = np.zeros(shape, np.float32)
        voxels[3:-4, 4:-3, 1:-2] = rng.random(
            tuple(n - m for n, m in zip(shape, (7, 7, 3), strict=True))
        )
        nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{name}.nii.gz")
    return tmp_path


OPTIONS = [[], ["--coils", "4"], ["--phase", "2"], ["--coils", "6", "--phase", "1.5"]]


@pytest.mark.parametrize("size", ["even", "odd"])
@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_a_picture_comes_back(run, png, size, words):
    done = run("simulate", png / f"{size}.png", "-o", png / "scan.h5", *words)
    assert (done.code, done.err) == (0, "")
    assert f"wrote {png / 'scan.h5'}" in done.out
    done = run("reconstruct", png / "scan.h5", "-o", png / "out.npy", "--method", "cg-sense")
    assert (done.code, done.err) == (0, "")
    expected = np.asarray(Image.open(png / f"{size}.png")) / 255
    found = np.load(png / "out.npy").reshape(expected.shape)
    assert relative_error(np.abs(found), expected) < 1e-5
    if "--phase" not in words:
        assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("size", ["even", "odd"])
@pytest.mark.parametrize("encoding", [[], ["--slice-wise"]], ids=["volume", "slices"])
@pytest.mark.parametrize("words", OPTIONS, ids=" ".join)
def test_a_volume_comes_back_where_it_was(run, volumes, size, encoding, words):
    source = volumes / f"{size}.nii.gz"
    done = run("simulate", source, "-o", volumes / "scan.h5", *encoding, *words)
    assert (done.code, done.err) == (0, "")
    out = volumes / "out.nii.gz"
    done = run("reconstruct", volumes / "scan.h5", "-o", out, "--method", "cg-sense")
    assert (done.code, done.err) == (0, "")
    before, after = nibabel.load(source), nibabel.load(out)
    assert after.shape == before.shape
    assert relative_error(after.get_fdata(), before.get_fdata()) < 1e-5
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-4)


def test_options_reach_the_recipe_and_count_before_the_file(run, png):
    (png / "recipe.yaml").write_text("snr: 10\nn_coils: 2\nseed: 4\n")
    words = ["--recipe", png / "recipe.yaml", "--coils", "3", "--noise-std", "0.1"]
    words += ["--window", "0.5", "0.75", "--emi", "-4000", "7500", "--emi-amplitude", "0.2"]
    words += ["--fov", "240", "180", "5", "--field-strength", "0.055", "--dwell-time", "16"]
    words += ["--mask", "fastmri-random", "--acceleration", "2", "--center-fraction", "0.2"]
    words += ["--mask-seed", "file1.h5", "--off-resonance", "50", "--noise-samples", "100"]
    words += ["--spikes", "0.001", "--spike-amplitude", "0.2", "--bias-field", "0.4", "--gain", "7"]
    words += ["--motion", "2", "--rotation", "3", "--shots", "6", "--shot-order", "interleaved"]
    done = run("simulate", png / "even.png", "-o", png / "scan.h5", *words)
    assert (done.code, done.err) == (0, "")
    recipe = json.loads((png / "scan.h5.json").read_text())["options"]["recipe"]
    expected = {
        "snr": None, "noise_std": 0.1, "n_coils": 3, "seed": 4, "window": [1, 0.75, 0.5],
        "interference_hz": [-4000, 7500], "interference_amplitude": 0.2, "mask": "fastmri-random",
        "acceleration": 2, "center_fraction": 0.2, "mask_seed": "file1.h5", "noise_samples": 100,
        "off_resonance_hz": 50, "field_strength_t": 0.055, "encoding": "volume", "gain": 7,
        "spike_fraction": 0.001, "spike_amplitude": 0.2, "bias_field": 0.4, "motion_shots": 6,
        "motion_order": "interleaved", "motion_m": 0.002,
    }  # fmt: skip
    assert {name: recipe[name] for name in expected} == expected
    assert recipe["dwell_time_s"] == pytest.approx(1.6e-5)
    assert recipe["motion_rad"] == pytest.approx(np.pi / 60)
    record = json.loads(run("info", png / "scan.h5", "--json").out)
    assert record["encoded_fov_m_zyx"] == pytest.approx([0.005, 0.18, 0.24])
    assert (record["coils"], record["repairs"]) == (3, [])
    assert record["noise_samples_per_coil"] == 100


def test_a_coarser_matrix_is_measured(run, png):
    words = ["--matrix", "32", "24", "--voxel", "2", "2", "5"]
    assert run("simulate", png / "even.png", "-o", png / "scan.h5", *words).code == 0
    record = json.loads(run("info", png / "scan.h5", "--json").out)
    assert record["encoded_matrix_zyx"] == [1, 24, 32]
    assert record["encoded_fov_m_zyx"] == pytest.approx([0.005, 0.096, 0.128])


@pytest.mark.parametrize("method", ["adjoint", "cg-sense", "tv", "wavelet"])
def test_every_method_takes_a_scan_without_noise(run, png, method):
    words = ["--coils", "3", "--window", "0.5"]
    assert run("simulate", png / "even.png", "-o", png / "scan.h5", *words).code == 0
    done = run(
        "reconstruct", png / "scan.h5", "-o", png / "out.npy", "--method", method,
        "--set", "iterations=5",
    ) if method != "adjoint" else run(
        "reconstruct", png / "scan.h5", "-o", png / "out.npy", "--method", method
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert np.isfinite(np.load(png / "out.npy")).all()


def test_the_same_command_gives_the_same_samples(run, png):
    words = ["--snr", "20", "--coils", "2", "--seed", "3"]
    images = []
    for name in ("a", "b"):
        run("simulate", png / "even.png", "-o", png / f"{name}.h5", *words)
        run("reconstruct", png / f"{name}.h5", "-o", png / f"{name}.npy", "--method", "adjoint")
        images.append(np.load(png / f"{name}.npy"))
    np.testing.assert_array_equal(*images)


def test_the_stated_noise_of_averaged_repetitions_is_that_of_the_average(run, tmp_path):
    voxels = np.random.default_rng(0).random((16, 18, 1, 1)).astype(np.float32)
    series = nibabel.Nifti1Image(voxels.repeat(4, axis=3), AFFINE)
    nibabel.save(series, tmp_path / "a.nii")
    run("simulate", tmp_path / "a.nii", "-o", tmp_path / "a.h5", "--noise-std", "0.02")
    done = run(
        "reconstruct", tmp_path / "a.h5", "-o", tmp_path / "a.npy", "--average-repetitions",
        "--method", "adjoint",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    record = json.loads((tmp_path / "a.npy.json").read_text())
    assert record["noise_std"] == pytest.approx(0.01)
    error = np.load(tmp_path / "a.npy").ravel() - voxels[:, :, 0, 0].T.ravel()
    # 288 voxels: the mean square has a relative deviation of 6 %
    assert np.mean(np.abs(error) ** 2) == pytest.approx(1e-4, rel=0.2)


@pytest.mark.parametrize("kind", ["poisson-disc", "fastmri-equispaced"])
def test_reconstruct_leaves_lines_out_by_the_same_masks(run, png, kind):
    run("simulate", png / "even.png", "-o", png / "full.h5")
    words = ["--mask", kind, "--acceleration", "3", "--calibration-lines", "8", "--mask-seed"]
    seed = "file1.h5" if kind.startswith("fastmri") else "5"
    run("simulate", png / "even.png", "-o", png / "few.h5", *words, seed)
    adjoint = ["--method", "adjoint"]
    done = run(
        "reconstruct", png / "full.h5", "-o", png / "a.npy", *adjoint, "--acceleration", "3",
        "--mask-kind", kind, "--calibration-lines", "8", "--seed", seed,
    )  # fmt: skip
    assert done.code == 0
    run("reconstruct", png / "few.h5", "-o", png / "b.npy", *adjoint)
    np.testing.assert_allclose(np.load(png / "a.npy"), np.load(png / "b.npy"), atol=1e-6)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--snr", "20", "--noise-std", "1"], 2, "defined by snr and noise_std"),
        (["--snr", "-3"], 2, "greater than 0"),
        (["--mask", "randm"], 2, "randm"),
        (["--mask", "random"], 2, "needs an acceleration"),
        (["--acceleration", "2"], 2, "acceleration without a mask"),
        (["--window", "0.5 0.5 0.5 0.5"], 2, "one to three parts"),
        (["--window", "half"], 2, "expected numbers"),
        (["--voxel", "wide"], 2, "--voxel wide"),
        (["--emi", "1e9"], 2, "within the bandwidth"),
        (["--matrix", "99", "99"], 2, "at most the image's size"),
        (["--recipe", "none.yaml"], 1, "no such recipe"),
        (["--coils", "0"], 2, "greater than or equal to 1"),
    ],
)
def test_wrong_use_is_refused_in_one_line(run, png, words, code, text):
    before = {path.name for path in png.iterdir()}
    done = run("simulate", png / "even.png", "-o", png / "scan.h5", *words)
    assert done.code == code
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert text in done.err
    assert {path.name for path in png.iterdir()} == before


def test_bad_images_are_refused_in_one_line(run, png):
    (png / "text.png").write_text("no image")
    (png / "empty.png").touch()
    np.save(png / "nan.npy", np.full((4, 4), np.nan))
    before = {path.name for path in png.iterdir()}
    for name in ("text.png", "empty.png", "nan.npy", "missing.png"):
        done = run("simulate", png / name, "-o", png / "scan.h5")
        assert done.code == 1
        assert done.err.count("\n") == 1
        assert name in done.err
    assert {path.name for path in png.iterdir()} == before
