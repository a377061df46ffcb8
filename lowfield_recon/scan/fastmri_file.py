"""Layout of the fastMRI family in HDF5: which arrays there are, checked before any is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError
from lowfield_recon.scan.hdf5 import members, open_hdf5
from lowfield_recon.scan.hdf5_attributes import text_attribute
from lowfield_recon.scan.hdf5_heap import check_heaps, heap_addresses
from lowfield_recon.scan.header_schema import MAX_HEADER_BYTES

TARGETS = ("reconstruction_rss", "reconstruction_esc")
"""Images that fastMRI files hold for scoring: root sum of squares, emulated single coil."""

_LARGEST_SIZE = 65536
_LARGEST_SLICE_BYTES = 16 << 30
_LARGEST_COMPRESSION = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FastMriLayout:
    """What a file of the fastMRI family holds beside its samples."""

    path: Path
    """The file."""

    n_slices: int
    n_coils: int

    height: int
    """Length of the last axis but one of `kspace`."""

    width: int
    """Length of the last axis of `kspace`."""

    document: bytes | None
    """The XML header as stored, or None."""

    mask: npt.NDArray[np.bool_] | None
    """Sampled columns of a test file, `(width,)`, or None."""

    targets: Mapping[str, tuple[int, int]]
    """Size (height, width) of each target."""

    acquisition: str | None
    """Kind of acquisition as the file's attribute names it, e.g. `"CORPD_FBK"`."""

    maximum: float | None
    """Largest value of the target volume as the file's attribute states it."""


def read_layout(path: Path) -> FastMriLayout:
    """Read names, sizes, header, mask and attributes of a file of the fastMRI family.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
        Its layout; no samples are read.

    Raises
    ------
    DataError
        If an array has a size or dtype that does not belong there, or lies outside the file.
    """
    where = path.name
    with open_hdf5(path) as file:
        found = members(file, where)
        shape = _kspace_shape(_data_set(found, "kspace", where), where)
        n_slices, height, width = shape[0], shape[-2], shape[-1]
        targets = {
            name: _target_size(_data_set(found, name, where), n_slices, where)
            for name in TARGETS
            if name in found
        }
        return FastMriLayout(
            path=path,
            n_slices=n_slices,
            n_coils=1 if len(shape) == 3 else shape[1],
            height=height,
            width=width,
            document=header_text(found.get("ismrmrd_header"), path),
            mask=_mask(found, width, where),
            targets=targets,
            acquisition=text_attribute(file, "acquisition", path),
            maximum=_attribute_number(file, "max"),
        )


def read_slice(path: Path, name: str, index: int) -> npt.NDArray[Any]:
    """Read one slice of an array; the file is open only meanwhile.

    Parameters
    ----------
    path
        The file.
    name
        `"kspace"` or a target's name.
    index
        Position along the first axis.

    Returns
    -------
        The slice as stored; complex64 for k-space, `(coils, height, width)`, otherwise float32,
        `(height, width)`.

    Raises
    ------
    DataError
        If the array is not there or cannot be read.
    """
    with open_hdf5(path) as file, np.errstate(over="ignore", invalid="ignore"):
        data_set = _data_set(members(file, path.name), name, path.name)
        if name != "kspace":
            return np.asarray(data_set[index], dtype=np.float32)
        _check_kspace(data_set, path.name)
        values = np.asarray(data_set[index])
    if values.dtype.names:
        real, imaginary = (values[part] for part in values.dtype.names)
        values = real + 1j * imaginary
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused by name
        return values.astype(np.complex64, copy=False).reshape(-1, *values.shape[-2:])


def header_text(item: Any, path: Path) -> bytes | None:
    """Return the header's text, None where there is none that is one piece of text of fit size.

    Parameters
    ----------
    item
        The HDF5 object stored under the header's name, or None.
    path
        The file.

    Returns
    -------
        XML as stored, or None.

    Raises
    ------
    DataError
        If the heap that holds the text is damaged.
    """
    if getattr(item, "shape", None) is None or math.prod(item.shape) != 1:
        return None
    if h5py.check_string_dtype(item.dtype) is None or item.dtype.itemsize > MAX_HEADER_BYTES:
        return None
    check_heaps(path, heap_addresses(item, path), base=item.file.userblock_size)
    value = item[()] if item.shape == () else item[(0,) * len(item.shape)]
    if isinstance(value, str):
        return value.encode()
    return bytes(value) if isinstance(value, bytes) else None


def _data_set(found: Mapping[str, Any], name: str, where: str) -> Any:
    item = found.get(name)
    if getattr(item, "shape", None) is None:
        raise DataError(
            f"{where}: '{name}' is {'missing' if item is None else 'no array'}; a fastMRI file "
            "holds it at the top level. Copy the file again."
        )
    return item


def _kspace_shape(data_set: Any, where: str) -> tuple[int, ...]:
    _check_kspace(data_set, where)
    return tuple(int(n) for n in data_set.shape)


def _check_kspace(data_set: Any, where: str) -> None:
    """Refuse other shapes and dtypes, and sizes that the bytes in the file cannot hold."""
    shape, dtype = data_set.shape, data_set.dtype
    names = tuple(dtype.names or ())
    if dtype.kind != "c" and names not in (("r", "i"), ("real", "imag")):
        raise DataError(f"{where}: 'kspace' has dtype {dtype}; expected complex numbers.")
    if len(shape) not in (3, 4) or not all(1 <= n <= _LARGEST_SIZE for n in shape):
        raise DataError(
            f"{where}: 'kspace' has shape {tuple(shape)}; expected (slices, coils, height, width), "
            "or (slices, height, width) for a single coil."
        )
    _check_size(data_set, "kspace", where)


def _check_size(data_set: Any, name: str, where: str) -> None:
    n_bytes = math.prod(data_set.shape) * data_set.dtype.itemsize
    held = int(data_set.id.get_storage_size())
    if n_bytes > _LARGEST_COMPRESSION * held or n_bytes // data_set.shape[0] > _LARGEST_SLICE_BYTES:
        raise DataError(
            f"{where}: '{name}' of shape {tuple(data_set.shape)} claims {n_bytes / 2**30:.3g} GiB, "
            f"but {held} bytes of it are in the file; the file is damaged or was never finished. "
            "Copy it again."
        )


def _target_size(data_set: Any, n_slices: int, where: str) -> tuple[int, int]:
    name, shape = data_set.name.lstrip("/"), tuple(int(n) for n in data_set.shape)
    is_real = data_set.dtype.kind in "fiu"
    if len(shape) != 3 or shape[0] != n_slices or min(shape) < 1 or not is_real:
        raise DataError(
            f"{where}: '{name}' has shape {shape} and dtype {data_set.dtype}; expected real "
            f"numbers ({n_slices}, height, width), one image per slice of 'kspace'."
        )
    _check_size(data_set, name, where)
    return shape[1], shape[2]


def _mask(found: Mapping[str, Any], width: int, where: str) -> npt.NDArray[np.bool_] | None:
    if "mask" not in found:
        return None
    data_set = _data_set(found, "mask", where)
    if math.prod(data_set.shape) != width or data_set.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: 'mask' has shape {tuple(data_set.shape)} and dtype {data_set.dtype}; "
            f"expected one 0 or 1 for each of the {width} columns of 'kspace'."
        )
    return np.asarray(np.asarray(data_set[()]).reshape(-1) != 0)


def _attribute_number(file: Any, name: str) -> float | None:
    value = np.asarray(file.attrs[name]) if name in file.attrs else np.zeros(0)
    if value.size != 1 or value.dtype.kind not in "fiu":
        return None
    number = float(value.reshape(-1)[0])
    return number if math.isfinite(number) and number > 0 else None
