"""What DICOM headers say about each frame: place, scale, and what series it belongs to.

References
----------
DICOM PS3.3, C.7.6.2 Image Plane, C.7.6.16 Multi-frame Functional Groups:
https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lowfield_recon.errors import DataError
from lowfield_recon.scan.dicom_tags import ORIENTATION_NOT_KNOWN

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry

_M_PER_MM = 1e-3
_ORTHOGONAL = 1e-3
_PHASE = {"P", "PHASE", "PHASE MAP"}
_REAL = {"R", "REAL"}
_IMAGINARY = {"I", "IMAGINARY"}
_MOST_FRAMES = 1 << 16
_VOLUME_NUMBERS = (
    ("FrameContentSequence", "TemporalPositionIndex"),
    ("", "TemporalPositionIdentifier"),
    ("", "EchoNumbers"),
    ("MREchoSequence", "EffectiveEchoTime"),
    ("", "EchoTime"),
    ("", "AcquisitionNumber"),
)

Series = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One plane of a DICOM file."""

    path: Path
    """The file."""

    index: int
    """Which frame of the file."""

    shape: tuple[int, int]
    """Rows and columns."""

    slope: float
    """Value per level."""

    intercept: float
    """Value of level 0."""

    geometry: Geometry | None
    """Where it sits, LPS, or None where not even the voxel size is known."""

    number: int
    """Instance number, or number of the frame."""

    volume: tuple[float, ...]
    """What tells images of one place apart: time, echo, acquisition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesName:
    """What a series is called."""

    key: Series
    """Its identifier, and whether it holds magnitude, phase, real or imaginary parts."""

    number: int | None
    """Series number, where there is one."""

    text: str
    """Number, description and component, for messages."""


def series_of(header: Any) -> SeriesName:
    """Return which series a file belongs to.

    Parameters
    ----------
    header
        pydicom data set.

    Returns
    -------
        Its name.
    """
    kinds = {str(value).upper() for value in _listed(header.get("ImageType"))}
    kinds |= {str(header.get("ComplexImageComponent") or "").upper()}
    part = next(
        (
            name
            for name, terms in (("phase", _PHASE), ("real", _REAL), ("imaginary", _IMAGINARY))
            if kinds & terms
        ),
        "magnitude",
    )
    number = header.get("SeriesNumber")
    words = [str(number)] if number not in (None, "") else []
    words += [f"'{header.SeriesDescription}'"] if header.get("SeriesDescription") else []
    return SeriesName(
        key=(str(header.get("SeriesInstanceUID") or ""), part),
        number=None if number in (None, "") else int(number),
        text=" ".join([*words, part]),
    )


def frames_of(path: Path, header: Any) -> Iterator[Frame]:
    """Go through the frames that a file announces.

    Parameters
    ----------
    path
        The file.
    header
        Its data set; pixels are not needed.

    Yields
    ------
        Each frame, in order.

    Raises
    ------
    DataError
        If it is no grey image, or its size or scale is not one.
    """
    shape = _shape(path, header)
    count = int(header.get("NumberOfFrames") or 1)
    if not 1 <= count <= _MOST_FRAMES:
        raise DataError(f"{path.name}: announces {count} frames; expected 1 to {_MOST_FRAMES}.")
    own = _listed(header.get("PerFrameFunctionalGroupsSequence"))
    if own and len(own) != count:
        raise DataError(
            f"{path.name}: describes {len(own)} frames and announces {count}; the file is damaged."
        )
    shared = _listed(header.get("SharedFunctionalGroupsSequence"))
    for index in range(count):
        if own or index == 0:
            frame = _frame(path, index, shape, header, [*own[index : index + 1], *shared[:1]])
            if count > 1 and not own and frame.geometry is not None:  # one place for all frames
                unknown = dataclasses.replace(frame.geometry, is_known=False)
                frame = dataclasses.replace(frame, geometry=unknown)
        yield dataclasses.replace(frame, index=index, number=frame.number - frame.index + index)


def _shape(path: Path, header: Any) -> tuple[int, int]:
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    samples = int(header.get("SamplesPerPixel") or 1)
    if rows < 1 or columns < 1:
        raise DataError(f"{path.name}: is DICOM without an image; expected rows and columns.")
    if samples != 1 or "PALETTE" in str(header.get("PhotometricInterpretation")):
        raise DataError(
            f"{path.name}: is in colour ({header.get('PhotometricInterpretation')}); expected grey "
            "values."
        )
    return rows, columns


def _frame(path: Path, index: int, shape: tuple[int, int], header: Any, groups: list[Any]) -> Frame:
    def find(sequence: str, keyword: str) -> Any:
        """Look in the frame's own groups, in the shared ones, then at the top of the file."""
        for group in groups:
            for item in _listed(group.get(sequence))[:1] if sequence else []:
                if item.get(keyword) is not None:
                    return item.get(keyword)
        return header.get(keyword)

    scaling = "PixelValueTransformationSequence"
    slope = _number(find(scaling, "RescaleSlope"), 1.0)
    intercept = _number(find(scaling, "RescaleIntercept"), 0.0)
    if slope == 0 or not (math.isfinite(slope) and math.isfinite(intercept)):
        raise DataError(
            f"{path.name}: rescale slope {slope} and intercept {intercept}; expected finite "
            "numbers and a slope other than 0."
        )
    number = header.get("InstanceNumber")
    return Frame(
        path=path,
        index=index,
        shape=shape,
        slope=slope,
        intercept=intercept,
        geometry=_geometry(find, header, shape),
        number=index if groups or number in (None, "") else int(number) + index,
        volume=tuple(_number(find(*names), 0.0) for names in _VOLUME_NUMBERS),
    )


def _geometry(find: Any, header: Any, shape: tuple[int, int]) -> Geometry | None:
    from lowfield_recon.problem import Geometry  # loads torch operators

    spacing = _vector(find("PixelMeasuresSequence", "PixelSpacing"), 2)
    if spacing is None or not (spacing > 0).all():
        return None
    steps = [
        _number(find("PixelMeasuresSequence", name), 0.0)
        for name in ("SpacingBetweenSlices", "SliceThickness")
    ]
    step = next((s for s in steps if math.isfinite(s) and s > 0), float(spacing[0]))
    d_y, d_x = _M_PER_MM * spacing
    size = (_M_PER_MM * step, float(d_y), float(d_x))
    position = _vector(find("PlanePositionSequence", "ImagePositionPatient"), 3)
    cosines = _vector(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    is_made = ORIENTATION_NOT_KNOWN in str(header.get("ImageComments") or "")
    if position is None or cosines is None or is_made:
        return Geometry(voxel_size_m=size, is_known=False)
    rows = cosines.reshape(2, 3)
    lengths = np.linalg.norm(rows, axis=1)
    if np.abs(lengths - 1).max() > _ORTHOGONAL or abs(float(rows[0] @ rows[1])) > _ORTHOGONAL:
        return Geometry(voxel_size_m=size, is_known=False)
    x, y = rows / lengths[:, None]
    z = np.cross(x, y)
    centre = _M_PER_MM * position + shape[1] // 2 * d_x * x + shape[0] // 2 * d_y * y
    triples = [
        (float(v[0]), float(v[1]), float(v[2])) for v in (x, y, z / np.linalg.norm(z), centre)
    ]
    return Geometry(
        voxel_size_m=size,
        x_direction=triples[0],
        y_direction=triples[1],
        z_direction=triples[2],
        position_m=triples[3],
    )


def _listed(value: Any) -> list[Any]:
    """Return the items of a sequence or of an element with several values."""
    if value is None:
        return []
    return [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)


def _number(value: Any, default: float) -> float:
    found = next(iter(_listed(value)), None)
    return default if found in (None, "") else float(found)


def _vector(value: Any, length: int) -> Any:
    values = [float(item) for item in _listed(value)]
    if len(values) != length or not np.isfinite(values).all():
        return None
    return np.array(values, dtype=np.float64)
