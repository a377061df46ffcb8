"""Image series of ISMRMRD (MRD) files, with the place that their headers state.

References
----------
Inati SJ et al. ISMRM Raw data format. Magn Reson Med 2017;77:411-421.
https://doi.org/10.1002/mrm.26089
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.hdf5 import members, open_hdf5
from lowfield_recon.scan.image_stack import StoredPlane, arrange_planes

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry

_LARGEST_BYTES = 16 << 30
_ALWAYS_READ = 256 << 20
_LARGEST_COMPRESSION = 200
_ORTHONORMAL = 1e-3
_VOLUME_COUNTERS = ("contrast", "repetition", "phase", "set", "average", "image_type")
_NEEDED = {*_VOLUME_COUNTERS, "slice", "field_of_view", "position"}
_DIRECTIONS = ("read_dir", "phase_dir", "slice_dir")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IsmrmrdImages:
    """Values of one image series and their place."""

    data: npt.NDArray[Any]
    """Image `(volumes, channels, z, y, x)`, as it is stored."""

    geometry: Geometry | None
    """LPS geometry of a volume, or None where the headers state no size."""


def read_ismrmrd_images(path: Path) -> IsmrmrdImages:
    """Read the first image series of an ISMRMRD file, slices put together to volumes.

    Slices are sorted by position, see `image_stack.arrange_planes`; contrasts, repetitions, phases,
    sets and averages become volumes. Where a volume lacks a slice each image stays on its own.

    Parameters
    ----------
    path
        HDF5 file.

    Returns
    -------
        Image and geometry.

    Raises
    ------
    DataError
        If the file is damaged, holds no image series, or one larger than 16 GiB.
    """
    with open_hdf5(path) as file:
        for series in _series(file, path.name):
            data, header = series.get("data"), series.get("header")
            if data is None or getattr(data, "ndim", 0) != 5:
                continue
            _check_size(data, path.name)
            values = data[()]
            if values.dtype.names == ("real", "imag"):
                values = values["real"] + 1j * values["imag"]
            if values.dtype.kind not in "iufc" or values.size == 0:
                raise DataError(
                    f"{path.name}: images of {values.dtype} in shape {values.shape}; expected "
                    "numbers."
                )
            heads = None if header is None or not hasattr(header, "dtype") else header[()]
            return _stacked(values, heads, path.name)
    raise DataError(f"{path.name}: holds no series of ISMRMRD images (x, y, z and channels).")


def _series(file: Any, name: str) -> Iterator[dict[str, Any]]:
    for group in members(file, name).values():
        found = members(group, name) if hasattr(group, "keys") else {}
        for word in sorted(n for n in found if n.startswith("image_")):
            if hasattr(found[word], "keys"):
                yield members(found[word], name)


def _check_size(data: Any, name: str) -> None:
    n_bytes = data.size * data.dtype.itemsize
    stored = data.id.get_storage_size()
    if n_bytes > min(_LARGEST_BYTES, max(_ALWAYS_READ, _LARGEST_COMPRESSION * stored)):
        raise DataError(
            f"{name}: images of shape {tuple(data.shape)} would be {n_bytes / 2**30:.3g} GiB, and "
            f"{stored} bytes are stored; expected at most 16 GiB of measured data. Cut the series "
            "up, or copy the file again."
        )


def _stacked(values: npt.NDArray[Any], heads: Any, name: str) -> IsmrmrdImages:
    n_z, n_y, n_x = values.shape[2:]
    is_described = heads is not None and heads.shape == values.shape[:1]
    if not (is_described and _NEEDED.issubset(heads.dtype.names or ())):
        return IsmrmrdImages(data=values, geometry=None)
    planes = [
        StoredPlane(
            geometry=_geometry(head, (n_z, n_y, n_x)),
            number=int(head["slice"]),
            volume=tuple(float(head[counter]) for counter in _VOLUME_COUNTERS),
            is_slice_number=True,
        )
        for head in heads
    ]
    try:
        found = arrange_planes(planes, n_z, name)
    except DataError:
        return IsmrmrdImages(data=values, geometry=None)
    stack = values[found.order]  # (volumes, slices, channels, z, y, x)
    n_volumes, n_slices, n_channels = stack.shape[:3]
    volumes = stack.swapaxes(1, 2).reshape(n_volumes, n_channels, n_slices * n_z, n_y, n_x)
    return IsmrmrdImages(data=volumes, geometry=found.geometry)


def _geometry(head: Any, shape: tuple[int, int, int]) -> Geometry | None:
    """Return the geometry of one image; directions that are none are not known."""
    from lowfield_recon.problem import Geometry  # loads torch operators

    fov_mm = np.asarray(head["field_of_view"], dtype=np.float64)[::-1]
    if not (np.isfinite(fov_mm).all() and (fov_mm > 0).all()):
        return None
    sizes = 1e-3 * fov_mm / shape
    size = (float(sizes[0]), float(sizes[1]), float(sizes[2]))
    rows = np.array([head[word] for word in _DIRECTIONS], dtype=np.float64)
    position = 1e-3 * np.asarray(head["position"], dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    unknown = Geometry(voxel_size_m=size, is_known=False)
    if not (np.isfinite(rows).all() and np.isfinite(position).all() and lengths.min() > 0):
        return unknown
    rows = rows / lengths[:, None]
    if np.abs(rows @ rows.T - np.eye(3)).max() > _ORTHONORMAL:
        return unknown
    x, y, z, p = ((float(v[0]), float(v[1]), float(v[2])) for v in (*rows, position))
    return Geometry(voxel_size_m=size, x_direction=x, y_direction=y, z_direction=z, position_m=p)
