"""Images as ISMRMRD (MRD) image series in HDF5.

References
----------
Inati SJ et al. ISMRM Raw data format. Magn Reson Med 2017;77:411-421.
https://doi.org/10.1002/mrm.26089
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ismrmrd
import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.geometry import directions_of
from lowfield_recon.scan.hdf5_output import hdf5_output
from lowfield_recon.scan.ismrmrd_header import header_xml
from lowfield_recon.scan.records import ScanHeader

if TYPE_CHECKING:
    from lowfield_recon.scan.writers import Layout

_LARGEST_AXIS = 65535
_IMAGE_TYPES = {
    "magnitude": ismrmrd.IMTYPE_MAGNITUDE,
    "phase": ismrmrd.IMTYPE_PHASE,
    "complex": ismrmrd.IMTYPE_COMPLEX,
}


@contextmanager
def open_ismrmrd_images(
    path: Path, layout: Layout
) -> Iterator[Callable[[npt.NDArray[np.generic]], None]]:
    """Open an HDF5 file with one image series, `dataset/image_0`, and the XML header if known.

    Every image carries its position (of voxel n // 2, LPS, mm), directions, field of view, slice
    and counters (repetition counts volumes where these are not known). Directions of zero length
    say that the orientation is not known.

    Parameters
    ----------
    path
        Name of the file.
    layout
        Number, shape, geometries and header of the images.

    Yields
    ------
        Function that writes the next image `(z, y, x)`.

    Raises
    ------
    DataError
        If an axis is longer than the format allows.
    """
    if max(layout.shape) > _LARGEST_AXIS:
        raise DataError(
            f"{path.name}: ISMRMRD axes end at {_LARGEST_AXIS}, got {layout.shape} (z, y, x); "
            "write .npy."
        )
    with (
        atomic_path(path) as temporary,
        hdf5_output(temporary) as stream,
        closing(ismrmrd.Dataset(stream, mode="w")) as dataset,
    ):
        if layout.header is not None:
            xml = layout.header
            dataset.write_xml_header(header_xml(xml) if isinstance(xml, ScanHeader) else xml)
        counter = iter(range(layout.n_volumes * layout.n_slices))

        def write(image: npt.NDArray[np.generic]) -> None:
            dataset.append_image("image_0", _image(image, next(counter), layout))
            stream.check()

        yield write


def _image(array: npt.NDArray[np.generic], index: int, layout: Layout) -> Any:
    image = ismrmrd.Image.from_array(array[None], transpose=False)
    volume, number = divmod(index, layout.n_slices)
    image.image_type = _IMAGE_TYPES[layout.part]
    image.image_index = index + 1
    image.slice = number
    image.repetition = volume
    if layout.volumes is not None:
        counters = layout.volumes[volume]
        for name in ("contrast", "repetition", "phase", "set"):
            setattr(image, name, getattr(counters, name))
        image.average = counters.average or 0
    geometry = layout.geometries[number]
    if geometry is not None:
        _place(image, geometry, layout.shape)
    return image


def _place(image: Any, geometry: Geometry, shape: tuple[int, int, int]) -> None:
    sizes = [1e3 * d * n for d, n in zip(geometry.voxel_size_m, shape, strict=True)]
    image.field_of_view = tuple(reversed(sizes))
    if not geometry.is_known:
        return
    directions = directions_of(geometry)
    image.position = tuple(1e3 * p for p in geometry.position_m)
    image.read_dir, image.phase_dir, image.slice_dir = (tuple(d) for d in directions)
    image.meta = {
        "ImageRowDir": [f"{d:.9g}" for d in directions[0]],
        "ImageColumnDir": [f"{d:.9g}" for d in directions[1]],
    }
