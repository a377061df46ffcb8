"""`dip` as a method: its objective, its result, every kind of problem and input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.networks.skip_network import SkipNetworkSettings
from lowfield_recon.learning.untrained.skip_fit import SkipFit
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors.dip import DeepImagePrior, DeepImagePriorSettings

SMALL: dict[str, Any] = {
    "iterations": 5, "channels": 4, "scales": 2, "skip_channels": 2, "input_channels": 4,
    "precision": "float32", "stop": "last", "average": 0.0,
}  # fmt: skip


def _solved(problem: InverseProblem, **settings: Any) -> Reconstruction:
    return DeepImagePrior(DeepImagePriorSettings(**{**SMALL, **settings})).reconstruct(problem)


def _image(*shape: int) -> torch.Tensor:
    """A smooth image with an edge, values from 0.1 to 0.9."""
    y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in shape[-2:]), indexing="ij")
    plane = 0.3 + 0.4 * (x + 0.4 * y > 0.6) + 0.1 * torch.sin(9 * y)
    return plane.expand(shape).clone()


def _scan(*, frames: int = 1) -> InverseProblem:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 3, 1, 16, 20, dtype=torch.complex64, generator=generator)
    mask = torch.rand(frames, 1, 1, 16, 1, generator=generator) < 0.6
    A = kspace_operator(mask=mask, coil_maps=maps.expand(frames, -1, -1, -1, -1))
    x = torch.polar(_image(frames, 1, 1, 16, 20), _image(frames, 1, 1, 16, 20))
    return InverseProblem(data=A(x)[0], operator=A, noise_std=0.01)


PROBLEMS = {
    "noisy": lambda: InverseProblem(
        data=_image(1, 1, 1, 16, 20), operator=identity_operator(), image_domain="real",
        noise_std=0.1,
    ),
    "colour": lambda: InverseProblem(
        data=_image(1, 3, 1, 16, 20) * (_image(1, 3, 1, 16, 20) > 0.4), image_domain="real",
        operator=mask_operator(_image(1, 3, 1, 16, 20) > 0.4),
    ),
    "blurred and halved": lambda: InverseProblem(
        data=_image(1, 1, 1, 8, 10), image_domain="nonnegative", noise_std=0.01,
        operator=downsample_operator(2, image_shape=(16, 20))
        @ blur_operator(torch.full((3, 3), 1 / 9), image_shape=(16, 20)),
    ),
    "coils": _scan,
    "frames": lambda: _scan(frames=3),
    "large values": lambda: InverseProblem(
        data=900 * _image(1, 1, 1, 16, 20), operator=identity_operator(), image_domain="real",
        noise_std=9.0,
    ),
}  # fmt: skip
EVERY = pytest.mark.parametrize("problem", PROBLEMS)


@EVERY
@pytest.mark.parametrize("update", ["none", "autoencode", "learn"])
def test_every_problem_is_taken_with_every_input(problem: str, update: str) -> None:
    stated = PROBLEMS[problem]()
    scale = 900.0 if problem == "large values" else 1.0
    result = _solved(stated, input_update=update, iterations=25, scale=scale)
    assert result.image.shape == stated.shape
    assert result.image.dtype == stated.image_dtype
    objective = result.diagnostics["objective"]
    assert objective[-1] < 0.8 * objective[0]


@EVERY
def test_the_objective_is_half_the_squared_misfit_of_the_shown_output(problem: str) -> None:
    stated = PROBLEMS[problem]()
    result = _solved(stated, iterations=3)
    if problem == "colour":
        # Known pixels are put into the result, which the objective does not see.
        stated = InverseProblem(
            data=stated.data, operator=stated.operator, image_domain="real", noise_std=1e-9
        )
        result = _solved(stated, iterations=3)
    residual = stated.operator(result.image)[0] - stated.data
    expected = 0.5 * float((residual.abs() ** 2).sum()) / result.settings["scale"] ** 2
    assert result.diagnostics["objective"][-1] == pytest.approx(expected, rel=1e-3)


def test_its_steps_are_those_of_the_network_on_the_data_term() -> None:
    problem = PROBLEMS["noisy"]()
    fit = SkipFit(
        problem.shape, is_complex=False, inputs=4, input_noise=0.03, sigmoid=True,
        network=SkipNetworkSettings(channels=4, scales=2, skip_channels=2),
        learning_rate=0.01, generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    for _ in range(8):
        expected = fit.step(lambda f: f - problem.data)
    found = _solved(problem, iterations=8, seed=5, learning_rate=0.01, input_noise=0.03)
    assert torch.allclose(found.image, expected, atol=1e-4)


def test_the_result_is_the_mean_of_the_outputs_with_fading_weights() -> None:
    problem = PROBLEMS["noisy"]()
    outputs = [_solved(problem, iterations=n).image for n in range(1, 6)]
    weights = 0.7 ** torch.arange(4.0, -1.0, -1.0)
    expected = sum(w * x for w, x in zip(weights, outputs, strict=True)) / weights.sum()
    found = _solved(problem, iterations=5, average=0.7).image
    assert torch.allclose(found, expected, atol=1e-5)


def test_photographs_stay_between_black_and_white() -> None:
    image = _solved(PROBLEMS["noisy"](), learning_rate=1.0, iterations=10).image
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_a_longer_fit_comes_nearer_to_the_truth_behind_the_mask() -> None:
    x = _image(1, 1, 1, 24, 24)
    A = mask_operator(torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.5)
    problem = InverseProblem(data=A(x)[0], operator=A, image_domain="real")
    few, many = (_solved(problem, iterations=n, channels=8, average=0.9).image for n in (5, 150))
    errors = [float((image - x).norm() / x.norm()) for image in (few, many)]
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.12


def test_the_three_inputs_differ() -> None:
    problem = _scan()
    images = [
        _solved(problem, input_update=update).image for update in ("none", "autoencode", "learn")
    ]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])


def test_the_image_moves_under_the_network_on_request() -> None:
    problem = PROBLEMS["noisy"]()
    still, moved = (_solved(problem, shifts=n) for n in (0, 1))
    assert torch.equal(still.image, _solved(problem).image)
    assert not torch.equal(still.image, moved.image)


@pytest.mark.parametrize("update", ["autoencode", "learn"])
def test_an_input_that_changes_does_not_move_with_the_image(update: str) -> None:
    with pytest.raises(UsageError, match="shifts=2") as raised:
        _solved(PROBLEMS["noisy"](), input_update=update, shifts=2)
    assert "\n" not in str(raised.value)


def test_inputs_that_follow_the_output_begin_at_the_back_projection() -> None:
    problem = _scan()
    result = _solved(
        problem, input_update="autoencode", input_weight=1e6, input_steps=0, iterations=400,
        learning_rate=0.02, channels=8,
    )  # fmt: skip
    (back,) = problem.operator.adjoint(problem.data)
    correlation = abs(torch.vdot(back.flatten(), result.image.flatten()))
    assert correlation > 0.9 * back.norm() * result.image.norm()


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_update": "guess"}, {"input_weight": -1.0}, {"input_draws": 0},
        {"learning_rate": 0.0}, {"average": 1.0}, {"stop": "oracle"}, {"held_out": 0.0},
        {"regularization_weight": 1.0},
    ],
)  # fmt: skip
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeepImagePriorSettings(**wrong)
