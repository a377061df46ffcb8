"""The steps of a network against automatic differentiation and Adam written beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks.skip_network import SkipNetworkSettings
from lowfield_recon.learning.untrained.skip_fit import SkipFit, fastest_precision

SHAPE = (1, 2, 1, 8, 12)
SMALL = SkipNetworkSettings(channels=4, scales=2, skip_channels=2)


def _fit(
    *, is_complex: bool = False, seed: int = 0, images: int = 1, channels: int = 4, scales: int = 2,
    sigmoid: bool = False, precision: str = "float32", input_noise: float = 0.03, shifts: int = 0,
) -> SkipFit:  # fmt: skip
    return SkipFit(
        SHAPE, is_complex=is_complex, images=images, inputs=3, input_noise=input_noise,
        network=SkipNetworkSettings(channels=channels, scales=scales, skip_channels=2),
        sigmoid=sigmoid, precision=precision, learning_rate=0.02,
        generator=torch.Generator().manual_seed(seed), shifts=shifts,
    )  # fmt: skip


def _target(*, is_complex: bool, images: int = 1) -> torch.Tensor:
    shape = SHAPE if images == 1 else (images, *SHAPE)
    dtype = torch.complex64 if is_complex else torch.float32
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(7))


def _as_image(channels: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Channels as an image, written out plane by plane."""
    if not target.is_complex():
        return channels.reshape(target.shape)
    planes = [
        torch.complex(channels[0, 2 * i], channels[0, 2 * i + 1])
        for i in range(channels.shape[1] // 2)
    ]
    return torch.stack(planes).reshape(target.shape)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("draws", [1, 3])
def test_steps_are_those_of_adam_on_the_loss(is_complex: bool, images: int, draws: int) -> None:
    fit = _fit(is_complex=is_complex, images=images)
    target = _target(is_complex=is_complex, images=images)
    network = copy.deepcopy(fit.network)
    adam = torch.optim.Adam(network.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        inputs = [torch.rand(1, 3, 8, 12, generator=generator) for _ in range(draws)]
        found = fit.step(lambda f: f - target, *inputs)
        output = sum(_as_image(network(z), target) for z in inputs) / draws
        loss = 0.5 * (output - target).abs().square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert torch.allclose(found, output.detach(), atol=2e-4)
    assert not found.requires_grad
    for own, other in zip(fit.network.parameters(), network.parameters(), strict=True):
        # The signs of gradients that vanish (an offset before a normalisation) are rounding errors.
        if float(other.grad.abs().max()) > 1e-3:
            assert torch.allclose(own, other, atol=1e-3)


@pytest.mark.parametrize("is_complex", [False, True])
def test_with_shifts_the_image_is_cut_from_where_it_lies(is_complex: bool) -> None:
    fit = _fit(shifts=2, is_complex=is_complex)
    target = _target(is_complex=is_complex)
    same = copy.deepcopy(fit.input)
    places = set()
    for _ in range(12):
        y, x = same.place()
        with torch.no_grad():
            frame = fit.network(same.perturbed((y, x)))
        expected = _as_image(frame[..., y : y + 8, x : x + 12], target)
        assert torch.equal(fit.step(lambda f: f - target), expected)
        places.add((y, x))
    assert len(places) > 4


def test_without_inputs_it_steps_at_the_fixed_one_with_fresh_noise() -> None:
    fit = _fit(input_noise=0.5)
    noise = copy.deepcopy(fit.input)
    with torch.no_grad():
        expected = fit.network(noise.perturbed()).reshape(SHAPE)
    assert torch.equal(fit.step(torch.zeros_like), expected)


def test_steps_are_taken_where_gradients_are_off() -> None:
    fit, target = _fit(), _target(is_complex=False)
    with torch.no_grad():
        errors = [float((fit.step(lambda f: f - target) - target).norm()) for _ in range(30)]
    assert errors[-1] < 0.8 * errors[0]


def test_an_output_takes_no_step() -> None:
    fit = _fit()
    before = fit.state()
    first = fit.output()
    assert torch.equal(fit.output(), first)
    assert not torch.equal(fit.output(torch.ones(1, 3, 8, 12)), first)
    assert all(torch.equal(before[name], value) for name, value in fit.state().items())


def test_a_seed_gives_the_same_steps() -> None:
    target = _target(is_complex=True)

    def run(seed: int) -> list[torch.Tensor]:
        fit = _fit(is_complex=True, seed=seed)
        return [fit.step(lambda f: f - target) for _ in range(20)]

    first, same, other = run(1), run(1), run(2)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_snapshot_can_be_gone_back_to_more_than_once() -> None:
    fit, target = _fit(), _target(is_complex=False)
    z = torch.rand(1, 3, 8, 12)

    def steps(count: int) -> list[torch.Tensor]:
        return [fit.step(lambda f: f - target, z) for _ in range(count)]

    steps(3)
    state = fit.snapshot()
    expected = steps(4)
    for _ in range(2):
        fit.restore(state)
        assert all(torch.equal(a, b) for a, b in zip(steps(4), expected, strict=True))


def test_it_goes_on_from_a_snapshot_at_another_learning_rate() -> None:
    fit = _fit()
    fit.step(torch.ones_like)
    state = fit.snapshot()
    fit.restore(state, learning_rate_factor=0.25)
    fit.restore(state, learning_rate_factor=0.5)
    assert [group["lr"] for group in fit.optimiser.param_groups] == [pytest.approx(0.01)]


def test_weights_pass_from_one_fit_to_another() -> None:
    one, other = _fit(seed=1), _fit(seed=2)
    one.step(torch.ones_like)
    other.start_from(one.state(), "the fit before")
    z = torch.rand(1, 3, 8, 12)
    assert torch.equal(one.output(z), other.output(z))
    one.step(torch.ones_like, z)
    assert not torch.equal(one.output(z), other.output(z))


@pytest.mark.parametrize("other", [{"channels": 5}, {"scales": 3}, {"is_complex": True}])
def test_weights_of_another_network_are_one_clear_line(other: dict[str, bool | int]) -> None:
    with pytest.raises(DataError, match=r"warm_start: the weights of there\.safetensors") as caught:
        _fit().start_from(_fit(**other).state(), "there.safetensors")
    assert "\n" not in str(caught.value)


def test_squeezed_outputs_lie_between_zero_and_one() -> None:
    fit = _fit(sigmoid=True)
    with torch.no_grad():
        fit.network.head.weight.mul_(30)
    output = fit.output()
    assert 0 <= float(output.min()) < 0.1
    assert 0.9 < float(output.max()) <= 1


def test_half_precision_is_near_to_single_in_the_first_steps() -> None:
    target = torch.linspace(0, 1, 12).expand(SHAPE)

    def run(precision: str) -> list[torch.Tensor]:
        fit = _fit(precision=precision, channels=8, seed=2)
        return [fit.step(lambda f: f - target) for _ in range(21)]

    single, half = run("float32"), run("bfloat16")
    assert {image.dtype for image in half} == {torch.float32}
    assert 0 < float((single[0] - half[0]).norm()) <= 0.05 * float(single[0].norm())
    for step in (1, 2, 5, 10, 20):
        errors = [float((images[step] - target).norm()) for images in (single, half)]
        assert errors[1] == pytest.approx(errors[0], rel=0.25)


def test_weights_stay_in_single_precision_beside_convolutions_in_half() -> None:
    fit = _fit(precision="bfloat16")
    fit.step(torch.ones_like)
    assert {value.dtype for value in fit.state().values()} == {torch.float32}
    assert all(isinstance(p, nn.Parameter) for p in fit.network.parameters())


def test_the_fastest_precision_follows_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    for known, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda known=known: known)
        assert fastest_precision(device) == expected
