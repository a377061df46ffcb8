"""DICOM folders: the modules of the standard, places from an independent formula, safe folders."""

from __future__ import annotations

import itertools
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.dicom_tags import decimal, identifier, words
from lowfield_recon.scan.geometry import affine_ras, stack_geometry
from lowfield_recon.scan.image_reader import read_image
from lowfield_recon.scan.records import ImageIndex, ScanHeader
from lowfield_recon.scan.writers import open_image_writer

# PS3.3: A.4 names the modules of an MR image; these are their attributes of types 1 and 2 (and 1C,
# 2C where the condition holds for what is written here).
TYPE_1 = {
    "General Study": ["StudyInstanceUID"],
    "General Series": ["Modality", "SeriesInstanceUID"],
    "Patient, identity removed": ["DeidentificationMethod"],
    "Frame of Reference": ["FrameOfReferenceUID"],
    "Image Plane": ["PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"],
    "Image Pixel": [
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelData",
    ],
    "MR Image": ["ImageType", "ScanningSequence", "SequenceVariant"],
    "Modality LUT": ["RescaleIntercept", "RescaleSlope", "RescaleType"],
    "VOI LUT": ["WindowCenter", "WindowWidth"],
    "SOP Common": ["SOPClassUID", "SOPInstanceUID"],
}
TYPE_2 = {
    "Patient": ["PatientName", "PatientID", "PatientBirthDate", "PatientSex"],
    "General Study": [
        "StudyDate",
        "StudyTime",
        "ReferringPhysicianName",
        "StudyID",
        "AccessionNumber",
    ],
    "General Series": ["SeriesNumber", "Laterality", "PatientPosition"],
    "Frame of Reference": ["PositionReferenceIndicator"],
    "General Equipment": ["Manufacturer"],
    "General Image": ["InstanceNumber", "ContentDate", "ContentTime"],
    "Image Plane": ["SliceThickness"],
    "MR Image": [
        "ScanOptions",
        "MRAcquisitionType",
        "RepetitionTime",
        "EchoTime",
        "EchoTrainLength",
    ],
}
HEADER = ScanHeader(
    encoded_matrix=(1, 5, 7),
    recon_matrix=(1, 5, 7),
    recon_fov_m=(5e-3, 0.01, 0.007),
    field_strength_t=0.055,
    larmor_frequency_hz=2341735.0,
    vendor="Zürich\\Instruments",
    model="Halbach",
    protocol="t2 " + 80 * "x",
    echo_time_s=(0.02, 0.1),
    repetition_time_s=(0.5,),
    inversion_time_s=(0.3,),
    flip_angle_rad=(np.pi / 2,),
    patient_position="FFP",
)


@pytest.fixture(autouse=True)
def _strict_reading() -> Iterator[None]:
    before = pydicom.config.settings.reading_validation_mode
    pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
    yield
    pydicom.config.settings.reading_validation_mode = before


def triad(seed: int, handedness: int) -> np.ndarray:
    """Oblique orthonormal directions (rows x, y, z) of the wanted handedness."""
    rows, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return rows * np.array([1, 1, handedness * np.sign(np.linalg.det(rows))])[:, None]


ORIENTATIONS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 1.0, 0], [0, 0, -1], [-1, 0, 0]]),
    "oblique": triad(1, 1),
    "left-handed": np.diag([1.0, 1.0, -1.0]),
    "oblique left-handed": triad(2, -1),
}


def slices_along(directions: np.ndarray, count: int, step_m: float = 6e-3) -> list[Geometry]:
    return [
        Geometry(
            voxel_size_m=(6e-3, 2e-3, 1e-3),
            x_direction=tuple(directions[0].tolist()),
            y_direction=tuple(directions[1].tolist()),
            z_direction=tuple(directions[2].tolist()),
            position_m=tuple((np.array([0.01, 0.02, -0.03]) + i * step_m * directions[2]).tolist()),
        )
        for i in range(count)
    ]


def complex_images(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def write(
    path: Path,
    images: torch.Tensor,
    geometries: Sequence[Geometry | None] | None = None,
    **more: object,
) -> tuple[Path, ...]:
    with open_image_writer(
        path,
        volume_shape=tuple(images.shape[:2]),
        image_shape=tuple(images.shape[2:]),
        geometries=geometries,
        **more,  # type: ignore[arg-type]
    ) as writer:
        for image in images.flatten(0, 1):
            writer.append(image)
    return writer.paths


def files_of(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(file) for file in sorted(folder.iterdir())]


@pytest.mark.parametrize("part", ["magnitude", "phase"])
@pytest.mark.parametrize("header", [HEADER, None], ids=["header", "no header"])
def test_every_module_is_complete(tmp_path: Path, part: str, header: ScanHeader | None) -> None:
    images = complex_images(2, 3, 1, 5, 7)
    write(tmp_path / "a", images, slices_along(np.eye(3), 3), header=header, part=part)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = files_of(tmp_path / "a")
        text = [str(data_set) for data_set in found]  # converts every value
    assert len(text) == 6
    for data_set in found:
        for keyword in itertools.chain(*TYPE_1.values()):
            assert data_set.get(keyword) not in (None, "", b""), keyword
        for keyword in itertools.chain(*TYPE_2.values()):
            assert keyword in data_set, keyword
        assert data_set.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
        assert data_set.SOPClassUID.name == "MR Image Storage"
        assert list(data_set.ImageType[:2]) == ["DERIVED", "SECONDARY"]
        assert data_set.BurnedInAnnotation == "NO"
        assert "not for diagnosis" in data_set.DerivationDescription
        assert "not for diagnosis" in data_set.ImageComments
        assert data_set.StudyDate == data_set.ContentDate == ""
    uids = {data_set.SOPInstanceUID for data_set in found}
    assert len(uids) == 6
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)


def test_physics_is_in_the_units_of_dicom(tmp_path: Path) -> None:
    volumes = [ImageIndex(contrast=0), ImageIndex(contrast=1)]
    write(
        tmp_path / "a",
        complex_images(2, 3, 1, 5, 7),
        slices_along(np.eye(3), 3),
        header=HEADER,
        volumes=volumes,
    )
    first, *_, last = files_of(tmp_path / "a")
    assert (first.EchoTime, last.EchoTime) == (20, 100)
    assert (first.EchoNumbers, last.EchoNumbers) == (1, 2)
    assert (last.TemporalPositionIdentifier, last.NumberOfTemporalPositions) == (2, 2)
    assert (last.InstanceNumber, last.AcquisitionNumber) == (6, 2)
    assert (first.RepetitionTime, first.InversionTime, first.FlipAngle) == (500, 300, 90)
    assert list(first.ScanningSequence) == ["RM", "IR"]
    assert first.MagneticFieldStrength == 0.055
    assert first.ImagingFrequency == 2.341735
    assert first.ImagedNucleus == "1H"
    assert first.PatientPosition == "FFP"
    assert first.Manufacturer == "Zürich Instruments"
    assert first.ManufacturerModelName == "Halbach"
    assert first.ProtocolName == "t2 " + 61 * "x"
    assert (first.SliceThickness, first.SpacingBetweenSlices) == (5, 6)
    assert list(first.PixelSpacing) == [2, 1]
    assert "Anonymous".upper() in str(first.PatientName)


def test_several_echo_times_without_counters_are_not_guessed(tmp_path: Path) -> None:
    write(tmp_path / "a", complex_images(1, 1, 1, 5, 7), header=HEADER)
    assert files_of(tmp_path / "a")[0].EchoTime is None


def test_header_as_xml(tmp_path: Path) -> None:
    from lowfield_recon.scan.ismrmrd_header import header_xml

    images = complex_images(1, 1, 1, 5, 7)
    write(tmp_path / "a", images, header=header_xml(HEADER))
    assert files_of(tmp_path / "a")[0].MagneticFieldStrength == 0.055
    write(tmp_path / "b", images, header=b"<no")
    assert "MagneticFieldStrength" not in files_of(tmp_path / "b")[0]


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("n_z", [1, 3], ids=["slices", "slabs"])
def test_every_voxel_lies_where_our_affine_says(tmp_path: Path, name: str, n_z: int) -> None:
    """Place of row r and column c by the formula of PS3.3 C.7.6.2.1.1."""
    directions = ORIENTATIONS[name]
    images = complex_images(1, 4, n_z, 5, 7)
    geometries = slices_along(directions, 4, step_m=6e-3 * n_z)
    write(tmp_path / "a", images, geometries)
    volume = images.abs().reshape(4 * n_z, 5, 7).numpy()
    affine = affine_ras(stack_geometry(geometries, n_z), volume.shape)
    assert np.sign(np.linalg.det(affine[:3, :3])) == (-1 if "left" in name else 1)
    found = files_of(tmp_path / "a")
    assert len(found) == 4 * n_z
    for data_set in found:
        row_direction, column_direction = np.reshape(data_set.ImageOrientationPatient, (2, 3))
        between_rows, between_columns = data_set.PixelSpacing
        levels = np.frombuffer(data_set.PixelData, "<u2").reshape(5, 7)
        for r, c in ((0, 0), (4, 0), (0, 6), (3, 2)):
            place = (
                np.array(data_set.ImagePositionPatient)
                + c * float(between_columns) * row_direction.astype(float)
                + r * float(between_rows) * column_direction.astype(float)
            )
            x, y, z = np.linalg.solve(affine, [-place[0], -place[1], place[2], 1])[:3]
            np.testing.assert_allclose((x, y, z), np.rint((x, y, z)), atol=1e-9)
            value = levels[r, c] * float(data_set.RescaleSlope)
            expected = volume[round(z), round(y), round(x)]
            assert value == pytest.approx(expected, abs=0.51 * float(data_set.RescaleSlope))
        normal = np.cross(row_direction.astype(float), column_direction.astype(float))
        along = np.array(data_set.ImagePositionPatient) @ normal
        assert float(data_set.SliceLocation) == pytest.approx(along, abs=1e-9)


def test_one_scale_for_the_whole_series(tmp_path: Path) -> None:
    """A dark and a bright slice keep their ratio; the brightest voxel is the largest level."""
    bright = complex_images(1, 1, 1, 8, 8)
    images = torch.cat([bright, 1e-3 * bright], dim=1)
    write(tmp_path / "a", images)
    found = files_of(tmp_path / "a")
    assert len({(d.RescaleSlope, d.RescaleIntercept, str(d.WindowWidth)) for d in found}) == 1
    levels = np.stack([np.frombuffer(d.PixelData, "<u2") for d in found])
    assert levels.max() == 65535
    expected = images.abs().numpy().reshape(2, -1)
    slope = float(found[0].RescaleSlope)
    assert slope == pytest.approx(expected.max() / 65535, rel=1e-6)  # float32
    np.testing.assert_allclose(levels * slope, expected, atol=0.51 * slope)


def test_phase_is_in_radians_and_zero_is_exact(tmp_path: Path) -> None:
    angles = torch.tensor([-3.1415925, -1.0, 0.0, 1.0, 3.1415925]).reshape(1, 1, 1, 1, 5)
    write(tmp_path / "a", torch.polar(torch.ones_like(angles), angles), part="phase")
    data_set = files_of(tmp_path / "a")[0]
    levels = np.frombuffer(data_set.PixelData, "<u2").astype(float)
    values = levels * float(data_set.RescaleSlope) + float(data_set.RescaleIntercept)
    np.testing.assert_allclose(values, angles.flatten().numpy(), atol=np.pi / 32767 / 2 * 1.01)
    assert values[2] == pytest.approx(0, abs=1e-9)
    assert list(data_set.ImageType) == ["DERIVED", "SECONDARY", "PHASE MAP", "P"]


@pytest.mark.parametrize(("scale", "function"), [(1e-6, "LINEAR_EXACT"), (1e3, None)])
def test_window_of_small_and_large_values(tmp_path: Path, scale: float, function: str) -> None:
    """By PS3.3 C.11.2.1.2 the usual window must be at least 1 wide; the exact one need not."""
    images = scale * complex_images(1, 1, 1, 64, 64)
    write(tmp_path / "a", images)
    data_set = files_of(tmp_path / "a")[0]
    white = np.percentile(images.abs().numpy(), 99.9)
    assert float(data_set.WindowWidth) == pytest.approx(white, rel=0.02)  # between two of 4096
    assert float(data_set.WindowCenter) == pytest.approx(float(data_set.WindowWidth) / 2, rel=1e-9)
    assert data_set.get("VOILUTFunction") == function


def test_an_empty_image_is_black(tmp_path: Path) -> None:
    write(tmp_path / "a", torch.zeros(1, 1, 1, 4, 4))
    data_set = files_of(tmp_path / "a")[0]
    assert (data_set.RescaleSlope, data_set.WindowWidth) == (1, 1)
    assert not any(data_set.PixelData)


def test_both_parts_are_two_series_of_one_study(tmp_path: Path) -> None:
    paths = write(tmp_path / "scan.dicom", complex_images(1, 2, 1, 5, 7), part="both")
    assert [path.name for path in paths] == ["scan_magnitude.dicom", "scan_phase.dicom"]
    magnitude, phase = (files_of(path)[0] for path in paths)
    assert magnitude.StudyInstanceUID == phase.StudyInstanceUID
    assert magnitude.FrameOfReferenceUID == phase.FrameOfReferenceUID
    assert magnitude.SeriesInstanceUID != phase.SeriesInstanceUID
    assert magnitude.SOPInstanceUID != phase.SOPInstanceUID
    (tmp_path / "plain.v2").mkdir()
    paths = write(tmp_path / "plain.v2", complex_images(1, 2, 1, 5, 7), part="both")
    assert [path.name for path in paths] == ["plain.v2_magnitude", "plain.v2_phase"]


def test_identifiers_follow_the_content(tmp_path: Path) -> None:
    images = complex_images(1, 2, 1, 5, 7)
    geometries = slices_along(np.eye(3), 2)
    changed = images.clone()
    changed[0, 1, 0, 4, 6] *= -1  # another phase, the same magnitude
    write(tmp_path / "a", images, geometries)
    write(tmp_path / "pixels", changed, geometries)
    write(tmp_path / "header", images, geometries, header=HEADER)
    write(tmp_path / "geometry", images, slices_along(ORIENTATIONS["sagittal"], 2))
    uids = [
        {str(getattr(d, f"{level}InstanceUID")) for d in files_of(tmp_path / name)}
        for name in ("a", "pixels", "header", "geometry")
        for level in ("SOP", "Series", "Study")
    ]
    assert len(set.union(*uids)) == sum(len(group) for group in uids)
    write(tmp_path / "again", images, geometries)
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "again")


@pytest.mark.parametrize("kind", ["unknown", "none", "same place"])
def test_unknown_orientation_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    size = (6e-3, 2e-3, 1e-3)
    geometry = Geometry(voxel_size_m=size, is_known=kind == "same place")
    write(
        tmp_path / "a",
        complex_images(1, 3, 1, 5, 7),
        [None if kind == "none" else geometry] * 3,
    )
    assert "orientation is not known" in caplog.text
    found = files_of(tmp_path / "a")
    assert all("ORIENTATION NOT KNOWN" in d.ImageComments for d in found)
    step = 1 if kind == "none" else 6
    assert [d.ImagePositionPatient[2] for d in found] == [0, step, 2 * step]
    read = read_image(tmp_path / "a").geometry
    assert read is not None
    assert not read.is_known
    np.testing.assert_allclose(read.voxel_size_m, (1e-3,) * 3 if kind == "none" else size)


def test_uneven_and_tilted_slices_keep_their_places(tmp_path: Path) -> None:
    tilted = triad(3, 1)
    geometries = [
        *slices_along(np.eye(3), 2),
        slices_along(tilted, 1)[0],
    ]
    write(tmp_path / "a", complex_images(1, 3, 1, 5, 7), geometries)
    found = files_of(tmp_path / "a")
    assert "SpacingBetweenSlices" not in found[0]
    np.testing.assert_allclose(
        np.reshape(found[2].ImageOrientationPatient, (2, 3)).astype(float), tilted[:2], atol=1e-12
    )
    assert not any("NOT KNOWN" in d.ImageComments for d in found)


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (Geometry(voxel_size_m=(1e-3, 0.0, 1e-3)), "positive voxel sizes"),
        (Geometry(voxel_size_m=(1e-3,) * 3, y_direction=(1.0, 0.0, 0.0)), "orthogonal unit"),
    ],
)
def test_impossible_geometry(tmp_path: Path, geometry: Geometry, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path / "a", complex_images(1, 1, 1, 5, 7), [geometry])
    assert list(tmp_path.iterdir()) == []


def test_complex_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DICOM cannot hold complex values; ask for magnitude"):
        write(tmp_path / "a", complex_images(1, 1, 1, 4, 4), part="complex")


def test_an_own_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", complex_images(1, 4, 1, 4, 4))
    write(tmp_path / "a", complex_images(1, 2, 1, 4, 4))
    assert [f.name for f in sorted((tmp_path / "a").iterdir())] == [
        "image_00001.dcm",
        "image_00002.dcm",
    ]


@pytest.mark.parametrize("kind", ["note", "foreign image", "folder", "file"])
def test_what_is_not_ours_is_not_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a"
    if kind == "file":
        target.write_text("mine")
    else:
        write(target, complex_images(1, 1, 1, 4, 4))
    if kind == "note":
        (target / "notes.txt").write_text("mine")
    elif kind == "folder":
        (target / "image_00002.dcm").mkdir()
    elif kind == "foreign image":
        (target / "image_00002.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    before = sha256_of(target)
    with pytest.raises(UsageError, match=r"choose (a new or an empty folder|another name)"):
        write(target, complex_images(1, 2, 1, 4, 4))
    assert sha256_of(target) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, "missing", "nan"])
def test_whole_folder_or_none(tmp_path: Path, failure) -> None:
    write(tmp_path / "a", complex_images(1, 1, 1, 4, 4))
    before = sha256_of(tmp_path / "a")
    expected = DataError if isinstance(failure, str) else failure
    with (
        pytest.raises(expected),
        open_image_writer(tmp_path / "a", volume_shape=(1, 3), image_shape=(1, 4, 4)) as writer,
    ):
        writer.append(torch.ones(1, 4, 4))
        if failure == "nan":
            writer.append(torch.full((1, 4, 4), float("nan")))
        elif failure != "missing":
            raise failure
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208 - hidden names too
    assert sha256_of(tmp_path / "a") == before


def test_values_fit_the_standard() -> None:
    rng = np.random.default_rng(0)
    numbers = [*(rng.normal(size=200) * 10.0 ** rng.integers(-40, 40, 200)), 0.1, -1 / 3, 1e-300]
    for number in numbers:
        text = decimal(number)
        assert len(text) <= 16
        assert float(text) == pytest.approx(number, rel=1e-8)
    with pytest.raises(DataError, match="finite"):
        decimal(float("nan"))
    assert words("a\x00b\\c\n d ") == "a b c d"
    assert words(None) == ""
    uid = identifier("x")
    assert re.fullmatch(r"2\.25\.[1-9]\d{1,38}", uid)
    number = int(uid.removeprefix("2.25."))
    assert ((number >> 76) & 0xF, (number >> 62) & 0x3) == (8, 2)
    assert identifier("ab", "c") != identifier("a", "bc")
