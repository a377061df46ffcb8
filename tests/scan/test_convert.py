"""Raw arrays to ISMRMRD: the same k-space as from the array itself, with the assumptions named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import io

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.convert import convert_to_ismrmrd
from lowfield_recon.scan.load import load_scan


def random_complex(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def test_axes_field_of_view_and_field(tmp_path: Path) -> None:
    k = random_complex((12, 10, 3, 2))
    np.save(tmp_path / "k.npy", k)
    notes = convert_to_ismrmrd(
        tmp_path / "k.npy",
        tmp_path / "k.h5",
        axes="x y slice coil",
        field_strength_t=0.055,
        fov_m=(6e-3, 0.2, 0.24),
    )
    scan = load_scan(tmp_path / "k.h5")
    assert len(scan.images) == 3
    for s in range(3):
        raw = scan.kspace(s)
        np.testing.assert_array_equal(raw.data[0, :, 0].numpy(), k[:, :, s].transpose(2, 1, 0))
        assert raw.geometry is not None
        np.testing.assert_allclose(raw.geometry.voxel_size_m, (6e-3, 0.02, 0.02), rtol=1e-6)
    assert scan.header.field_strength_t == pytest.approx(0.055)
    text = " ".join(notes)
    assert "orientation is not known" in text
    assert "dwell time is not known" in text
    assert "field of view" not in text


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", random_complex((6, 8)))
    notes = " ".join(convert_to_ismrmrd(tmp_path / "k.npy", tmp_path / "k.h5", axes="y x"))
    assert "voxels of 1 mm were taken" in notes
    assert "field strength is not known" in notes
    geometry = load_scan(tmp_path / "k.h5").kspace(0).geometry
    assert geometry is not None
    np.testing.assert_allclose(geometry.voxel_size_m, 1e-3, rtol=1e-6)


def test_coil_images_become_kspace(tmp_path: Path) -> None:
    images = random_complex((8, 6, 3))
    io.savemat(tmp_path / "images.mat", {"img": images, "other": np.ones(3)})
    convert_to_ismrmrd(
        tmp_path / "images.mat", tmp_path / "k.h5", axes="y x coil", key="img", image_space=True
    )
    k = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(images, axes=(0, 1)), axes=(0, 1), norm="ortho"), axes=(0, 1)
    )
    found = load_scan(tmp_path / "k.h5").kspace(0).data[0, :, 0].numpy()
    np.testing.assert_allclose(found, k.transpose(2, 0, 1), atol=1e-5)


def test_volume_with_undersampled_lines(tmp_path: Path) -> None:
    k = random_complex((6, 8, 10))
    mask = np.random.default_rng(1).random((6, 8)) < 0.5
    np.save(tmp_path / "k.npy", k * mask[..., None])
    convert_to_ismrmrd(tmp_path / "k.npy", tmp_path / "k.h5", axes="z y x")
    raw = load_scan(tmp_path / "k.h5").kspace(0)
    np.testing.assert_array_equal(raw.data[0, 0].numpy(), k * mask[..., None])
    assert raw.mask is not None
    np.testing.assert_array_equal(raw.mask[0, 0, :, :, 0].numpy(), mask)


@pytest.mark.shared_data
def test_real_radial_scan(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "gpunufft_demo" / "radial_cardiac_25_projections.mat"
    convert_to_ismrmrd(file, tmp_path / "r.h5", axes="x y coil", key="rawdata", trajectory_key="k")
    stored = io.loadmat(file)
    raw = load_scan(tmp_path / "r.h5").kspace(0)
    np.testing.assert_allclose(
        raw.data[0, :, 0].numpy(), stored["rawdata"].transpose(2, 1, 0), rtol=1e-6
    )
    assert raw.trajectory is not None
    k = raw.trajectory[0, 0].numpy()
    np.testing.assert_allclose(k[..., 2] + 1j * k[..., 1], 256 * stored["k"].T, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        ("k.npy", {"out": "k.nii", "axes": "y x"}, UsageError, "ends in .h5 or .mrd"),
        ("k.npy", {"field_strength_t": -1, "axes": "y x"}, UsageError, "field in tesla"),
        ("k.npy", {}, UsageError, "axes are not known"),
        ("k.npy", {"axes": "y q"}, UsageError, "no axis is called 'q'"),
        ("picture.png", {"axes": "y x"}, DataError, "is a PNG picture"),
        ("missing.npy", {"axes": "y x"}, DataError, "missing.npy"),
    ],
)
def test_wrong_use_leaves_nothing(
    tmp_path: Path, name: str, settings: dict, error: type[Exception], message: str
) -> None:
    np.save(tmp_path / "k.npy", random_complex((6, 8)))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    out = tmp_path / settings.pop("out", "out.h5")
    with pytest.raises(error, match=message):
        convert_to_ismrmrd(tmp_path / name, out, **settings)
    assert not out.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_converted_array_keeps_its_unknown_orientation_and_its_zeros(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    kspace = generator.standard_normal((2, 24, 32)) + 1j * generator.standard_normal((2, 24, 32))
    acquired = generator.random((24, 32)) < 0.4
    np.save(tmp_path / "points.npy", kspace * acquired)
    convert_to_ismrmrd(tmp_path / "points.npy", tmp_path / "points.h5", axes="coil y x")
    scan = load_scan(tmp_path / "points.h5")
    raw = scan.kspace(0)
    assert raw.mask is not None
    assert np.array_equal(raw.mask.expand(1, 1, 1, 24, 32)[0, 0, 0].numpy(), acquired)
    assert raw.geometry is not None
    assert not raw.geometry.is_known
    assert scan.describe()["sampling_fraction"] == pytest.approx(acquired.mean())
