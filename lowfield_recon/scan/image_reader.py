"""Finished images of any kind, recognised by their content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.arrays import ARRAY_FORMATS, read_array
from lowfield_recon.scan.detect import detect_format
from lowfield_recon.scan.dicom_reader import read_dicom
from lowfield_recon.scan.ismrmrd_images import read_ismrmrd_images
from lowfield_recon.scan.nifti import read_nifti
from lowfield_recon.scan.photographs import read_photograph


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageFile:
    """Pixels of an image file."""

    data: torch.Tensor
    """Image `(*other, channels, z, y, x)`, float32 or complex64."""

    is_photograph: bool = False
    """Whether the file holds grey levels, which were scaled to 0..1."""

    geometry: Geometry | None = None
    """Where it sits, or None."""


def read_image(path: str | Path) -> ImageFile:
    """Read an image: PNG, JPEG, TIFF, NIfTI, DICOM, a series of ISMRMRD images, or an array.

    Arrays are `(y, x)`, `(z, y, x)`, `(volumes, z, y, x)` or `(volumes, channels, z, y, x)`.

    Parameters
    ----------
    path
        The file, or a folder with the DICOM files of one series; what it is, is decided from its
        content.

    Returns
    -------
        The image.

    Raises
    ------
    DataError
        If the file is missing, damaged, not finite, or no image.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "image.npy"
    >>> np.save(file, np.ones((3, 4, 5)))
    >>> read_image(file).data.shape
    torch.Size([1, 1, 3, 4, 5])
    """
    path = Path(path)
    kind = "dicom" if path.is_dir() else detect_format(path)
    if kind in ("png", "jpeg", "tiff"):
        return ImageFile(data=read_photograph(path), is_photograph=True)
    if kind == "nifti":
        image = read_nifti(path)
        return ImageFile(data=image.data, geometry=image.geometry)
    if kind == "dicom":
        series = read_dicom(path)
        return ImageFile(data=series.data, geometry=series.geometry)
    if kind == "mrd-images":
        images = read_ismrmrd_images(path)
        return ImageFile(data=_tensor(path, images.data), geometry=images.geometry)
    if kind in ARRAY_FORMATS:
        return ImageFile(data=_tensor(path, read_array(path)))
    raise DataError(
        f"{path.name}: is {kind}, not an image; expected PNG, JPEG, TIFF, NIfTI, DICOM, ISMRMRD "
        "images or an array. Reconstruct it first if it is a scan."
    )


def _tensor(path: Path, array: Any) -> torch.Tensor:
    if not 2 <= array.ndim <= 5:
        raise DataError(
            f"{path.name}: an array of shape {array.shape}; expected (y, x), (z, y, x), (volumes, "
            "z, y, x) or (volumes, channels, z, y, x)."
        )
    if array.size == 0:
        raise DataError(f"{path.name}: an array of shape {array.shape}; expected some pixels.")
    values = np.array(
        array, dtype=np.complex64 if np.iscomplexobj(array) else np.float32, order="C"
    )
    if not np.isfinite(values).all():
        raise DataError(f"{path.name}: holds NaN or infinite values; expected finite numbers.")
    if values.ndim == 4:
        values = values[:, None]
    return torch.from_numpy(values.reshape((1,) * (5 - values.ndim) + values.shape))
