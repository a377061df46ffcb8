"""Inputs that follow the output, against their objectives written out for automatic gradients."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.learning.networks.skip_network import SkipNetworkSettings
from lowfield_recon.learning.untrained.channels import to_channels
from lowfield_recon.learning.untrained.guided_input import (
    AutoencodingInput,
    FixedInput,
    LearntInput,
)
from lowfield_recon.learning.untrained.skip_fit import SkipFit

SHAPE = (1, 1, 1, 8, 12)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0)) < 0.6


def _fit(*, is_complex: bool = True) -> SkipFit:
    return SkipFit(
        SHAPE, is_complex=is_complex, inputs=2 if is_complex else 1, input_noise=0.0,
        network=SkipNetworkSettings(channels=4, scales=2, skip_channels=2),
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip


def _image(seed: int, *, is_complex: bool = True) -> torch.Tensor:
    dtype = torch.complex64 if is_complex else torch.float32
    return torch.randn(SHAPE, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _gradient(f: torch.Tensor) -> torch.Tensor:
    """Of ``1/2 ||M f - y||^2``."""
    return MASK * (f - _image(2, is_complex=f.is_complex()))


def _learnt(**settings: float) -> LearntInput:
    chosen = {"weight": 0.5, "learning_rate": 0.1, "draws": 1, "noise": 0.5, **settings}
    return LearntInput(_image(3), generator=torch.Generator().manual_seed(4), **chosen)


@pytest.mark.parametrize("is_complex", [False, True])
def test_autoencoding_without_weight_and_update_is_the_deep_image_prior(is_complex: bool) -> None:
    start = _image(3, is_complex=is_complex)
    guide = AutoencodingInput(start, weight=0.0, steps=0)
    fit, plain = _fit(is_complex=is_complex), _fit(is_complex=is_complex)
    for _ in range(8):
        found = guide.step(fit, _gradient)
        assert torch.equal(found, plain.step(_gradient, to_channels(start)))


def test_a_learnt_input_that_rests_is_the_deep_image_prior_with_uniform_noise() -> None:
    guide = _learnt(weight=0.0, learning_rate=0.0)
    fit, plain = _fit(), _fit()
    z = to_channels(_image(3))
    generator = torch.Generator().manual_seed(4)
    for _ in range(8):
        noise = torch.rand(z.shape, generator=generator) * 0.5 * z.abs().max()
        found = guide.step(fit, _gradient)
        assert torch.equal(found, plain.step(_gradient, z + noise))


def test_a_fixed_input_is_that_of_the_network() -> None:
    fit, plain = _fit(), _fit()
    assert torch.equal(FixedInput().step(fit, _gradient), plain.step(_gradient, plain.input.fixed))


def test_autoencoding_takes_the_output_over_after_every_few_steps() -> None:
    start = _image(3)
    guide = AutoencodingInput(start, weight=0.7, steps=3)
    fit, plain = _fit(), _fit()
    z = start
    for step in range(1, 8):
        found = guide.step(fit, _gradient)
        expected = plain.step(lambda f, z=z: _gradient(f) + 0.7 * (f - z), to_channels(z))
        assert torch.equal(found, expected)
        if step % 3 == 0:
            z = plain.output(to_channels(z))
    assert not torch.equal(z, start)
    assert torch.equal(start, _image(3))


def _objective(fit: SkipFit, z: torch.Tensor, noises: list[torch.Tensor]) -> torch.Tensor:
    """``1/2 ||M f - y||^2 + w/2 ||f - z||^2`` for automatic differentiation."""
    outputs = [fit.network(z + e) for e in noises]
    mean = torch.stack(outputs).mean(dim=0)
    mask = MASK.reshape(1, 1, 8, 12)
    data = (mask * (mean - to_channels(_image(2)))).square().sum()
    return 0.5 * data + 0.25 * (mean - z).square().sum()


@pytest.mark.parametrize("draws", [1, 3])
def test_network_and_input_take_steps_along_the_gradients_of_their_objective(draws: int) -> None:
    guide, fit, plain = _learnt(draws=draws), _fit(), _fit()
    generator = torch.Generator().manual_seed(4)
    z = to_channels(_image(3)).clone().requires_grad_()
    of_input = torch.optim.Adam([z], lr=0.1)
    of_network = torch.optim.Adam(plain.network.parameters(), lr=0.01)
    for _ in range(4):
        reach = 0.5 * float(z.detach().abs().max())
        noises = [reach * torch.rand(z.shape, generator=generator) for _ in range(draws)]
        with torch.no_grad():
            expected = torch.stack([plain.network(z + e) for e in noises]).mean(dim=0)
        found = guide.step(fit, _gradient)
        assert torch.allclose(to_channels(found), expected, atol=1e-3)
        of_input.zero_grad()
        of_network.zero_grad()
        _objective(plain, z, noises).backward()
        norm = float(z.grad.norm())
        assert norm > 1
        z.grad /= norm
        of_input.step()
        of_network.step()


def test_a_resting_input_stays() -> None:
    guide, fit, plain = _learnt(learning_rate=0.0, noise=0.0), _fit(), _fit()
    z = _image(3)
    for _ in range(3):
        found = guide.step(fit, _gradient)
        expected = plain.step(lambda f: _gradient(f) + 0.5 * (f - z), to_channels(z))
        assert torch.equal(found, expected)
