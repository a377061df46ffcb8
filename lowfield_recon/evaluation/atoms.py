"""A picture of a dictionary: its atoms side by side."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.files import atomic_path


def atom_mosaic(
    kernels: torch.Tensor, *, zoom: int = 6, columns: int | None = None
) -> npt.NDArray[np.uint8]:
    """Arrange atoms in rows, in their own order, each scaled by its largest magnitude.

    Grey is zero, white positive and black negative.

    Parameters
    ----------
    kernels
        `(K, ky, kx)`.
    zoom
        Screen pixels per pixel of a kernel.
    columns
        Atoms in a row; None makes as many rows as columns.

    Returns
    -------
        Picture, uint8 `(y, x)`.

    Examples
    --------
    >>> atom_mosaic(torch.eye(3)[None], zoom=1)
    array([[  0,   0,   0,   0,   0],
           [  0, 255, 128, 128,   0],
           [  0, 128, 255, 128,   0],
           [  0, 128, 128, 255,   0],
           [  0,   0,   0,   0,   0]], dtype=uint8)
    """
    n, n_y, n_x = kernels.shape
    n_columns = math.ceil(math.sqrt(n)) if columns is None else columns
    n_rows = math.ceil(n / n_columns)
    step_y, step_x = n_y * zoom + 1, n_x * zoom + 1
    picture = np.zeros((n_rows * step_y + 1, n_columns * step_x + 1), dtype=np.uint8)
    for k, kernel in enumerate(kernels.double().numpy()):
        peak = float(np.abs(kernel).max()) or 1.0
        grey = np.round(127.5 + 127.5 * kernel / peak).astype(np.uint8)
        row, column = divmod(k, n_columns)
        top, left = row * step_y + 1, column * step_x + 1
        enlarged = np.kron(grey, np.ones((zoom, zoom), dtype=np.uint8))
        picture[top : top + n_y * zoom, left : left + n_x * zoom] = enlarged
    return picture


def write_mosaic(path: Path, kernels: torch.Tensor) -> Path:
    """Write the picture of a dictionary as PNG.

    Parameters
    ----------
    path
        Name of the PNG.
    kernels
        `(K, ky, kx)`.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(atom_mosaic(kernels)).save(temporary, format="PNG")
    return path
