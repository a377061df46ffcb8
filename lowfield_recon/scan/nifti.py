"""NIfTI images and where they sit.

References
----------
NIfTI-1 data format: https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import torch
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.problem import Geometry

logger = logging.getLogger(__name__)

_METRES = {"meter": 1.0, "mm": 1e-3, "micron": 1e-6, "unknown": 1e-3}
_LARGEST_BYTES = 16 << 30
_ORTHOGONAL = 1e-3
_DAMAGED = (
    ImageFileError,
    HeaderDataError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NiftiImage:
    """Voxels of a NIfTI file and their place."""

    data: torch.Tensor
    """Image `(volumes, 1, z, y, x)`, float32, or complex64 where the file is complex."""

    geometry: Geometry
    """LPS geometry of a volume; `is_known` is False where the file has no usable affine."""


@contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """Keep nibabel from writing about damaged headers by itself; its errors are enough."""
    theirs = nibabel.imageglobals.logger
    before, theirs.disabled = theirs.disabled, True
    try:
        yield
    finally:
        theirs.disabled = before


@_quiet_nibabel()
def read_nifti(path: str | Path, *, plane: int | None = None) -> NiftiImage:
    """Read a NIfTI-1 or NIfTI-2 image with its geometry.

    The array's axes x, y, z are kept, whatever they mean in the patient; the affine says it. The
    sform counts before the qform; with neither only the voxel size is known.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz` file.
    plane
        Read only this plane along z; negative counts from the end.

    Returns
    -------
        Image and geometry.

    Raises
    ------
    DataError
        If the file is missing or damaged, not NIfTI, larger than 16 GiB, in colour, or not finite.
    UsageError
        If there is no such plane.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "volume.nii.gz"
    >>> affine = np.diag([-2.0, -2.0, 5.0, 1.0])
    >>> nibabel.save(nibabel.Nifti1Image(np.ones((4, 6, 3), dtype=np.float32), affine), file)
    >>> image = read_nifti(file)
    >>> image.data.shape, image.geometry.voxel_size_m, image.geometry.x_direction
    (torch.Size([1, 1, 3, 6, 4]), (0.005, 0.002, 0.002), (1.0, 0.0, 0.0))
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path.name}: there is no such file; expected .nii or .nii.gz.")
    try:
        image: Any = nibabel.load(path)
        shape = _shape(path, image)
        voxels = _voxels(path, image, shape, plane)
    except (DataError, UsageError):
        raise
    except _DAMAGED as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path.name}: cannot be read as NIfTI ({detail}); it is damaged or of another format."
        ) from error
    if not np.isfinite(voxels).all():
        raise DataError(
            f"{path.name}: {int((~np.isfinite(voxels)).sum())} voxels are NaN or infinite; "
            "expected finite numbers. Set them to 0 first."
        )
    volumes = np.require(voxels.transpose(3, 2, 1, 0), requirements=("C", "W"))[:, None]
    planes = shape[2] if plane is None else 1
    offset = 0 if plane is None else plane % shape[2]
    geometry = _geometry(path, image, (planes, shape[1], shape[0]), offset)
    return NiftiImage(data=torch.from_numpy(volumes), geometry=geometry)


def read_nifti_image(path: str | Path) -> torch.Tensor:
    """Read the voxels of a NIfTI image, without their place.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz` file.

    Returns
    -------
        Image `(volumes, 1, z, y, x)`, float32 or complex64.

    Raises
    ------
    DataError
        As `read_nifti`.
    """
    return read_nifti(path).data


def _shape(path: Path, image: Any) -> tuple[int, int, int, int]:
    is_nifti = isinstance(image, nibabel.Nifti1Image)
    if not is_nifti:
        raise DataError(f"{path.name}: is {type(image).__name__}; expected a NIfTI image.")
    sizes = [int(n) for n in image.shape]
    if image.get_data_dtype().kind not in "iufcb" or not sizes or min(sizes) < 1:
        raise DataError(
            f"{path.name}: voxels of kind {image.get_data_dtype()} in shape {tuple(sizes)}; "
            "expected numbers, one per voxel."
        )
    n_x, n_y, n_z = [*sizes, 1, 1][:3]
    n_volumes = int(np.prod(sizes[3:])) if len(sizes) > 3 else 1
    if n_x * n_y * n_z * n_volumes * 8 > _LARGEST_BYTES:
        raise DataError(
            f"{path.name}: {tuple(sizes)} voxels are more than 16 GiB; cut it up first."
        )
    return n_x, n_y, n_z, n_volumes


def _voxels(
    path: Path, image: Any, shape: tuple[int, int, int, int], plane: int | None
) -> npt.NDArray[Any]:
    """Read scaled voxels (x, y, z, volume)."""
    dtype = np.complex64 if image.get_data_dtype().kind == "c" else np.float32
    if plane is None:
        return np.asarray(image.dataobj, dtype=dtype).reshape(shape, order="F")
    if not -shape[2] <= plane < shape[2]:
        raise UsageError(
            f"{path.name}: plane {plane} does not exist; there are {shape[2]} along z."
        )
    index = plane % shape[2]
    part = image.dataobj[:, :, index] if len(image.shape) > 2 else image.dataobj
    return np.asarray(part, dtype=dtype).reshape((*shape[:2], 1, shape[3]), order="F")


def _geometry(path: Path, image: Any, shape_zyx: tuple[int, int, int], offset: int) -> Geometry:
    """Turn the RAS affine into LPS directions, voxel sizes and the position of voxel n // 2."""
    unit = _METRES.get(image.header.get_xyzt_units()[0], 1e-3)
    zooms = [abs(float(z)) * unit for z in image.header.get_zooms()[:3]]
    x, y, z = (size or 1e-3 for size in (*zooms, 1e-3, 1e-3)[:3])
    unknown = Geometry(voxel_size_m=(z, y, x), is_known=False)
    if not (int(image.header["sform_code"]) or int(image.header["qform_code"])):
        return unknown
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.asarray(image.affine, dtype=np.float64)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and (sizes > 0).all()):
        logger.warning("%s: the affine is singular; the orientation counts as unknown.", path.name)
        return unknown
    directions = affine[:3, :3] / sizes
    if np.abs(directions.T @ directions - np.eye(3)).max() > _ORTHOGONAL:
        logger.warning("%s: the affine is sheared; the orientation counts as unknown.", path.name)
        return unknown
    centre = np.array([n // 2 for n in reversed(shape_zyx)])
    centre[2] += offset
    position = (affine[:3, :3] @ centre + affine[:3, 3]) * unit
    columns = [(float(d[0]), float(d[1]), float(d[2])) for d in directions.T + 0.0]
    return Geometry(
        voxel_size_m=(float(sizes[2] * unit), float(sizes[1] * unit), float(sizes[0] * unit)),
        x_direction=columns[0],
        y_direction=columns[1],
        z_direction=columns[2],
        position_m=(float(position[0]), float(position[1]), float(position[2])),
    )
