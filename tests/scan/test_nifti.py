"""NIfTI images made by nibabel, read with their geometry."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.geometry import affine_ras
from lowfield_recon.scan.nifti import read_nifti, read_nifti_image

AFFINE = np.array([[0, 2.0, 0, -30], [0, 0, -3.0, 12], [-1.5, 0, 0, 7], [0, 0, 0, 1]])


def save(tmp_path: Path, array: np.ndarray, name: str = "a.nii.gz", **fields: object) -> Path:
    image = nibabel.Nifti1Image(array, fields.pop("affine", AFFINE))
    for key, value in fields.items():
        image.header[key] = value
    nibabel.save(image, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3), (4, 5)])
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.uint8, np.complex64])
def test_voxels_are_transposed_once(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 100, shape).astype(dtype)
    if np.iscomplexobj(array):
        array = array * (1 + 1j)
    found = read_nifti(save(tmp_path, array)).data
    full = array.reshape(*shape, *([1] * (4 - len(shape))))
    assert found.is_contiguous()
    np.testing.assert_array_equal(found[:, 0].numpy(), full.transpose(3, 2, 1, 0))
    assert found.is_complex() == np.iscomplexobj(array)
    np.testing.assert_array_equal(read_nifti_image(tmp_path / "a.nii.gz").numpy(), found.numpy())


def test_scale_factors_count(tmp_path: Path) -> None:
    array = np.linspace(-1, 1, 24).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(array, AFFINE)
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii").data[0, 0].numpy()
    np.testing.assert_allclose(found, array.transpose(2, 1, 0), atol=1e-4)


def test_affine_comes_back(tmp_path: Path) -> None:
    geometry = read_nifti(save(tmp_path, np.ones((4, 5, 6), np.float32))).geometry
    assert geometry.is_known
    np.testing.assert_allclose(geometry.voxel_size_m, (3e-3, 2e-3, 1.5e-3), rtol=1e-6)
    np.testing.assert_allclose(affine_ras(geometry, (6, 5, 4)), AFFINE, atol=1e-4)


def test_single_plane(tmp_path: Path) -> None:
    array = np.random.default_rng(0).random((4, 5, 6, 2)).astype(np.float32)
    path = save(tmp_path, array, "a.nii")
    for plane in (2, -4):
        found = read_nifti(path, plane=plane)
        np.testing.assert_array_equal(
            found.data[:, 0, 0].numpy(), array[:, :, 2].transpose(2, 1, 0)
        )
    expected = nibabel.affines.apply_affine(AFFINE, [2, 2, 2]) * [-1e-3, -1e-3, 1e-3]
    np.testing.assert_allclose(found.geometry.position_m, expected, atol=1e-7)
    with pytest.raises(UsageError, match="there are 6 along z"):
        read_nifti(path, plane=6)


def test_units_and_missing_codes(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), AFFINE * 1e-3)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "a.nii")
    found = read_nifti(tmp_path / "a.nii").geometry
    np.testing.assert_allclose(found.voxel_size_m, (3e-3, 2e-3, 1.5e-3), rtol=1e-6)
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.float32), None)
    image.header.set_zooms((1.5, 2.0, 3.0))
    nibabel.save(image, tmp_path / "b.nii")
    found = read_nifti(tmp_path / "b.nii").geometry
    assert not found.is_known
    np.testing.assert_allclose(found.voxel_size_m, (3e-3, 2e-3, 1.5e-3), rtol=1e-6)


def test_sheared_affine_is_not_claimed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sheared = AFFINE.copy()
    sheared[0, 0] = 1.0
    path = save(tmp_path, np.ones((4, 5, 6), np.float32), affine=sheared)
    assert not read_nifti(path).geometry.is_known
    assert "sheared" in caplog.text


@pytest.mark.parametrize("kind", ["missing", "text", "truncated", "bad gzip", "colour", "nan"])
def test_files_that_cannot_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.nii.gz" if "gzip" in kind else "a.nii")
    whole = save(tmp_path, np.random.default_rng(0).random((40, 50, 6)), "whole.nii.gz")
    if kind == "text":
        path.write_text("hello" * 100)
    elif kind == "truncated":
        plain = save(tmp_path, np.random.default_rng(0).random((40, 50, 6)), "whole.nii")
        path.write_bytes(plain.read_bytes()[:5000])
    elif kind == "bad gzip":
        path.write_bytes(whole.read_bytes()[:5000])
    elif kind == "colour":
        rgb = np.zeros((3, 4, 5), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        save(tmp_path, rgb, "a.nii")
    elif kind == "nan":
        save(tmp_path, np.full((3, 4, 5), np.nan, np.float32), "a.nii")
    with pytest.raises(DataError, match=r"^a\.nii"):
        read_nifti(path)


@pytest.mark.shared_data
def test_real_volume(shared_data: Path) -> None:
    path = shared_data / "brain_t1_jlf" / "ilist1.nii.gz"
    image = nibabel.load(path)
    found = read_nifti(path)
    assert found.data.shape == (1, 1, *image.shape[::-1])
    np.testing.assert_allclose(found.data[0, 0].numpy().T, image.get_fdata(), atol=1e-6)
    np.testing.assert_allclose(
        affine_ras(found.geometry, found.data.shape[-3:]), image.affine, atol=1e-3
    )
