"""Sparsity-map networks: published sizes, and the symmetries that the set network has exactly."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon.learning.networks import MapInput, NetworkSettings, make_network
from lowfield_recon.learning.networks.unet import UNet
from lowfield_recon.solvers.convolutional_model import analyse, filter_spectra, low_pass_response

SIZE = (28, 22)


def _kernels(n: int = 6, size: int = 5, seed: int = 3, dtype=torch.float64) -> torch.Tensor:
    kernels = torch.randn(n, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]


def _input(kernels: torch.Tensor, planes: int = 2, seed: int = 1) -> MapInput:
    generator = torch.Generator().manual_seed(seed)
    dtype = kernels.dtype
    mask = torch.zeros(planes, *SIZE, dtype=dtype)
    for plane in range(planes):
        mask[plane, : 7 + plane, : 6 + plane] = 1
        mask[plane, -(7 + plane) :, : 6 + plane] = 1
    x = torch.randn(planes, *SIZE, generator=generator, dtype=dtype).to(dtype.to_complex())
    x = x * torch.exp(2j * torch.rand(planes, *SIZE, generator=generator, dtype=dtype))
    adjoint = torch.fft.ifft2(mask * torch.fft.fft2(x))
    smooth = torch.fft.ifft2(torch.fft.fft2(adjoint) * low_pass_response(1.0, SIZE).to(dtype))
    return MapInput(
        spectra=filter_spectra(kernels, SIZE),
        adjoint=adjoint,
        smooth=smooth,
        eigenvalues=mask,
        noise_std=torch.linspace(0.1, 0.2, planes, dtype=dtype),
    )


def _network(name: str = "set", dtype=torch.float64, **settings) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make_network(NetworkSettings(name=name, **settings)).to(dtype)
        # Fresh weights give maps that hardly vary; a symmetry must hold for those that do.
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1.5)
    return network.eval()


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize(
    ("inputs", "outputs", "filters", "stages", "bias", "count"),
    [
        (2, 1, 32, 2, True, 111_489),
        (2, 1, 32, 2, False, 111_200),
        (2, 32, 32, 2, True, 112_512),
        (64, 32, 32, 2, True, 130_368),
        (4, 1, 32, 2, True, 112_065),
        (2, 1, 16, 3, False, 129_328),
        (2, 16, 16, 3, False, 129_568),
        (2, 32, 32, 3, False, 517_696),
        (2, 64, 64, 3, False, 2_069_632),
        (2, 1, 16, 2, False, 27_952),
    ],
)
def test_published_parameter_counts(inputs, outputs, filters, stages, bias, count) -> None:
    unet = UNet(inputs, outputs, filters=filters, stages=stages, bias=bias)
    assert sum(p.numel() for p in unet.parameters()) == count


def test_the_default_set_network_is_small() -> None:
    assert sum(p.numel() for p in _network().parameters()) <= 30_000


@pytest.mark.parametrize("name", ["set", "v3"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
def test_maps_follow_a_permutation_of_the_filters(name, dtype, tolerance) -> None:
    network, kernels = _network(name, dtype), _kernels(dtype=dtype)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        permuted = network(_input(kernels[order]))
        expected = network(_input(kernels))[order]
    assert _difference(permuted, expected) <= tolerance


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_v1_and_v2_do_not_follow_a_permutation(name) -> None:
    network, kernels = _network(name, n_kernels=6), _kernels()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    with torch.no_grad():
        assert _difference(network(_input(kernels[order])), network(_input(kernels))[order]) > 1e-2


def test_maps_ignore_the_sign_of_filters_which_v3_does_not() -> None:
    kernels = _kernels()
    signs = torch.tensor([1, -1, -1, 1, -1, 1], dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        ours = _difference(*(_network()(_input(k)) for k in (kernels * signs, kernels)))
        theirs = _difference(*(_network("v3")(_input(k)) for k in (kernels * signs, kernels)))
    assert ours <= 1e-12
    assert theirs > 1e-4


@pytest.mark.parametrize("angle", [0.7, torch.pi / 2])
def test_maps_ignore_a_global_phase(angle) -> None:
    network, data = _network(), _input(_kernels())
    turn = torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(angle).double())
    turned = dataclasses.replace(data, adjoint=data.adjoint * turn, smooth=data.smooth * turn)
    with torch.no_grad():
        assert _difference(network(turned), network(data)) <= 1e-12


def test_maps_scale_with_the_data_and_its_noise() -> None:
    network, data = _network(), _input(_kernels())
    scaled = dataclasses.replace(
        data, adjoint=3 * data.adjoint, smooth=3 * data.smooth, noise_std=3 * data.noise_std
    )
    with torch.no_grad():
        assert _difference(network(scaled), 3 * network(data)) <= 1e-12


def test_published_maps_scale_with_the_data() -> None:
    network, data = _network("v3"), _input(_kernels())
    scaled = dataclasses.replace(data, adjoint=3 * data.adjoint, smooth=3 * data.smooth)
    with torch.no_grad():
        assert _difference(network(scaled), 3 * network(data)) <= 1e-12


def test_maps_scale_with_the_gain_of_each_filter() -> None:
    network, kernels = _network(), _kernels()
    gains = torch.tensor([2, 1, 0.5, 3, 1, 7], dtype=torch.float64)
    with torch.no_grad():
        louder = network(_input(kernels * gains[:, None, None]))
        expected = network(_input(kernels)) * gains[:, None, None, None]
    assert _difference(louder, expected) <= 1e-12


def test_maps_ignore_zero_filters_and_copies_of_the_dictionary() -> None:
    network, kernels = _network(), _kernels()
    zeros = torch.zeros(4, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        plain = network(_input(kernels))
        appended = network(_input(torch.cat([kernels, zeros])))
        doubled = network(_input(torch.cat([kernels, kernels])))
    assert _difference(appended[:6], plain) <= 1e-12
    assert torch.isfinite(appended).all()
    assert _difference(doubled, torch.cat([plain, plain])) <= 1e-12


@pytest.mark.parametrize("name", ["set", "v1", "v2", "v3"])
def test_a_batch_is_its_planes(name) -> None:
    network = _network(name, n_kernels=6)
    data = _input(_kernels(), planes=3)
    with torch.no_grad():
        together = network(data)
        for plane in range(3):
            one = slice(plane, plane + 1)
            alone = MapInput(
                spectra=data.spectra,
                adjoint=data.adjoint[one],
                smooth=data.smooth[one],
                eigenvalues=data.eigenvalues[one],
                noise_std=data.noise_std[one],
            )
            assert _difference(network(alone), together[:, one]) <= 1e-12


@pytest.mark.parametrize("name", ["set", "v3"])
def test_chunks_of_filters_change_nothing(name, monkeypatch) -> None:
    network, data = _network(name, torch.float32), _input(_kernels(dtype=torch.float32))
    with torch.no_grad():
        whole = network(data)
        monkeypatch.setattr("lowfield_recon.learning.networks.inputs._CHUNK_BYTES", 1)
        assert len(list(data.chunks(8))) == 6
        assert _difference(network(data), whole) <= 1e-6


@pytest.mark.parametrize("name", ["set", "v3"])
@pytest.mark.parametrize(("n", "size"), [(1, 7), (16, 9), (40, 13)])
def test_any_number_and_size_of_kernels_will_do(name, n, size) -> None:
    network = _network(name, torch.float32)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        maps = network(_input(_kernels(n, size, dtype=torch.float32)))
    assert maps.shape == (n, 2, *SIZE)
    assert torch.isfinite(maps).all()
    assert (maps > 0).all()
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_a_network_of_one_dictionary_refuses_another_number_of_kernels(name) -> None:
    from lowfield_recon.errors import DataError

    with pytest.raises(DataError, match=r"was trained for 8 kernels, got 6.*take any"):
        _network(name, n_kernels=8)(_input(_kernels()))


def test_gains_are_the_noise_in_the_filters_domain() -> None:
    data = _input(_kernels())
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(2, 400, *SIZE, generator=generator, dtype=torch.complex128)
    for plane in range(2):
        coloured = torch.fft.ifft2(
            data.eigenvalues[plane].sqrt() * torch.fft.fft2(noise[plane], norm="ortho"),
            norm="ortho",
        )
        variance = analyse(data.spectra, coloured).abs().square().mean(dim=(1, 2, 3))
        predicted = data.gains()[:, plane].square()
        assert (variance / predicted - 1).abs().max() <= 0.02


def test_gradients_reach_every_weight() -> None:
    network = _network(dtype=torch.float32).train()
    network(_input(_kernels(dtype=torch.float32))).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
