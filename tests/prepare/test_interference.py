"""Narrow lines are found where they were put, and neither noise nor objects count as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io, ndimage

from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import interference_peaks, noise_peaks


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def line(n_readouts: int, n: int, frequency: float) -> torch.Tensor:
    """A tone of random phase in each readout, `(readouts, n)`."""
    phases = 2 * torch.pi * torch.rand(n_readouts, 1, generator=torch.Generator().manual_seed(1))
    return torch.exp(1j * (2 * torch.pi * frequency * (torch.arange(n) - n // 2) + phases))


def object_kspace(strength: float = 100.0) -> torch.Tensor:
    y, x = np.mgrid[-1:1:128j, -1:1:96j]
    image = strength * ((np.abs(x) < 0.6) & (np.abs(y) < 0.7))
    image = image * (1 + 0.4 * (np.abs(x - 0.2) < 0.05))
    return centred_fft(torch.from_numpy(image).to(torch.complex64)[None, None, None], (-2, -1))


@pytest.mark.parametrize("column", [5, 30, 48, 90])
@pytest.mark.parametrize("coils", [1, 4])
def test_a_line_is_found_in_its_column_of_the_image(column: int, coils: int) -> None:
    frequency = -(column - 48) / 96
    k = object_kspace(5.0) + noise((1, coils, 1, 128, 96)) + 0.5 * line(128, 96, frequency)
    (peak,) = interference_peaks(k)
    assert round(peak.position * 96) + 48 == column
    alone = centred_ifft(line(128, 96, frequency), (-1,)).abs().square().mean(dim=0)
    assert int(alone.argmax()) == column
    assert peak.ratio == pytest.approx(1 + 0.25 * 96, rel=0.3)


def test_objects_and_white_noise_have_no_lines() -> None:
    for seed in range(20):
        assert interference_peaks(noise((1, 2, 1, 128, 96), seed)) == ()
        assert interference_peaks(object_kspace() + noise((1, 1, 1, 128, 96), seed)) == ()
        assert noise_peaks(noise((3, 5000), seed)) == ()


def test_a_narrow_thing_is_no_interference() -> None:
    """A strip of three columns: its ends reach far out in k-space, but get weaker there."""
    strip = np.zeros((128, 96), dtype=np.float32)
    strip[40:90, 30:33] = 100
    strip = ndimage.gaussian_filter1d(strip, 0.5, axis=0)  # a voxel holds a mean
    image = torch.from_numpy(strip).to(torch.complex64)[None, None, None]
    k = centred_fft(image, (-2, -1)) + noise((1, 1, 1, 128, 96))
    outer = centred_ifft(k, (-1,))[0, 0, 0, :16].abs().square().mean(dim=0)
    assert float(outer[31] / outer.median()) > 5
    assert interference_peaks(k) == ()


def test_undersampled_lines_do_and_incomplete_readouts_do_not_tell() -> None:
    k = noise((1, 1, 1, 128, 96)) + line(128, 96, 0.25)
    every_second = (torch.arange(128) % 2 == 0).reshape(1, 1, 1, 128, 1)
    assert len(interference_peaks(k * every_second, every_second)) == 1
    holes = torch.rand(1, 1, 1, 128, 96, generator=torch.Generator().manual_seed(0)) > 0.5
    assert interference_peaks(k * holes) == ()
    assert interference_peaks(k[..., :8, :]) == ()


def test_lines_in_noise_readouts() -> None:
    n = noise((2, 64 * 100))
    n[1] += 0.5 * line(1, 6400, -0.125)[0]
    (peak,) = noise_peaks(n)
    assert peak.position == pytest.approx(0.125)
    assert noise_peaks(n[:, :500]) == ()


@pytest.mark.shared_data
def test_real_zipper_that_remains_in_the_cage(shared_data: Path) -> None:
    """The same narrow line in all slices and repetitions, at least 3 times the noise."""
    folder = shared_data / "ulf_0055T" / "Supplementary_Figure_3A"
    ksp = io.loadmat(folder / "0.055T_FLAIR_RF_cage_installed_2D_kspace.mat")["ksp"]
    lines = torch.from_numpy(ksp.transpose(3, 2, 1, 0)).to(torch.complex64)  # readout last
    for repetition in lines:
        for one in repetition:
            (peak,) = interference_peaks(one[None, None, None])
            assert -0.05 < peak.position < -0.03
