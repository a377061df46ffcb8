"""`reconstruct --uncertainty`: what is written, and what is refused before any work."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest


def test_the_map_lies_beside_the_image_with_its_own_json(run, scan_file, tmp_path):
    out = tmp_path / "image.nii.gz"
    words = ["--method", "adjoint", "--slices", "0", "--uncertainty", "4"]
    done = run("reconstruct", scan_file, "-o", out, *words, "--uncertainty-seed", "7")
    assert (done.code, done.err) == (0, "")
    _, wrote, wrote_map, said = done.out.splitlines()
    assert (wrote, wrote_map) == (f"wrote {out}", f"wrote {tmp_path / 'image_std.nii.gz'}")
    assert said.startswith("uncertainty: standard deviation of each pixel over 4 draws")
    assert said.endswith("it shows variance, not bias")
    image, std = nibabel.load(out), nibabel.load(tmp_path / "image_std.nii.gz")
    assert np.array_equal(image.affine, std.affine)
    assert image.shape == std.shape
    record = json.loads((tmp_path / "image_std.nii.gz.json").read_text())
    assert record["uncertainty"]["seed"] == 7
    bright = image.get_fdata() > 10 * record["noise_std"]
    rms = np.sqrt(np.mean(std.get_fdata()[bright] ** 2))
    assert rms == pytest.approx(record["noise_std"] / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize(("out", "words", "message"), [
    ("a.npy", ["--uncertainty", "1"], "at least 2"),
    ("a.npy", ["--uncertainty-seed", "3"], "--uncertainty DRAWS"),
    ("a.npy", ["--uncertainty", "4", "--uncertainty-seed", "-1"], "expected 0 to"),
    ("a.dicom", ["--uncertainty", "4"], "folder of DICOM"),
    ("a.png", ["--uncertainty", "4", "--preview", "a_std.png"], "another file of this command"),
])  # fmt: skip
def test_what_cannot_be_made_is_refused_in_one_line(
    run, scan_file, tmp_path, monkeypatch, out, words, message
):
    monkeypatch.chdir(tmp_path)
    done = run("reconstruct", scan_file, "-o", out, *words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
