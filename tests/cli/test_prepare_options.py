"""The options of `reconstruct` that prepare the data, and what `info` says about k-space."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def coils(kspace: np.ndarray, tmp_path: Path) -> Path:
    """Three slices, the first seen by four coils of different strength, `(coil, y, x)`."""
    weights = np.array([1, 0.8j, -0.5, 0.1 + 0.2j])[:, None, None]
    np.save(tmp_path / "coils.npy", (weights * kspace[0]).astype(np.complex64))
    return tmp_path / "coils.npy"


def record(path: Path) -> dict:
    return json.loads(path.with_name(path.name + ".json").read_text())


def test_compression_is_said_and_recorded(run, coils, tmp_path) -> None:
    out = tmp_path / "a.npy"
    words = ["--axes", "coil y x", "--method", "adjoint", "--coil-compression", "svd"]
    done = run("reconstruct", coils, "-o", out, *words, "--virtual-coils", "1")
    assert done.code == 0, done.err
    assert "4 coils compressed to 1 (svd)" in done.out
    options = record(out)["options"]
    assert options["coil_compression"] == {"method": "svd", "virtual_coils": 1, "energy": None}
    assert any("compressed to 1" in step for step in record(out)["steps"])


def test_numbers_of_coils_need_a_method(run, coils, tmp_path) -> None:
    done = run(
        "reconstruct", coils, "-o", tmp_path / "a.npy", "--axes", "coil y x", "--virtual-coils", "1"
    )
    assert done.code == 2
    assert "expected --coil-compression svd or geometric" in done.err
    assert len(done.err.splitlines()) == 1


def test_an_off_centre_scan_is_reported_and_moved_on_request(run, kspace, tmp_path) -> None:
    np.save(tmp_path / "k.npy", np.roll(kspace, 6, axis=-2))
    words = [tmp_path / "k.npy", "--axes", "slice y x"]
    said = run("info", *words)
    assert "kspace centre offset samples (z, y, x): 0.0, 6.0, 0.0" in said.out
    assert "centre of k-space is off by 6.0 samples along k1" in said.out
    values = json.loads(run("info", *words, "--json").out)
    assert values["kspace_centre_offset_samples_zyx"] == pytest.approx([0, 6, 0], abs=0.3)
    assert values["interference_peaks"] == []
    out = tmp_path / "a.npy"
    plain = run("reconstruct", *words, "-o", out, "--method", "adjoint")
    assert "moved" not in plain.out
    off = np.load(out)
    done = run("reconstruct", *words, "-o", out, "--method", "adjoint", "--recenter")
    assert "k-space moved by -6 samples along k1" in done.out
    assert record(out)["options"]["recenter"] is True
    np.testing.assert_allclose(np.abs(np.load(out)), np.abs(off), atol=1e-5)
    assert np.abs(np.load(out).imag).mean() < 0.1 * np.abs(off.imag).mean()


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
def test_partial_fourier(run, kspace, tmp_path, method) -> None:
    partial = kspace.copy()
    partial[:, :16] = 0
    np.save(tmp_path / "k.npy", partial)
    out = tmp_path / "a.npy"
    words = [tmp_path / "k.npy", "--axes", "slice y x", "-o", out, "--method", "adjoint"]
    true = np.abs(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1)), norm="ortho"))
    true = np.fft.fftshift(true, axes=(-2, -1)).squeeze()
    errors = []
    for name in ("zero-filled", method):
        done = run("reconstruct", *words, "--partial-fourier", name)
        assert done.code == 0, done.err
        errors.append(np.linalg.norm(np.abs(np.load(out)).squeeze() - true))
    assert errors[1] < 0.8 * errors[0]
    assert record(out)["options"]["partial_fourier"] == method


def test_partial_fourier_of_random_samples_is_refused(run, kspace, tmp_path) -> None:
    holes = kspace * (np.random.default_rng(0).random(48) > 0.5)[:, None]
    np.save(tmp_path / "k.npy", holes)
    out = tmp_path / "a.npy"
    words = ["--axes", "slice y x", "-o", out, "--partial-fourier", "pocs"]
    done = run("reconstruct", tmp_path / "k.npy", *words)
    assert done.code == 2
    assert "expected one complete block; use 'zero-filled'" in done.err
    assert len(done.err.splitlines()) == 1
    assert not out.exists()


def test_repetitions_and_further_files_are_averaged(run, kspace, tmp_path) -> None:
    for name, factor in (("a", 1), ("b", -1), ("c", 1j)):
        np.save(tmp_path / f"{name}.npy", (factor * kspace).astype(np.complex64))
    np.save(tmp_path / "all.npy", np.stack([kspace, -kspace, 1j * kspace]).astype(np.complex64))
    out, same = tmp_path / "out.npy", tmp_path / "same.npy"
    files = ["--also", tmp_path / "b.npy", "--also", tmp_path / "c.npy"]
    first = [tmp_path / "a.npy", "--axes", "slice y x", "--method", "adjoint"]
    done = run("reconstruct", *first, *files, "-o", out)
    assert done.code == 0, done.err
    assert "3 repetitions averaged" in done.out
    inputs = record(out)["inputs"]
    assert [inputs[key]["name"] for key in inputs] == ["a.npy", "b.npy", "c.npy"]
    words = ["--axes", "repetition slice y x", "--method", "adjoint", "--average-repetitions"]
    run("reconstruct", tmp_path / "all.npy", *words, "-o", same)
    np.testing.assert_allclose(np.load(out), np.load(same), atol=1e-5)
    run("reconstruct", *first, "-o", same)
    np.testing.assert_allclose(np.load(out), np.load(same), atol=1e-3)


def test_files_that_do_not_belong_together_are_refused(run, kspace, tmp_path) -> None:
    np.save(tmp_path / "a.npy", kspace)
    np.save(tmp_path / "b.npy", kspace[..., :-4])
    out = tmp_path / "out.npy"
    words = [tmp_path / "a.npy", "--axes", "slice y x", "-o", out]
    done = run("reconstruct", *words, "--also", tmp_path / "b.npy")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "expected repetitions of the same scan" in done.err
    done = run("reconstruct", *words, "--also", tmp_path / "none.npy")
    assert done.code != 0
    assert "none.npy" in done.err
    assert not out.exists()


def test_unit_intensity(run, scan_file, tmp_path) -> None:
    raw, unit = tmp_path / "raw.npy", tmp_path / "unit.npy"
    for out, word in ((raw, "raw"), (unit, "unit")):
        run("reconstruct", scan_file, "-o", out, "--method", "adjoint", "--intensity-scale", word)
    scale = record(unit)["data_divided_by"]
    assert record(raw)["data_divided_by"] == 1.0
    np.testing.assert_allclose(np.load(unit) * scale, np.load(raw), atol=1e-6)
    assert record(unit)["noise_std"] * scale == pytest.approx(record(raw)["noise_std"])
    assert float(np.abs(np.load(unit)).max()) == pytest.approx(1.0, abs=0.3)
