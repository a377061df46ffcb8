"""`reconstruct` turns a scan into images, records how, and can undersample and score."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from PIL import Image

from lowfield_recon.files import sha256_of


def _record(path: Path) -> dict:
    return json.loads(path.with_name(path.name + ".json").read_text())


@pytest.mark.parametrize("ending", [".nii.gz", ".png", ".npy", ".h5"])
def test_every_ending_gets_its_image_and_its_json(run, scan_file, tmp_path, ending):
    out = tmp_path / f"image{ending}"
    done = run("reconstruct", scan_file, "-o", out, "--method", "adjoint")
    assert (done.code, done.err) == (0, "")
    assumed, wrote = done.out.splitlines()
    assert assumed.startswith("assumed: ")
    assert wrote == f"wrote {out}"
    assert {path.name for path in tmp_path.iterdir()} == {out.name, out.name + ".json"}
    assert _record(out)["inputs"]["scan"] == {"name": "scan.h5", "sha256": sha256_of(scan_file)}


def test_the_adjoint_of_all_data_is_the_inverse_transform(run, scan_file, kspace, tmp_path):
    run("reconstruct", scan_file, "-o", tmp_path / "a.npy", "--method", "adjoint")
    axes = (-2, -1)
    shifted = np.fft.ifftshift(kspace, axes=axes)
    expected = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=axes)
    found = np.load(tmp_path / "a.npy").reshape(3, *kspace.shape[-2:])
    assert np.allclose(np.abs(found), np.abs(expected), atol=1e-5)


def test_the_json_says_how_the_image_was_made(run, scan_file, tmp_path):
    out = tmp_path / "a.nii.gz"
    run("reconstruct", scan_file, "-o", out, "--set", "iterations=7", "--set", "tolerance=0")
    record = _record(out)
    assert record["method"] == "tv"
    assert record["settings"]["iterations"] == 7
    assert record["settings"]["regularization_weight"] > 0
    # the object reaches the border of this small k-space, so the estimate is somewhat high
    assert record["noise_std"] == pytest.approx(0.02, rel=0.4)
    assert (record["seed"], record["device"]) == (0, "cpu")
    assert len(record["images"]) == 3
    assert record["seconds"] > 0
    values = nibabel.load(out).get_fdata()
    assert record["data_range"] == pytest.approx([values.min(), values.max()], rel=1e-5)
    assert str(tmp_path) not in json.dumps(record)
    assert str(scan_file.parent) not in json.dumps(record)


def test_slices_are_chosen_in_the_order_given(run, scan_file, tmp_path):
    run("reconstruct", scan_file, "-o", tmp_path / "all.npy", "--method", "adjoint")
    run(
        "reconstruct",
        scan_file,
        "-o",
        tmp_path / "some.npy",
        "--method",
        "adjoint",
        "--slices",
        "1-2",
    )
    everything, some = np.load(tmp_path / "all.npy"), np.load(tmp_path / "some.npy")
    assert np.array_equal(some.squeeze(), everything.squeeze()[1:])


def test_a_method_with_a_dictionary_says_what_it_used(run, scan_file, tmp_path):
    words = ["--slices", "0", "--method", "cdl", "--set", "iterations=2"]
    done = run("reconstruct", scan_file, "-o", tmp_path / "a.npy", *words)
    assert (done.code, done.err) == (0, "")
    _, used, _ = done.out.splitlines()
    settings = _record(tmp_path / "a.npy")["settings"]
    weight = settings["regularization_weight"]
    assert used == (
        f"used: dictionary {settings['dictionary']}, beta 1, regularization_weight {weight:.4g}"
    )
    words += ["--dictionary", "cosine_k7_K48"]
    named = run("reconstruct", scan_file, "-o", tmp_path / "b.npy", *words)
    assert "used: dictionary cosine_k7_K48, beta 1" in named.out
    assert not np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_both_parts_are_written_as_two_files(run, scan_file, tmp_path):
    done = run(
        "reconstruct", scan_file, "-o", tmp_path / "a.png", "--part", "both", "--slices", "0"
    )
    assert [line.split("/")[-1] for line in done.out.splitlines()[1:]] == [
        "a_magnitude.png",
        "a_phase.png",
    ]
    with Image.open(tmp_path / "a_phase.png") as image:
        assert image.size == (64, 48)
    assert _record(tmp_path / "a_phase.png")["image"] == "a_phase.png"


def test_undersampling_is_scored_against_all_data(run, scan_file, tmp_path):
    words = ["--acceleration", "2", "--calibration-lines", "12", "--seed", "3"]
    done = run("reconstruct", scan_file, "-o", tmp_path / "a.nii", *words)
    assert "against the reconstruction from all data" in done.out
    record = _record(tmp_path / "a.nii")
    assert record["options"]["undersampling"] == {
        "acceleration": 2.0, "calibration_lines": 12, "kind": "random", "seed": 3,
    }  # fmt: skip
    mean = record["mean_score_against_full_reconstruction"]
    assert mean["psnr_db"] == pytest.approx(
        np.mean([image["score"]["psnr_db"] for image in record["images"]])
    )
    run("reconstruct", scan_file, "-o", tmp_path / "z.nii", *words, "--method", "adjoint")
    plain = _record(tmp_path / "z.nii")["mean_score_against_full_reconstruction"]
    assert mean["psnr_db"] > plain["psnr_db"] + 1
    assert mean["nrmse"] < plain["nrmse"]


def test_the_same_command_twice_gives_the_same_image(run, scan_file, tmp_path):
    words = ["--acceleration", "2", "--calibration-lines", "12"]
    for name in ("a.npy", "b.npy"):
        run("reconstruct", scan_file, "-o", tmp_path / name, *words)
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))


def test_raw_arrays_are_read_with_named_axes(run, kspace, tmp_path):
    np.save(tmp_path / "k.npy", kspace)
    words = ["--axes", "slice y x", "--fov", "240", "180", "5", "--field-strength", "0.055"]
    done = run(
        "reconstruct", tmp_path / "k.npy", "-o", tmp_path / "a.nii", *words, "--method", "adjoint"
    )
    assert done.code == 0
    spacing = np.abs(nibabel.load(tmp_path / "a.nii").header.get_zooms()[:3])
    assert spacing == pytest.approx([240 / 64, 180 / 48, 5])


def test_a_failure_in_the_last_slice_leaves_what_was_there(run, kspace, tmp_path):
    spoilt = kspace.copy()
    spoilt[2, 3, 4] = np.nan
    np.save(tmp_path / "k.npy", spoilt)
    out = tmp_path / "a.nii.gz"
    out.write_bytes(b"old")
    done = run("reconstruct", tmp_path / "k.npy", "-o", out, "--axes", "slice y x")
    assert done.code == 1
    assert out.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"k.npy", "a.nii.gz"}


def test_warnings_of_the_reader_go_to_stderr_and_can_be_silenced(run, scan_file, tmp_path):
    broken = tmp_path / "scan.h5"
    broken.write_bytes(scan_file.read_bytes())
    with h5py.File(broken, "r+") as file:
        text = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = text.replace("<trajectory>cartesian</trajectory>", "").encode()
    loud = run("reconstruct", broken, "-o", tmp_path / "a.png", "--method", "adjoint")
    assert loud.code == 0
    assert loud.err.startswith("warning: scan.h5: ")
    assert "repaired: " in loud.out
    quiet = run("reconstruct", broken, "-o", tmp_path / "a.png", "--method", "adjoint", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    assert _record(tmp_path / "a.png")["repairs"]
