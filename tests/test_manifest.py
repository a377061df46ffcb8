"""The JSON beside an image holds what is needed to make it again, and nothing private."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from lowfield_recon.files import sha256_of
from lowfield_recon.manifest import (
    describe_inputs,
    describe_result,
    manifest_path,
    software_versions,
    to_plain,
    write_manifest,
)
from lowfield_recon.problem import Geometry, Reconstruction


def _write(folder: Path) -> dict:
    scan = folder / "scan.h5"
    scan.write_bytes(b"raw")
    path = write_manifest(
        folder / "brain.nii.gz",
        command="reconstruct",
        inputs=describe_inputs({"scan": scan}),
        options={"dictionary": folder / "bank" / "d.safetensors", "acceleration": 2.0},
        results={"seconds": 1.5, "noise_std": float("nan"), "repairs": []},
    )
    assert path == folder / "brain.nii.gz.json"
    return json.loads(path.read_text())


def test_inputs_options_results_and_versions_are_there(tmp_path: Path):
    record = _write(tmp_path)
    assert record["image"] == "brain.nii.gz"
    assert record["inputs"]["scan"] == {
        "name": "scan.h5",
        "sha256": sha256_of(tmp_path / "scan.h5"),
    }
    assert record["options"] == {"dictionary": "d.safetensors", "acceleration": 2.0}
    assert record["noise_std"] is None
    assert record["threads"] == torch.get_num_threads()
    assert (
        record["versions"]["torch"] == torch.__version__.split("+")[0] or "+" in torch.__version__
    )


def test_no_folder_of_this_machine_is_recorded(tmp_path: Path):
    _write(tmp_path)
    assert str(tmp_path) not in (tmp_path / "brain.nii.gz.json").read_text()


def test_versions_name_every_package_that_decides_a_result():
    versions = software_versions()
    assert set(versions) == {"lowfield-recon", "torch", "mrpro", "numpy", "python"}
    assert all(versions.values())


def test_a_result_is_described_by_range_settings_and_last_diagnostics():
    result = Reconstruction(
        image=torch.tensor([3 + 4j, 0]).reshape(1, 1, 1, 1, 2),
        method="tv",
        diagnostics={"objective": [3.0, 2.0, 1.0], "stopping_reason": "tolerance"},
        settings={"regularization_weight": 0.1, "seed": 7, "device": "cpu"},
        seconds=0.123456,
    )
    described = describe_result(result)
    assert described["data_range"] == [0.0, 5.0]
    assert described["diagnostics"] == {"objective": 1.0, "stopping_reason": "tolerance"}
    assert (described["seed"], described["device"], described["seconds"]) == (7, "cpu", 0.1235)


def test_anything_becomes_json():
    values = {
        "geometry": Geometry(voxel_size_m=(0.005, 0.001, 0.001)),
        "small": np.arange(3),
        "large": torch.zeros(2000),
        "set": {"b", "a"},
        "infinite": float("inf"),
        "numpy": np.float32(0.5),
        "function": len,
    }
    plain = to_plain(values)
    assert plain["geometry"]["voxel_size_m"] == [0.005, 0.001, 0.001]
    assert (plain["small"], plain["set"], plain["infinite"]) == ([0, 1, 2], ["a", "b"], None)
    assert plain["large"] == {"shape": [2000], "dtype": "torch.float32"}
    assert json.loads(json.dumps(plain))["numpy"] == 0.5


def test_images_that_differ_in_their_ending_have_their_own_json():
    assert manifest_path("a.png") != manifest_path("a.nii.gz")


def test_seconds_can_be_left_out_wherever_they_stand(tmp_path: Path):
    results = {"seconds": 1.5, "images": [{"seconds": 0.5, "method": "tv"}], "seed": 1}
    path = write_manifest(
        tmp_path / "a.png", command="x", inputs={}, options={}, results=results, with_seconds=False
    )
    record = json.loads(path.read_text())
    assert (record["images"], record["seed"]) == ([{"method": "tv"}], 1)
    assert "seconds" not in path.read_text()
