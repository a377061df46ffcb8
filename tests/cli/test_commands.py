"""`info`, `convert` and `methods`, and the progress bar."""

from __future__ import annotations

import json
import sys

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from lowfield_recon.progress import progress_bar
from lowfield_recon.reconstructors import methods
from lowfield_recon.resources import sample_names, sample_path


def test_info_says_what_a_file_holds(run, scan_file):
    done = run("info", scan_file)
    assert (done.code, done.err) == (0, "")
    for line in ("format: ismrmrd", "coils: 1", "slices: 3", "field strength [T]: 0.055"):
        assert line in done.out.splitlines()
    assert "encoded matrix (z, y, x): 1 x 48 x 64" in done.out


def test_info_for_programs_is_json_with_the_noise_level(run, scan_file):
    record = json.loads(run("info", scan_file, "--json").out)
    assert record["encoded_fov_m_zyx"] == pytest.approx([0.005, 0.18, 0.24])
    assert record["sampling_fraction"] == 1
    # the object reaches the border of this small k-space, so the estimate is somewhat high
    assert record["noise_std_of_first_image_before_whitening"] == pytest.approx(0.02, rel=0.4)


def test_info_lists_repairs(run, scan_file, tmp_path):
    broken = tmp_path / "scan.h5"
    broken.write_bytes(scan_file.read_bytes())
    with h5py.File(broken, "r+") as file:
        text = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = text.replace("<trajectory>cartesian</trajectory>", "").encode()
    record = json.loads(run("info", broken, "--json").out)
    assert len(record["repairs"]) == 1
    assert f"  {record['repairs'][0]['code']}: " in run("info", broken).out


@pytest.mark.parametrize("name", [name for name in sample_names() if name.endswith(".h5")])
def test_info_reads_every_shipped_scan(run, name):
    record = json.loads(run("info", sample_path(name), "--json").out)
    assert record["format"] == "ismrmrd"
    assert record["noise_std_of_first_image_before_whitening"] > 0


def test_convert_makes_a_scan_that_reconstructs_like_the_array(run, kspace, tmp_path):
    savemat(tmp_path / "k.mat", {"data": kspace.transpose(1, 2, 0), "other": np.eye(3)})
    words = ["--axes", "y x slice", "--key", "data", "--fov", "240", "180", "5"]
    words += ["--field-strength", "0.055"]
    done = run("convert", tmp_path / "k.mat", tmp_path / "k.h5", *words)
    assert (done.code, done.err) == (0, "")
    assert f"wrote {tmp_path / 'k.h5'}" in done.out
    run("reconstruct", tmp_path / "k.h5", "-o", tmp_path / "a.npy", "--method", "adjoint")
    run("reconstruct", tmp_path / "k.mat", "-o", tmp_path / "b.npy", "--method", "adjoint", *words)
    assert np.allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), atol=1e-5)


def test_methods_are_listed_with_their_settings(run):
    out = run("methods").out
    for method in methods():
        assert f"{method.name}: {method.summary}" in out
        assert all(f"--set {setting}=" in out for setting in method.settings)
    names = [entry["name"] for entry in json.loads(run("methods", "--json").out)]
    assert names == [method.name for method in methods()]


def test_a_progress_bar_is_drawn_on_a_terminal_only(monkeypatch, capsys):
    with progress_bar("tv", 2) as progress_of:
        assert progress_of(0) is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar("tv", 2) as progress_of:
        callback = progress_of(1)
        callback(3, 10, 0.25)
    assert capsys.readouterr().out == ""
