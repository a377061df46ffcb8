"""DICOM files made by pydicom, as scanners and tools write them, and damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from lowfield_recon.cli.app import main
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.dicom_reader import read_dicom
from lowfield_recon.scan.image_reader import read_image

ROWS, COLUMNS = 5, 7


def levels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, (*shape, ROWS, COLUMNS)).astype(np.uint16)


def image(values: np.ndarray, **more: object) -> Dataset:
    """Data set of one file; `more` sets or, with None, removes attributes."""
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.file_meta.MediaStorageSOPClassUID = MRImageStorage
    fields = {
        "SOPClassUID": MRImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[str(more)]),
        "SeriesInstanceUID": "1.2.3",
        "SeriesNumber": "4",
        "Modality": "MR",
        "Rows": values.shape[-2],
        "Columns": values.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8 * values.dtype.itemsize,
        "BitsStored": 8 * values.dtype.itemsize,
        "HighBit": 8 * values.dtype.itemsize - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "PixelSpacing": [2, 1],
        "SliceThickness": 5,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [0, 0, 0],
        "InstanceNumber": 1,
        "PixelData": values.tobytes() + bytes(values.nbytes % 2),
        **more,
    }
    for keyword, value in fields.items():
        if value is not None:
            setattr(data_set, keyword, value)
    data_set["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    return data_set


def save(path: Path, data_set: Dataset, syntax: str | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    if syntax is not None:
        data_set.file_meta.TransferSyntaxUID = syntax
    data_set.save_as(path, enforce_file_format=True)
    return path


def save_series(folder: Path, count: int, **more: object) -> np.ndarray:
    """Write slices 6 mm apart, stored under shuffled names; return the levels."""
    stack = levels(0, count)
    for i in range(count):
        fields = {"ImagePositionPatient": [1, 2, 6 * i - 10], "InstanceNumber": i + 1} | more
        save(folder / f"IM{(7 * i) % 11}", image(stack[i], **fields))
    return stack


def test_one_file(tmp_path: Path) -> None:
    values = levels(0)
    file = save(tmp_path / "a", image(values, RescaleSlope="0.5", RescaleIntercept="-10"))
    found = read_image(file)
    np.testing.assert_array_equal(found.data[0, 0, 0].numpy(), values * 0.5 - 10)
    assert not found.is_photograph
    assert found.geometry is not None
    np.testing.assert_allclose(found.geometry.voxel_size_m, (5e-3, 2e-3, 1e-3))
    np.testing.assert_allclose(found.geometry.position_m, (3e-3, 4e-3, 0))  # of voxel n // 2


@pytest.mark.parametrize("count", [2, 5])
def test_slices_are_sorted_by_position(tmp_path: Path, count: int) -> None:
    stack = save_series(tmp_path / "series", count)
    found = read_image(tmp_path / "series")
    np.testing.assert_array_equal(found.data[0, 0].numpy(), stack)
    geometry = found.geometry
    assert geometry is not None
    assert geometry.is_known
    np.testing.assert_allclose(geometry.voxel_size_m, (6e-3, 2e-3, 1e-3))
    z = 6 * (count // 2) - 10
    np.testing.assert_allclose(geometry.position_m, (4e-3, 6e-3, 1e-3 * z), atol=1e-12)


def test_numbers_that_descend_turn_the_stack_round(tmp_path: Path) -> None:
    """As with a left-handed triad: the file's own order counts, and z says so."""
    stack = levels(0, 3)
    for i in range(3):
        place = {"ImagePositionPatient": [0, 0, -6 * i], "InstanceNumber": i + 1}
        save(tmp_path / "a" / f"{i}", image(stack[i], **place))
    found = read_dicom(tmp_path / "a")
    np.testing.assert_array_equal(found.data[0, 0].numpy(), stack)
    assert found.geometry is not None
    assert found.geometry.z_direction == (0, 0, -1)
    assert found.geometry.position_m[2] == pytest.approx(-6e-3)


def test_numbers_out_of_order_do_not_count(tmp_path: Path) -> None:
    """Interleaved acquisition: instance numbers 1, 3, 2, 4 by position."""
    stack = levels(0, 4)
    for i, number in enumerate((1, 3, 2, 4)):
        place = {"ImagePositionPatient": [0, 0, 6 * i], "InstanceNumber": number}
        save(tmp_path / "a" / f"{i}", image(stack[i], **place))
    np.testing.assert_array_equal(read_dicom(tmp_path / "a").data[0, 0].numpy(), stack)


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "EchoTime", "AcquisitionNumber"])
def test_images_of_one_place_become_volumes(tmp_path: Path, keyword: str) -> None:
    stack = levels(0, 2, 3)
    for volume, plane in np.ndindex(2, 3):
        fields = {
            "ImagePositionPatient": [0, 0, 6 * plane],
            keyword: str(10 * (volume + 1)),
            "InstanceNumber": 10 - 2 * plane - volume,
        }
        save(tmp_path / "a" / f"{volume}{plane}", image(stack[volume, plane], **fields))
    data = read_dicom(tmp_path / "a").data.numpy()
    np.testing.assert_array_equal(data[:, 0], stack[:, ::-1])


def test_several_series_are_named(tmp_path: Path) -> None:
    first = save_series(tmp_path / "a", 2, SeriesDescription="T2")
    for i in (0, 1):
        more = {"ImagePositionPatient": [0, 0, i], "SeriesInstanceUID": "1.9", "SeriesNumber": "7"}
        save(tmp_path / "a" / f"other{i}", image(levels(i), **more))
    with pytest.raises(DataError, match=r"2 series: 4 'T2' magnitude \(2 images\), 7 magnitude"):
        read_image(tmp_path / "a")
    np.testing.assert_array_equal(read_dicom(tmp_path / "a", series=4).data[0, 0].numpy(), first)
    with pytest.raises(UsageError, match="no series with the number 5"):
        read_dicom(tmp_path / "a", series=5)


def test_magnitude_and_phase_are_not_mixed(tmp_path: Path) -> None:
    for i, letter in enumerate("MP"):
        more = {"ImageType": ["ORIGINAL", "PRIMARY", letter, "ND"], "InstanceNumber": i}
        save(tmp_path / "a" / letter, image(levels(i), **more))
    with pytest.raises(DataError, match=r"4 magnitude \(1 images\), 4 phase \(1 images\)"):
        read_image(tmp_path / "a")


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    stack = save_series(tmp_path / "a", 3)
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "a" / "empty").touch()
    (tmp_path / "a" / "folder").mkdir()
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "1.2.4"
    report.save_as(tmp_path / "a" / "report", enforce_file_format=True)
    np.testing.assert_array_equal(read_dicom(tmp_path / "a").data[0, 0].numpy(), stack)


def enhanced(stack: np.ndarray) -> Dataset:
    """Multi-frame: volumes × slices, stored slice by slice, own scale and place for each frame."""
    n_volumes, n_slices = stack.shape[:2]
    frames = []
    for plane, volume in np.ndindex(n_slices, n_volumes):
        frame, place, content, scale = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [0, 0, 6 * plane]
        content.TemporalPositionIndex = volume + 1
        scale.RescaleSlope, scale.RescaleIntercept = str(plane + 1), "1"
        scale.RescaleType = "US"
        frame.PlanePositionSequence = Sequence([place])
        frame.FrameContentSequence = Sequence([content])
        frame.PixelValueTransformationSequence = Sequence([scale])
        frames.append(frame)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 1], 5
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    return image(
        stack.swapaxes(0, 1),
        SOPClassUID=EnhancedMRImageStorage,
        NumberOfFrames=n_volumes * n_slices,
        PixelSpacing=None,
        SliceThickness=None,
        ImageOrientationPatient=None,
        ImagePositionPatient=None,
        PerFrameFunctionalGroupsSequence=Sequence(frames),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )


def test_enhanced_multi_frame(tmp_path: Path) -> None:
    stack = levels(0, 2, 3)
    found = read_image(save(tmp_path / "a.dcm", enhanced(stack)))
    expected = stack * np.arange(1.0, 4)[:, None, None] + 1
    np.testing.assert_array_equal(found.data[:, 0].numpy(), expected)
    assert found.geometry is not None
    assert found.geometry.is_known
    np.testing.assert_allclose(found.geometry.voxel_size_m, (6e-3, 2e-3, 1e-3))


@pytest.mark.parametrize("is_placed", [False, True])
def test_plain_multi_frame_has_no_orientation(tmp_path: Path, is_placed: bool) -> None:
    """One place for all frames does not say where each is."""
    stack = levels(0, 3)
    keywords = ("ImageOrientationPatient", "ImagePositionPatient", "SliceThickness")
    nothing = {} if is_placed else dict.fromkeys(keywords)
    found = read_image(save(tmp_path / "a", image(stack, NumberOfFrames=3, **nothing)))
    np.testing.assert_array_equal(found.data[0, 0].numpy(), stack)
    assert found.geometry is not None
    assert not found.geometry.is_known


@pytest.mark.parametrize(
    ("dtype", "more"),
    [
        (np.uint8, {}),
        (np.int16, {}),
        (np.uint32, {}),
        (np.uint16, {"PhotometricInterpretation": "MONOCHROME1"}),
    ],
)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_kinds_of_levels(tmp_path: Path, dtype: type, more: dict, syntax: str) -> None:
    values = (levels(0) % 200).astype(dtype)
    if dtype is np.int16:
        values -= 100
    file = save(tmp_path / "a", image(values, **more), syntax)
    np.testing.assert_array_equal(read_dicom(file).data[0, 0, 0].numpy(), values)


def test_a_file_that_begins_like_tiff(tmp_path: Path) -> None:
    """The preamble of 128 bytes is free, and files that are TIFF as well use it."""
    file = save(tmp_path / "a.dcm", image(levels(0)))
    file.write_bytes(b"II*\0" + file.read_bytes()[4:])
    np.testing.assert_array_equal(read_image(file).data[0, 0, 0].numpy(), levels(0))


def test_big_endian(tmp_path: Path) -> None:
    data_set = image(levels(0))
    data_set.PixelData = levels(0).astype(">u2").tobytes()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    save(tmp_path / "a", data_set)
    np.testing.assert_array_equal(read_dicom(tmp_path / "a").data[0, 0, 0].numpy(), levels(0))


def test_compressed_pixels_that_can_be_unpacked(tmp_path: Path) -> None:
    data_set = image(levels(0))
    data_set.compress(RLELossless)
    file = save(tmp_path / "a", data_set)
    np.testing.assert_array_equal(read_dicom(file).data[0, 0, 0].numpy(), levels(0))


def _compressed(path: Path) -> None:
    data_set = image(levels(0))
    data_set.PixelData = pydicom.encaps.encapsulate([bytes(200)])
    data_set["PixelData"].is_undefined_length = True
    save(path, data_set, JPEG2000Lossless)


def _deflated(path: Path) -> None:
    save(path, image(levels(0)), DeflatedExplicitVRLittleEndian)


def _truncated(path: Path) -> None:
    save(path, image(levels(0)))
    path.write_bytes(path.read_bytes()[:-40])


def _cut_in_header(path: Path) -> None:
    save(path, image(levels(0)))
    path.write_bytes(path.read_bytes()[:300])


def _with(**more: object) -> Callable[[Path], object]:
    return lambda path: save(path, image(levels(0), **more))


def _bad_text(path: Path) -> None:
    save(path, image(levels(0), RescaleSlope="1.2345", RescaleIntercept="0"))
    path.write_bytes(path.read_bytes().replace(b"1.2345", b"nonsen"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_compressed, "compressed .JPEG 2000.*cannot be unpacked here.*gdcmconv"),
        (_deflated, "deflated as a whole.*dcmconv"),
        (_truncated, "holds 30 bytes of pixels, expected 70; it is truncated"),
        (_cut_in_header, "DICOM"),
        (_bad_text, "cannot be read as DICOM"),
        (_with(Rows=60000, Columns=60000), "announces 1 frames of 60000 x 60000"),
        (_with(NumberOfFrames=60000), "announces 60000 frames of 5 x 7 with 16 bits"),
        (_with(NumberOfFrames=10**8), "announces 100000000 frames"),
        (_with(Rows=0), "without an image"),
        (_with(RescaleSlope="0", RescaleIntercept="0"), "slope other than 0"),
        (_with(RescaleSlope="nan", RescaleIntercept="0"), "finite"),
        (_with(SamplesPerPixel=3, PhotometricInterpretation="RGB"), "in colour"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_files_that_cannot_be_read(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    with pydicom.config.disable_value_validation():
        damage(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=message) as caught:
        read_image(tmp_path / "a.dcm")
    assert str(caught.value).startswith("a.dcm: ")
    assert "\n" not in str(caught.value)


def test_folders_that_hold_no_series(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="holds no DICOM images"):
        read_image(tmp_path / "a")
    save_series(tmp_path / "b", 3)
    save(tmp_path / "b" / "wide", image(np.zeros((ROWS, 9), np.uint16), InstanceNumber=4))
    with pytest.raises(DataError, match="images of 5 x 7 and 5 x 9"):
        read_image(tmp_path / "b")
    save_series(tmp_path / "c", 3)
    again = image(levels(1), ImagePositionPatient=[1, 2, -10], AcquisitionNumber=2)
    save(tmp_path / "c" / "again", again)
    with pytest.raises(DataError, match="4 images at 3 slice positions"):
        read_image(tmp_path / "c")


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([[0, 0, 0], [0, 0, 6], [0, 0, 18]], "6, 12 mm"),
        ([[0, 0, 0], [0, 3, 6], [0, 6, 12]], "sheared"),
    ],
)
def test_irregular_stacks_are_read_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, positions: list, message: str
) -> None:
    stack = levels(0, 3)
    for i, position in enumerate(positions):
        save(tmp_path / "a" / str(i), image(stack[i], ImagePositionPatient=position))
    found = read_image(tmp_path / "a")
    np.testing.assert_array_equal(found.data[0, 0].numpy(), stack)
    assert found.geometry is not None
    assert not found.geometry.is_known
    assert message in caplog.text
    assert "orientation counts as unknown" in caplog.text


def test_commands_take_dicom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = np.random.default_rng(0).integers(0, 4000, (16, 16)).astype(np.uint16)
    for i in (0, 1):
        place = {"ImagePositionPatient": [0, 0, 6 * i], "InstanceNumber": i + 1}
        save(tmp_path / "series" / f"{i}.dcm", image(big, RescaleSlope="0.001", **place))
    np.save(tmp_path / "same.npy", np.stack([big, big]).astype(np.float32) * np.float32(0.001))
    assert main(["score", str(tmp_path / "series"), str(tmp_path / "same.npy")]) == 0
    assert "SSIM         1.0000" in capsys.readouterr().out
    words = ["--task", "denoise", "--noise-std", "0.05", "--set", "iterations=2"]
    file = str(tmp_path / "series" / "0.dcm")
    assert main(["restore", file, "-o", str(tmp_path / "out.npy"), *words]) == 0
    assert np.load(tmp_path / "out.npy").shape == (16, 16)
    (tmp_path / "series" / "0.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    assert main(["score", str(tmp_path / "series"), str(tmp_path / "same.npy")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
