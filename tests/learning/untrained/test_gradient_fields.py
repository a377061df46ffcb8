"""Loss, fields and gradients of the networks of `ngr`, by finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lowfield_recon.learning.untrained.gradient_fields import FreeFields, PotentialFields
from lowfield_recon.solvers.gradient_fit import FieldData, GradientFit

SHAPE = (1, 3, 1, 5, 4)
AXES, WEIGHTS = (-2, -1, -4), (1.0, 1.0, 0.3)


class Recorder:
    """Stands for a network: puts out a given image and keeps the gradient that it is given."""

    def __init__(self, output: torch.Tensor) -> None:
        self.output = output
        self.gradient = torch.tensor(0.0)

    def step(self, gradient: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        self.gradient = gradient(self.output)
        return self.output


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _solver(dtype: torch.dtype = torch.float64, *, periodic: bool = True) -> GradientFit:
    data = FieldData(
        rhs=_random(*SHAPE, dtype=dtype), gram=lambda x: x, is_exact=True,
        eigenvalues=torch.ones(1, 1, 1, dtype=torch.float64),
    )  # fmt: skip
    return GradientFit(data, axes=AXES, weights=WEIGHTS, strength=1.0, periodic=periodic)


def _by_roll(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.roll(x, -1, axis) - x for axis in AXES])


def _loss(x: torch.Tensor, fields: torch.Tensor) -> float:
    parts = (_by_roll(x) - fields).abs().square().flatten(1).sum(dim=1)
    return 0.5 * float((parts * torch.tensor(WEIGHTS, dtype=torch.float64)).sum())


def _slope(value: Callable[[torch.Tensor], float], at: torch.Tensor, along: torch.Tensor) -> float:
    step = 1e-3
    return (value(at + step * along) - value(at - step * along)) / (2 * step)


def _dot(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.conj() * b).real.sum())


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradient_of_free_fields_is_that_of_the_loss(dtype: torch.dtype) -> None:
    x, output = _random(*SHAPE, dtype=dtype), _random(3, *SHAPE, seed=1, dtype=dtype)
    network = Recorder(output)
    fields, objective = FreeFields([network], _solver(dtype), WEIGHTS).step(x)
    assert torch.equal(fields, output)
    assert objective == pytest.approx(_loss(x, output), rel=1e-12)
    expected = torch.tensor(WEIGHTS, dtype=torch.float64).reshape(3, 1, 1, 1, 1, 1)
    assert torch.allclose(network.gradient, expected * (output - _by_roll(x)), atol=1e-12)
    along = _random(3, *SHAPE, seed=2, dtype=dtype)
    found = _slope(lambda f: _loss(x, f), output, along)
    assert _dot(network.gradient, along) == pytest.approx(found, rel=1e-6)


def test_a_network_for_each_direction_learns_what_one_for_all_would() -> None:
    x, output = _random(*SHAPE), _random(3, *SHAPE, seed=1)
    one, three = Recorder(output), [Recorder(field) for field in output]
    together = FreeFields([one], _solver(), WEIGHTS).step(x)
    apart = FreeFields(three, _solver(), WEIGHTS).step(x)
    assert torch.equal(together[0], apart[0])
    assert together[1] == apart[1]
    assert torch.equal(one.gradient, torch.stack([network.gradient for network in three]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradient_of_a_potential_is_that_of_data_and_differences(dtype: torch.dtype) -> None:
    x, y, g = (_random(*SHAPE, seed=seed, dtype=dtype) for seed in (3, 4, 5))

    def data(image: torch.Tensor) -> tuple[float, torch.Tensor]:
        return 0.5 * _dot(image - y, image - y), image - y

    network = Recorder(g)
    model = PotentialFields([network], _solver(dtype), data, weight=1.7)
    fields, objective = model.step(x)

    def value(image: torch.Tensor) -> float:
        return data(image)[0] + 1.7 * _loss(x, _by_roll(image))

    assert objective == pytest.approx(value(g), rel=1e-12)
    assert torch.allclose(fields, _by_roll(g), atol=1e-12)
    along = _random(*SHAPE, seed=6, dtype=dtype)
    assert _dot(network.gradient, along) == pytest.approx(_slope(value, g, along), rel=1e-6)


def test_several_potentials_learn_by_themselves_and_give_their_mean() -> None:
    x, y = _random(*SHAPE, seed=3), _random(*SHAPE, seed=4)

    def data(image: torch.Tensor) -> tuple[float, torch.Tensor]:
        return 0.5 * _dot(image - y, image - y), image - y

    outputs = [_random(*SHAPE, seed=10 + n) for n in range(3)]
    networks = [Recorder(output) for output in outputs]
    fields, objective = PotentialFields(networks, _solver(), data, weight=1.0).step(x)
    assert torch.allclose(fields, _by_roll(sum(outputs) / 3), atol=1e-12)
    values = []
    for output, network in zip(outputs, networks, strict=True):
        alone = Recorder(output)
        values.append(PotentialFields([alone], _solver(), data, weight=1.0).step(x)[1])
        assert torch.equal(alone.gradient, network.gradient)
    assert objective == pytest.approx(sum(values) / 3, rel=1e-12)


def test_they_go_on_with_other_differences_and_data() -> None:
    x, g = _random(*SHAPE, seed=3), _random(*SHAPE, seed=5)

    def nothing(image: torch.Tensor) -> tuple[float, torch.Tensor]:
        return 0.0, torch.zeros_like(image)

    def constant(image: torch.Tensor) -> tuple[float, torch.Tensor]:
        return 7.0, torch.ones_like(image)

    ended = _solver(periodic=False)
    network = Recorder(g)
    model = PotentialFields([network], _solver(), nothing, weight=0.0)
    model.use(ended, constant)
    fields, objective = model.step(x)
    assert objective == 7.0
    assert torch.equal(network.gradient, torch.ones_like(g))
    assert torch.equal(fields, ended.differences(g))
    free = FreeFields([Recorder(torch.zeros(3, *SHAPE, dtype=torch.float64))], _solver(), WEIGHTS)
    free.use(ended, constant)
    assert free.step(x)[1] == ended.energy(ended.differences(x))
