"""What ships is listed with its source and licence, and is what the source holds."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import io

from lowfield_recon.files import sha256_of
from lowfield_recon.resources import sample_names, sample_path, shipped_folder
from lowfield_recon.scan.convert import convert_to_ismrmrd
from lowfield_recon.scan.load import load_scan

LARGEST_BYTES = 6_000_000
OPEN_LICENCES = {"CC0-1.0", "MIT", "BSD-3-Clause"}


def listed() -> list[dict]:
    text = (shipped_folder("data_manifests") / "samples.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["files"]


def test_every_sample_is_listed_and_small() -> None:
    assert sorted(entry["name"] for entry in listed()) == list(sample_names())
    assert sum(sample_path(name).stat().st_size for name in sample_names()) < LARGEST_BYTES


@pytest.mark.parametrize("entry", listed(), ids=lambda entry: entry["name"])
def test_hash_licence_source_and_command(entry: dict) -> None:
    path = sample_path(entry["name"])
    assert sha256_of(path) == entry["sha256"]
    assert entry["license"] in OPEN_LICENCES
    licence = (path.parent / entry["license_file"]).read_text(encoding="utf-8")
    assert ("CC0 1.0 Universal" if entry["license"] == "CC0-1.0" else "Copyright (c)") in licence
    assert entry["citation"]
    assert entry["source"]["repository"].startswith("https://github.com/")
    assert re.fullmatch(r"[0-9a-f]{64}", entry["source"]["sha256"])
    assert Path(entry["source"]["file"]).name in entry["command"]


def local_file(shared_data: Path, entry: dict) -> Path:
    """Find the source by its hash in the list of the developers' data."""
    lines = (shared_data / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    (name,) = [line[66:] for line in lines if line.startswith(entry["source"]["sha256"])]
    return shared_data / name


@pytest.mark.shared_data
@pytest.mark.parametrize("entry", listed(), ids=lambda entry: entry["name"])
def test_command_makes_the_file_from_its_source(
    shared_data: Path, tmp_path: Path, entry: dict
) -> None:
    source = local_file(shared_data, entry)
    assert sha256_of(source) == entry["source"]["sha256"]
    words = shlex.split(entry["command"])
    if words[0] == "cp":
        assert source.read_bytes() == sample_path(entry["name"]).read_bytes()
        return
    options = dict(pairwise(words))
    fov = [float(mm) / 1000 for mm in options["--fov"].split()] if "--fov" in options else None
    convert_to_ismrmrd(
        source,
        tmp_path / entry["name"],
        axes=options["--axes"],
        key=options["--key"],
        field_strength_t=float(options["--field-strength"])
        if "--field-strength" in options
        else None,
        fov_m=None if fov is None else (fov[2], fov[1], fov[0]),
        image_space="--image-space" in words,
    )
    made, shipped = load_scan(tmp_path / entry["name"]), load_scan(sample_path(entry["name"]))
    assert made.header == shipped.header
    assert made.images == shipped.images
    # Only what was transformed from images may differ, by the rounding of another processor's FFT.
    tolerance = 1e-6 if "--image-space" in words else 0.0
    for index in range(len(shipped.images)):
        found, expected = made.kspace(index), shipped.kspace(index)
        error = torch.linalg.vector_norm(found.data - expected.data)
        assert error <= tolerance * torch.linalg.vector_norm(expected.data)
        assert torch.equal(found.mask, expected.mask)
        assert asdict(found.geometry) == asdict(expected.geometry)


@pytest.mark.shared_data
def test_low_field_samples_hold_the_published_kspace(shared_data: Path) -> None:
    """Read with our reader, compared with the file of the source through scipy and numpy alone."""
    for entry in listed():
        if not entry["name"].startswith("brain_0055t"):
            continue
        k = io.loadmat(local_file(shared_data, entry))["kspace"].astype(np.complex64)
        scan = load_scan(sample_path(entry["name"]))
        assert scan.header.field_strength_t == pytest.approx(0.055)
        assert scan.volume_shape == (1, 4)
        for s in range(4):
            found = scan.kspace(s).data[0, 0, 0].numpy()
            np.testing.assert_array_equal(found, k[:, :, s].T)
