"""Simulated files: valid ISMRMRD for every reader, with the recipe, the place and the samples."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import pytest
import torch
from mrpro.data import KData
from mrpro.data.traj_calculators import KTrajectoryCartesian
from PIL import Image

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.geometry import affine_ras, stack_geometry
from lowfield_recon.scan.load import load_scan
from lowfield_recon.simulation import Recipe, simulate_kspace
from lowfield_recon.simulation.scan_file import RECIPE, simulate_scan

AFFINE = np.array([[0, 2.0, 0, -30], [0, 0, -3.0, 12], [-1.5, 0, 0, 7], [0, 0, 0, 1]])
SHAPE = (10, 12, 7)  # x, y, z


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "volume.nii.gz")
    return tmp_path / "volume.nii.gz"


def voxels_of(volume: Path) -> torch.Tensor:
    array = nibabel.load(volume).get_fdata(dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 1, 0)))[None, None]


RECIPES = [
    Recipe(),
    Recipe(encoding="slices", n_coils=3),
    Recipe(n_coils=4, snr=20, phase_rad=1, seed=3),
    Recipe(window=(0.7, 0.5, 0.5)),
    Recipe(window=0.6, encoding="slices", mask="random", acceleration=1.5, calibration_lines=2),
    Recipe(mask="poisson-disc", acceleration=2, calibration_lines=2, noise_std=0.1),
    Recipe(matrix=(7, 9, 8)),
    Recipe(off_resonance_hz=80, interference_hz=(-3000.0,), variance_factor=0.1, noise_samples=64),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_what_is_read_is_what_was_simulated(tmp_path: Path, volume: Path, recipe: Recipe) -> None:
    simulate_scan(volume, tmp_path / "scan.h5", recipe)
    scan = load_scan(tmp_path / "scan.h5")
    expected = simulate_kspace(voxels_of(volume), recipe, voxel_size_m=(3e-3, 2e-3, 1.5e-3))
    assert scan.repairs == ()
    is_stack = recipe.encoding == "slices"
    assert len(scan.images) == (SHAPE[2] if is_stack else 1)
    for index in range(len(scan.images)):
        raw = scan.kspace(index)
        kspace = expected.kspace[:, :, index : index + 1] if is_stack else expected.kspace
        assert torch.equal(raw.data, kspace)
        assert raw.mask is not None
        sampled = expected.mask.expand(*kspace[:, :1].shape)
        assert torch.equal(raw.mask.expand_as(sampled), sampled)
    if expected.noise is not None:
        assert torch.equal(scan.noise, expected.noise)
        assert scan.noise_scale == 1
    assert scan.header.field_strength_t == pytest.approx(0.05)
    assert scan.header.dwell_time_s == pytest.approx(2e-5)


@pytest.mark.parametrize("encoding", ["volume", "slices"])
@pytest.mark.parametrize("matrix", [None, (7, 12, 5), (7, 9, 10)])
def test_the_place_of_the_image_is_kept(tmp_path: Path, volume: Path, encoding, matrix) -> None:
    simulate_scan(volume, tmp_path / "scan.h5", Recipe(encoding=encoding, matrix=matrix))
    scan = load_scan(tmp_path / "scan.h5")
    geometries = [scan.kspace(i).geometry for i in range(len(scan.images))]
    geometry = stack_geometry(geometries, 1 if encoding == "slices" else SHAPE[2])
    size = matrix or SHAPE[::-1]
    affine = affine_ras(geometry, size)
    # the voxel n // 2 stays in its place, and the field of view stays as it is
    for n, m in ((SHAPE, size[::-1]),):
        old = AFFINE @ [*(k // 2 for k in n), 1]
        new = affine @ [*(k // 2 for k in m), 1]
        np.testing.assert_allclose(new, old, atol=1e-4)
        np.testing.assert_allclose(affine[:3, :3] * m, AFFINE[:3, :3] * n, atol=1e-4 * max(n))


def test_the_recipe_stands_in_the_file_and_beside_it(tmp_path: Path, volume: Path) -> None:
    recipe = Recipe(n_coils=2, snr=25, interference_hz=(1000.0,), seed=11)
    simulate_scan(volume, tmp_path / "scan.h5", recipe)
    parameters = load_scan(tmp_path / "scan.h5").header.user_parameters
    assert Recipe(**json.loads(parameters[RECIPE])) == recipe
    record = json.loads((tmp_path / "scan.h5.json").read_text())
    assert Recipe(**record["options"]["recipe"]) == recipe
    assert record["command"] == "simulate"
    assert record["seed"] == 11
    assert record["noise"]["snr"] == pytest.approx(25)
    assert record["noise"]["noise_std"] == pytest.approx(parameters["simulated_noise_std"])
    assert record["inputs"]["image"]["name"] == "volume.nii.gz"


def test_other_libraries_read_the_file(tmp_path: Path, volume: Path) -> None:
    simulate_scan(volume, tmp_path / "scan.h5", Recipe(n_coils=3, encoding="slices"))
    with ismrmrd.Dataset(tmp_path / "scan.h5", mode="r") as dataset:
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        assert header.userParameters.userParameterString[0].name == RECIPE
        assert dataset.number_of_acquisitions() == SHAPE[1] * SHAPE[2]
        assert dataset.number_of_images("coil_maps") == SHAPE[2]
    with pytest.warns(UserWarning, match="[Vv]endor"):
        data = KData.from_file(tmp_path / "scan.h5", KTrajectoryCartesian())
    expected = simulate_kspace(
        voxels_of(volume),
        Recipe(n_coils=3, encoding="slices"),
        voxel_size_m=(3e-3, 2e-3, 1.5e-3),
    ).kspace
    np.testing.assert_array_equal(data.data[:, :, 0].numpy(), expected[0].movedim(1, 0).numpy())


def test_a_series_of_volumes_becomes_repetitions(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((6, 8, 2, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii")
    simulate_scan(tmp_path / "a.nii", tmp_path / "a.h5", Recipe(encoding="slices", snr=30))
    scan = load_scan(tmp_path / "a.h5")
    assert scan.volume_shape == (3, 2)
    assert [image.repetition for image in scan.images] == [0, 0, 1, 1, 2, 2]


def test_colours_become_luminance_and_the_voxel_size_is_assumed_aloud(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (8, 10, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    notes = simulate_scan(tmp_path / "a.png", tmp_path / "a.h5", Recipe())
    assert len(notes) == 3
    k = load_scan(tmp_path / "a.h5").kspace(0).data
    grey = (colours / 255 @ [0.299, 0.587, 0.114]).astype(np.float32)
    expected = simulate_kspace(torch.from_numpy(grey)[None, None, None], Recipe()).kspace
    torch.testing.assert_close(k, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("words", [{"fov_m": (None, 0.18, 0.24)}, {"voxel_m": (None, 0.015, 0.03)}])
def test_field_of_view_or_voxel_size_replace_the_files(tmp_path, volume, words) -> None:
    notes = simulate_scan(volume, tmp_path / "a.h5", Recipe(), **words)
    assert notes == []
    geometry = load_scan(tmp_path / "a.h5").kspace(0).geometry
    expected = (3e-3, 0.18 / 12, 0.24 / 10) if "fov_m" in words else (3e-3, 0.015, 0.03)
    np.testing.assert_allclose(geometry.voxel_size_m, expected, rtol=1e-6)
    assert geometry.is_known


def test_what_cannot_be_simulated_leaves_no_file(tmp_path: Path, volume: Path) -> None:
    np.save(tmp_path / "zero.npy", np.zeros((4, 4), np.float32))
    np.save(tmp_path / "channels.npy", np.ones((1, 2, 1, 4, 4), np.float32))
    before = {path.name for path in tmp_path.iterdir()}
    for name, out, words, error, text in [
        ("volume.nii.gz", "a.nii", {}, UsageError, "ends in .h5 or .mrd"),
        ("zero.npy", "a.h5", {}, DataError, "zero everywhere"),
        ("channels.npy", "a.h5", {}, DataError, "2 channels"),
        ("volume.nii.gz", "a.h5", {"matrix": (1, 99, 99)}, UsageError, "at most the image's size"),
        ("none.png", "a.h5", {}, DataError, "none.png"),
        (
            "volume.nii.gz", "a.h5", {"fov_m": (None, 1, 1), "voxel_m": (None, 1, 1)}, UsageError,
            "give one of them",
        ),
    ]:  # fmt: skip
        with pytest.raises(error) as caught:
            simulate_scan(tmp_path / name, tmp_path / out, Recipe(), **words)
        assert text in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_unsampled_ends_of_readouts_are_not_in_the_file(tmp_path: Path, volume: Path) -> None:
    simulate_scan(volume, tmp_path / "a.h5", Recipe(window=(1, 1, 0.5)))
    with h5py.File(tmp_path / "a.h5") as file:
        heads = file["dataset/data"]["head"]
    assert set(heads["number_of_samples"]) == {5}
    assert set(heads["center_sample"]) == {2}
