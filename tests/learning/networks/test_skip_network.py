"""The skip network: the published size, the function that its layers state, images of any size."""

from __future__ import annotations

import copy

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import conv2d, instance_norm, interpolate, leaky_relu, pad

from lowfield_recon.learning.networks.skip_network import SkipNetwork, SkipNetworkSettings


def _network(
    inputs: int = 2, outputs: int = 3, *, seed: int = 0, channels: int = 4, scales: int = 2,
    skip_channels: int = 2, upsampling: str = "bilinear",
) -> SkipNetwork:  # fmt: skip
    settings = SkipNetworkSettings(
        channels=channels, scales=scales, skip_channels=skip_channels, upsampling=upsampling
    )
    return SkipNetwork(inputs, outputs, settings, generator=torch.Generator().manual_seed(seed))


def _input(*size: int, channels: int = 2) -> torch.Tensor:
    return torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("inputs", "outputs", "parameters"),
    [
        (3, 3, 2_184_307), (3, 9, 2_185_081), (32, 3, 2_217_831), (32, 6, 2_218_218),
        (32, 9, 2_218_605), (2, 4, 2_183_280),
    ],
)  # fmt: skip
def test_the_published_size_has_the_published_number_of_parameters(inputs, outputs, parameters):
    network = _network(inputs, outputs, channels=128, scales=5, skip_channels=4)
    assert sum(p.numel() for p in network.parameters()) == parameters


def _by_hand(network: SkipNetwork, z: torch.Tensor, mode: str) -> torch.Tensor:
    """Evaluate the published layers from the weights alone."""
    w = network.state_dict()

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
        kernel = w[f"{conv}.weight"]
        margin = kernel.shape[-1] // 2
        x = conv2d(pad(x, [margin] * 4, mode="reflect"), kernel, w[f"{conv}.bias"], stride=stride)
        return leaky_relu(normal(x, norm), 0.2)

    def normal(x: torch.Tensor, norm: str) -> torch.Tensor:
        return instance_norm(x, weight=w[f"{norm}.weight"], bias=w[f"{norm}.bias"])

    def scale(x: torch.Tensor, number: int) -> torch.Tensor:
        own = f"scales.{number}"
        deeper = layer(x, f"{own}.down.0", f"{own}.down.1", stride=2)
        deeper = layer(deeper, f"{own}.down.3", f"{own}.down.4")
        if f"scales.{number + 1}.down.0.weight" in w:
            deeper = scale(deeper, number + 1)
        size = [2 * n for n in deeper.shape[-2:]]
        joined = interpolate(deeper, size=size, mode=mode)[..., : x.shape[-2], : x.shape[-1]]
        if f"{own}.skip.0.weight" in w:
            joined = torch.cat((layer(x, f"{own}.skip.0", f"{own}.skip.1"), joined), dim=1)
        joined = normal(joined, f"{own}.up.0")
        joined = layer(joined, f"{own}.up.1", f"{own}.up.2")
        return layer(joined, f"{own}.up.4", f"{own}.up.5")

    return conv2d(scale(z, 0), w["head.weight"], w["head.bias"])


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("skip_channels", [0, 2])
@pytest.mark.parametrize("size", [(24, 32), (21, 27), (25, 33)])
def test_it_is_the_function_of_the_published_layers(upsampling, skip_channels, size) -> None:
    network = _network(upsampling=upsampling, skip_channels=skip_channels, scales=3).double()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    z = _input(*size).double()
    assert torch.allclose(network(z), _by_hand(network, z, upsampling), atol=1e-12)


def test_its_normalisation_is_that_of_an_instance() -> None:
    network = _network(channels=6).double()
    other = copy.deepcopy(network)

    def exchange(parent: nn.Module) -> int:
        count = 0
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                instance = nn.InstanceNorm2d(child.num_features, affine=True).double()
                instance.load_state_dict(child.state_dict())
                setattr(parent, name, instance)
                count += 1
            count += exchange(child)
        return count

    assert exchange(other) == 2 * 6
    z = _input(16, 24).double()
    assert torch.allclose(network(z), other(z), atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (96, 128)])
def test_multiples_of_thirty_two_come_out_as_they_went_in(size: tuple[int, int]) -> None:
    assert _network(scales=5)(_input(*size)).shape == (1, 3, *size)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 7), (2, 40), (33, 3), (31, 65)])
@pytest.mark.parametrize("scales", [1, 3, 5])
def test_images_of_any_size_come_out_finite_and_of_their_size(size, scales: int) -> None:
    z = _input(*size)
    output = _network(scales=scales)(z)
    assert output.shape == (1, 3, *size)
    assert bool(torch.isfinite(output).all())


def test_a_size_that_cannot_be_halved_is_continued_by_reflection_and_cut_back() -> None:
    network, z = _network(scales=4), _input(12, 27)
    once = pad(z, (0, 0, 0, 11), mode="reflect")
    continued = pad(once, (0, 0, 0, 9), mode="reflect")
    assert torch.equal(network(z), network(continued)[..., :12, :27])


def test_a_seed_gives_the_weights() -> None:
    one, same, other = _network(seed=3), _network(seed=3), _network(seed=4)
    z = _input(16, 16)
    assert torch.equal(one(z), same(z))
    assert not torch.equal(one(z), other(z))


def test_initial_weights_lie_within_the_fan_in_bound() -> None:
    for module in _network(channels=16).modules():
        if isinstance(module, nn.Conv2d):
            bound = (module.weight[0].numel()) ** -0.5
            largest = float(module.weight.detach().abs().max())
            assert 0.5 * bound < largest <= bound


@pytest.mark.parametrize(
    "wrong", [{"channels": 0}, {"scales": 0}, {"upsampling": "cubic"}, {"depth": 3}]
)
def test_senseless_sizes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SkipNetworkSettings(**wrong)
