"""One reconstruction in every format: the same values, the same order of voxels, the same place."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image

from lowfield_recon.cli.app import main
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.geometry import affine_ras
from lowfield_recon.scan.image_reader import ImageFile, read_image
from lowfield_recon.scan.writers import open_image_writer

FORMATS = (".nii", ".nii.gz", ".h5", ".npy", ".png", "")
WITH_PLACE = (".nii", ".nii.gz", ".h5", "")
SLICES, ROWS, COLUMNS = 4, 12, 17


def triad(handedness: int) -> np.ndarray:
    """Oblique orthonormal directions (rows x, y, z)."""
    rows, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))
    return rows * np.array([1, 1, handedness * np.sign(np.linalg.det(rows))])[:, None]


def expected_affine(directions: np.ndarray) -> np.ndarray:
    """Affine (x, y, z) to RAS in mm by the definition, from what the fabricated readouts say."""
    x, y, z = directions
    d = np.array([200 / COLUMNS, 150 / ROWS, 5.0])  # field of view over matrix, slices 4 + 1 mm
    middle_slice = np.array([3.0, -4.0, 5.0]) + (SLICES // 2 - (SLICES - 1) / 2) * 5 * z
    corner = middle_slice - COLUMNS // 2 * d[0] * x - ROWS // 2 * d[1] * y - SLICES // 2 * d[2] * z
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions.T * d, corner
    return np.diag([-1, -1, 1, 1]) @ affine


@pytest.fixture
def directions(request: pytest.FixtureRequest) -> np.ndarray:
    return triad(getattr(request, "param", -1))


both_hands = pytest.mark.parametrize(
    "directions", [1, -1], ids=["right-handed", "left-handed"], indirect=True
)


@pytest.fixture
def folder(tmp_path: Path, build_scan, directions: np.ndarray) -> Path:
    """Folder with one reconstruction, `image` with every ending, and the complex truth."""
    built = build_scan(
        slices=SLICES,
        contrasts=2,
        matrix=(1, ROWS, COLUMNS),
        directions=directions,
        slice_order=[2, 0, 3, 1],
    )
    truth = built.image.reshape(2, SLICES, ROWS, COLUMNS)
    np.save(tmp_path / "truth.npy", truth)
    for ending in FORMATS:
        out = str(tmp_path / f"image{ending}")
        assert main(["reconstruct", str(built.path), "-o", out, "--method", "adjoint"]) == 0
    return tmp_path


def values(file: ImageFile) -> np.ndarray:
    """Image (volume, z, y, x)."""
    assert file.data.shape == (2, 1, SLICES, ROWS, COLUMNS)
    return file.data[:, 0].numpy()


@both_hands
def test_every_format_holds_the_same_picture_in_the_same_place(
    folder: Path, directions: np.ndarray
) -> None:
    truth = np.load(folder / "truth.npy")
    expected = values(read_image(folder / "image.npy"))
    np.testing.assert_allclose(expected, truth, atol=1e-5)
    np.testing.assert_array_equal(values(read_image(folder / "image.h5")), expected)
    for ending in (".nii", ".nii.gz"):
        magnitude = values(read_image(folder / f"image{ending}"))
        assert magnitude.dtype == np.float32
        np.testing.assert_allclose(magnitude, np.abs(expected), rtol=1e-6)
    slope = float(pydicom.dcmread(folder / "image" / "image_00001.dcm").RescaleSlope)
    assert slope == pytest.approx(np.abs(expected).max() / 65535, rel=1e-6)
    by_dicom = values(read_image(folder / "image"))
    np.testing.assert_allclose(by_dicom, np.abs(expected), atol=0.501 * slope)
    for ending in WITH_PLACE:
        geometry = read_image(folder / f"image{ending}").geometry
        assert geometry is not None
        assert geometry.is_known
        affine = affine_ras(geometry, (SLICES, ROWS, COLUMNS))
        np.testing.assert_allclose(affine, expected_affine(directions), atol=2e-5)  # float32


def test_png_is_the_rows_and_columns_on_its_stated_scale(folder: Path) -> None:
    """The eight planes fill a grid row by row; the text in the file turns levels into values."""
    expected = np.abs(np.load(folder / "image.npy")).reshape(2 * SLICES, ROWS, COLUMNS)
    picture = Image.open(folder / "image.png")
    black, white = (float(word.split()[-1]) for word in picture.text["scale"].split(","))
    grid = np.asarray(picture).astype(np.float64) / 255 * (white - black) + black
    columns = grid.shape[1] // COLUMNS
    for i, plane in enumerate(expected):
        y, x = i // columns * ROWS, i % columns * COLUMNS
        found = grid[y : y + ROWS, x : x + COLUMNS]
        step = (white - black) / 255
        np.testing.assert_allclose(found, np.clip(plane, black, white), atol=0.501 * step)
    assert read_image(folder / "image.png").is_photograph


def test_score_finds_no_difference_and_each_has_its_json(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in FORMATS:
        record = json.loads((folder / f"image{ending}.json").read_text())
        assert record["image"] == f"image{ending}"
        assert record["method"] == "adjoint"
    capsys.readouterr()
    for ending in (".h5", ".npy", ".nii.gz"):
        words = ["score", str(folder / "image"), str(folder / f"image{ending}"), "--json"]
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["nrmse"] < 2e-5


@pytest.mark.parametrize("ending", [".h5", ".npy", ".nii.gz"])
def test_complex_stays_complex(
    tmp_path: Path, build_scan, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build_scan(slices=2, matrix=(1, 6, 8))
    out = str(tmp_path / f"image{ending}")
    words = ["reconstruct", str(built.path), "-o", out, "--method", "adjoint"]
    assert main([*words, "--part", "complex"]) == 0
    found = read_image(out).data
    assert found.dtype == torch.complex64
    np.testing.assert_allclose(found[0, 0].numpy(), built.image.reshape(2, 6, 8), atol=1e-5)
    assert main([*words[:3], str(tmp_path / "series"), "--part", "complex"]) == 2
    assert "cannot hold complex" in capsys.readouterr().err
    assert not (tmp_path / "series").exists()


def test_a_foreign_folder_is_refused_before_the_work(
    tmp_path: Path, build_scan, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build_scan(matrix=(1, 6, 8))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("text")
    capsys.readouterr()
    assert main(["reconstruct", str(built.path), "-o", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: mine: holds 'thesis.tex', which is no DICOM image of an earlier run and would be "
        "lost; choose a new or an empty folder."
    ]


def write_again(path: Path, image: ImageFile) -> ImageFile:
    n_volumes, _, n_z, n_y, n_x = image.data.shape
    with open_image_writer(
        path, volume_shape=(n_volumes, 1), image_shape=(n_z, n_y, n_x), geometries=[image.geometry]
    ) as writer:
        for volume in image.data:
            writer.append(volume)
    return read_image(path)


def vectors(geometry: Geometry) -> np.ndarray:
    return np.array(
        [
            geometry.voxel_size_m,
            geometry.x_direction,
            geometry.y_direction,
            geometry.z_direction,
            geometry.position_m,
        ]
    )


@both_hands
def test_read_write_read_keeps_everything(folder: Path) -> None:
    for ending, other in itertools.product(WITH_PLACE, WITH_PLACE):
        first = read_image(folder / f"image{ending}")
        if first.data.is_complex():
            first = ImageFile(data=first.data.abs(), geometry=first.geometry)
        second = write_again(folder / f"again{other}", first)
        third = write_again(folder / f"more{ending}", second)
        for found in (second, third):
            error = (found.data - first.data).abs().max() / first.data.abs().max()
            assert float(error) < (1e-6 if "" not in (ending, other) else 0.51 / 65535)
            assert found.geometry is not None
            assert first.geometry is not None
            assert found.geometry.is_known
            np.testing.assert_allclose(
                vectors(found.geometry), vectors(first.geometry), rtol=1e-6, atol=1e-6
            )
