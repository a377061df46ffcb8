"""Cropping, padding and oversampling removal for every combination of odd and even sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.prepare import crop_center, pad_center, remove_readout_oversampling

SIZES = [(8, 5), (8, 4), (9, 4), (9, 5), (7, 7), (8, 8), (2, 1), (384, 192)]


def numpy_centred_fft(x: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(x, axes=-1), norm="ortho"), axes=-1)


def numpy_centred_ifft(x: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(x, axes=-1), norm="ortho"), axes=-1)


@pytest.mark.parametrize(("large", "small"), SIZES)
def test_centre_index_goes_to_centre_index(large: int, small: int) -> None:
    assert int(crop_center(torch.arange(large), small, 0)[small // 2]) == large // 2
    padded = pad_center(torch.arange(1, small + 1), large, 0)
    assert int(padded[large // 2]) == small // 2 + 1
    assert int(padded.sum()) == small * (small + 1) // 2


@pytest.mark.parametrize(("large", "small"), SIZES)
def test_padding_is_the_adjoint_of_cropping(large: int, small: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, large, 2, generator=generator)
    y = torch.randn(3, small, 2, generator=generator)
    left, right = (crop_center(x, small, 1) * y).sum(), (x * pad_center(y, large, -2)).sum()
    torch.testing.assert_close(left, right)


def test_impossible_sizes() -> None:
    with pytest.raises(DataError, match="from 1 to 4 along axis 0, got 5"):
        crop_center(torch.zeros(4), 5, 0)
    with pytest.raises(DataError, match="from 1 to 4"):
        crop_center(torch.zeros(4), 0, 0)
    with pytest.raises(DataError, match="at least 4"):
        pad_center(torch.zeros(4), 3, 0)


@pytest.mark.parametrize(("large", "small"), SIZES)
def test_oversampling_removal_crops_the_image(large: int, small: int) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 2, 1, 3, large)) + 1j * rng.standard_normal((1, 2, 1, 3, large))
    k = torch.from_numpy(numpy_centred_fft(image))
    found = numpy_centred_ifft(remove_readout_oversampling(k, small).numpy())
    start = large // 2 - small // 2
    np.testing.assert_allclose(found, image[..., start : start + small], atol=1e-12)


def test_noise_per_sample_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 1, 400, 256, dtype=torch.complex64, generator=generator)
    left = remove_readout_oversampling(noise, 128)
    assert float(left.abs().square().mean()) == pytest.approx(1, abs=0.02)
    neighbours = (left[..., 1:] * left[..., :-1].conj()).mean().abs()
    assert float(neighbours) < 0.02
