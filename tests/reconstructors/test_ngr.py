"""`ngr` as a method: its fields, its image steps, every kind of problem, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from lowfield_recon.errors import LowfieldReconError, UsageError
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors.ngr import NeuralGradient, NeuralGradientSettings
from lowfield_recon.reconstructors.untrained_problem import state_problem

SMALL: dict[str, Any] = {
    "iterations": 5, "channels": 4, "scales": 2, "skip_channels": 2, "input_channels": 4,
    "precision": "float32", "stop": "last", "average": 0.0, "members": 2,
}  # fmt: skip
FIELDS = pytest.mark.parametrize("fields", ["potential", "shared", "separate"])


def _method(**settings: Any) -> NeuralGradient:
    return NeuralGradient(NeuralGradientSettings(**{**SMALL, **settings}))


def _solved(problem: InverseProblem, **settings: Any) -> Reconstruction:
    return _method(**settings).reconstruct(problem)


def _image(*shape: int) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in shape[-2:]), indexing="ij")
    plane = 0.3 + 0.4 * (x + 0.4 * y > 0.6) + 0.1 * torch.sin(9 * y)
    return plane.expand(shape).clone()


def _inpainting(*shape: int, noise: float = 0.0, factor: float = 1.0) -> InverseProblem:
    x = factor * _image(*shape)
    A = mask_operator(torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5)
    return InverseProblem(data=A(x)[0], operator=A, image_domain="real", noise_std=noise)


def _scan(*, coils: int = 3, frames: int = 1) -> InverseProblem:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(frames, coils, 1, 16, 20, dtype=torch.complex64, generator=generator)
    mask = torch.rand(frames, 1, 1, 16, 1, generator=generator) < 0.6
    mask[..., 7:10, :] = True
    A = kspace_operator(mask=mask, coil_maps=maps if coils > 1 else None)
    x = torch.polar(_image(frames, 1, 1, 16, 20), _image(frames, 1, 1, 16, 20))
    return InverseProblem(data=A(x)[0], operator=A, noise_std=0.01)


def _super_resolution() -> InverseProblem:
    A = downsample_operator(2, image_shape=(16, 20)) @ blur_operator(
        torch.full((3, 3), 1 / 9), image_shape=(16, 20)
    )
    (y,) = A(_image(1, 1, 1, 16, 20))
    return InverseProblem(data=y, operator=A, image_domain="real", noise_std=0.01)


PROBLEMS = {
    "masked": lambda: _inpainting(1, 1, 1, 16, 20),
    "masked and noisy": lambda: _inpainting(1, 1, 1, 16, 20, noise=0.05),
    "colour": lambda: _inpainting(1, 3, 1, 16, 20),
    "noisy": lambda: InverseProblem(
        data=_image(1, 1, 1, 16, 20), operator=identity_operator(), image_domain="real",
        noise_std=0.1,
    ),
    "blurred": lambda: InverseProblem(
        data=_image(1, 1, 1, 16, 20), image_domain="real", noise_std=0.01,
        operator=blur_operator(torch.full((3, 3), 1 / 9), image_shape=(16, 20)),
    ),
    "blurred and halved": _super_resolution,
    "one coil": lambda: _scan(coils=1),
    "coils": _scan,
}  # fmt: skip


@FIELDS
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_is_taken_with_every_kind_of_field(problem: str, fields: str) -> None:
    stated = PROBLEMS[problem]()
    result = _solved(stated, fields=fields, iterations=12)
    assert result.image.shape == stated.shape
    assert result.image.dtype == stated.image_dtype
    objective = result.diagnostics["objective"]
    assert len(objective) == 12
    assert min(objective[6:]) < objective[0]


@FIELDS
@pytest.mark.parametrize(
    ("problem", "axis"),
    [
        (_inpainting(1, 3, 1, 16, 20), "channels"), (_inpainting(1, 1, 4, 16, 20), "slices"),
        (_inpainting(3, 1, 1, 16, 20), "frames"), (_scan(frames=3), "frames"),
    ],
)  # fmt: skip
def test_stacks_have_a_gradient_along_their_third_axis(problem, axis, fields) -> None:
    result = _solved(problem, fields=fields, stack_axis=axis)
    assert result.image.shape == problem.shape
    other = _solved(problem, fields=fields, stack_axis=axis, stack_weight=0.9)
    assert not torch.equal(result.image, other.image)


@pytest.mark.parametrize("axis", ["channels", "slices", "frames"])
def test_a_stack_of_one_is_refused_in_one_line(axis: str) -> None:
    with pytest.raises(UsageError, match=f"stack_axis={axis}") as raised:
        _solved(_inpainting(1, 1, 1, 16, 20), stack_axis=axis)
    assert "\n" not in str(raised.value)


@FIELDS
@pytest.mark.parametrize("update", ["exact", "splitting"])
@pytest.mark.parametrize("factor", [1.0, 1 / 3])
def test_known_pixels_stay_bit_by_bit(fields: str, update: str, factor: float) -> None:
    problem = _inpainting(1, 3, 1, 16, 20, factor=factor)
    image = _solved(problem, fields=fields, update=update, stack_axis="channels").image
    seen = problem.operator.mask
    assert torch.equal(image[seen], problem.data[seen])
    assert not torch.equal(image[~seen], problem.data[~seen])


def test_the_splitting_is_for_known_pixels_and_periodic_differences() -> None:
    for problem in (_scan(), _inpainting(1, 1, 1, 16, 20, noise=0.1)):
        with pytest.raises(LowfieldReconError, match="update=splitting") as raised:
            _solved(problem, update="splitting")
        assert "\n" not in str(raised.value)
    masked = _inpainting(1, 1, 1, 16, 20)
    with pytest.raises(UsageError, match="boundary=neumann") as raised:
        _solved(masked, update="splitting", boundary="neumann")
    assert "\n" not in str(raised.value)
    assert _solved(masked, update="splitting").settings["boundary"] == "periodic"


def test_the_splitting_keeps_complex_images_complex() -> None:
    masked = _inpainting(1, 1, 1, 16, 20)
    x = torch.polar(_image(1, 1, 1, 16, 20), 3 * _image(1, 1, 1, 16, 20))
    problem = InverseProblem(data=masked.operator(x)[0], operator=masked.operator)
    image = _solved(problem, update="splitting", fields="shared", iterations=60).image
    free = ~masked.operator.mask
    assert float((image - x)[free].abs().mean()) < 0.5 * float(x[free].abs().mean())
    assert float(image.imag[free].abs().mean()) > 0.1


def test_photographs_end_at_their_border_and_scans_go_around() -> None:
    assert _solved(PROBLEMS["noisy"]()).settings["boundary"] == "neumann"
    assert _solved(_scan()).settings["boundary"] == "periodic"
    assert _solved(_scan(), boundary="neumann").settings["boundary"] == "neumann"


class Seen:
    """Keeps the image of every iteration, and of the finishing ones after them."""

    def __init__(self) -> None:
        self.images: list[torch.Tensor] = []

    def __call__(self, _iteration: int, _total: int, _objective: float | None, /) -> None:
        return

    def wants_image(self, _iteration: int) -> bool:
        return True

    def show_image(self, _iteration: int, image: torch.Tensor) -> None:
        self.images.append(image.clone())


def test_held_out_samples_that_were_never_fitted_are_put_in_at_the_end() -> None:
    problem, seen = _scan(), Seen()
    method = _method(solver_steps=60, stop="held-out", held_out=0.2, finish=0.0)
    result = method.reconstruct(problem, progress=seen)
    chosen = seen.images[result.diagnostics["chosen_iteration"] - 1]
    weight = result.settings["regularization_weight"]
    D = GradientOp((-2, -1))
    A = problem.operator
    # A^H (A x - y) + w D^H (D x - D x_chosen) = 0
    x = result.image
    slope = A.adjoint(A(x)[0] - problem.data)[0]
    slope = slope + weight * D.adjoint(D(x)[0] - D(chosen)[0])[0]
    assert float(slope.norm()) <= 1e-4 * float(A.adjoint(problem.data)[0].norm())
    assert not torch.equal(x, chosen)


@pytest.mark.parametrize("settings", [{"stop": "last"}, {"stop": "held-out", "finish": 1.0}])
def test_an_image_that_was_fitted_to_all_samples_stays_as_it_was_shown(settings) -> None:
    seen = Seen()
    result = _method(**settings, average=0.9).reconstruct(_scan(), progress=seen)
    assert torch.equal(result.image, seen.images[-1])


def test_the_strength_follows_the_noise_and_is_reported() -> None:
    problem = PROBLEMS["noisy"]()
    found = [
        _solved(
            InverseProblem(
                data=problem.data, operator=problem.operator, image_domain="real", noise_std=noise
            )
        ).settings["regularization_weight"]
        for noise in (0.05, 0.2)
    ]
    assert found[1] > found[0] > 0
    assert _solved(problem, regularization_weight=0.3).settings["regularization_weight"] == 0.3


def test_without_weight_of_the_differences_a_potential_is_a_mean_of_deep_image_priors() -> None:
    problem = PROBLEMS["noisy"]()
    one, other = (
        _solved(problem, gradient_weight=0.0, regularization_weight=w).diagnostics["objective"]
        for w in (0.01, 10.0)
    )
    assert one == other
    coupled = _solved(problem, gradient_weight=5.0).diagnostics["objective"]
    assert coupled[1:] != one[1:]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"fields": "potential", "members": 3}, 3), ({"fields": "shared"}, 1),
        ({"fields": "separate"}, 3),
    ],
)  # fmt: skip
def test_there_are_as_many_networks_as_the_fields_need(settings, count: int) -> None:
    problem = _inpainting(1, 3, 1, 16, 20)
    method = _method(**settings, stack_axis="channels")
    run = method.begin(state_problem(problem, method.settings), problem)
    assert len(run.fits) == count
    outputs = {fit.output().shape for fit in run.fits}
    expected = (3, *problem.shape) if settings["fields"] == "shared" else problem.shape
    assert outputs == {torch.Size(expected)}
    weights = [next(iter(fit.network.parameters())) for fit in run.fits]
    assert all(not torch.equal(weights[0], other) for other in weights[1:])


def test_a_longer_fit_comes_nearer_to_the_truth_behind_the_mask() -> None:
    problem = _inpainting(1, 1, 1, 24, 24)
    x = _image(1, 1, 1, 24, 24)
    few, many = (_solved(problem, iterations=n, channels=8, average=0.9).image for n in (2, 300))
    errors = [float((image - x).norm() / x.norm()) for image in (few, many)]
    assert errors[1] < 0.8 * errors[0]
    assert errors[1] < 0.08


@pytest.mark.parametrize(
    ("problem", "settings", "shifts"),
    [
        ("masked", {}, 1), ("colour", {}, 1), ("masked and noisy", {}, 0), ("noisy", {}, 0),
        ("masked", {"fields": "shared"}, 0), ("masked", {"fields": "separate"}, 0),
        ("masked", {"shifts": 3}, 3), ("noisy", {"fields": "shared", "shifts": 2}, 2),
    ],
)  # fmt: skip
def test_the_image_moves_where_pixels_are_known_without_noise(problem, settings, shifts) -> None:
    result = _solved(PROBLEMS[problem](), **settings)
    assert result.settings["shifts"] == shifts
    unmoved = _solved(PROBLEMS[problem](), **{**settings, "shifts": 0})
    assert torch.equal(result.image, unmoved.image) == (shifts == 0)


@pytest.mark.parametrize(("members", "moves"), [(1, [True]), (4, [False, True, True, False])])
def test_of_several_networks_every_third_stays(members: int, moves: list[bool]) -> None:
    problem = PROBLEMS["masked"]()
    method = _method(members=members)
    run = method.begin(state_problem(problem, method.settings), problem)
    places = [{fit.input.place() for _ in range(40)} for fit in run.fits]
    assert places == [{(0, 0), (0, 1), (1, 0), (1, 1)} if move else {(0, 0)} for move in moves]


@pytest.mark.parametrize(
    "wrong",
    [
        {"fields": "free"}, {"members": 0}, {"update": "fast"}, {"boundary": "zero"},
        {"stack_axis": "time"}, {"stack_weight": 0.0}, {"solver_steps": 0},
        {"regularization_weight": 0.0}, {"input_update": "learn"},
    ],
)  # fmt: skip
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NeuralGradientSettings(**wrong)
