"""Photographs of every kind that Pillow opens, and files that are none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.scan.photographs import read_photograph

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)


def save(tmp_path: Path, picture: Image.Image, name: str = "a.png", **options: object) -> Path:
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("name", ["a.png", "a.tif", "named.jpg.png"])
def test_grey_and_colour(tmp_path: Path, name: str) -> None:
    grey = read_photograph(save(tmp_path, Image.fromarray(GREY), name))
    assert grey.shape == (1, 1, 1, 3, 4)
    assert grey.dtype == torch.float32
    np.testing.assert_array_equal(grey[0, 0, 0].numpy(), GREY.astype(np.float32) / 255)
    colour = read_photograph(save(tmp_path, Image.fromarray(COLOUR), name))
    assert colour.shape == (1, 3, 1, 3, 4)
    np.testing.assert_allclose(colour[0, :, 0].numpy(), COLOUR.transpose(2, 0, 1) / 255, atol=1e-7)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit(tmp_path: Path, name: str) -> None:
    levels = np.array([[0, 257, 65535], [1, 2, 32768]], dtype=np.uint16)
    found = read_photograph(save(tmp_path, Image.fromarray(levels), name))
    np.testing.assert_allclose(found[0, 0, 0].numpy(), levels / 65535, atol=1e-7)


def test_black_and_white(tmp_path: Path) -> None:
    found = read_photograph(save(tmp_path, Image.fromarray(GREY > 100)))
    np.testing.assert_array_equal(found[0, 0, 0].numpy(), GREY > 100)


def test_alpha_is_dropped_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rgba = np.dstack([COLOUR, np.full_like(GREY, 7)])
    found = read_photograph(save(tmp_path, Image.fromarray(rgba)))
    np.testing.assert_allclose(found[0, :, 0].numpy(), COLOUR.transpose(2, 0, 1) / 255, atol=1e-7)
    assert "transparency was dropped" in caplog.text
    grey_alpha = Image.fromarray(np.dstack([GREY, GREY]), mode=None)
    assert read_photograph(save(tmp_path, grey_alpha)).shape[1] == 1


def test_palette_becomes_colour(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    picture = Image.fromarray(GREY // 20)
    picture.putpalette([value for i in range(256) for value in (i * 20 % 256, 0, 255)])
    found = read_photograph(save(tmp_path, picture))
    assert found.shape[1] == 3
    np.testing.assert_allclose(found[0, 0, 0].numpy(), GREY / 255, atol=1e-7)
    assert "palette" in caplog.text


def test_floating_point_tiff(tmp_path: Path) -> None:
    levels = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    found = read_photograph(save(tmp_path, Image.fromarray(levels), "a.tif"))
    np.testing.assert_array_equal(found[0, 0, 0].numpy(), levels)
    for bad in (levels * 3, levels * np.float32("nan")):
        with pytest.raises(DataError, match="expected 0 to 1"):
            read_photograph(save(tmp_path, Image.fromarray(bad), "a.tif"))


def test_rotation_tag_of_a_camera(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    found = read_photograph(
        save(
            tmp_path,
            Image.fromarray(np.kron(GREY, np.ones((16, 16), np.uint8))),
            "a.jpg",
            exif=exif,
        )
    )
    assert found.shape == (1, 1, 1, 64, 48)
    assert float(found[0, 0, 0, 4, 40]) == pytest.approx(GREY[0, 0] / 255, abs=0.05)
    assert float(found[0, 0, 0, 4, 4]) == pytest.approx(GREY[2, 0] / 255, abs=0.05)
    assert "rotated" in caplog.text


def test_only_the_first_page(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    path = save(tmp_path, pages[0], "a.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_allclose(read_photograph(path)[0, 0, 0].numpy(), GREY / 255, atol=1e-7)
    assert "several pictures" in caplog.text


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [9000, 30000])
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_claiming(side, side))
    with pytest.raises(DataError, match="expected at most 67108864"):
        read_photograph(tmp_path / "bomb.png")


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "gif", "folder"])
def test_files_that_are_no_photographs(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("hello")
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
        whole = save(tmp_path, Image.fromarray(noise), "whole.png").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "gif":
        Image.fromarray(GREY).save(path, format="GIF")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(DataError, match=r"a\.png: "):
        read_photograph(path)


@pytest.mark.shared_data
def test_real_photographs(shared_data: Path) -> None:
    folder = shared_data / "natural" / "skimage_data"
    for path in sorted(folder.glob("*.png")):
        found = read_photograph(path)
        expected = np.asarray(Image.open(path), dtype=np.float64) / 255
        expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)[:3]
        np.testing.assert_allclose(found[0, :, 0].numpy(), expected, atol=1e-6)
