"""Off-resonance during the readout: shifts, the general sum, and the limit without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.simulation.off_resonance import encode


@pytest.mark.parametrize("n", [16, 17])
@pytest.mark.parametrize("pixels", [-5, 1, 3])
def test_a_point_moves_by_frequency_times_readout_duration(n: int, pixels: int) -> None:
    dwell = 1e-4
    image = torch.zeros(1, 1, 1, 8, n, dtype=torch.complex64)
    image[..., 3, 8] = 2 - 1j
    field = torch.full((1, 8, n), pixels / (n * dwell))
    k = encode(image, phase_dims=(-3, -2), off_resonance_hz=field, dwell_time_s=dwell)
    found = centred_ifft(k, (-2, -1))
    expected = torch.zeros_like(image)
    expected[..., 3, 8 + pixels] = 2 - 1j
    # a shift turns no phase, because the echo refocuses at the centre of the readout
    torch.testing.assert_close(found, expected, atol=3e-6, rtol=0)


def test_the_signal_is_the_sum_over_all_spins() -> None:
    rng = np.random.default_rng(0)
    shape, dwell = (3, 4, 6), 5e-4
    image = rng.normal(size=(2, *shape)) + 1j * rng.normal(size=(2, *shape))
    field = 300 * rng.normal(size=shape)
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    expected = np.empty_like(image)
    for index in np.ndindex(shape):
        k2, k1, k0 = (i - n // 2 for i, n in zip(index, shape, strict=True))
        turns = k2 * z / shape[0] + k1 * y / shape[1] + k0 * x / shape[2] + field * k0 * dwell
        wave = np.exp(-2j * np.pi * turns) / np.sqrt(np.prod(shape))
        expected[(slice(None), *index)] = (image * wave).sum(axis=(1, 2, 3))
    found = encode(
        torch.from_numpy(image.astype(np.complex64))[None],
        phase_dims=(-3, -2),
        off_resonance_hz=torch.from_numpy(field),
        dwell_time_s=dwell,
    )
    np.testing.assert_allclose(found[0].numpy(), expected, atol=3e-6)


def test_a_tiny_field_is_the_fourier_transform() -> None:
    image = torch.randn(
        2, 3, 2, 5, 12, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    field = torch.full((2, 5, 12), 1e-9)
    for dims in ((-2,), (-3, -2)):
        k = encode(image, phase_dims=dims, off_resonance_hz=field, dwell_time_s=1e-5)
        torch.testing.assert_close(k, centred_fft(image, (*dims, -1)), atol=2e-6, rtol=0)
        assert torch.equal(encode(image, phase_dims=dims), centred_fft(image, (*dims, -1)))


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="size of the image"):
        encode(
            torch.ones(1, 1, 1, 4, 4, dtype=torch.complex64),
            phase_dims=(-2,),
            off_resonance_hz=torch.ones(1, 4, 5),
            dwell_time_s=1e-5,
        )
