"""NIfTI-1 images with the right affine, written slice by slice.

References
----------
Cox RW et al. A (sort of) new image data format standard: NIfTI-1. NeuroImage 2004;22:e1440.
https://nifti.nimh.nih.gov/nifti-1
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import nibabel
import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path
from lowfield_recon.scan.geometry import affine_ras, stack_geometry

if TYPE_CHECKING:
    from lowfield_recon.scan.writers import Layout

logger = logging.getLogger(__name__)

_DATA_OFFSET = 352
_LARGEST_AXIS = 32767
_COMPRESSION = 4


@contextmanager
def open_nifti(path: Path, layout: Layout) -> Iterator[Callable[[npt.NDArray[np.generic]], None]]:
    """Open a `.nii` or `.nii.gz` file; voxels are stored with x fastest, then y, z and volume.

    Both sform and qform hold the affine of `geometry.affine_ras` with code 1 (scanner); where the
    orientation is not known the codes are 0 and only the voxel size is stated.

    Parameters
    ----------
    path
        Name of the file.
    layout
        Number, shape and geometries of the images.

    Yields
    ------
        Function that writes the next image `(z, y, x)`.

    Raises
    ------
    DataError
        If an axis is too long for NIfTI-1 or the slices make no regular volume.
    """
    header = nifti_header(layout, path.name)
    with atomic_path(path) as temporary, temporary.open("wb") as raw, _stream(raw, path) as stream:
        header.write_to(stream)
        stream.write(bytes(_DATA_OFFSET - stream.tell()))

        def write(image: npt.NDArray[np.generic]) -> None:
            stream.write(np.ascontiguousarray(image).data)

        yield write


def nifti_header(layout: Layout, name: str) -> Any:
    """Build the NIfTI-1 header of a series of images.

    Parameters
    ----------
    layout
        Number, shape and geometries of the images.
    name
        Name of the file, for errors.

    Returns
    -------
        The nibabel header.

    Raises
    ------
    DataError
        If an axis is too long for NIfTI-1 or the slices make no regular volume.
    """
    n_z, n_y, n_x = layout.shape
    n_planes = n_z * layout.n_slices
    shape = (n_x, n_y, n_planes, layout.n_volumes)[: 3 if layout.n_volumes == 1 else 4]
    if max(shape) > _LARGEST_AXIS:
        raise DataError(
            f"{name}: NIfTI-1 axes end at {_LARGEST_AXIS}, got {shape} (x, y, z, volume); write "
            ".npy."
        )
    geometry = stack_geometry(layout.geometries, n_z, name=f"{name}: slices")
    header: Any = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.complex64 if layout.part == "complex" else np.float32)
    header.set_data_shape(shape)
    header.set_data_offset(_DATA_OFFSET)
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = layout.part.encode()
    if geometry is None:
        logger.warning("%s: the voxel size is not known; 1 mm is written.", name)
    elif geometry.is_known:
        affine = affine_ras(geometry, (n_planes, n_y, n_x))
        header.set_qform(affine, code=1)
        header.set_sform(affine, code=1)
    else:
        logger.info("%s: the orientation is not known; only the voxel size is written.", name)
        sizes = tuple(1e3 * d for d in reversed(geometry.voxel_size_m))
        header.set_zooms(sizes + (1.0,) * (len(shape) - 3))
    return header


@contextmanager
def _stream(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    if not path.name.lower().endswith(".gz"):
        yield raw
        return
    # Without name and time the same image gives the same bytes.
    with gzip.GzipFile("", "wb", _COMPRESSION, raw, mtime=0) as packed:
        yield cast("IO[bytes]", packed)
