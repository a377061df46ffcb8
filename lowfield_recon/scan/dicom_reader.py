"""DICOM images: one file, or a folder with the files of one series.

References
----------
DICOM PS3.5, data structures and encoding:
https://dicom.nema.org/medical/dicom/current/output/html/part05.html
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pydicom
import torch
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lowfield_recon.errors import DataError, LowfieldReconError, UsageError
from lowfield_recon.scan.dicom_frames import Frame, SeriesName, frames_of, series_of
from lowfield_recon.scan.image_stack import StoredPlane, arrange_planes

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry

_LARGEST_BYTES = 16 << 30
_LARGEST_FILE_BYTES = 2 << 30
_ALWAYS_UNPACKED = 64 << 20
_COMPRESSION = 1000
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_DAMAGED = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DicomImage:
    """Values of a DICOM series and their place."""

    data: torch.Tensor
    """Image `(volumes, 1, z, y, x)`, float32."""

    geometry: Geometry | None
    """LPS geometry of a volume; `is_known` is False where the files make no regular one."""


def read_dicom(path: str | Path, *, series: int | None = None) -> DicomImage:
    """Read a DICOM file, or the one series of a folder, as rescaled values with their geometry.

    ``value = RescaleSlope · level + RescaleIntercept``, for each frame with its own. Slices are
    sorted by position, see `image_stack.arrange_planes`; images of one position (times, echoes)
    become volumes. Single-frame and multi-frame files are taken; files in the folder that are no
    DICOM images are passed over, and folders inside it are not looked into.

    Parameters
    ----------
    path
        File or folder.
    series
        Series number, where a folder holds several.

    Returns
    -------
        Image and geometry.

    Raises
    ------
    DataError
        If the files are missing, damaged, in colour, compressed by what cannot be read here, of
        several series or sizes, or larger than 16 GiB.
    UsageError
        If there is no such series.
    """
    path = Path(path)
    frames = _frames_of_file(path) if path.is_file() else _frames_of_folder(path, series)
    name = path.name or str(path)
    shapes = {frame.shape for frame in frames}
    if len(shapes) > 1:
        sizes = " and ".join(f"{rows} x {columns}" for rows, columns in sorted(shapes))
        raise DataError(f"{name}: images of {sizes} in one series; expected one size.")
    rows, columns = shapes.pop()
    if 4 * rows * columns * len(frames) > _LARGEST_BYTES:
        raise DataError(f"{name}: {len(frames)} images are more than 16 GiB; cut the series up.")
    planes = [
        StoredPlane(geometry=frame.geometry, number=frame.number, volume=frame.volume)
        for frame in frames
    ]
    found = arrange_planes(planes, 1, name)
    n_volumes, n_slices = found.order.shape
    slots = np.empty(len(frames), dtype=np.int64)
    slots[found.order.ravel()] = np.arange(len(frames))
    values = np.empty((len(frames), rows, columns), dtype=np.float32)
    for file, members in groupby(range(len(frames)), key=lambda i: frames[i].path):
        chosen = list(members)
        _read_pixels(file, [frames[i] for i in chosen], values, slots[chosen])
    if not np.isfinite(values).all():
        raise DataError(f"{name}: holds NaN or infinite values; expected finite numbers.")
    data = values.reshape(n_volumes, 1, n_slices, rows, columns)
    return DicomImage(data=torch.from_numpy(data), geometry=found.geometry)


def _frames_of_file(path: Path) -> list[Frame]:
    with _readable(path):
        frames = list(frames_of(path, _header(path)))
    return frames


def _frames_of_folder(path: Path, series: int | None) -> list[Frame]:
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder; check the path.")
    name = path.name or str(path)
    found: dict[SeriesName, list[Frame]] = {}
    for file in sorted(path.iterdir()):
        if not (file.is_file() and _is_dicom(file)):
            continue
        with _readable(file):
            header = _header(file)
            if header.get("Rows") is not None:
                found.setdefault(series_of(header), []).extend(frames_of(file, header))
    if not found:
        raise DataError(
            f"{name}: holds no DICOM images; expected the files of one series. Name the folder "
            "that they lie in."
        )
    if series is not None:
        found = {known: frames for known, frames in found.items() if known.number == series}
        if not found:
            raise UsageError(f"{name}: has no series with the number {series}.")
    if len({known.key for known in found}) > 1:
        listing = ", ".join(f"{known.text} ({len(f)} images)" for known, f in found.items())
        raise DataError(
            f"{name}: holds {len(found)} series: {listing}; expected one. Move the files of one "
            "series into a folder of their own."
        )
    return [frame for frames in found.values() for frame in frames]


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(132)
    return head[128:] == b"DICM"


def _header(path: Path) -> Any:
    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise DataError(
            f"{path.name}: is deflated as a whole, which is not read here; inflate it first, e.g. "
            "with dcmconv."
        )
    header = pydicom.dcmread(path, stop_before_pixels=True)
    if header.get("Rows") is not None and header.get("Columns") is not None:
        _check_size(path, header)
    return header


def _read_pixels(
    path: Path,
    frames: Sequence[Frame],
    values: npt.NDArray[np.float32],
    slots: npt.NDArray[np.int64],
) -> None:
    """Write the rescaled frames of a file to their places in `values`."""
    with _readable(path):
        header = pydicom.dcmread(path)
        syntax = header.file_meta.TransferSyntaxUID
        if not syntax.is_compressed:
            _check_pixels(path, header)
        try:
            levels = pixel_array(header)
        except _DAMAGED as error:
            if not syntax.is_compressed:
                raise
            raise DataError(
                f"{path.name}: its pixels are compressed ({syntax.name}) and cannot be unpacked "
                "here; unpack them first, e.g. with dcmdjpeg or gdcmconv --raw."
            ) from error
        stack = levels.reshape(-1, *frames[0].shape)
        if len(stack) != len(frames):
            raise DataError(
                f"{path.name}: holds {len(stack)} frames and announces {len(frames)}; the file is "
                "damaged."
            )
        for frame, slot in zip(frames, slots, strict=True):
            scaled = stack[frame.index].astype(np.float64) * frame.slope + frame.intercept
            values[slot] = scaled


def _check_size(path: Path, header: Any) -> None:
    """Refuse what would unpack to far more than the file holds, before anything is allocated."""
    n_bytes, held = _pixel_bytes(header), path.stat().st_size
    is_compressed = header.file_meta.TransferSyntaxUID.is_compressed
    largest = max(_ALWAYS_UNPACKED, _COMPRESSION * held) if is_compressed else held
    if n_bytes > min(largest, _LARGEST_FILE_BYTES):
        raise DataError(
            f"{path.name}: announces {int(header.get('NumberOfFrames') or 1)} frames of "
            f"{header.Rows} x {header.Columns} with {header.get('BitsAllocated')} bits, {n_bytes} "
            f"bytes, and is {held} bytes long; it is truncated or damaged."
        )


def _check_pixels(path: Path, header: Any) -> None:
    found = next((header[name].value for name in _PIXELS if name in header), b"")
    if len(found) < _pixel_bytes(header):
        raise DataError(
            f"{path.name}: holds {len(found)} bytes of pixels, expected {_pixel_bytes(header)}; it "
            "is truncated or damaged. Export it again."
        )


def _pixel_bytes(header: Any) -> int:
    n_frames, bits = int(header.get("NumberOfFrames") or 1), int(header.get("BitsAllocated") or 8)
    return int(-(-header.Rows * header.Columns * n_frames * bits // 8))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what pydicom raises on damaged files into one line, and keep its warnings back."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except LowfieldReconError:
        raise
    except _DAMAGED as error:
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path.name}: cannot be read as DICOM ({detail[:160]}); it is damaged or incomplete. "
            "Export it again."
        ) from error
