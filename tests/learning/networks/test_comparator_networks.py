"""MoDL, SRDenseNet, U-Net and learned total variation: layouts, limits and what they leave open."""

from __future__ import annotations

import itertools

import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.learning.measured import Measured
from lowfield_recon.learning.networks.modl import ModlNetwork, ModlSettings
from lowfield_recon.learning.networks.srdensenet import SrdensenetNetwork, SrdensenetSettings
from lowfield_recon.learning.networks.tv_lambda import (
    TvLambdaNetwork,
    TvLambdaSettings,
    gradient,
    weighted_total_variation,
)
from lowfield_recon.learning.networks.unet_image import UnetNetwork, UnetSettings

SIZE = (20, 18)


def _randn(*shape: int, seed: int = 0, dtype=torch.complex64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _window(size: tuple[int, int], part: float) -> torch.Tensor:
    """Return a central window in FFT order, `(1, y, x)`."""
    axes = []
    for n in size:
        kept = int(part * n) // 2
        k = torch.arange(n) - n // 2
        axes.append((k >= -kept) & (k < kept))
    window = (axes[0][:, None] & axes[1][None]).double()
    return torch.fft.ifftshift(window)[None]


def _measured(
    size: tuple[int, int] = SIZE, part: float = 0.7, planes: int = 1, dtype=torch.complex64
) -> Measured:
    mask = _window(size, part).to(dtype.to_real())

    def gram(image: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(mask * torch.fft.fft2(image))

    return Measured(
        adjoint=gram(_randn(planes, *size, dtype=dtype)), gram=gram,
        pixel_noise=torch.full((planes,), 0.1, dtype=dtype.to_real()),
        eigenvalues=mask.expand(planes, *size),
    )  # fmt: skip


def _seeded(make, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


@pytest.mark.parametrize(("normalisation", "agrees"), [
    ("none", True), ("instance", True), ("batch", False)
])  # fmt: skip
def test_only_batch_normalisation_is_another_network_in_use(normalisation, agrees) -> None:
    settings = ModlSettings(filters=4, iterations=3, normalisation=normalisation)
    network = _seeded(lambda: ModlNetwork(settings))
    measured = _measured()
    with torch.no_grad():
        trained, used = network.train()(measured), network.eval()(measured)
    assert torch.allclose(trained, used, atol=1e-6) == agrees


@torch.no_grad()
def test_modl_without_its_network_repeats_the_proximal_step() -> None:
    network = _seeded(lambda: ModlNetwork(ModlSettings(filters=4, iterations=3, weight=0.5)))
    for parameter in network.cnn.parameters():
        parameter.zero_()
    measured = _measured()
    # In the window x -> (y + w x) / (1 + w) has the fixed point y, outside x stays 0.
    assert torch.allclose(network(measured), measured.adjoint, atol=1e-6)
    assert float(network.weight(measured)[0]) == pytest.approx(0.5, rel=1e-5)


@torch.no_grad()
def test_the_weight_of_modl_follows_the_noise_where_it_is_told() -> None:
    network = ModlNetwork(ModlSettings(filters=4))
    network.noise_slope.fill_(1.0)
    quiet = _measured()
    loud = quiet.divided_by(torch.full((1,), 0.1))
    assert float(network.weight(loud)) > 2 * float(network.weight(quiet))


@torch.no_grad()
@pytest.mark.parametrize("size", [(20, 18), (21, 17)])
def test_srdensenet_takes_any_matrix_and_begins_near_its_input(size) -> None:
    network = _seeded(lambda: SrdensenetNetwork(SrdensenetSettings(blocks=2, layers=2)))
    measured = _measured(size)
    image = network(measured)
    assert image.shape == (1, *size)
    assert 0 < float((image - measured.adjoint).norm() / measured.adjoint.norm()) < 0.1


def _published(**changes: int) -> SrdensenetNetwork:
    small = {"blocks": 1, "layers": 1, "growth": 4, "bottleneck": 4, **changes}
    settings = SrdensenetSettings(doubles=True, noise_input=False, **small)
    return _seeded(lambda: SrdensenetNetwork(settings))


@torch.no_grad()
def test_the_published_srdensenet_sees_half_the_matrix() -> None:
    network = _published()
    seen = []
    network.first.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    measured = _measured((16, 24), part=0.5)
    assert network(measured).shape == (1, 16, 24)
    # What a window of half of k-space holds, every second pixel holds.
    half = torch.complex(seen[0][:, 0], seen[0][:, 1])
    assert torch.allclose(half, measured.adjoint[:, ::2, ::2], atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "part", "words"), [((15, 24), 0.5, "even numbers"), ((16, 24), 0.7, "sampled more")]
)
def test_the_published_srdensenet_refuses_other_scans(size, part, words) -> None:
    with pytest.raises(DataError, match=words):
        _published()(_measured(size, part))


@torch.no_grad()
@pytest.mark.parametrize("layout", ["fastmri", "plain"])
def test_the_unet_adds_its_network_to_the_image(layout) -> None:
    network = _seeded(lambda: UnetNetwork(UnetSettings(layout=layout, filters=4, pools=2)))
    measured = _measured((21, 18))
    parts = network.unet(torch.stack([measured.adjoint.real, measured.adjoint.imag], 1))
    expected = measured.adjoint + torch.complex(parts[:, 0], parts[:, 1])
    assert torch.allclose(network(measured), expected)


@torch.no_grad()
@pytest.mark.parametrize("layout", ["fastmri", "plain"])
def test_the_output_of_the_unet_can_count_in_units_of_the_noise(layout) -> None:
    plain = _seeded(lambda: UnetNetwork(UnetSettings(layout=layout, filters=4)))
    scaled = _seeded(lambda: UnetNetwork(UnetSettings(layout=layout, filters=4, noise_scaled=True)))
    measured = _measured((21, 18))
    expected = (plain(measured) - measured.adjoint) * measured.pixel_noise[:, None, None]
    assert torch.allclose(scaled(measured) - measured.adjoint, expected, atol=1e-6)
    assert float(expected.abs().max()) > 1e-4


@torch.no_grad()
def test_the_projected_unet_fits_the_data_and_keeps_its_own_elsewhere() -> None:
    settings = UnetSettings(filters=4, projection=True)
    network = _seeded(lambda: UnetNetwork(settings))
    free = _seeded(lambda: UnetNetwork(settings.model_copy(update={"projection": False})))
    measured = _measured()
    found, alone, given = (
        torch.fft.fft2(image) for image in (network(measured), free(measured), measured.adjoint)
    )
    inside = measured.eigenvalues > 0
    assert torch.allclose(found[inside], given[inside], atol=1e-4)
    assert torch.allclose(found[~inside], alone[~inside], atol=1e-4)
    assert float(found[~inside].abs().max()) > 1e-3


@pytest.mark.parametrize("planes", [1, 3])
def test_planes_in_chunks_are_planes_at_once(planes, monkeypatch) -> None:
    from lowfield_recon.learning.networks import residual_cnn

    networks = [
        ModlNetwork(ModlSettings(filters=4, iterations=2)), UnetNetwork(UnetSettings(filters=4)),
        SrdensenetNetwork(SrdensenetSettings(blocks=1)), TvLambdaNetwork(TvLambdaSettings()),
    ]  # fmt: skip
    measured = _measured(planes=planes)
    for network in networks:
        whole = network(measured).detach()
        monkeypatch.setattr(residual_cnn, "_CHUNK_BYTES", 1)
        with torch.no_grad():
            assert torch.allclose(network(measured), whole, atol=1e-5)
        monkeypatch.undo()


def _objective(measured: Measured, x: torch.Tensor, weights: torch.Tensor, penalty: str) -> float:
    parts = torch.view_as_real(gradient(x))
    length = parts.abs().sum((0, -1)) if penalty == "components" else parts.square().sum(
        (0, -1)
    ).sqrt()  # fmt: skip
    fit = (x.conj() * (0.5 * measured.gram(x) - measured.adjoint)).real.sum()
    return float(fit + (weights * length).sum())


@pytest.mark.parametrize("penalty", ["isotropic", "components"])
def test_many_steps_reach_the_minimum(penalty) -> None:
    measured = _measured((8, 7), part=0.8, dtype=torch.complex128)
    weights = torch.rand(
        1, 8, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64
    )  # fmt: skip
    weights = 0.05 + 0.3 * weights
    x = weighted_total_variation(measured, weights, penalty=penalty, iterations=4000)
    lowest = _objective(measured, x, weights, penalty)
    for seed, size in itertools.product(range(6), (1e-1, 1e-2, 1e-3)):
        other = x + size * _randn(1, 8, 7, seed=seed, dtype=torch.complex128)
        assert _objective(measured, other, weights, penalty) > lowest
    for factor in (0.99, 1.01):
        assert _objective(measured, factor * x, weights, penalty) > lowest
    more = weighted_total_variation(measured, weights, penalty=penalty, iterations=6000)
    assert torch.allclose(more, x, atol=1e-6)


def test_equal_weights_are_the_minimum_that_tv_finds() -> None:
    from lowfield_recon import InverseProblem, reconstruct
    from lowfield_recon.operators import kspace_operator

    measured = _measured((12, 10), part=0.8, dtype=torch.complex128)
    mask = torch.fft.fftshift(measured.eigenvalues[0], dim=(-2, -1))[None, None, None] > 0
    operator = kspace_operator(mask=mask)
    (y,) = operator(measured.adjoint[None, None])
    problem = InverseProblem(data=y, operator=operator)
    expected = reconstruct(
        problem, "tv", regularization_weight=0.1, iterations=5000, tolerance=1e-9
    ).image[0, 0]
    weights = torch.full((1, 12, 10), 0.1, dtype=torch.float64)
    found = weighted_total_variation(measured, weights, penalty="isotropic", iterations=5000)
    assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_the_dual_of_the_data_is_carried_on_the_image_exactly() -> None:
    measured = _measured((8, 6), dtype=torch.complex128)
    weights = torch.full((1, 8, 6), 0.2, dtype=torch.float64)
    y = torch.fft.fft2(measured.adjoint, norm="ortho")
    mask, step = measured.eigenvalues, 0.97 / 3
    x = ahead = measured.adjoint
    p, q = torch.zeros_like(y), torch.zeros(2, 1, 8, 6, dtype=torch.complex128)
    for _ in range(20):
        p = (p + step * (mask * torch.fft.fft2(ahead, norm="ortho") - y)) / (1 + step)
        q = q + step * gradient(ahead)
        q = torch.complex(q.real.clamp(-0.2, 0.2), q.imag.clamp(-0.2, 0.2))
        down = torch.fft.ifft2(mask * p, norm="ortho")
        down = down + (q[0].roll(1, -2) - q[0]) + (q[1].roll(1, -1) - q[1])
        x, before = x - step * down, x
        ahead = 2 * x - before
    found = weighted_total_variation(measured, weights, penalty="components", iterations=20)
    assert torch.allclose(found, x, atol=1e-12)


@pytest.mark.parametrize("penalty", ["isotropic", "components"])
def test_the_derivative_in_the_weights_is_that_of_finite_differences(penalty) -> None:
    measured = _measured((6, 6), dtype=torch.complex128)
    weights = torch.full((1, 6, 6), 0.1, dtype=torch.float64, requires_grad=True)
    direction = torch.rand(
        1, 6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )  # fmt: skip

    def value(w: torch.Tensor) -> torch.Tensor:
        x = weighted_total_variation(measured, w, penalty=penalty, iterations=15)
        return x.abs().square().sum()

    value(weights).backward()
    analytic = float((weights.grad * direction).sum())
    with torch.no_grad():
        ends = [float(value(weights + sign * 1e-6 * direction)) for sign in (1, -1)]
    assert analytic == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)


@torch.no_grad()
def test_maps_relative_to_the_noise_begin_at_the_rule_of_tv_and_follow_the_scale() -> None:
    network = _seeded(lambda: TvLambdaNetwork(TvLambdaSettings(filters=4)))
    for parameter in network.unet.parameters():
        if parameter.ndim > 1:
            parameter.mul_(0.01)
    measured = _measured()
    maps = network.maps(measured)
    assert float(maps.mean() / 0.1) == pytest.approx(0.5, rel=0.05)
    larger = network.maps(measured.divided_by(torch.full((1,), 0.01)))
    assert torch.allclose(larger, 100 * maps, rtol=1e-4)
