"""The photographs of `benchmark untrained-quality`, grey or in colour, and the text over them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from lowfield_recon.errors import DataError
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.resources import sample_path
from lowfield_recon.scan.photographs import read_photograph

SHIPPED = "camera.png"
_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_SMALLEST = 16

_WORDS = "what was measured here is all that there is to know about this picture "
_LINE_SPACING = 2.2
_LINES = 8
_SMALLEST_LETTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photograph:
    """A photograph whose truth is known."""

    name: str

    pixels: torch.Tensor
    """Grey levels 0..1, float32 `(1, channels, 1, y, x)`."""

    @property
    def identity(self) -> str:
        """Hash of shape and pixels."""
        content = self.pixels.contiguous().numpy().tobytes()
        return hashlib.sha256(f"{tuple(self.pixels.shape)}".encode() + content).hexdigest()[:32]


def photographs(paths: Sequence[str], *, crop: int) -> tuple[Photograph, ...]:
    """Read photographs and keep the middle of each.

    Parameters
    ----------
    paths
        PNG, JPEG and TIFF files, folders of such files, or patterns; empty for the one that ships.
    crop
        Largest number of rows and columns; what is kept is even.

    Returns
    -------
        The photographs, by path.

    Raises
    ------
    DataError
        If a file cannot be read, two have one name, or one is constant or too small.

    Examples
    --------
    >>> (camera,) = photographs((), crop=48)
    >>> camera.name, camera.pixels.shape
    ('camera', torch.Size([1, 1, 1, 48, 48]))
    """
    found: dict[str, Photograph] = {}
    for path in _files(paths) if paths else [sample_path(SHIPPED)]:
        pixels = read_photograph(path)
        for dim in (-2, -1):
            size = min(pixels.shape[dim], crop) // 2 * 2
            if size < _SMALLEST:
                raise DataError(
                    f"{path.name}: {tuple(pixels.shape[-2:])} pixels; expected at least "
                    f"{_SMALLEST} along either axis."
                )
            pixels = crop_center(pixels, size, dim)
        if float(pixels.min()) == float(pixels.max()):
            raise DataError(f"{path.name}: its middle is constant; choose another with --images.")
        if path.stem in found:
            raise DataError(f"{path.name}: two images are called '{path.stem}'; rename one.")
        found[path.stem] = Photograph(name=path.stem, pixels=pixels.contiguous())
    return tuple(found.values())


def text_mask(size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Return which pixels a text that is written over an image leaves.

    Parameters
    ----------
    size
        Rows and columns.
    seed
        Where in its words each line begins.

    Returns
    -------
        Kept pixels, bool `(y, x)`.

    Examples
    --------
    >>> mask = text_mask((128, 128))
    >>> 0.7 < float(mask.float().mean()) < 0.95
    True
    """
    rows, columns = size
    height = max(rows // _LINES, _SMALLEST_LETTERS)
    canvas = Image.new("L", (columns, rows), 0)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=height)
    generator = np.random.default_rng(seed)
    step = _LINE_SPACING * height / 2
    for number in range(int(rows / step) + 1):
        start = int(generator.integers(len(_WORDS)))
        line = (_WORDS[start:] + _WORDS) * (1 + columns // (len(_WORDS) * 2))
        draw.text((-2, number * step), line, fill=255, font=font)
    return torch.from_numpy(np.array(canvas) < 128)


def _files(paths: Sequence[str]) -> list[Path]:
    """Return the files of the paths, each once."""
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.suffix.lower() in _ENDINGS]
        elif path.exists() or not has_magic(given):
            inside = [path]
        else:
            inside = [Path(name) for name in sorted(glob(given))]  # noqa: PTH207 - absolute ones too
        if not inside:
            raise DataError(f"{path.name}: no PNG, JPEG or TIFF there; name photographs.")
        files += [file for file in inside if file not in files]
    return files
