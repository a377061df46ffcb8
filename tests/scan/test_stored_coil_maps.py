"""Coil maps and the noise level that a file holds, and what a reconstruction makes of them."""

from __future__ import annotations

from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace
from lowfield_recon.scan.load import load_scan
from lowfield_recon.scan.records import ScanHeader
from lowfield_recon.scan.stored_coil_maps import (
    append_coil_maps,
    stated_noise_std,
    stored_coil_maps,
)
from lowfield_recon.simulation.coils import loop_coil_maps

SIZE = (1, 16, 18)


def write(path: Path, maps: torch.Tensor, noise: np.ndarray | None = None, std: float = 0.0):
    """Write one slice of a known object as seen by coils; return the object."""
    x = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)).to(torch.complex64)
    kspace = centred_fft(x * maps, (-2, -1)).numpy()
    write_ismrmrd_kspace(
        path,
        kspace[None, :, None],
        fov_m=(5e-3, 0.2, 0.2),
        field_strength_t=0.05,
        dwell_time_s=1e-5,
        noise=noise,
        header=ScanHeader(
            encoded_matrix=SIZE,
            recon_matrix=SIZE,
            user_parameters={"simulated_noise_std": std},
        ),
    )
    append_coil_maps(path, maps)
    return x


@pytest.fixture
def maps() -> torch.Tensor:
    return loop_coil_maps(SIZE, (5e-3, 1e-2, 1e-2), n_coils=3)


def test_maps_come_back_and_ismrmrd_reads_them_as_images(tmp_path: Path, maps) -> None:
    write(tmp_path / "a.h5", maps)
    scan = load_scan(tmp_path / "a.h5")
    assert scan.repairs == ()
    assert torch.equal(stored_coil_maps(scan), maps)
    with ismrmrd.Dataset(tmp_path / "a.h5", mode="r") as dataset:
        image = dataset.read_image("coil_maps", 0)
        np.testing.assert_array_equal(image.data, maps[0].numpy())
        assert image.image_type == ismrmrd.IMTYPE_COMPLEX


def test_a_problem_uses_them_unless_told_otherwise(tmp_path: Path, maps) -> None:
    x = write(tmp_path / "a.h5", maps, std=0.0)
    problems = load_scan(tmp_path / "a.h5").problems()
    assert sum("coil maps that the file holds" in step for step in problems.steps) == 1
    assert sum("as the file states it" in step for step in problems.steps) == 1
    problem = problems[0]
    assert problem.noise_std == 0
    torch.testing.assert_close(problem.operator.H(problem.data)[0], x, atol=1e-6, rtol=0)
    other = load_scan(tmp_path / "a.h5").problems(coil_maps="inati")
    assert not any("coil maps" in step for step in other.steps)
    torch.testing.assert_close(problem.operator(x)[0], problem.data, atol=1e-6, rtol=0)
    assert not torch.allclose(other[0].operator(x)[0], problem.data, atol=1e-3)


def test_whitening_whitens_the_maps_too(tmp_path: Path, maps) -> None:
    rng = np.random.default_rng(0)
    mixing = np.array([[1, 0, 0], [0.5, 2, 0], [0.3j, 0, 1]])
    noise = mixing @ (rng.normal(size=(3, 400)) + 1j * rng.normal(size=(3, 400)))
    x = write(tmp_path / "a.h5", maps, noise=noise.astype(np.complex64), std=3.0)
    problem = load_scan(tmp_path / "a.h5").problems()[0]
    assert problem.noise_std == 1
    torch.testing.assert_close(problem.operator(x)[0], problem.data, atol=2e-6, rtol=0)
    raw = load_scan(tmp_path / "a.h5").problems(prewhitening=False)[0]
    assert raw.noise_std == 3
    torch.testing.assert_close(raw.operator(x)[0], raw.data, atol=2e-6, rtol=0)


def test_maps_that_do_not_fit_are_left_aside_aloud(tmp_path: Path, maps, caplog) -> None:
    file = tmp_path / "a.h5"
    write(file, maps)
    with h5py.File(file, "r+") as opened:
        values = opened["dataset/coil_maps/data"][()]
        del opened["dataset/coil_maps/data"]
        opened["dataset/coil_maps/data"] = values[:, :2]
    assert stored_coil_maps(load_scan(file)) is None
    assert "do not fit" in caplog.text
    with h5py.File(file, "r+") as opened:
        values["real"][0, 0, 0, 0, 0] = np.nan
        del opened["dataset/coil_maps/data"]
        opened["dataset/coil_maps/data"] = values
    assert stored_coil_maps(load_scan(file)) is None
    assert "not finite" in caplog.text
    with h5py.File(file, "r+") as opened:
        del opened["dataset/coil_maps/data"]
        opened["dataset/coil_maps/data"] = np.full(values.shape, b"text")
    assert stored_coil_maps(load_scan(file)) is None
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize(("std", "expected"), [(0.0, 0.0), (2.5, 2.5), (-1.0, None)])
def test_only_a_sensible_noise_level_counts(tmp_path: Path, maps, std, expected) -> None:
    write(tmp_path / "a.h5", maps, std=std)
    assert stated_noise_std(load_scan(tmp_path / "a.h5")) == expected


def test_other_files_state_nothing(tmp_path: Path) -> None:
    kspace = np.ones((1, 1, 1, 2, *SIZE), np.complex64)
    write_ismrmrd_kspace(tmp_path / "a.h5", kspace, fov_m=(5e-3, 0.2, 0.2))
    scan = load_scan(tmp_path / "a.h5")
    assert stored_coil_maps(scan) is None
    assert stated_noise_std(scan) is None
