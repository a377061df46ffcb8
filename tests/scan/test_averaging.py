"""Averages over repetitions, over averages that were kept apart, and over files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare import estimate_noise_std
from lowfield_recon.scan import average_scan, load_scan


def head_kspace(n_slices: int = 2) -> np.ndarray:
    """k-space of real discs, `(slice, y, x)`."""
    y, x = np.mgrid[-1:1:64j, -1:1:80j]
    images = np.stack([5.0 * ((x / (0.8 - 0.2 * s)) ** 2 + y**2 < 0.6) for s in range(n_slices)])
    axes = (-2, -1)
    shifted = np.fft.fft2(np.fft.ifftshift(images, axes=axes), norm="ortho")
    return np.fft.fftshift(shifted, axes=axes).astype(np.complex64)


def noisy(k: np.ndarray, seed: int, std: float = 0.3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, std / np.sqrt(2), (2, *k.shape))
    return (k + noise[0] + 1j * noise[1]).astype(np.complex64)


def rms(x: np.ndarray | torch.Tensor) -> float:
    return float(np.sqrt(np.mean(np.abs(np.asarray(x)) ** 2)))


def save(folder: Path, name: str, array: np.ndarray) -> Path:
    np.save(folder / name, array)
    return folder / name


def test_repetitions_of_one_file(tmp_path: Path) -> None:
    k = head_kspace()
    phases = np.exp(1j * np.array([0.0, 1.5, 3.0, 4.5]))
    array = np.stack([p * noisy(k, r) for r, p in enumerate(phases)])
    scan = load_scan(save(tmp_path, "k.npy", array), axes="repetition slice y x")
    averaged = average_scan(scan)
    assert averaged.volume_shape == (1, 2)
    assert [image.slice for image in averaged.images] == [0, 1]
    for s, problem in enumerate(averaged.problems()):
        assert rms(problem.data.numpy()[0, 0, 0] - k[s]) == pytest.approx(0.15, rel=0.05)
        one = scan.problems()[s]
        # the edges of the discs are a part of both estimates
        assert problem.noise_std == pytest.approx(one.noise_std / 2, rel=0.1)
        plain = array[:, s].mean(axis=0)
        assert np.abs(plain).max() < 0.2 * float(problem.data.abs().max())


def test_averages_that_the_reader_kept_apart(build_scan) -> None:
    built = build_scan(coils=2, averages=2, average_phases=(1, 1j))
    scan = load_scan(built.path)
    assert [image.average for image in scan.images] == [0, 1]
    averaged = average_scan(scan)
    (image,) = averaged.images
    assert image.average is None
    expected = scan.kspace(0).data
    assert (averaged.kspace(0).data - expected).norm() < 1e-4 * expected.norm()
    assert averaged.source.sampling_fraction() == 1.0


def test_files_of_one_scan_with_a_drifting_field(tmp_path: Path) -> None:
    k = head_kspace()
    ramp = np.exp(-2j * np.pi * 0.8 / 80 * (np.arange(80) - 40))  # 0.8 pixels along the readout
    scans = [
        load_scan(save(tmp_path, f"{n}.npy", noisy(k * factor, n)), axes="slice y x")
        for n, factor in enumerate([1, -ramp, 1j * ramp**2])
    ]
    averaged = average_scan(scans[0], scans[1:])
    assert len(averaged.images) == 2
    assert "3 repetitions averaged" in averaged.assumptions[-1]
    for s in range(2):
        found = averaged.kspace(s).data.numpy()[0, 0, 0]
        assert rms(found - k[s]) == pytest.approx(0.3 / np.sqrt(3), rel=0.1)


def test_known_noise_falls_by_the_square_root(build_scan) -> None:
    """After whitening with the noise readouts the average has variance 1, as a single scan has."""
    built = build_scan(coils=3, noise_lines=20, averages=2, average_phases=(1, -1))
    scan = load_scan(built.path)
    averaged = average_scan(scan)
    assert averaged.noise_scale == pytest.approx(2 * scan.noise_scale)
    maps = torch.from_numpy(built.coil_maps)
    one, both = (s.problems(coil_maps=maps)[0] for s in (scan, averaged))
    assert one.noise_std == both.noise_std == 1.0
    assert (both.data - 2**0.5 * one.data).norm() < 1e-3 * both.data.norm()


def test_only_the_repetitions_of_the_image_are_read(tmp_path: Path) -> None:
    k = np.stack([head_kspace(), head_kspace()])
    k[:, 1, 3, 3] = np.nan
    averaged = average_scan(load_scan(save(tmp_path, "k.npy", k), axes="repetition slice y x"))
    assert averaged.kspace(0).data.shape == (1, 1, 1, 64, 80)
    with pytest.raises(DataError, match="NaN or infinite"):
        averaged.kspace(1)


def test_what_cannot_be_averaged(tmp_path: Path) -> None:
    k = noisy(head_kspace(), 0)
    one = load_scan(save(tmp_path, "one.npy", k), axes="slice y x")
    with pytest.raises(UsageError, match=r"one\.npy: holds one repetition of each image"):
        average_scan(one)
    wide = load_scan(save(tmp_path, "wide.npy", k[..., :-2]), axes="slice y x")
    with pytest.raises(DataError, match=r"encoded_matrix is \(1, 64, 78\) and \(1, 64, 80\)"):
        average_scan(one, [wide])
    coils = load_scan(save(tmp_path, "coils.npy", k), axes="coil y x")
    with pytest.raises(DataError, match="n_coils is 2 and 1"):
        average_scan(one, [coils])
    short = load_scan(save(tmp_path, "short.npy", k[:1]), axes="slice y x")
    with pytest.raises(UsageError, match="hold 1 and 2 images"):
        average_scan(one, [short])
    holes = k.copy()
    holes[:, 5] = 0
    other = load_scan(save(tmp_path, "holes.npy", holes), axes="slice y x")
    with pytest.raises(DataError, match="other samples acquired than the first"):
        average_scan(one, [other]).kspace(0)
    noise = load_scan(save(tmp_path, "noise.npy", noisy(0 * k, 1)), axes="slice y x")
    with pytest.raises(DataError, match="repetition 2 of image 0 correlates"):
        average_scan(one, [noise]).kspace(0)


def test_a_trajectory_is_refused(build_scan) -> None:
    angles = np.linspace(0, np.pi, 8, endpoint=False)
    radius = np.arange(-8, 8)[:, None] / 16
    spokes = np.stack([radius * [np.cos(a), np.sin(a)] for a in angles])
    built = build_scan(matrix=(1, 16, 16), trajectory="radial", positions=spokes)
    with pytest.raises(UsageError, match="averaged on Cartesian grids only"):
        average_scan(load_scan(built.path))


@pytest.mark.shared_data
def test_real_repetitions(shared_data: Path) -> None:
    """Two repetitions at 0.055 T: the noise of the average is half of their difference.

    What differs beside noise is little; aligning never brings them apart.
    """
    folder = shared_data / "ulf_0055T" / "Supplementary_Figure_3A"
    scan = load_scan(
        folder / "0.055T_FLAIR_RF_cage_installed_2D_kspace.mat", axes="x y slice repetition"
    )
    averaged = average_scan(scan)
    assert averaged.volume_shape == (1, 4)
    ratios = []
    for s in range(4):
        one, two, mean = scan.kspace(s), scan.kspace(4 + s), averaged.kspace(s)
        aligned = 2 * mean.data - one.data
        apart, plain = rms(one.data - aligned), rms(one.data - two.data)
        assert apart <= 1.0001 * plain
        assert rms(mean.data - (one.data + two.data) / 2) < 0.1 * plain
        ratios.append(
            estimate_noise_std(mean.data, mean.mask) / estimate_noise_std(one.data, one.mask)
        )
        # detail adds to both estimates, the more the less noise there is
        assert ratios[-1] == pytest.approx(1 / np.sqrt(2), rel=0.1)
        images = [centred_ifft(raw.data, (-2, -1)).abs() for raw in (one, mean)]
        head = images[1] > 0.3 * images[1].max()
        assert float(images[1][head].mean() / images[0][head].mean()) == pytest.approx(1, abs=0.03)
