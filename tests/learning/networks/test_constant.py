"""Sparsity levels without a network: one number, one for each filter, one map for all filters."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks import MapInput, NetworkSettings, make_network
from lowfield_recon.solvers.convolutional_model import filter_spectra, low_pass_response

SIZE = (20, 18)


def _kernels(n: int = 5, seed: int = 3) -> torch.Tensor:
    kernels = torch.randn(n, 5, 5, generator=torch.Generator().manual_seed(seed))
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]


def _input(kernels: torch.Tensor, scale: float = 1.0) -> MapInput:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(2, *SIZE)
    mask[:, :6, :5] = 1
    x = torch.randn(2, *SIZE, generator=generator, dtype=torch.complex64) * scale
    adjoint = torch.fft.ifft2(mask * torch.fft.fft2(x))
    smooth = torch.fft.ifft2(torch.fft.fft2(adjoint) * low_pass_response(1.0, SIZE).float())
    return MapInput(
        spectra=filter_spectra(kernels, SIZE), adjoint=adjoint, smooth=smooth, eigenvalues=mask,
        noise_std=torch.tensor([0.1, 0.2]) * scale,
    )  # fmt: skip


def _network(name: str, n_kernels: int | None = None) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_network(NetworkSettings(name=name, filters=4, n_kernels=n_kernels))


@torch.no_grad()
def test_one_level_is_the_same_number_of_noise_units_everywhere() -> None:
    data = _input(_kernels())
    maps = _network("scalar")(data)
    assert maps.shape == (5, 2, *SIZE)
    levels = maps / (data.gains() * data.noise_std)[..., None, None]
    assert torch.allclose(levels, levels[0, 0, 0, 0].expand_as(levels))
    assert float(levels[0, 0, 0, 0]) == pytest.approx(1.3, rel=1e-5)


@torch.no_grad()
def test_one_level_for_each_filter_is_tied_to_the_number_of_filters() -> None:
    network = _network("filterwise", 5)
    network.raw_level[2] = 3.0
    data = _input(_kernels())
    levels = network(data) / (data.gains() * data.noise_std)[..., None, None]
    assert float(levels[2].mean()) > 2 * float(levels[1].mean())
    with pytest.raises(DataError, match="each of 5 kernels was trained, got 4"):
        network(_input(_kernels(4)))
    with pytest.raises(ValidationError, match="set n_kernels"):
        NetworkSettings(name="filterwise")


@torch.no_grad()
def test_a_blind_map_does_not_depend_on_the_dictionary_but_for_its_noise() -> None:
    network = _network("blind")
    for parameter in network.parameters():  # fresh maps hardly vary
        parameter.mul_(4)
    ratios = []
    for kernels in (_kernels(), _kernels(seed=8)):
        data = _input(kernels)
        ratios.append(network(data) / (data.gains() * data.noise_std)[..., None, None])
    assert torch.allclose(ratios[0], ratios[1])
    assert torch.allclose(ratios[0], ratios[0][:1].expand_as(ratios[0]))
    assert float(ratios[0].std()) > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("name", ["scalar", "filterwise", "blind"])
def test_levels_follow_the_scale_of_the_data(name) -> None:
    network = _network(name, 5)
    plain, scaled = (network(_input(_kernels(), scale)) for scale in (1.0, 100.0))
    assert torch.allclose(scaled, 100 * plain, rtol=1e-4)


@pytest.mark.parametrize("name", ["scalar", "filterwise", "blind"])
def test_every_parameter_has_a_gradient(name) -> None:
    network = _network(name, 5)
    network(_input(_kernels())).square().sum().backward()
    assert all(float(p.grad.abs().max()) > 0 for p in network.parameters())
