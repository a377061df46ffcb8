"""What every file of a DICOM series says: the modules of the MR Image information object.

Attributes of type 1 have a value, those of type 2 stand in the file even where nothing is known.
Nothing of the patient is copied, and nothing depends on the day.

References
----------
DICOM PS3.3, A.4 MR Image IOD and C.7, C.8.3.1, C.12.1:
https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from lowfield_recon import __version__
from lowfield_recon.errors import DataError
from lowfield_recon.scan.dicom_tags import (
    IMPLEMENTATION_NAME,
    IMPLEMENTATION_UID,
    ORIENTATION_NOT_KNOWN,
    RESEARCH_NOTE,
    decimal,
    decimals,
    identifier,
    words,
)
from lowfield_recon.scan.header import header_record, receiver_channels, repair_header
from lowfield_recon.scan.records import ScanHeader

if TYPE_CHECKING:
    from lowfield_recon.scan.dicom_places import PlanePlace
    from lowfield_recon.scan.writers import Layout

logger = logging.getLogger(__name__)

_POSITIONS = ("HFP", "HFS", "HFDR", "HFDL", "FFDR", "FFDL", "FFP", "FFS")
_IMAGE_TYPES = {
    "magnitude": ["DERIVED", "SECONDARY", "OTHER", "M"],
    "phase": ["DERIVED", "SECONDARY", "PHASE MAP", "P"],
}


def series_header(layout: Layout, content: bytes, name: str) -> Dataset:
    """Return what all files of the series share.

    Parameters
    ----------
    layout
        Number, shape, geometries and header of the images.
    content
        Hash of the complex images: magnitude and phase of one reconstruction become two series of
        one study, in one frame of reference.
    name
        Name of the folder, for messages.

    Returns
    -------
        Data set without place, number and pixels.
    """
    header = scan_header(layout.header, name)
    study = identifier("study", content, repr(header), repr(layout.geometries))
    software = words(f"lowfield_recon {__version__}")
    about = f"{RESEARCH_NOTE} ({software})."
    data_set = Dataset()
    _set(
        data_set,
        {
            "ImageType": _IMAGE_TYPES[layout.part],
            "SOPClassUID": MRImageStorage,
            "StudyDate": "",
            "ContentDate": "",
            "StudyTime": "",
            "ContentTime": "",
            "AccessionNumber": "",
            "Modality": "MR",
            "Manufacturer": words(header.vendor) if header else "",
            "ReferringPhysicianName": "",
            "SeriesDescription": words(f"research reconstruction, {layout.part}"),
            "DerivationDescription": about,
            "PatientName": "ANONYMOUS^RESEARCH",
            "PatientID": "ANONYMOUS",
            "PatientBirthDate": "",
            "PatientSex": "",
            "PatientIdentityRemoved": "YES",
            "DeidentificationMethod": "Patient data of the raw file are not copied",
            "SoftwareVersions": software,
            "StudyInstanceUID": study,
            "SeriesInstanceUID": identifier("series", study, layout.part, software),
            "StudyID": "1",
            "Laterality": "",
            "SeriesNumber": "2" if layout.part == "phase" else "1",
            "FrameOfReferenceUID": identifier("frame of reference", study),
            "PositionReferenceIndicator": "",
            "ComplexImageComponent": layout.part.upper(),
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "Rows": layout.shape[1],
            "Columns": layout.shape[2],
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 0,
            "BurnedInAnnotation": "NO",
            "LossyImageCompression": "00",
            "RescaleType": "US",
        },
    )
    _set(data_set, _acquisition(header, is_volume=layout.shape[0] > 1))
    if any(not str(element.value).isascii() for element in data_set):
        data_set.SpecificCharacterSet = "ISO_IR 192"
    return data_set


def file_meta(instance_uid: str) -> FileMetaDataset:
    """Return the meta information at the head of a file.

    Parameters
    ----------
    instance_uid
        Identifier of the image.

    Returns
    -------
        Group 2 of the file.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = instance_uid  # type: ignore[assignment]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID  # type: ignore[assignment]
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return meta


def place_plane(data_set: Dataset, place: PlanePlace) -> None:
    """Write where the plane sits.

    Parameters
    ----------
    data_set
        Data set of the file, changed in place.
    place
        Position, directions and spacing.
    """
    note = "" if place.is_known else f" {ORIENTATION_NOT_KNOWN}: position and directions are made."
    data_set.ImageComments = f"{RESEARCH_NOTE}.{note}"
    data_set.ImagePositionPatient = decimals(place.position_mm.tolist())
    data_set.ImageOrientationPatient = decimals(place.directions.ravel().tolist())
    data_set.PixelSpacing = decimals(place.spacing_mm)
    data_set.SliceThickness = decimal(place.thickness_mm)
    data_set.SliceLocation = decimal(place.location_mm)
    if place.step_mm is not None:
        data_set.SpacingBetweenSlices = decimal(place.step_mm)


def number_volume(data_set: Dataset, volume: int, layout: Layout) -> None:
    """Write which of several volumes the plane belongs to, and its echo time.

    Parameters
    ----------
    data_set
        Data set of the file, changed in place.
    volume
        Counted from 0.
    layout
        Number of volumes, and their counters where they are known.
    """
    data_set.AcquisitionNumber = str(volume + 1)
    if layout.n_volumes > 1:
        data_set.TemporalPositionIdentifier = str(volume + 1)
        data_set.NumberOfTemporalPositions = str(layout.n_volumes)
    header = scan_header(layout.header, "header") if layout.volumes else None
    if header is None or layout.volumes is None:
        return
    contrast = layout.volumes[volume].contrast
    data_set.EchoNumbers = str(contrast + 1)
    if header.echo_time_s is not None and contrast < len(header.echo_time_s) > 1:
        data_set.EchoTime = decimal(1e3 * header.echo_time_s[contrast])


def scan_header(header: ScanHeader | bytes | str | None, name: str) -> ScanHeader | None:
    """Return the record of the measurement, read from XML where that is what there is.

    Parameters
    ----------
    header
        The record, an ISMRMRD XML header, or None.
    name
        What to call it in a message.

    Returns
    -------
        The record, or None where there is none or it cannot be read.
    """
    if header is None or isinstance(header, ScanHeader):
        return header
    try:
        root, _ = repair_header(header)
        coils = receiver_channels(root) or 1
        return header_record(root, encoding=0, n_coils=coils, where=name)
    except DataError as error:
        logger.warning("%s: written without what the header says (%s)", name, error)
        return None


def _acquisition(header: ScanHeader | None, *, is_volume: bool) -> dict[str, Any]:
    """Return how the image was measured, as far as that is known."""
    found: dict[str, Any] = {
        "ScanningSequence": "RM",  # research mode: raw data do not name the sequence
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "3D" if is_volume else "2D",
        "RepetitionTime": "",
        "EchoTime": "",
        "EchoTrainLength": "",
        "PatientPosition": "",
    }
    if header is None:
        return found
    optional: dict[str, Any] = {
        "RepetitionTime": _single(header.repetition_time_s, 1e3),
        "EchoTime": _single(header.echo_time_s, 1e3),
        "InversionTime": _single(header.inversion_time_s, 1e3),
        "FlipAngle": _single(header.flip_angle_rad, 180 / math.pi),
        "MagneticFieldStrength": _single(header.field_strength_t, 1),
        "ImagingFrequency": _single(header.larmor_frequency_hz, 1e-6),
        "ImagedNucleus": "1H" if header.larmor_frequency_hz else "",
        "ProtocolName": words(header.protocol),
        "ManufacturerModelName": words(header.model),
        "PatientPosition": header.patient_position if header.patient_position in _POSITIONS else "",
    }
    if optional["InversionTime"]:  # the standard has it for inversion recovery only
        optional["ScanningSequence"] = ["RM", "IR"]
    return found | {name: value for name, value in optional.items() if value}


def _single(values: tuple[float, ...] | float | None, unit: float) -> str:
    """Return the one value there is; several (one per contrast) have no single answer."""
    single = values if isinstance(values, tuple) else (values,)
    if len(single) != 1 or single[0] is None or not math.isfinite(single[0]):
        return ""
    return decimal(round(unit * single[0], 9))


def _set(data_set: Dataset, values: Mapping[str, Any]) -> None:
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
