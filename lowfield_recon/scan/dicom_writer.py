"""A folder of DICOM: one MR image file per plane, one scale for the whole series.

References
----------
DICOM PS3.3, A.4 MR Image IOD: https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import atomic_path
from lowfield_recon.scan.dicom_header import file_meta, number_volume, place_plane, series_header
from lowfield_recon.scan.dicom_places import plane_places
from lowfield_recon.scan.dicom_tags import IMPLEMENTATION_UID, decimal, identifier
from lowfield_recon.scan.png import white_level

if TYPE_CHECKING:
    from lowfield_recon.scan.writers import Layout

Plane = npt.NDArray[np.float32]

_LARGEST_AXIS = 65535
_LARGEST_PLANE = 1 << 30
_LEVELS = 65535
_HEAD_BYTES = 1024
_NARROW_WINDOW = 256


@contextmanager
def open_dicom(path: Path, layout: Layout) -> Iterator[Callable[[npt.NDArray[np.generic]], None]]:
    """Open a folder that becomes a DICOM series, `image_00001.dcm` and so on.

    Planes are stored as they are: rows along y, columns along x. Volumes follow each other as
    temporal positions. Values are 16-bit levels times one `RescaleSlope` plus one
    `RescaleIntercept`; a phase is in radians. Identifiers are made from the images and the header,
    so that the same input gives the same bytes. The planes wait in a temporary file until the scale
    is known.

    Parameters
    ----------
    path
        Name of the folder.
    layout
        Number, shape, geometries and header of the images.

    Yields
    ------
        Function that takes the next image `(z, y, x)`.

    Raises
    ------
    DataError
        If an axis is longer than the format allows, or the geometry is not one.
    UsageError
        If there is a folder of that name that holds something else.
    """
    check_dicom_folder(path)
    if max(layout.shape[1:]) > _LARGEST_AXIS or math.prod(layout.shape[1:]) > _LARGEST_PLANE:
        raise DataError(
            f"{path.name}: DICOM axes end at {_LARGEST_AXIS} and planes at 2^30 voxels, got "
            f"{layout.shape} (z, y, x); write .npy."
        )
    places = plane_places(layout, path.name)
    with atomic_path(path) as temporary, TemporaryFile(dir=temporary.parent) as stream:
        temporary.mkdir()
        planes = _Planes(stream, layout.shape[1:])
        yield planes.append
        header = series_header(layout, layout.content_hash(), path.name)
        scale = _scale(planes, layout.part)
        header.RescaleIntercept, header.RescaleSlope = map(decimal, scale)
        _set_window(header, planes, layout.part)
        for number, plane in enumerate(planes):
            volume, index = divmod(number, len(places))
            data_set = Dataset()
            data_set.update(header)
            data_set.InstanceNumber = str(number + 1)
            place_plane(data_set, places[index])
            number_volume(data_set, volume, layout)
            _write(temporary / f"image_{number + 1:05d}.dcm", data_set, _levels(plane, *scale))


def check_dicom_folder(path: Path) -> None:
    """Check that a folder of DICOM may be written under this name.

    A folder may be replaced only where all that it holds was written by this program.

    Parameters
    ----------
    path
        Name of the folder.

    Raises
    ------
    UsageError
        If it is a file, or a folder that holds anything else.

    Examples
    --------
    >>> import tempfile
    >>> check_dicom_folder(Path(tempfile.mkdtemp()) / "new")
    """
    if path.is_file():
        raise UsageError(
            f"{path.name}: is a file, and a name without an ending makes a folder of DICOM; choose "
            "another name, or an ending for another format."
        )
    for entry in sorted(path.iterdir()) if path.is_dir() else ():
        if not _is_own_image(entry):
            raise UsageError(
                f"{path.name}: holds '{entry.name}', which is no DICOM image of an earlier run and "
                "would be lost; choose a new or an empty folder."
            )


def _is_own_image(path: Path) -> bool:
    if not re.fullmatch(r"image_\d{5,}\.dcm", path.name) or not path.is_file():
        return False
    with path.open("rb") as stream:
        return IMPLEMENTATION_UID.encode() in stream.read(_HEAD_BYTES)


class _Planes:
    """Planes that wait on the disk; they can be gone through again and again."""

    def __init__(self, stream: IO[bytes], shape: tuple[int, int]) -> None:
        self._stream = stream
        self._shape = shape
        self.peak = 0.0

    def append(self, image: npt.NDArray[np.generic]) -> None:
        values = np.ascontiguousarray(image, dtype=np.float32)
        self.peak = max(self.peak, float(values.max()))
        self._stream.write(values.data)

    def __iter__(self) -> Iterator[Plane]:
        self._stream.seek(0)
        n_bytes = 4 * math.prod(self._shape)
        while content := self._stream.read(n_bytes):
            yield np.frombuffer(content, dtype=np.float32).reshape(self._shape)


def _scale(planes: _Planes, part: str) -> tuple[float, float]:
    """Return intercept and slope, exactly as the decimal strings in the file say them."""
    if part == "phase":  # symmetric, so that zero phase is a level of its own
        half = _LEVELS // 2
        slope = float(decimal(math.pi / half))
        return float(decimal(-half * slope)), slope
    return 0.0, float(decimal(planes.peak / _LEVELS)) or 1.0


def _set_window(header: Dataset, planes: _Planes, part: str) -> None:
    """Propose what viewers show: black at 0, white at the 99.9th percentile, or all of the phase.

    The standard's usual window counts in whole units and is at least 1 wide, so that small values
    need its exact form; wide windows look the same, and keep to the form that every viewer knows.
    """
    centre, width = 0.0, 2 * math.pi
    if part != "phase":
        width = white_level(planes)
        centre = width / 2
    header.WindowCenter, header.WindowWidth = decimal(centre), decimal(width)
    if width < _NARROW_WINDOW:
        header.VOILUTFunction = "LINEAR_EXACT"


def _levels(plane: Plane, intercept: float, slope: float) -> npt.NDArray[np.uint16]:
    levels = np.rint((plane.astype(np.float64) - intercept) / slope)
    return np.clip(levels, 0, _LEVELS).astype("<u2")


def _write(path: Path, data_set: Dataset, levels: npt.NDArray[np.uint16]) -> None:
    series, number = data_set.SeriesInstanceUID, data_set.InstanceNumber
    data_set.SOPInstanceUID = identifier("image", str(series), str(number))
    data_set.PixelData = levels.tobytes()
    data_set["PixelData"].VR = "OW"
    data_set.file_meta = file_meta(data_set.SOPInstanceUID)
    pydicom.dcmwrite(
        path, data_set, implicit_vr=False, little_endian=True, enforce_file_format=True
    )
