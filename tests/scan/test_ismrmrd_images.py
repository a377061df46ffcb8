"""MRD image series as other programs write them: order, place, and what is missing."""

from __future__ import annotations

from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.scan.image_reader import read_image
from lowfield_recon.scan.ismrmrd_images import read_ismrmrd_images


def append(path: Path, pixels: np.ndarray, series: str = "image_0", **fields: object) -> None:
    """Add one image (channels, z, y, x)."""
    image = ismrmrd.Image.from_array(pixels, transpose=False)
    defaults = {
        "field_of_view": (7.0, 10.0, 6.0),
        "read_dir": (1.0, 0.0, 0.0),
        "phase_dir": (0.0, 1.0, 0.0),
        "slice_dir": (0.0, 0.0, 1.0),
    }
    for name, value in (defaults | fields).items():
        setattr(image, name, value)
    with ismrmrd.Dataset(str(path), "dataset") as dataset:
        dataset.append_image(series, image)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*shape, 1, 5, 7)).astype(np.float32)


def test_slices_in_time_order_are_put_in_space_order(tmp_path: Path) -> None:
    """Slice counters say when a slice was measured, positions say where it lies."""
    images = random_images(2, 3, 2)  # repetition, slice, channel
    for repetition in range(2):
        for counter, rank in enumerate((1, 2, 0)):
            place = {"position": (1.0, 2.0, 6.0 * rank - 9)}
            append(
                tmp_path / "a.h5",
                images[repetition, rank],
                slice=counter,
                repetition=repetition,
                **place,
            )
    found = read_image(tmp_path / "a.h5")
    assert found.data.shape == (2, 2, 3, 5, 7)
    np.testing.assert_array_equal(found.data.numpy(), images.swapaxes(1, 2)[:, :, :, 0])
    assert found.geometry is not None
    assert found.geometry.is_known
    np.testing.assert_allclose(found.geometry.voxel_size_m, (6e-3, 2e-3, 1e-3), rtol=1e-6)
    np.testing.assert_allclose(found.geometry.position_m, (1e-3, 2e-3, -3e-3), rtol=1e-6)


def test_without_directions_the_counters_decide(tmp_path: Path) -> None:
    images = random_images(3, 1)
    none = dict.fromkeys(("read_dir", "phase_dir", "slice_dir"), (0.0, 0.0, 0.0))
    for i in (2, 0, 1):
        append(tmp_path / "a.h5", images[i], slice=i, **none)
    found = read_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.data[0, 0].numpy(), images[:, 0, 0])
    assert found.geometry is not None
    assert not found.geometry.is_known


def test_without_a_field_of_view_nothing_is_claimed(tmp_path: Path) -> None:
    append(tmp_path / "a.h5", random_images(1)[:1], field_of_view=(0.0, 0.0, 0.0))
    assert read_image(tmp_path / "a.h5").geometry is None


def test_same_position_and_other_counters_are_slices(tmp_path: Path) -> None:
    images = random_images(3, 1)
    for i in range(3):
        append(tmp_path / "a.h5", images[i], slice=i)
    found = read_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.data[0, 0].numpy(), images[:, 0, 0])
    assert found.geometry is not None
    assert not found.geometry.is_known


def test_an_incomplete_volume_stays_single_images(tmp_path: Path) -> None:
    images = random_images(3, 1)
    for i, (slice_, repetition) in enumerate(((0, 0), (1, 0), (0, 1))):
        place = {"position": (0.0, 0.0, 6.0 * slice_)}
        append(tmp_path / "a.h5", images[i], slice=slice_, repetition=repetition, **place)
    found = read_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(found.data.numpy(), images)
    assert found.geometry is None


@pytest.mark.parametrize("dtype", [np.uint16, np.float64, np.complex64, np.complex128])
def test_kinds_of_values(tmp_path: Path, dtype: type) -> None:
    images = (100 * random_images(1).astype(np.complex64) * (1 + 2j)).astype(np.complex128)
    values = (
        images.astype(dtype)
        if np.issubdtype(dtype, np.complexfloating)
        else (np.abs(images).astype(dtype))
    )
    append(tmp_path / "a.h5", values)
    found = read_ismrmrd_images(tmp_path / "a.h5").data
    np.testing.assert_array_equal(found[0, 0, 0], values[0, 0])


def test_absurd_size_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("dataset/image_0")
        group.create_dataset("data", (1000, 1, 1, 1000, 1000), np.float32, chunks=(1, 1, 1, 8, 8))
    with pytest.raises(DataError, match=r"would be 3\.73 GiB, and 0 bytes are stored"):
        read_image(tmp_path / "a.h5")


def test_no_series(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["dataset/image_0/data"] = np.zeros((3, 3))
    with pytest.raises(DataError, match="no series of ISMRMRD images"):
        read_image(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["dataset/image_0/data"] = np.array([b"x"], dtype="S4").reshape((1,) * 5)
    with pytest.raises(DataError, match="expected numbers"):
        read_image(tmp_path / "b.h5")
