"""Images as channels and back, the random input, the mean of iterates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.learning.untrained.channels import (
    NoiseInput,
    RunningMean,
    channel_count,
    from_channels,
    to_channels,
)

SHAPES = [(1, 1, 1, 4, 5), (2, 3, 1, 4, 5), (3, 2, 1, 2, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_channels_give_the_image_back(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
    channels = to_channels(x)
    assert channels.shape == (1, channel_count(shape, is_complex=dtype.is_complex), 4, 5)
    assert channels.dtype == torch.float32
    back = from_channels(channels, shape, is_complex=dtype.is_complex)
    assert back.dtype == dtype
    assert torch.equal(back, x)


def test_complex_planes_lie_beside_each_other_real_part_first() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.complex128)
    channels = to_channels(x)[0]
    for plane in range(6):
        expected = x.reshape(6, 4, 5)[plane]
        assert torch.equal(channels[2 * plane], expected.real)
        assert torch.equal(channels[2 * plane + 1], expected.imag)


def _noise_input(seed: int, noise: float = 0.03) -> NoiseInput:
    return NoiseInput(4, (32, 32), noise=noise, generator=torch.Generator().manual_seed(seed))


def test_the_fixed_input_is_uniform_up_to_a_tenth() -> None:
    z = _noise_input(0).fixed
    assert z.shape == (1, 4, 32, 32)
    assert 0 <= float(z.min()) < 0.001
    assert 0.099 < float(z.max()) <= 0.1
    assert float(z.mean()) == pytest.approx(0.05, abs=0.002)


def test_noise_is_fresh_at_each_call_and_of_its_standard_deviation() -> None:
    z = _noise_input(0, noise=0.2)
    fixed = z.fixed.clone()
    first, second = z.perturbed() - z.fixed, z.perturbed() - z.fixed
    assert float(first.std()) == pytest.approx(0.2, rel=0.05)
    assert abs(float(first.mean())) < 0.02
    correlation = float((first * second).mean()) / 0.2**2
    assert abs(correlation) < 0.1
    assert torch.equal(z.fixed, fixed)


def test_a_seed_gives_the_same_sequence() -> None:
    one, same, other = _noise_input(5), _noise_input(5), _noise_input(6)
    for _ in range(3):
        drawn = one.perturbed()
        assert torch.equal(drawn, same.perturbed())
        assert not torch.equal(drawn, other.perturbed())


def test_the_image_begins_at_each_place_of_its_frame_and_the_input_with_it() -> None:
    generator = torch.Generator().manual_seed(0)
    z = NoiseInput(2, (5, 7), noise=0.0, generator=generator, shifts=2)
    places = {z.place() for _ in range(200)}
    assert places == {(y, x) for y in range(3) for x in range(3)}
    for y, x in places:
        frame = z.perturbed((y, x))
        assert frame.shape == (1, 2, 7, 9)
        assert torch.equal(frame[..., y : y + 5, x : x + 7], z.fixed)


def test_without_noise_the_input_stays() -> None:
    z = _noise_input(0, noise=0.0)
    assert torch.equal(z.perturbed(), z.fixed)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_running_mean_is_the_mean_with_fading_weights(decay: float) -> None:
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = RunningMean(decay)
    for n in range(1, 21):
        found = mean(x[n - 1])
        weights = decay ** np.arange(n - 1.0, -1.0, -1.0)
        expected = (weights[:, None] * x[:n].numpy()).sum(0) / weights.sum()
        assert np.allclose(found.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_the_running_mean_leaves_iterates_alone_and_takes_complex_ones() -> None:
    first = torch.full((2,), 1 + 1j)
    mean = RunningMean(0.5)
    mean(first)
    assert torch.allclose(mean(torch.zeros(2, dtype=torch.complex64)), (1 + 1j) / 3 * torch.ones(2))
    assert torch.equal(first, torch.full((2,), 1 + 1j))
