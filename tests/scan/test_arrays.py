"""Arrays come out as they went in, from every format; bad files and names say what is wrong."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest
import scipy.io

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan import arrange_axes, read_array
from lowfield_recon.scan.axes import ORDER, example_axes

RNG = np.random.default_rng(0)
ARRAY = (RNG.normal(size=(4, 3, 2)) + 1j * RNG.normal(size=(4, 3, 2))).astype(np.complex64)


def write_mat73(path, **arrays):
    """As MATLAB does: reversed axes, complex numbers as compounds, a text header of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            if np.iscomplexobj(array):
                kind = np.dtype([("real", array.real.dtype), ("imag", array.real.dtype)])
                stored = np.empty(array.shape[::-1], dtype=kind)
                stored["real"], stored["imag"] = array.T.real, array.T.imag
            else:
                stored = array.T
            file[name] = stored
            file[name].attrs["MATLAB_class"] = np.bytes_("single")
        file.create_group("#refs#")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


def write_bart(path, array):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, array.shape))} 1 1 \n")
    path.write_bytes(array.astype("<c8").tobytes(order="F"))


WRITERS = {
    "a.npy": lambda p: np.save(p, ARRAY),
    "fortran.npy": lambda p: np.save(p, np.asfortranarray(ARRAY)),
    "a.npz": lambda p: np.savez(p, a=ARRAY),
    "v5.mat": lambda p: scipy.io.savemat(p, {"a": ARRAY}, do_compression=True),
    "v73.mat": lambda p: write_mat73(p, a=ARRAY),
    "a.cfl": lambda p: write_bart(p, ARRAY),
    "a.h5": lambda p: h5py.File(p, "w").create_dataset("group/a", data=ARRAY).file.close(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_written_is_read(tmp_path, name):
    WRITERS[name](tmp_path / name)
    found = read_array(tmp_path / name)
    assert found.shape == ARRAY.shape
    np.testing.assert_array_equal(found, ARRAY)


def test_real_matlab_array_with_the_axes_of_matlab(tmp_path):
    write_mat73(tmp_path / "v73.mat", a=ARRAY.real)
    np.testing.assert_array_equal(read_array(tmp_path / "v73.mat"), ARRAY.real)


def test_bart_is_mapped_and_not_loaded(tmp_path):
    write_bart(tmp_path / "a.cfl", ARRAY)
    found = read_array(tmp_path / "a")
    assert isinstance(found, np.memmap)
    assert found[3, 1, 0] == ARRAY[3, 1, 0]


KINDS = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "c8", "c16")


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_matlab_types_as_scipy_reads_them(tmp_path, kind, is_compressed):
    path = tmp_path / "a.mat"
    array = (100 * ARRAY if kind[0] == "c" else 100 * np.abs(ARRAY)).astype(kind)
    scipy.io.savemat(
        path, {"first": "text", "a": array, "b": {"c": array}}, do_compression=is_compressed
    )
    found = read_array(path)
    expected = scipy.io.loadmat(path)["a"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_whole_numbers_that_matlab_packs_smaller(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"a": np.arange(12.0).reshape(3, 4)})
    content = bytearray(path.read_bytes())
    at = content.index(np.arange(12.0).reshape(3, 4).tobytes(order="F")) - 8
    packed = np.arange(12, dtype="u1").reshape(3, 4).tobytes(order="F") + bytes(4)
    tag = (2).to_bytes(4, "little") + (12).to_bytes(4, "little")
    rest = content[at + 8 + 96 :]
    length = int.from_bytes(content[132:136], "little") - 96 + 16
    content[132:136] = length.to_bytes(4, "little")
    path.write_bytes(content[:at] + tag + packed + rest)
    np.testing.assert_array_equal(read_array(path), np.arange(12.0).reshape(3, 4))
    np.testing.assert_array_equal(scipy.io.loadmat(path)["a"], read_array(path))


def test_oldest_matlab_files(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"a": ARRAY[..., 0]}, format="4")
    np.testing.assert_allclose(read_array(tmp_path / "a.mat"), ARRAY[..., 0])


def test_damaged_type_codes_are_one_line(tmp_path):
    """Codes at which SciPy ends the process."""
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"a": ARRAY})
    content = bytearray(path.read_bytes())
    values = content.index(ARRAY.real.astype("f4").tobytes(order="F")) - 8
    for code in (0, 8, 20, 77, 200):
        content[values] = code
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"unknown type {code}"):
            read_array(path)


def test_scalars_and_vectors_beside_one_array_need_no_key(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"TR": 0.5, "times": np.ones(7), "a": ARRAY, "note": "x"})
    np.testing.assert_array_equal(read_array(tmp_path / "a.mat"), ARRAY)
    assert read_array(tmp_path / "a.mat", "times").shape == (1, 7)


@pytest.mark.parametrize("writer", [scipy.io.savemat, lambda p, d: write_mat73(p, **d)])
def test_keys_are_listed_with_their_shapes(tmp_path, writer):
    path = tmp_path / "two.mat"
    writer(path, {"kspace": ARRAY, "noise": ARRAY[0]})
    with pytest.raises(UsageError, match=r"several arrays .*kspace 4 x 3 x 2.*noise 3 x 2.*--key"):
        read_array(path)
    with pytest.raises(UsageError, match=r"'kspac'\. Did you mean 'kspace'\? It holds: kspace 4 x"):
        read_array(path, "kspac")
    assert read_array(path, "noise").shape == (3, 2)


def test_python_objects_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="holds Python objects"):
        read_array(tmp_path / "a.npy")


def test_text_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array(["a", "b"]))
    with pytest.raises(DataError, match="expected real or complex numbers"):
        read_array(tmp_path / "a.npy")


def test_matlab_file_without_numbers(tmp_path):
    scipy.io.savemat(
        tmp_path / "a.mat", {"note": "hello", "cells": np.array([1, "a"], dtype=object)}
    )
    with pytest.raises(DataError, match="holds no numeric array"):
        read_array(tmp_path / "a.mat")


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "v5.mat", "v73.mat", "a.cfl", "a.h5"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_truncated_files_are_one_line(tmp_path, name, part):
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(DataError) as error:
        np.array(read_array(path))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(name)


def test_header_that_promises_more_than_a_disk_holds(tmp_path):
    (tmp_path / "a.hdr").write_text("# Dimensions\n65536 65536 65536 8\n")
    (tmp_path / "a.cfl").write_bytes(bytes(64))
    with pytest.raises(DataError, match="holds 64 bytes, but its"):
        read_array(tmp_path / "a.cfl")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", shape=(1 << 16, 1 << 16, 1 << 10), dtype="c8", chunks=(64, 64, 8))
    with pytest.raises(DataError, match=r"claims .* GiB in a file of"):
        read_array(tmp_path / "a.h5")


def test_data_outside_the_file_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        outside = [(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("a", shape=(4, 4), dtype="f4", external=outside)
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    with pytest.raises(DataError, match="outside the file"):
        read_array(tmp_path / "a.h5")


@pytest.mark.parametrize("axes", ["y x coil", "y,x,coil", ("y", "x", "coil")])
def test_axes_are_named_in_the_arrays_own_order(axes):
    arranged = arrange_axes(ARRAY, axes)
    assert arranged.shape == (1, 1, 1, 2, 1, 4, 3)
    assert arranged[0, 0, 0, 1, 0, 3, 2] == ARRAY[3, 2, 1]


def test_all_seven_axes():
    words = ("x", "coil", "z", "slice", "contrast", "y", "repetition")
    array = np.arange(2 * 3 * 4 * 5 * 6 * 7 * 8).reshape(2, 3, 4, 5, 6, 7, 8)
    arranged = arrange_axes(array, words)
    sizes = dict(zip(words, array.shape, strict=True))
    assert arranged.shape == tuple(sizes[word] for word in ORDER)
    index = {word: n - 1 for word, n in sizes.items()}
    index["slice"] = 2
    own = array[tuple(index[word] for word in words)]
    assert arranged[tuple(index[word] for word in ORDER)] == own


def test_axes_of_length_one_may_be_left_out():
    assert arrange_axes(ARRAY.reshape(4, 1, 3, 1, 2), "y x slice").shape == (1, 1, 2, 1, 1, 4, 3)


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ("y x", r"2 names for an array of shape \(4, 3, 2\).*e.g. --axes \"y x coil\""),
        ("y x coils", "no axis is called 'coils'. Did you mean 'coil'"),
        ("y y x", "names an axis twice"),
        ("y z coil", "has no x"),
    ],
)
def test_wrong_axes_are_a_usage_error(axes, words):
    with pytest.raises(UsageError, match=words):
        arrange_axes(ARRAY, axes)


def test_empty_axis():
    with pytest.raises(DataError, match="its coil axis is empty"):
        arrange_axes(np.zeros((0, 4, 4)), "coil y x")


@pytest.mark.parametrize("n", range(1, 8))
def test_examples_of_axes_work(n):
    shape = tuple(range(2, 2 + n))
    assert arrange_axes(np.zeros(shape), example_axes(shape)).size == np.prod(shape)


def test_one_of_several_arrays_in_a_zip_archive(tmp_path):
    path = tmp_path / "several.npz"
    np.savez(path, kspace=ARRAY, trajectory=2 * ARRAY, dwell_time=5.0)
    np.testing.assert_array_equal(read_array(path, "trajectory"), 2 * ARRAY)
    with pytest.raises(UsageError, match=r"holds several arrays \(kspace 4 x 3.*--key kspace"):
        read_array(path)
    np.savez(path, kspace=ARRAY, dwell_time=5.0)
    np.testing.assert_array_equal(read_array(path), ARRAY)


def test_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("kspace.npy", "w") as stream,
    ):
        header = {"descr": "<c8", "fortran_order": False, "shape": (40 << 20,)}
        np.lib.format.write_array_header_1_0(stream, header)
        for _ in range(40):
            stream.write(bytes(8 << 20))
    with pytest.raises(DataError, match=r"'kspace.npy' would unpack from \d+ bytes to 0\.313 GiB"):
        read_array(path)


def test_zip_member_that_claims_another_shape(tmp_path):
    path = tmp_path / "lies.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("kspace.npy", "w") as stream:
        header = {"descr": "<c8", "fortran_order": False, "shape": (1 << 20, 1 << 20)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(64))
    with pytest.raises(DataError, match=r"claims shape \(1048576, 1048576\).*holds 64 bytes"):
        read_array(path)
