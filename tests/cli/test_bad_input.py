"""Bad input: exit code 1 or 2, exactly one line, no traceback, no half file."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture
def bad(tmp_path: Path, scan_file: Path, kspace: np.ndarray) -> Path:
    """Return a folder with files that are wrong in one way each."""
    folder = tmp_path / "bad"
    folder.mkdir()
    good = scan_file.read_bytes()
    (folder / "good.h5").write_bytes(good)
    (folder / "empty.h5").touch()
    (folder / "truncated.h5").write_bytes(good[: len(good) // 2])
    (folder / "text.h5").write_text("this is no scan")
    (folder / "noise.bin").write_bytes(bytes(range(256)) * 10)
    (folder / "folder.h5").mkdir()
    spoilt = kspace.copy()
    spoilt[0, 0, 0] = np.nan
    np.save(folder / "nan.npy", spoilt)
    spoilt[0, 0, 0] = np.inf
    np.save(folder / "inf.npy", spoilt)
    np.save(folder / "no_coils.npy", np.zeros((0, 16, 16), dtype=np.complex64))
    np.save(folder / "zeros.npy", np.zeros((16, 16), dtype=np.complex64))
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(folder / "k.npy", kspace)
    with h5py.File(folder / "other.h5", "w") as file:
        file["values"] = np.zeros(3)
    return folder


CASES = [
    ("missing.h5", [], 1, "no such"),
    ("empty.h5", [], 1, "empty"),
    ("truncated.h5", [], 1, "truncated.h5"),
    ("text.h5", [], 1, "text.h5"),
    ("noise.bin", [], 1, "noise.bin"),
    ("folder.h5", [], None, "folder"),
    ("other.h5", [], None, "other.h5"),
    ("nan.npy", ["--axes", "slice y x"], 1, "NaN"),
    ("inf.npy", ["--axes", "slice y x"], 1, "inf"),
    ("no_coils.npy", ["--axes", "coil y x"], 1, "coil axis is empty"),
    ("zeros.npy", ["--axes", "y x"], 1, "zero"),
    ("pickled.npy", ["--axes", "x"], 1, "pickled.npy"),
    ("k.npy", [], 2, "axes"),
    ("k.npy", ["--axes", "slice y"], None, "axes"),
    ("k.npy", ["--axes", "slice y q"], None, "'q'"),
    ("good.h5", ["--axes", "y x"], 2, "axes"),
    ("good.h5", ["--method", "tvv"], 2, "Did you mean 'tv'"),
    ("good.h5", ["--set", "iteration=3"], 2, "Did you mean 'iterations'"),
    ("good.h5", ["--set", "iterations=many"], 2, "iterations"),
    ("good.h5", ["--set", "iterations=0"], 2, "iterations"),
    ("good.h5", ["--dictionary", "brain"], 2, "'tv' takes no dictionary"),
    ("good.h5", ["--dictionary", "a", "--set", "dictionary=b"], 2, "given twice"),
    ("good.h5", ["--dictionary", "cosine", "--method", "cdl"], 2, "'cosine' is not in the bank"),
    ("good.h5", ["--device", "tpu"], 2, "device"),
    ("good.h5", ["--slices", "3"], 2, "0 to 2"),
    ("good.h5", ["--acceleration", "8"], 2, "calibration"),
    ("good.h5", ["--acceleration", "2", "--calibration-lines", "99"], 2, "calibration"),
    ("good.h5", ["--coil-maps", "espirt"], 2, "espirit"),
    ("good.h5", ["--field-strength", "-1"], 2, "field-strength"),
    ("good.h5", ["--fov", "wide"], 2, "--fov"),
]


@pytest.mark.parametrize(("name", "words", "code", "text"), CASES)
def test_reconstruct_refuses_in_one_line(run, bad, tmp_path, name, words, code, text):
    done = run("reconstruct", bad / name, "-o", tmp_path / "out.nii.gz", *words)
    assert done.code in (1, 2) if code is None else done.code == code
    assert text.lower() in done.err.lower()
    _assert_clean(done, tmp_path)


@pytest.mark.parametrize(
    "name", ["missing.h5", "empty.h5", "truncated.h5", "text.h5", "pickled.npy"]
)
def test_info_refuses_in_one_line(run, bad, tmp_path, name):
    done = run("info", bad / name)
    assert done.code == 1
    _assert_clean(done, tmp_path)


@pytest.mark.parametrize("out", ["out.gif", "no/such/out", "no/such/out.png", "bad"])
def test_outputs_that_cannot_be_written_are_refused_first(run, bad, tmp_path, out):
    done = run("reconstruct", bad / "good.h5", "-o", tmp_path / out)
    assert done.code in (1, 2)
    _assert_clean(done, tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nan.npy", ["--axes", "slice y x"]),
        ("no_coils.npy", ["--axes", "coil y x"]),
        ("k.npy", ["--axes", "y x"]),
        ("good.h5", ["--axes", "y x"]),
        ("missing.npy", ["--axes", "y x"]),
    ],
)
def test_convert_refuses_in_one_line(run, bad, tmp_path, name, words):
    done = run("convert", bad / name, tmp_path / "out.h5", *words)
    assert done.code in (1, 2)
    _assert_clean(done, tmp_path)


def _assert_clean(done, folder: Path) -> None:
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    assert [path.name for path in folder.iterdir()] == ["bad"]
