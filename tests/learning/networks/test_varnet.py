"""Variational networks: equal to fastmri's own with the same weights, and to their recursion."""

from __future__ import annotations

import fastmri
import pytest
import torch
from fastmri.models.varnet import VarNet

from lowfield_recon.errors import DataError
from lowfield_recon.learning.measured import CoilData, Measured
from lowfield_recon.learning.networks.multi_coil_varnet import MultiCoilVarnet, calibration_region
from lowfield_recon.learning.networks.varnet import VarnetNetwork, VarnetSettings
from lowfield_recon.operators.fourier import centred_fft, centred_ifft

SIZE = (32, 24)


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex64)


def _columns(width: int = 6) -> torch.Tensor:
    """Return a mask of columns with a centre, `(1, y, x)`."""
    columns = torch.arange(SIZE[1]) % 3 == 0
    columns[SIZE[1] // 2 - width // 2 : SIZE[1] // 2 + width // 2] = True
    return columns.expand(1, *SIZE).clone()


def _measured(mask: torch.Tensor) -> tuple[Measured, torch.Tensor]:
    kspace = mask * centred_fft(_randn(1, *SIZE), (-2, -1))
    eigenvalues = torch.fft.ifftshift(mask, dim=(-2, -1)).float()

    def gram(image: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(eigenvalues * torch.fft.fft2(image))

    adjoint = centred_ifft(kspace, (-2, -1))
    noise = torch.full((1,), 0.1)
    measured = Measured(
        adjoint=adjoint, gram=gram, pixel_noise=noise, eigenvalues=eigenvalues
    )  # fmt: skip
    return measured, kspace


def _seeded(make, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@torch.no_grad()
def test_the_multi_coil_network_is_fastmris_with_the_same_weights() -> None:
    published = _seeded(lambda: VarNet(3, 4, 2, 6, 2)).eval()
    settings = VarnetSettings(
        kind="multi-coil", cascades=3, filters=6, pools=2, sensitivity_filters=4,
        sensitivity_pools=2,
    )  # fmt: skip
    ours = MultiCoilVarnet(settings).eval()
    ours.network.load_state_dict(published.state_dict())
    mask = _columns()
    kspace = mask[:, None] * _randn(1, 4, *SIZE, seed=3)
    data = CoilData(kspace=kspace, mask=mask, maps=_randn(1, 4, *SIZE, seed=4))
    expected = published(torch.view_as_real(kspace), mask[:, None, :1, :, None])
    found = ours.coil_images(data).abs().square().sum(1).sqrt()
    assert published.sens_net.mask_center
    assert float((found - expected).norm() / expected.norm()) < 1e-6


@torch.no_grad()
def test_the_image_keeps_the_phase_that_the_maps_define() -> None:
    settings = VarnetSettings(kind="multi-coil", cascades=1, filters=2, pools=1)
    network = MultiCoilVarnet(settings).eval()
    # Without refinement and with all of k-space the network returns its data.
    for layer in network.network.cascades[0].model.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None:
            layer.weight.zero_()
            layer.bias.zero_()
    x, maps = _randn(1, *SIZE, seed=1), _randn(1, 3, *SIZE, seed=2)
    full = torch.ones(1, *SIZE, dtype=torch.bool)
    data = CoilData(kspace=centred_fft(maps * x[:, None], (-2, -1)), mask=full, maps=maps)
    coil_images = network.coil_images(data)
    measured = Measured(adjoint=x, gram=lambda image: image, pixel_noise=torch.ones(1), coils=data)
    combined = (maps.conj() * coil_images).sum(1) / maps.abs().square().sum(1)
    assert torch.allclose(network(measured), combined, atol=1e-5)
    # NormUnet returns the mean of its input where its network returns zero.
    sensitivities = network.network.sens_net(torch.view_as_real(data.kspace), full)
    s = torch.view_as_complex(sensitivities.contiguous())
    reduced = (s.conj() * maps * x[:, None]).sum(1)
    mean = torch.complex(reduced.real.mean(), reduced.imag.mean())
    assert torch.allclose(coil_images, maps * x[:, None] - s * mean, atol=1e-4)


@torch.no_grad()
def test_separate_networks_are_fastmris_cascades_with_one_coil() -> None:
    ours = _seeded(lambda: VarnetNetwork(VarnetSettings(kind="separate", cascades=3, filters=4)))
    measured, kspace = _measured(_columns())
    published = VarNet(3, 4, 2, 4, 2)
    for block, network, step in zip(published.cascades, ours.networks, ours.steps(), strict=True):
        block.model.load_state_dict(network.state_dict())
        block.dc_weight.fill_(float(step))
    k = reference = torch.view_as_real(kspace[:, None].contiguous())
    ones = torch.view_as_real(torch.ones(1, 1, *SIZE, dtype=torch.complex64))
    for block in published.cascades:
        k = block(k, reference, _columns()[:, None, :, :, None], ones)
    expected = torch.view_as_complex(fastmri.ifft2c(k).contiguous())[:, 0]
    found = ours(measured)
    assert float((found - expected).norm() / expected.norm()) < 1e-5


@torch.no_grad()
def test_the_shared_network_is_the_published_recursion_in_k_space() -> None:
    settings = VarnetSettings(
        cascades=12, filters=6, normalisation="batch", step=0.00165, noise_input=False
    )
    network = _seeded(lambda: VarnetNetwork(settings)).eval()
    measured, kspace = _measured(_columns())
    k, mask = kspace.clone(), _columns()
    steps = torch.nn.functional.softplus(torch.full((12,), -4.0), beta=1.5)
    for step in steps:
        x = centred_ifft(k, (-2, -1))
        parts = network.networks[0](torch.stack([x.real, x.imag], 1))
        change = torch.complex(parts[:, 0], parts[:, 1])
        k = k - step * mask * (k - kspace) + centred_fft(change, (-2, -1))
    expected = centred_ifft(k, (-2, -1))
    assert float(network.steps()[0]) == pytest.approx(float(steps[0]), rel=2e-3)
    assert float((network(measured) - expected).norm() / expected.norm()) < 1e-5


def test_the_calibration_region_of_columns_is_fastmris() -> None:
    sens = VarNet(1, 2, 1, 2, 1).sens_net
    for width in (2, 6, 10):
        mask = _columns(width)
        pad, n = sens.get_pad_and_num_low_freqs(mask[:, None, :1, :, None])
        columns = torch.zeros(SIZE[1], dtype=torch.bool)
        columns[int(pad) : int(pad + n)] = True
        assert torch.equal(calibration_region(mask)[0], columns.expand(*SIZE))


def test_the_calibration_region_of_a_window_is_the_window() -> None:
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[:, 8:24, 6:18] = True
    assert torch.equal(calibration_region(mask), mask)


def test_without_the_k_space_of_coils_it_says_which_weights_to_take() -> None:
    network = MultiCoilVarnet(VarnetSettings(kind="multi-coil", cascades=1, filters=2, pools=1))
    with pytest.raises(DataError, match="weights of the kind 'shared' or 'separate'"):
        network(_measured(_columns())[0])
