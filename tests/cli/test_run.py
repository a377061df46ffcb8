"""`run` as a user meets it: shipped pipelines, dry runs, second runs, errors in one line."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.evaluation import metrics

TIMED = ("run.json", "hashes.json")


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in TIMED
    }


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def photographs(photograph: np.ndarray, tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, image in (("one", photograph), ("two", photograph[::-1, ::-1])):
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def scans(scan_file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(scan_file, folder / "a.h5")
    shutil.copy(scan_file, folder / "b.h5")
    return folder


def test_natural_images_are_degraded_restored_and_scored(run, photographs, tmp_path):
    out = tmp_path / "out"
    done = run("run", "natural_images", f"photograph={photographs}", "method=tv", "-o", out)
    assert (done.code, done.err) == (0, "")
    rows = _rows(out / "scores.csv")
    assert [(row["photograph"], row["task"]) for row in rows] == [
        (name, task)
        for name in ("one", "two")
        for task in ("inpaint", "denoise", "deblur", "super-resolve")
    ]
    for row in rows:
        truth = np.asarray(Image.open(photographs / f"{row['photograph']}.png")) / 255.0
        restored = np.asarray(Image.open(out / row["photograph"] / f"{row['task']}-tv.png")) / 255
        expected = metrics.psnr(
            restored.astype(np.float32), truth.astype(np.float32), data_range=1.0
        )
        assert float(row["PSNR [dB]"]) == pytest.approx(expected, abs=1e-3)
        assert expected > 20
    assert (out / "scores.md").read_text().startswith("| photograph | task | method | PSNR [dB] |")


def test_a_second_run_is_light_and_writes_the_same(run, photographs, tmp_path):
    words = ["run", "natural_images", f"photograph={photographs}", "task=denoise", "-o"]
    assert run(*words, tmp_path / "out").code == 0
    before = _tree(tmp_path / "out")
    code = "from lowfield_recon.cli.app import main\nimport sys\n"
    code += f"assert main({[*words, str(tmp_path / 'out')]!r}) == 0\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "0 made, 11 taken from the cache" in done.stdout
    assert not {"torch", "numpy", "mrpro", "scipy", "h5py"} & set(done.stdout.split())
    assert _tree(tmp_path / "out") == before


@pytest.mark.parametrize("ending", ["nii.gz", "h5", "png", "npy"])
def test_two_runs_at_different_times_give_the_same_bytes(run, scans, tmp_path, ending):
    words = ["run", "reconstruct_folder", f"scan={scans}", "method=adjoint,tv", "slices=1"]
    for name in ("first", "second"):
        assert run(*words, f"format={ending}", "-o", tmp_path / name).code == 0
        time.sleep(1.1)  # formats know the time in whole seconds
    first = _tree(tmp_path / "first")
    assert first == _tree(tmp_path / "second")
    assert f"a/tv.{ending}" in first
    record = json.loads(first[f"b/tv.{ending}.json"])
    assert record["method"] == "tv"
    assert "seconds" not in first[f"b/tv.{ending}.json"].decode()


def test_a_folder_of_scans_with_a_bad_one(run, scans, tmp_path):
    (scans / "bad.h5").write_text("no scan")
    out = tmp_path / "out"
    done = run("run", "reconstruct_folder", f"scan={scans}", "method=adjoint", "-o", out)
    assert done.code == 1
    assert done.err.count("\n") == 1
    place = "error: reconstruct_folder.yaml, line 14: 'image scan=bad.h5 method=adjoint' failed: "
    assert done.err.startswith(place)
    assert [row["scan"] for row in _rows(out / "images.csv")] == ["a.h5", "b.h5"]
    assert (out / "b" / "adjoint.nii.gz").exists()
    assert not (out / "bad").exists()


def test_the_image_is_that_of_the_command(run, scan_file, tmp_path):
    words = ["scan=" + str(scan_file), "method=tv", "settings=iterations=7", "format=npy"]
    assert run("run", "reconstruct_scan", *words, "-o", tmp_path / "out").code == 0
    image = tmp_path / "command.npy"
    run("reconstruct", scan_file, "-o", image, "--method", "tv", "--set", "iterations=7")
    assert (tmp_path / "out" / "scan-tv.npy").read_bytes() == image.read_bytes()


def test_a_dry_run_writes_nothing(run, scans, tmp_path):
    words = ["run", "reconstruct_folder", f"scan={scans}", "-o", tmp_path / "out"]
    done = run(*words, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "image scan=a.h5 method=tv: to run (not made before)" in done.out
    assert "dry run: 5 to run, 0 in the cache" in done.out
    assert not (tmp_path / "out").exists()
    run(*words)
    units = json.loads(run(*words, "--dry-run", "--json").out)["units"]
    assert {unit["status"] for unit in units} == {"cached"}


def test_a_cache_of_another_place_is_used(run, scans, tmp_path):
    words = ["run", "reconstruct_folder", f"scan={scans}", "method=adjoint"]
    run(*words, "--cache", tmp_path / "cache", "-o", tmp_path / "one")
    done = run(*words, "--cache", tmp_path / "cache", "-o", tmp_path / "two")
    assert "0 made, 3 taken from the cache" in done.out
    assert _tree(tmp_path / "one") == _tree(tmp_path / "two")
    assert not (tmp_path / "two" / ".cache").exists()


def test_the_shipped_pipelines_are_listed(run):
    done = run("run", "--list")
    assert done.code == 0
    for name in ("natural_images", "reconstruct_folder", "reconstruct_scan"):
        assert f"{name}: " in done.out
    assert "demo" not in done.out
    assert set(json.loads(run("run", "--list", "--json").out)) >= {"reconstruct_scan"}


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ([], 2, "expected a pipeline"),
        (["natural_image"], 2, "Did you mean 'natural_images'?"),
        (["missing.yaml"], 1, "no such pipeline"),
        (["natural_images", "method"], 2, "expected parameter=value"),
        (["natural_images", "metod=tv"], 2, "natural_images.yaml, line 6: metod=tv: there is no"),
        (["natural_images", "method=tvv"], 2, "line 35: method 'tvv' is not known. Did you mean"),
        (["natural_images", "task=denoise,sharpen"], 2, "line 24: 'task': input should be 'inpain"),
        (["natural_images", "noise_std=2"], 2, "line 25: 'noise_std': input should be less"),
        (["reconstruct_scan"], 2, "line 5: parameter 'scan' (raw data"),
        (["reconstruct_scan", "scan=gone.h5"], 2, "line 5: parameter 'scan': gone.h5: no such"),
        (["demo"], 2, "'title' is no setting here"),
        (["natural_images", "-o", "no/such/folder"], 1, "does not exist"),
        (["natural_images", "--scheduler", "nowhere"], 2, "expected sync, local or the address"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, words, code, text):
    monkeypatch.chdir(tmp_path)
    done = run("run", *words)
    assert done.code == code, done.err
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert text in done.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_dask_workers_give_the_same(run, scans, tmp_path):
    from distributed import LocalCluster

    words = ["run", "reconstruct_folder", f"scan={scans}", "method=adjoint,tv", "-o"]
    run(*words, tmp_path / "sync")
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        done = run(*words, tmp_path / "dask", "--scheduler", address)
    assert done.code == 0, done.err
    assert "5 made" in done.out
    assert _tree(tmp_path / "dask") == _tree(tmp_path / "sync")
