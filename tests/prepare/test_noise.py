"""Noise estimate against known noise, and against the difference of two real repetitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io, ndimage

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import estimate_noise_std, undersampling_mask


def brain_like(n_y: int, n_x: int) -> torch.Tensor:
    """Head with skull and gyri, of which a voxel holds the mean over a Gaussian of one voxel."""
    y, x = np.meshgrid(np.linspace(-1, 1, 4 * n_y), np.linspace(-1, 1, 4 * n_x), indexing="ij")
    head = (y / 0.8) ** 2 + (x / 0.6) ** 2 < 1
    skull = (y / 0.75) ** 2 + (x / 0.55) ** 2 > 1
    gyri = np.sign(np.sin(12 * x + 4 * np.sin(5 * y)))
    fine = head * (0.5 + 0.8 * skull + 0.15 * gyri)
    return torch.from_numpy(ndimage.gaussian_filter(fine, 4)[2::4, 2::4])


def noisy_kspace(shape: tuple[int, ...], std: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    signal = centred_fft(brain_like(*shape[-2:]).to(torch.complex64), (-2, -1))
    return signal + std * torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize("std", [0.1, 0.2])
@pytest.mark.parametrize("shape", [(1, 1, 1, 128, 128), (4, 1, 1, 126, 128), (1, 8, 1, 256, 256)])
def test_known_noise_within_five_percent(shape: tuple[int, ...], std: float) -> None:
    assert estimate_noise_std(noisy_kspace(shape, std)) == pytest.approx(std, rel=0.05)


def test_undersampled_kspace_counts_only_what_was_acquired() -> None:
    mask = undersampling_mask((1, 256, 256), acceleration=3, calibration_lines=24, seed=0)
    k = noisy_kspace((1, 4, 1, 256, 256), 0.2) * mask
    assert estimate_noise_std(k, mask) == pytest.approx(0.2, rel=0.05)
    assert estimate_noise_std(k) == pytest.approx(0.2, rel=0.05)


def test_little_noise_is_overestimated_by_little() -> None:
    """At a signal-to-noise ratio of 65 detail counts as noise, but by less than half."""
    found = estimate_noise_std(noisy_kspace((1, 1, 1, 128, 128), 0.02))
    assert 0.02 < found < 0.03


def test_coils_of_different_noise_give_the_root_mean_square() -> None:
    k = noisy_kspace((1, 2, 1, 256, 256), 0.0)
    k[:, 0] += noisy_kspace((1, 1, 256, 256), 0.1, 1) - noisy_kspace((1, 1, 256, 256), 0.0)
    k[:, 1] += noisy_kspace((1, 1, 256, 256), 0.3, 2) - noisy_kspace((1, 1, 256, 256), 0.0)
    assert estimate_noise_std(k) == pytest.approx(np.sqrt((0.01 + 0.09) / 2), rel=0.05)


def test_a_few_spikes_do_not_matter() -> None:
    k = noisy_kspace((1, 1, 1, 256, 256), 0.1)
    k[..., ::32, ::32] += 100
    assert estimate_noise_std(k) == pytest.approx(0.1, rel=0.05)


def test_scale_and_unit() -> None:
    k = noisy_kspace((1, 1, 1, 128, 128), 0.1)
    assert estimate_noise_std(1e-6 * k) == pytest.approx(1e-6 * estimate_noise_std(k), rel=1e-4)


def test_spokes_are_measured_along_the_readout() -> None:
    """First and last spoke have as much signal as the others; only the readout's ends are noise."""
    generator = torch.Generator().manual_seed(0)
    k = 0.1 * torch.randn(1, 1, 1, 25, 256, dtype=torch.complex64, generator=generator)
    k += 200 / (1 + (torch.arange(256) - 128).abs() ** 2)
    assert estimate_noise_std(k, readout_only=True) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("is_exact", [True, False])
@pytest.mark.parametrize("has_mask", [True, False])
def test_zeros_around_the_samples_do_not_count(is_exact: bool, has_mask: bool) -> None:
    """Interpolated files: zeros, or what a transform to an image and back leaves of them."""
    k = torch.zeros(1, 2, 1, 400, 420, dtype=torch.complex64)
    k[..., 136:264, 146:274] = noisy_kspace((1, 2, 1, 128, 128), 0.1)
    if not is_exact:
        k = centred_fft(centred_ifft(k, (-2, -1)), (-2, -1))
        assert float((k != 0).float().mean()) > 0.9
    mask = torch.ones(1, 1, 1, 400, 1).bool() if has_mask else None
    assert estimate_noise_std(k, mask) == pytest.approx(0.1, rel=0.05)


def test_zeros_on_one_side_do_not_count() -> None:
    k = noisy_kspace((1, 1, 1, 256, 256), 0.1)
    k[..., :96, :] = 0
    assert estimate_noise_std(k, torch.ones(1, 1, 1, 256, 1)) == pytest.approx(0.1, rel=0.05)


def test_a_line_of_interference_does_not_count() -> None:
    k = noisy_kspace((1, 1, 1, 256, 256), 0.1)
    time = torch.arange(256) - 128
    phases = 2 * torch.pi * torch.rand(256, 1, generator=torch.Generator().manual_seed(1))
    k += 0.2 * torch.exp(1j * (2 * torch.pi * 80 / 256 * time + phases))
    assert estimate_noise_std(k) == pytest.approx(0.1, rel=0.1)


def test_nothing_acquired_or_wrong_mask() -> None:
    with pytest.raises(DataError, match="no acquired sample"):
        estimate_noise_std(torch.zeros(1, 1, 1, 8, 8, dtype=torch.complex64))
    with pytest.raises(DataError, match="does not fit"):
        estimate_noise_std(
            torch.ones(1, 1, 1, 8, 8, dtype=torch.complex64), torch.ones(1, 1, 1, 9, 1).bool()
        )


def scan_pair(shared_data: Path, cage: str) -> tuple[torch.Tensor, np.ndarray]:
    """First of two scans of the same head, and their difference over sqrt(2): the noise of one."""
    folder = shared_data / "ulf_0055T" / "Supplementary_Figure_3A"
    ksp = io.loadmat(folder / f"0.055T_FLAIR_{cage}_2D_kspace.mat")["ksp"].transpose(3, 2, 1, 0)
    first = torch.from_numpy(ksp[0]).to(torch.complex64)[:, None, None]
    return first, (ksp[0] - ksp[1]) / np.sqrt(2)


@pytest.mark.shared_data
def test_real_noise_from_two_repetitions(shared_data: Path) -> None:
    k, noise = scan_pair(shared_data, "RF_cage_installed")
    true_std = float(np.sqrt((np.abs(noise) ** 2).mean()))
    assert estimate_noise_std(k) == pytest.approx(true_std, rel=0.05)


@pytest.mark.shared_data
def test_real_interference_is_not_counted_as_noise(shared_data: Path) -> None:
    """Without the cage a band of interference lies at one edge of the image; the rest is white.

    The white part is the median of the repetitions' difference as an image.
    """
    k, noise = scan_pair(shared_data, "No_RF_cage")
    image = np.abs(np.fft.ifft2(noise, norm="ortho"))
    white = float(np.median(image) / np.sqrt(np.log(2)))
    assert white < 0.6 * float(np.sqrt((np.abs(noise) ** 2).mean()))
    assert estimate_noise_std(k) == pytest.approx(white, rel=0.1)
