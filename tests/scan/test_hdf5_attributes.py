"""Text attributes are read where their heap is sound, and never where the library would hang."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.scan import detect_format
from lowfield_recon.scan.hdf5_attributes import text_attribute


def read(path, name="acquisition"):
    with h5py.File(path, "r") as file:
        return text_attribute(file, name, path)


@pytest.fixture
def write(tmp_path):
    def make(n_attributes=3, userblock=0, **options):
        path = tmp_path / "file.h5"
        with h5py.File(path, "w", userblock_size=userblock, **options) as file:
            file["kspace"] = np.arange(5000.0)
            for i in range(n_attributes):
                file.attrs[f"filler_{i}"] = f"text {i}"
            file.attrs["acquisition"] = " CORPD_FBK "
            file.attrs["fixed"] = np.bytes_("AXT2")
            file.attrs["max"] = 2.5
            file.attrs["several"] = ["a", "b"]
        return path

    return make


@pytest.mark.parametrize("n_attributes", [0, 3, 40])
@pytest.mark.parametrize("userblock", [0, 512])
def test_text_is_read(write, n_attributes, userblock):
    """With many attributes the object header goes on elsewhere in the file."""
    path = write(n_attributes, userblock)
    assert read(path) == "CORPD_FBK"
    assert read(path, "fixed") == "AXT2"


@pytest.mark.parametrize("name", ["max", "several", "absent"])
def test_what_is_no_text(write, name):
    assert read(write(), name) is None


def damage_heaps(path):
    """Give the first object of every heap a size of nearly 2^64, which leads the library astray."""
    raw = bytearray(path.read_bytes())
    place = raw.find(b"GCOL")
    assert place > 0
    while place > 0:
        raw[place + 24 : place + 32] = b"\xf0" + b"\xff" * 7
        place = raw.find(b"GCOL", place + 1)
    path.write_bytes(raw)


def test_damaged_heap_is_not_walked(write):
    path = write()
    damage_heaps(path)
    assert read(path) is None
    assert read(path, "fixed") == "AXT2"


def test_newer_object_headers_are_left_alone(write):
    assert read(write(libver="latest")) is None


def test_header_in_a_damaged_heap(tmp_path):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.ones(3)
        file["ismrmrd_header"] = "<ismrmrdHeader/>"
    assert detect_format(path) == "fastmri"
    damage_heaps(path)
    with pytest.raises(DataError, match="the heap at byte"):
        detect_format(path)


def test_header_that_is_no_text(tmp_path):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = np.ones(3)
        kind = h5py.vlen_dtype(np.dtype("f8"))
        file.create_dataset("ismrmrd_header", (), dtype=kind)[()] = np.ones(4)
    assert detect_format(path) == "fastmri"
