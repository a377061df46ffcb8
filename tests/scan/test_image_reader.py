"""Images of any kind, recognised by content; what our writers write is read back."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.scan.image_reader import read_image
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace
from lowfield_recon.scan.writers import open_image_writer


@pytest.mark.parametrize(
    ("ending", "part"),
    [(".nii.gz", "complex"), (".h5", "complex"), (".npy", "complex"), (".h5", "magnitude")],
)
def test_written_images_come_back(tmp_path: Path, ending: str, part: str) -> None:
    images = torch.randn(2, 3, 1, 4, 5, dtype=torch.complex64)
    file = tmp_path / f"image{ending}"
    with open_image_writer(file, volume_shape=(2, 3), image_shape=(1, 4, 5), part=part) as writer:
        for image in images.flatten(0, 1):
            writer.append(image)
    found = read_image(file).data
    expected = images if part == "complex" else images.abs()
    torch.testing.assert_close(found.reshape(images.shape), expected)


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(levels).save(tmp_path / "image.npy", format="PNG")
    found = read_image(tmp_path / "image.npy")
    assert found.is_photograph
    np.testing.assert_allclose(found.data[0, 0, 0].numpy(), levels / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 4), (1, 1, 1, 3, 4)),
        ((2, 3, 4), (1, 1, 2, 3, 4)),
        ((5, 2, 3, 4), (5, 1, 2, 3, 4)),
        ((5, 6, 2, 3, 4), (5, 6, 2, 3, 4)),
    ],
)
def test_arrays_of_every_rank(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    values = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "a.npy", values)
    found = read_image(tmp_path / "a.npy")
    assert found.data.shape == expected
    np.testing.assert_allclose(found.data.numpy().reshape(shape), values, rtol=1e-6)


def test_no_image(tmp_path: Path) -> None:
    k = np.ones((1, 1, 1, 1, 1, 4, 4), np.complex64)
    write_ismrmrd_kspace(tmp_path / "scan.h5", k, fov_m=(1, 1, 1))
    with pytest.raises(DataError, match="is ismrmrd, not an image"):
        read_image(tmp_path / "scan.h5")
    np.save(tmp_path / "nan.npy", np.full((3, 3), np.nan))
    with pytest.raises(DataError, match="NaN"):
        read_image(tmp_path / "nan.npy")
    np.save(tmp_path / "line.npy", np.ones(3))
    with pytest.raises(DataError, match=r"array of shape \(3,\)"):
        read_image(tmp_path / "line.npy")


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    with open_image_writer(tmp_path / "a.h5", volume_shape=(1, 1), image_shape=(1, 4, 5)) as writer:
        writer.append(torch.ones(1, 4, 5))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        series = file.create_group("dataset/image_0")
        series["data"] = h5py.ExternalLink("a.h5", "/dataset/image_0/data")
    with pytest.raises(DataError, match="link"):
        read_image(tmp_path / "link.h5")
