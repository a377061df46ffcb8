"""Damaged files end in one line or, where the damage does not matter, in samples."""

from __future__ import annotations

import random
import warnings

import h5py
import numpy as np
import pytest
import scipy.io

from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.hdf5 import members, open_hdf5

ARRAY = np.random.default_rng(0).normal(size=(12, 10, 3)).astype(np.complex64)


def write(build_scan, folder, name):
    path = folder / name
    if name == "scan.h5":
        return build_scan(name, coils=2, slices=2, noise_lines=2, calibration=(5, 6)).path
    if name == "new.mat":
        with h5py.File(path, "w", userblock_size=512) as file:
            file["a"] = ARRAY
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file")
    elif name.endswith(".mat"):
        scipy.io.savemat(path, {"a": ARRAY}, do_compression=name == "packed.mat")
    elif name == "a.npz":
        np.savez(path, ARRAY)
    else:
        np.save(path, ARRAY)
    return path


def damaged(content, rng):
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    end = len(content) if rng.random() < 0.6 else min(len(content), 2000)
    for _ in range(rng.choice([1, 1, 3, 10, 50])):
        changed[rng.randrange(end)] = rng.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("name", ["scan.h5", "new.mat", "old.mat", "packed.mat", "a.npy", "a.npz"])
def test_damage_of_every_kind(build_scan, tmp_path, name):
    path = write(build_scan, tmp_path, name)
    content, rng = path.read_bytes(), random.Random(7)
    options = {} if name == "scan.h5" else {"axes": "y x slice"}
    n_refused = 0
    for _ in range(60):
        path.write_bytes(damaged(content, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                scan = load_scan(path, **options)
                for i in range(len(scan.images)):
                    scan.kspace(i)
        except LowfieldReconError as error:
            n_refused += 1
            assert "\n" not in str(error)
            assert name in str(error)
    assert n_refused > 5


@pytest.mark.parametrize("value", [0xFF, 0x1B])
def test_damaged_heap_is_refused_before_the_library_walks_it(build_scan, value):
    """An object size that wraps around, at which the HDF5 library runs for ever or crashes."""
    path = build_scan().path
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    content[heap + 16 + 15] = value  # highest byte of the first object's size
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"the heap at byte .* is damaged"):
        load_scan(path).kspace(0)


@pytest.mark.parametrize("part", ["bias", "precision", "whole number"])
def test_numbers_of_an_absurd_layout_are_refused_before_the_library_converts_them(tmp_path, part):
    """The HDF5 library writes over its own memory when it converts some of them."""
    kind = (h5py.h5t.STD_I32LE if part == "whole number" else h5py.h5t.IEEE_F32LE).copy()
    if part == "bias":
        kind.set_ebias(119)
    elif part == "precision":
        kind.set_fields(29, 21, 8, 0, 21)
    else:
        kind.set_precision(24)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        h5py.h5d.create(file.id, b"a", kind, h5py.h5s.create_simple((8, 8)))
    with pytest.raises(DataError, match="layout that no computer uses"):
        load_scan(tmp_path / "a.h5", axes="y x")


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", "<i2", ">u8", "?", "<c8", "<c16"])
def test_numbers_of_every_usual_layout_are_read(tmp_path, kind):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.abs(10 * ARRAY[..., 0].real).astype(kind)
    with open_hdf5(tmp_path / "a.h5") as file:
        assert members(file, "a.h5")["a"].dtype == np.dtype(kind)
