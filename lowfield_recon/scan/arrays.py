"""Arrays in files: .npy, .npz, both .mat formats, plain HDF5, BART's .cfl with its .hdr."""

from __future__ import annotations

import itertools
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.scan.detect import bart_files, detect_format, not_a_scan
from lowfield_recon.scan.mat5 import find_arrays, read_values
from lowfield_recon.scan.records import FileFormat

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]

ARRAY_FORMATS: tuple[FileFormat, ...] = ("npy", "npz", "mat", "mat-v7.3", "hdf5", "bart")
"""Formats that hold plain arrays."""

_LARGEST_BYTES = 64 << 30
_LARGEST_COMPRESSION = 1100
_LARGEST_ZIP_COMPRESSION = 200
_ALWAYS_UNPACKED = 256 << 20
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    SyntaxError,
    tokenize.TokenError,
    RuntimeError,
)


def read_array(path: Path, key: str | None = None) -> Array:
    """Read one numeric array from a file; `.npy` and `.cfl` are mapped, not loaded.

    Arrays of MATLAB and BART keep the order of axes that these programs show. Nothing is unpickled.

    Parameters
    ----------
    path
        `.npy`, `.npz`, `.mat` (any version), HDF5 with plain arrays, or BART `.cfl`/`.hdr`.
    key
        Name of the array inside the file; not needed where there is only one.

    Returns
    -------
        Numeric array in the file's order of axes.

    Raises
    ------
    DataError
        If the file is damaged, holds no numeric array, or is of another format.
    UsageError
        If the key is needed or does not exist; the message lists keys and shapes.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "kspace.npy"
    >>> np.save(file, np.ones((2, 3), dtype=np.complex64))
    >>> read_array(file).shape
    (2, 3)
    """
    name = detect_format(path)
    if name not in ARRAY_FORMATS:
        if name == "ismrmrd":
            raise UsageError(
                f"{path.name}: is ISMRMRD raw data, not a plain array; read it with load_scan."
            )
        raise not_a_scan(path, name)
    read = {
        "npy": _read_npy,
        "npz": _read_npz,
        "mat": _read_mat,
        "mat-v7.3": _read_hdf5,
        "hdf5": _read_hdf5,
        "bart": _read_bart,
    }[name]
    try:
        array = read(path, key)
    except (DataError, UsageError):
        raise
    except _DAMAGED as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"{path.name}: is a {name} file that cannot be read ({text[0][:160]}); it is "
            "truncated, damaged, or holds Python objects. Save a numeric array again."
        ) from error
    if array.dtype.kind not in "ciuf":
        raise DataError(
            f"{path.name}: the array has dtype {array.dtype}; expected real or complex numbers. "
            "Convert it."
        )
    return array


def bart_dimensions(path: Path) -> tuple[int, ...]:
    """Read the sizes of all axes of a BART array from its `.hdr`.

    Parameters
    ----------
    path
        The `.cfl`, the `.hdr` or the common stem.

    Returns
    -------
        Sizes, trailing ones included.

    Raises
    ------
    DataError
        If the header names no sizes.
    """
    pair = bart_files(path)
    if pair is None:
        raise DataError(f"{path.name}: no BART array; expected a .cfl with its .hdr beside it.")
    lines = pair[0].read_text(encoding="ascii", errors="replace").splitlines()
    for title, values in itertools.pairwise(lines):
        if title.strip() == "# Dimensions":
            sizes = [int(word) for word in values.split() if word.isdigit()]
            if len(sizes) == len(values.split()) and sizes:
                return tuple(sizes)
    raise DataError(
        f"{pair[0].name}: names no dimensions; expected the line '# Dimensions' and sizes below it."
    )


def _read_npy(path: Path, key: str | None) -> Array:
    if key is not None:
        raise UsageError(
            f"{path.name}: a .npy file holds one array without a name; leave out the key."
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _read_npz(path: Path, key: str | None) -> Array:
    with zipfile.ZipFile(path) as archive:
        entries = {
            e.filename.removesuffix(".npy"): e
            for e in archive.infolist()
            if e.filename.endswith(".npy")
        }
        shapes = {name: _npy_shape(path, archive, entry) for name, entry in entries.items()}
    if not shapes:
        raise DataError(
            f"{path.name}: is a zip archive without arrays; expected .npz, .npy, .mat or .cfl."
        )
    chosen = _choose(path, key, shapes, _arrays_among(shapes))
    _check_size(path, chosen, entries[chosen].file_size)
    with np.load(path, allow_pickle=False) as archive_of_arrays:
        return np.asarray(archive_of_arrays[chosen])


def _npy_shape(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, ...]:
    """Read the shape of an array in a zip archive; refuse one that unpacks to far more than it is.

    The size in the archive's directory bounds what is unpacked, and must be the size of the array.
    """
    n_bytes = entry.file_size
    if n_bytes > max(_ALWAYS_UNPACKED, _LARGEST_ZIP_COMPRESSION * entry.compress_size):
        raise DataError(
            f"{path.name}: '{entry.filename}' would unpack from {entry.compress_size} bytes to "
            f"{n_bytes / 2**30:.3g} GiB; expected measured data, which do not shrink so much. "
            "Save the array with numpy.save."
        )
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        held = n_bytes - stream.tell()
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != held:
        raise DataError(
            f"{path.name}: '{entry.filename}' claims shape {shape} of {dtype}, but holds {held} "
            "bytes; the file is damaged. Save it again."
        )
    return tuple(int(n) for n in shape)


def _read_mat(path: Path, key: str | None) -> Array:
    with path.open("rb") as stream:
        if not stream.read(10).startswith(b"MATLAB 5.0"):
            return _read_mat4(path, key)
    found = find_arrays(path)
    shapes = {name: array.shape for name, array in found.items()}
    chosen = _choose(path, key, shapes, _arrays_among(shapes))
    _check_size(path, chosen, 16 * math.prod(shapes[chosen]))
    return read_values(path, found[chosen])


def _read_mat4(path: Path, key: str | None) -> Array:
    from scipy import io  # heavy: only for files of the oldest version

    found = {name: tuple(shape) for name, shape, kind in io.whosmat(str(path)) if kind == "double"}
    chosen = _choose(path, key, found, _arrays_among(found))
    _check_size(path, chosen, 16 * math.prod(found[chosen]))
    return np.asarray(io.loadmat(str(path), variable_names=[chosen])[chosen])


def _read_hdf5(path: Path, key: str | None) -> Array:
    from lowfield_recon.scan.hdf5 import open_hdf5

    with open_hdf5(path) as file:
        data_sets = _numeric_data_sets(file, path.name)
        is_matlab = any("MATLAB_class" in d.attrs for d in data_sets.values())
        order = slice(None, None, -1) if is_matlab else slice(None)
        shapes = {name: tuple(int(n) for n in d.shape[order]) for name, d in data_sets.items()}
        chosen = _choose(path, key, shapes, _arrays_among(shapes))
        data_set = data_sets[chosen]
        _check_size(path, chosen, data_set.dtype.itemsize * math.prod(shapes[chosen]))
        values = np.asarray(data_set[()])
    if values.dtype.names:
        values = values["real"] + 1j * values["imag"]
    return values.T if is_matlab else values


def _numeric_data_sets(group: Any, where: str, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    import h5py

    from lowfield_recon.scan.hdf5 import members

    found: dict[str, Any] = {}
    for name, item in members(group, where).items():
        if name.startswith("#") or depth > 3:
            continue
        if isinstance(item, h5py.Group):
            found |= _numeric_data_sets(item, where, f"{prefix}{name}/", depth + 1)
        elif item.shape is not None and "MATLAB_empty" not in item.attrs:
            is_text = item.attrs.get("MATLAB_class") in (b"char", b"cell", b"logical")
            is_compound = item.dtype.names is not None and set(item.dtype.names) == {"real", "imag"}
            if not is_text and (item.dtype.kind in "ciuf" or is_compound):
                found[prefix + name] = item
    return found


def _read_bart(path: Path, key: str | None) -> Array:
    if key is not None:
        raise UsageError(
            f"{path.name}: a BART file holds one array without a name; leave out the key."
        )
    sizes = bart_dimensions(path)
    pair = bart_files(path)
    samples = path if pair is None else pair[1]
    expected, held = 8 * math.prod(sizes), samples.stat().st_size
    if expected != held or expected == 0:
        raise DataError(
            f"{samples.name}: holds {held} bytes, but its .hdr {sizes} promises {expected}; the "
            "pair does not belong together or is truncated."
        )
    last = max((i for i, n in enumerate(sizes) if n > 1), default=0)
    return np.memmap(samples, dtype="<c8", mode="r", shape=sizes[: last + 1], order="F")


def _arrays_among(shapes: Shapes) -> list[str]:
    """Return the names of the arrays with at least two axes longer than one."""
    return [name for name, shape in shapes.items() if sum(n > 1 for n in shape) >= 2]


def _choose(path: Path, key: str | None, shapes: Shapes, candidates: list[str]) -> str:
    listing = ", ".join(f"{n} {' x '.join(map(str, s))}".strip() for n, s in shapes.items())
    if key is not None:
        if key in shapes:
            return key
        hint = nearest_name(key, list(shapes)).split(" Known:")[0] if shapes else ""
        hint = f" {hint}" if hint.startswith("Did") else ""
        raise UsageError(
            f"{path.name}: has no numeric array '{key}'.{hint} It holds: {listing or 'none'}."
        )
    if not shapes:
        raise DataError(f"{path.name}: holds no numeric array; expected k-space or coil images.")
    if len(shapes) == 1:
        return next(iter(shapes))
    if len(candidates) == 1:
        return candidates[0]
    raise UsageError(
        f"{path.name}: holds several arrays ({listing}); choose one, e.g. --key "
        f"{next(iter(shapes))}."
    )


def _check_size(path: Path, name: str, n_bytes: int) -> None:
    held = path.stat().st_size
    if n_bytes > _LARGEST_BYTES or n_bytes > _LARGEST_COMPRESSION * 16 * held:
        raise DataError(
            f"{path.name}: '{name}' claims {n_bytes / 2**30:.3g} GiB in a file of {held} bytes; "
            "the file is damaged. Save it again."
        )
