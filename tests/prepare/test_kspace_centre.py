"""Offsets of the centre of k-space that were put in are found, whole and fractional."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import kspace_centre, undersampling_mask
from lowfield_recon.prepare.kspace_centre import KSpaceCentre, recentred


def shifted_kspace(shift: tuple[float, float, float], size: tuple[int, int, int]) -> torch.Tensor:
    """k-space of a real ellipsoid with holes, moved by a fraction of a sample: a phase ramp."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else [0.0] for n in size), indexing="ij")
    object_ = 1.0 * (z**2 + (y / 0.8) ** 2 + (x / 0.6) ** 2 < 0.9)
    object_ *= 1 - 0.5 * ((y - 0.3) ** 2 + x**2 < 0.05)
    image = ndimage.gaussian_filter(object_, [0.7 if n > 1 else 0 for n in size]).astype(complex)
    for axis, (s, n) in enumerate(zip(shift, size, strict=True)):
        ramp = np.exp(2j * np.pi * s / n * (np.arange(n) - n // 2))
        image = image * ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    return centred_fft(torch.from_numpy(image).to(torch.complex64)[None, None], (-3, -2, -1))


def noise_like(k: torch.Tensor, std: float) -> torch.Tensor:
    return std * torch.randn(k.shape, dtype=k.dtype, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "shift", [(0, 0, 0), (0, 8, -3), (0, -2.4, 0.3), (0, 0.5, -7.7), (0, 30, -25)]
)
@pytest.mark.parametrize("size", [(1, 96, 128), (1, 95, 117)])
def test_offset_in_a_plane(shift: tuple[float, ...], size: tuple[int, int, int]) -> None:
    k = shifted_kspace(shift, size)
    for std in (0.0, 0.1):
        found = kspace_centre(k + noise_like(k, std)).offset
        assert found == pytest.approx(shift, abs=0.1)


def test_offset_in_a_volume() -> None:
    shift = (2.3, -5.0, 0.6)
    k = shifted_kspace(shift, (20, 48, 64))
    assert kspace_centre(k + noise_like(k, 0.1)).offset == pytest.approx(shift, abs=0.1)


def test_a_spike_far_outside_does_not_matter() -> None:
    k = shifted_kspace((0, 3, 0), (1, 96, 128))
    k[..., 80, 10] = 1.5 * k.abs().max()
    assert kspace_centre(k).offset == pytest.approx((0, 3, 0), abs=0.1)


def test_undersampled_with_and_without_a_complete_centre() -> None:
    k = shifted_kspace((0, 3, -4), (1, 96, 128))
    mask = undersampling_mask((1, 96, 128), acceleration=3, calibration_lines=20)
    assert kspace_centre(k * mask, mask).offset == pytest.approx((0, 3, -4), abs=0.1)
    every_third = (torch.arange(96) % 3 == 0).reshape(1, 1, 1, 96, 1)
    found = kspace_centre(k * every_third, every_third)
    assert found.offset[1] is None
    assert found.offset[2] == pytest.approx(-4, abs=0.2)
    assert found.shift == (0, 0, 4)


def test_recentring_keeps_the_magnitude_image_and_moves_the_mask_alike() -> None:
    k = shifted_kspace((0, 8, -3), (1, 96, 128)) + noise_like(torch.empty(1, 1, 1, 96, 128), 0.0)
    centre = kspace_centre(k)
    assert centre.is_off
    assert centre.shift == (0, -8, 3)
    moved = recentred(k, centre.shift)
    assert kspace_centre(moved).offset == pytest.approx((0, 0, 0), abs=0.05)
    before, after = (centred_ifft(x, (-2, -1)).abs() for x in (k, moved))
    assert (before - after).abs().max() < 1e-5
    assert centred_ifft(moved, (-2, -1)).imag.abs().max() < 0.02  # the ramp is gone
    mask = (torch.arange(96) < 90).reshape(1, 1, 1, 96, 1)
    assert torch.equal(recentred(k * mask, (0, -8, 3)), moved * recentred(mask, (0, -8, 3)))


def test_half_a_sample_is_not_worth_a_word() -> None:
    assert not KSpaceCentre(offset=(0.0, 0.9, None)).is_off
    assert KSpaceCentre(offset=(0.0, -1.0, None)).is_off


def test_nothing_but_zeros() -> None:
    with pytest.raises(DataError, match="no centre to find"):
        kspace_centre(torch.zeros(1, 1, 1, 8, 8, dtype=torch.complex64))
