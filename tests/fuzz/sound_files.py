"""Small sound files of every format, to be damaged."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import h5py
import ismrmrd
import nibabel
import numpy as np
import scipy.io
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace

SIZE = (12, 16)
"""Lines and samples, or rows and columns."""

HEADER = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    "<acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor>"
    "<systemFieldStrength_T>2.89</systemFieldStrength_T><receiverChannels>2</receiverChannels>"
    "</acquisitionSystemInformation>"
    "<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz>"
    "</experimentalConditions><encoding>"
    "<encodedSpace><matrixSize><x>16</x><y>12</y><z>1</z></matrixSize>"
    "<fieldOfView_mm><x>400</x><y>150</y><z>5</z></fieldOfView_mm></encodedSpace>"
    "<reconSpace><matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>"
    "<fieldOfView_mm><x>200</x><y>100</y><z>5</z></fieldOfView_mm></reconSpace>"
    "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>11</maximum>"
    "<center>6</center></kspace_encoding_step_1></encodingLimits>"
    "<trajectory>cartesian</trajectory></encoding>"
    "<sequenceParameters><TR>500</TR><TE>20</TE></sequenceParameters></ismrmrdHeader>"
)

PLAN = """\
title: Fuzzed
summary: A plan of which the sample does not exist, so that none of its steps begins.
experiments:
  - name: brain
    title: Brain
    text: No text.
    sample: not_there.h5
    quarter_turns: 3
    undersampling: {acceleration: 2, calibration_lines: 24, kind: random, seed: 1}
    methods: [{name: adjoint}, {name: tv, settings: {iterations: 3}}]
"""


PIPELINE = """\
name: fuzzed
description: Two methods on every scan of a folder, and their images.
parameters:
  scan: {type: files, default: [not_there.npy], pattern: ["*.npy"], help: raw data}
  method: {type: words, default: [adjoint, tv], help: methods}
steps:
  - name: image
    uses: reconstruct
    for_each: [scan, method]
    with:
      scan: ${scan}
      method: ${method}
      settings: {}
    save_as: ${scan.stem}/${method}.nii.gz
  - name: summary
    uses: table
    with:
      rows: ${image.record}
      columns: {scan: inputs.scan.name, method: method, image: image}
    save_as: images.csv
"""


@dataclass(frozen=True)
class Sample:
    """A sound input: its files by name, and the words of a command that takes it."""

    name: str
    kind: str
    """`scan` (info, reconstruct), `image` (score), `plan` (demo) or `pipeline` (run)."""
    target: str
    """Name of the file or folder that the command is given."""
    files: dict[str, bytes]
    words: tuple[str, ...] = ()
    tags: frozenset[str] = field(default_factory=frozenset)


def kspace(*leading: int) -> np.ndarray:
    """k-space of an object with noise, energy in the centre."""
    rng = np.random.default_rng(5)
    image = np.zeros((*leading, *SIZE))
    image[..., 3:9, 4:12] = 1 + rng.random((*leading, 6, 8))
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image, axes=(-2, -1))), axes=(-2, -1))
    noise = rng.normal(size=(2, *spectrum.shape))
    return (spectrum + noise[0] + 1j * noise[1]).astype(np.complex64)


def _in_folder(name: str, write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _ismrmrd(coils: int, slices: int, *, radial: bool = False, packed: bool = False) -> bytes:
    data = kspace(1, 1, slices, coils, 1)
    trajectory = None
    if radial:
        angle = np.arange(SIZE[0])[:, None] * np.pi / SIZE[0]
        radius = np.arange(SIZE[1]) - SIZE[1] / 2
        zero = 0 * angle * radius
        trajectory = np.stack([zero, radius * np.sin(angle), radius * np.cos(angle)], -1) / 2
        trajectory = trajectory[None, None, None, None]

    def write(path: Path) -> None:
        write_ismrmrd_kspace(
            path,
            data,
            fov_m=(0.005, 0.2, 0.2),
            field_strength_t=0.055,
            trajectory=trajectory,
            trajectory_kind="radial" if radial else None,
            noise=np.random.default_rng(1).normal(size=(coils, 32)) + 0j if coils > 1 else None,
        )
        if packed:
            with h5py.File(path, "a") as file:
                records, kind = file["dataset/data"][...], file["dataset/data"].dtype
                del file["dataset/data"]
                file.create_dataset("dataset/data", data=records, dtype=kind, compression="gzip")

    return _in_folder("scan.h5", write)


def _fastmri(shape: tuple[int, ...], header: str = HEADER, *, is_test: bool = False) -> bytes:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["kspace"] = kspace(*shape)
            file["ismrmrd_header"] = header.encode()
            if is_test:
                file["mask"] = np.arange(SIZE[1]) % 2 == 0
            else:
                name = "reconstruction_rss" if len(shape) == 2 else "reconstruction_esc"
                file[name] = np.ones((shape[0], 8, 8), np.float32)
            file.attrs.update({"acquisition": "AXT2", "max": 1.0, "norm": 2.0, "patient_id": "x"})

    return _in_folder("scan.h5", write)


def _m4raw() -> bytes:
    header = (
        HEADER.replace(
            "<TR>500</TR>", "<TR>500</TR><samplingBandwidth>31.25KHz</samplingBandwidth>"
        )
        .replace("<experimentalConditions>", "<!--")
        .replace("</experimentalConditions>", "-->")
    )
    return _fastmri((2, 2), header)


def _mat(path: Path, version: str, *, packed: bool = False) -> None:
    scipy.io.savemat(path, {"a": kspace()}, format=version, do_compression=packed)


def _mat73(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        stored = file.create_dataset("a", (SIZE[1], SIZE[0]), [("real", "<f8"), ("imag", "<f8")])
        stored["real"], stored["imag"] = kspace().T.real, kspace().T.imag
        stored.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file")


def _hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=kspace(), chunks=(6, 8), compression="gzip")


def _mrd_images(path: Path) -> None:
    with ismrmrd.Dataset(str(path), "dataset", mode="w") as file:
        for _ in range(2):
            pixels = np.abs(kspace())[None, None].astype(np.float32)
            file.append_image("image_0", ismrmrd.Image.from_array(pixels, transpose=False))


def _dicom(path: Path, number: int = 1) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["series"])
    data.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    data.Modality, data.PatientName, data.InstanceNumber = "MR", "fuzz", number
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 5 * number], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness, data.SpacingBetweenSlices = [1, 1], 5, 5
    data.Rows, data.Columns, data.SamplesPerPixel = *SIZE, 1
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PhotometricInterpretation, data.RescaleSlope, data.RescaleIntercept = "MONOCHROME2", 0.5, 0
    data.PixelData = np.abs(kspace()).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


def _photograph(ending: str) -> bytes:
    pixels = np.random.default_rng(2).integers(0, 255, SIZE, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=ending)
    return stream.getvalue()


def _numpy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _zip(path: Path) -> None:
    np.savez_compressed(path, a=kspace())


def _nifti(name: str) -> bytes:
    volume = np.random.default_rng(3).random((*SIZE[::-1], 3)).astype(np.float32)
    image = nibabel.Nifti1Image(volume, np.diag([1.0, 2.0, 3.0, 1.0]))
    return _in_folder(name, lambda path: nibabel.save(image, path))


def _bart_files() -> dict[str, bytes]:
    sizes = " ".join(str(n) for n in (SIZE[1], SIZE[0], *[1] * 14))
    return {
        "a.hdr": f"# Dimensions\n{sizes}\n".encode(),
        "a.cfl": kspace().astype("<c8").tobytes(),
    }


def _scan(name: str, content: bytes, target: str, words: str = "", *tags: str) -> Sample:
    chosen = ("--axes", words) if words else ()
    return Sample(name, "scan", target, {target: content}, chosen, frozenset(tags))


def _image(name: str, content: bytes, target: str, *tags: str) -> Sample:
    return Sample(name, "image", target, {target: content}, (), frozenset(tags))


@cache
def sound_samples() -> tuple[Sample, ...]:
    """Return one sample of every format and layout."""
    array = np.abs(kspace())
    series = {f"series/{i}.dcm": _in_folder("a", lambda p, i=i: _dicom(p, i)) for i in (1, 2, 3)}
    return (
        _scan("ismrmrd", _ismrmrd(1, 2), "scan.h5", "", "hdf5", "ismrmrd"),
        _scan("ismrmrd-coils", _ismrmrd(3, 1), "scan.h5", "", "hdf5", "ismrmrd"),
        _scan("ismrmrd-radial", _ismrmrd(1, 1, radial=True), "scan.h5", "", "hdf5", "ismrmrd"),
        _scan("ismrmrd-gzip", _ismrmrd(1, 1, packed=True), "scan.h5", "", "hdf5", "ismrmrd"),
        _scan("fastmri-multicoil", _fastmri((2, 2)), "scan.h5", "", "hdf5", "fastmri"),
        _scan("fastmri-singlecoil", _fastmri((2,)), "scan.h5", "", "hdf5", "fastmri"),
        _scan("fastmri-test", _fastmri((1, 2), is_test=True), "scan.h5", "", "hdf5", "fastmri"),
        _scan("m4raw", _m4raw(), "2022_T101.h5", "", "hdf5", "fastmri"),
        _scan("npy", _numpy(kspace(3)), "a.npy", "slice y x"),
        _scan("npz", _in_folder("a.npz", _zip), "a.npz", "y x"),
        _scan("mat4", _in_folder("a.mat", lambda p: _mat(p, "4")), "a.mat", "y x"),
        _scan("mat5", _in_folder("a.mat", lambda p: _mat(p, "5")), "a.mat", "y x"),
        _scan("mat5-packed", _in_folder("a.mat", lambda p: _mat(p, "5", packed=True)), "a.mat",
              "y x"),
        _scan("mat73", _in_folder("a.mat", _mat73), "a.mat", "y x", "hdf5"),
        _scan("hdf5", _in_folder("a.h5", _hdf5), "a.h5", "y x", "hdf5"),
        Sample("bart", "scan", "a.cfl", _bart_files(), ("--axes", "x y")),
        _image("image-npy", _numpy(array), "a.npy"),
        _image("nifti", _nifti("a.nii"), "a.nii"),
        _image("nifti-gz", _nifti("a.nii.gz"), "a.nii.gz"),
        _image("png", _photograph("png"), "a.png"),
        _image("jpeg", _photograph("jpeg"), "a.jpg"),
        _image("tiff", _photograph("tiff"), "a.tif"),
        _image("mrd-images", _in_folder("a.h5", _mrd_images), "a.h5", "hdf5"),
        _image("dicom", _in_folder("a.dcm", _dicom), "a.dcm"),
        Sample("dicom-folder", "image", "series", series),
        Sample("plan", "plan", "plan.yaml", {"plan.yaml": PLAN.encode()}, (),
               frozenset({"text"})),
        Sample("pipeline", "pipeline", "p.yaml", {"p.yaml": PIPELINE.encode()}, (),
               frozenset({"text"})),
    )  # fmt: skip
