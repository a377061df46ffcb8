"""Formats are told apart by content; what is no raw data says what it is and where it belongs."""

from __future__ import annotations

import gzip
import zipfile

import h5py
import ismrmrd
import nibabel
import numpy as np
import pytest
import scipy.io
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.scan import detect_format, load_scan


def write_hdf5(path, **data_sets):
    with h5py.File(path, "w") as file:
        for name, value in data_sets.items():
            file[name.replace("__", "/")] = value


def write_numpy(path, save, array):
    with path.open("wb") as stream:  # numpy would change the ending of a name
        save(stream, array)


def write_stream(path, kind, payload):
    path.write_bytes(kind.to_bytes(2, "little") + len(payload).to_bytes(4, "little") + payload)


WRITERS = {
    "npy": lambda p: write_numpy(p, np.save, np.ones(3)),
    "npz": lambda p: write_numpy(p, np.savez, np.ones(3)),
    "mat": lambda p: scipy.io.savemat(p, {"a": np.ones((3, 3))}, appendmat=False),
    "hdf5": lambda p: write_hdf5(p, a=np.ones(3)),
    "fastmri": lambda p: write_hdf5(p, kspace=np.ones(3), ismrmrd_header=b"<ismrmrdHeader/>"),
    "m4raw": lambda p: write_hdf5(
        p, kspace=np.ones(3), ismrmrd_header=b"<samplingBandwidth>31.25KHz</samplingBandwidth>"
    ),
    "mrd-images": lambda p: write_hdf5(p, dataset__image_0__data=np.ones(3), dataset__xml=b"x"),
    "png": lambda p: Image.new("L", (4, 4)).save(p, format="png"),
    "jpeg": lambda p: Image.new("L", (4, 4)).save(p, format="jpeg"),
    "tiff": lambda p: Image.new("L", (4, 4)).save(p, format="tiff"),
    "dicom": lambda p: p.write_bytes(bytes(128) + b"DICM" + bytes(50)),
    "siemens": lambda p: p.write_bytes(bytes(4) + (2).to_bytes(4, "little") + bytes(20000)),
    "mrd-stream": lambda p: write_stream(p, 3, b"<?xml?><ismrmrdHeader/>"),
    "mrd2-stream": lambda p: p.write_bytes(b"yardl" + bytes(100)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_content_decides_whatever_the_name(tmp_path, name):
    path = tmp_path / "measurement.h5"
    WRITERS[name](path)
    assert detect_format(path) == name


@pytest.mark.parametrize("target", ["reconstruction_rss", "reconstruction_esc"])
def test_fastmri_without_a_header(tmp_path, target):
    path = tmp_path / "file.h5"
    write_hdf5(path, kspace=np.ones(3), **{target: np.ones(3)})
    assert detect_format(path) == "fastmri"


def test_kspace_alone_is_a_plain_array(tmp_path):
    path = tmp_path / "file.h5"
    write_hdf5(path, kspace=np.ones(3))
    assert detect_format(path) == "hdf5"


def test_header_of_absurd_size_is_not_read(tmp_path):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.ones(3)
        file.create_dataset("ismrmrd_header", (), dtype="S2000000000")
    assert detect_format(path) == "fastmri"
    with pytest.raises(DataError, match="'kspace' has dtype float64"):
        load_scan(path)


def test_ismrmrd_in_a_group_of_any_name(build_scan):
    assert detect_format(build_scan(name="anything.bin", group="monday").path) == "ismrmrd"


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti(tmp_path, ending):
    path = tmp_path / f"image{ending}"
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), dtype=np.float32), np.eye(4)), path)
    assert detect_format(path) == "nifti"


def test_matlab_files_of_version_7_3_and_4(tmp_path):
    new, old = tmp_path / "new.mat", tmp_path / "old.mat"
    with h5py.File(new, "w", userblock_size=512) as file:
        file["a"] = np.ones((2, 3))
    with new.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    scipy.io.savemat(old, {"a": np.ones((2, 3))}, format="4")
    assert detect_format(new) == "mat-v7.3"
    assert detect_format(old) == "mat"


@pytest.mark.parametrize("name", ["scan.cfl", "scan.hdr", "scan"])
def test_bart_by_any_of_its_names(tmp_path, name):
    (tmp_path / "scan.hdr").write_text("# Dimensions\n4 3 1 2\n")
    (tmp_path / "scan.cfl").write_bytes(bytes(8 * 24))
    assert detect_format(tmp_path / name) == "bart"


def test_bart_with_a_missing_half(tmp_path):
    (tmp_path / "scan.cfl").write_bytes(bytes(8 * 24))
    with pytest.raises(DataError, match=r"'scan.hdr' is missing"):
        detect_format(tmp_path / "scan.cfl")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mrd-images", "a series of MRD images, not k-space"),
        ("dicom", "DICOM image.*export the raw data"),
        ("png", "lowfield-recon restore"),
        ("siemens", "siemens_to_ismrmrd"),
        ("mrd2-stream", "mrd_to_ismrmrd"),
    ],
)
def test_what_is_no_raw_data_says_where_it_belongs(tmp_path, name, words):
    path = tmp_path / "measurement.h5"
    WRITERS[name](path)
    with pytest.raises(DataError, match=words) as error:
        load_scan(path)
    assert str(error.value).startswith("measurement.h5: this is ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"patient;date\n1;2\n", "is a text file; expected ISMRMRD"),
        (bytes(5000), "zero bytes only"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "truncated or damaged"),
        (gzip.compress(b"hello", mtime=0), "compressed with gzip"),
        (bytes(range(200, 256)), "begins with c8 c9"),
    ],
)
def test_files_that_are_nothing(tmp_path, content, words):
    path = tmp_path / "scan.h5"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        load_scan(path)
    assert "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_scan(tmp_path / "none.h5")
    with pytest.raises(DataError, match="is a folder"):
        load_scan(tmp_path)


def test_soft_links_are_refused(tmp_path):
    path = tmp_path / "linked.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.ones((3, 3))
        file["b"] = h5py.SoftLink("/a")
    with pytest.raises(DataError, match="'b' is a soft link"):
        load_scan(path, axes="y x")


def test_zip_that_is_no_archive_of_arrays(tmp_path):
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="zip archive without arrays"):
        load_scan(path, axes="y x")


def test_ismrmrd_images_written_by_the_library(tmp_path):
    path = tmp_path / "images.h5"
    data_set = ismrmrd.Dataset(str(path), "dataset", mode="w")
    image = ismrmrd.Image.from_array(np.ones((1, 1, 4, 4), dtype=np.float32), transpose=False)
    data_set.append_image("image_0", image)
    data_set.close()
    assert detect_format(path) == "mrd-images"
