"""What `dip` and `ngr` share: scale, stopping, budget, interrupts, weights, refusals."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.learning.untrained.skip_fit import SkipFit
from lowfield_recon.operators import (
    blur_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors.dip import DeepImagePrior, DeepImagePriorSettings
from lowfield_recon.reconstructors.ngr import NeuralGradient, NeuralGradientSettings
from lowfield_recon.reconstructors.untrained_problem import state_problem, stopping_rule

METHODS = pytest.mark.parametrize("name", ["dip", "ngr"])
SMALL: dict[str, Any] = {
    "iterations": 4, "channels": 4, "scales": 2, "skip_channels": 2, "input_channels": 4,
    "precision": "float32",
}  # fmt: skip


def _method(name: str, **settings: Any) -> DeepImagePrior | NeuralGradient:
    chosen = {**SMALL, **settings}
    if name == "dip":
        return DeepImagePrior(DeepImagePriorSettings(**chosen))
    return NeuralGradient(NeuralGradientSettings(**{"members": 1, "solver_steps": 3, **chosen}))


def _photograph(*size: int) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in size), indexing="ij")
    return (0.2 + 0.5 * (x + 0.4 * y > 0.6) + 0.1 * torch.sin(9 * y))[None, None, None]


def _inpainting(size: tuple[int, int] = (20, 24), *, noise: float | None = 0.0) -> InverseProblem:
    x = _photograph(*size)
    generator = torch.Generator().manual_seed(1)
    A = mask_operator(torch.rand(x.shape, generator=generator) < 0.5)
    noisy = x + (noise or 0.0) * torch.randn(x.shape, generator=generator)
    return InverseProblem(data=A(noisy)[0], operator=A, noise_std=noise, image_domain="real")


def _denoising(noise: float | None = 0.1) -> InverseProblem:
    x = _photograph(20, 24)
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    return InverseProblem(
        data=y, operator=identity_operator(), noise_std=noise, image_domain="real"
    )


def _scan(
    scale: float = 1.0, *, noise: float = 0.02, reference: torch.Tensor | None = None
) -> InverseProblem:
    generator = torch.Generator().manual_seed(3)
    mask = torch.rand(1, 1, 1, 24, 1, generator=generator) < 0.5
    mask[..., 10:14, :] = True
    maps = torch.randn(1, 3, 1, 24, 20, dtype=torch.complex64, generator=generator)
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    A = kspace_operator(mask=mask, coil_maps=maps)
    (y,) = A(torch.polar(_photograph(24, 20), _photograph(24, 20)))
    e = noise * torch.randn(y.shape, dtype=y.dtype, generator=generator) * mask
    return InverseProblem(
        data=scale * (y + e), operator=A, noise_std=scale * noise, reference=reference
    )


class Watching:
    """Shown every image; interrupts at one of the calls where it is told to."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.images: list[torch.Tensor] = []
        self.calls = 0
        self._interrupt_at = interrupt_at

    def __call__(self, _iteration: int, _total: int, _objective: float | None, /) -> None:
        self.calls += 1
        if self.calls == self._interrupt_at:
            raise KeyboardInterrupt

    def wants_image(self, _iteration: int) -> bool:
        return True

    def show_image(self, _iteration: int, image: torch.Tensor) -> None:
        self.images.append(image.clone())


def _one_line(raised: pytest.ExceptionInfo[LowfieldReconError]) -> bool:
    return "\n" not in str(raised.value) and len(str(raised.value)) < 300


@METHODS
def test_the_unit_of_the_data_is_that_of_the_image(name: str) -> None:
    one = _method(name).reconstruct(_scan())
    other = _method(name).reconstruct(_scan(1024.0))
    assert torch.equal(other.image, 1024 * one.image)
    assert other.settings["scale"] == 1024 * one.settings["scale"]
    assert other.diagnostics["objective"] == one.diagnostics["objective"]


def test_scans_are_scaled_by_the_bright_end_of_the_back_projection() -> None:
    problem = _scan()
    stated = state_problem(problem, DeepImagePriorSettings(**SMALL))
    (back,) = problem.operator.adjoint(problem.data)
    # The coil maps have norm 1 at every pixel, so that ||A||^2 <= 1, with equality nearly.
    expected = float(back.abs().flatten().sort().values[477])
    assert expected < 0.95 * float(back.abs().max())
    assert stated.peak == pytest.approx(expected, rel=0.05)
    assert 0 < stated.scale <= stated.peak


@pytest.mark.parametrize(("factor", "expected"), [(1.0, 1.0), (255.0, None)])
def test_photographs_between_zero_and_one_are_not_scaled(factor, expected) -> None:
    problem = InverseProblem(
        data=factor * _photograph(20, 24), operator=identity_operator(), image_domain="real",
        noise_std=0.1,
    )  # fmt: skip
    stated = state_problem(problem, DeepImagePriorSettings(**SMALL))
    assert stated.is_photograph == (expected is not None)
    assert stated.peak == (expected or pytest.approx(float(problem.data.max()), rel=0.05))
    assert expected is None or stated.scale == 1.0


@pytest.mark.parametrize("make", [_inpainting, _denoising, _scan])
def test_the_stated_data_term_is_that_of_the_scaled_samples(make) -> None:
    problem = make()
    stated = state_problem(problem, DeepImagePriorSettings(**SMALL, stop="last", scale=3.0))
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(problem.shape, dtype=problem.image_dtype, generator=generator)
    residual = problem.operator(x)[0] - problem.data / 3
    value, slope = stated.data_term(x)
    assert value == pytest.approx(0.5 * float((residual.abs() ** 2).sum()), rel=1e-4)
    assert torch.allclose(slope, problem.operator.adjoint(residual)[0], atol=1e-4)
    assert torch.equal(stated.in_unit(x), 3 * x)


@METHODS
@pytest.mark.parametrize(
    ("problem", "stop", "rule"),
    [
        (_scan(), None, "held-out"), (_denoising(), None, "held-out"),
        (_inpainting(), None, "last"), (_inpainting(noise=0.1), None, "held-out"),
        (_inpainting(), "held-out", "held-out"), (_scan(), "variance", "variance"),
        (_scan(), "discrepancy", "discrepancy"), (_scan(), "last", "last"),
    ],
)  # fmt: skip
def test_the_rule_is_the_one_asked_for_or_the_one_for_the_data(name, problem, stop, rule) -> None:
    found = _method(name, stop=stop).reconstruct(problem).diagnostics
    assert found["rule"] == rule
    assert ("held_out" in found) == (rule == "held-out")
    assert len(found["rule_values"]) == (0 if rule == "last" else found["iterations"])
    assert len(found["objective"]) == found["iterations"]
    assert 1 <= found["chosen_iteration"] <= found["iterations"] <= 4


@METHODS
def test_the_discrepancy_needs_the_noise_level(name: str) -> None:
    with pytest.raises(DataError, match="noise level is not known") as raised:
        _method(name, stop="discrepancy").reconstruct(_inpainting(noise=None))
    assert _one_line(raised)


def test_the_discrepancy_is_that_of_all_samples() -> None:
    problem = _scan()
    settings = DeepImagePriorSettings(**SMALL, stop="discrepancy")
    stated = state_problem(problem, settings)
    rule = stopping_rule(stated, problem, settings)
    m = int((problem.data != 0).sum())
    truth = torch.polar(_photograph(24, 20), _photograph(24, 20))
    misfit = rule._misfit(truth / stated.scale) * stated.scale**2  # type: ignore[attr-defined]
    assert rule._limit * stated.scale**2 == pytest.approx(m * 0.02**2, rel=1e-5)  # type: ignore[attr-defined]
    assert misfit == pytest.approx(float((problem.operator(truth)[0] - problem.data).norm()) ** 2,
                                   rel=0.02)  # fmt: skip


@METHODS
def test_without_samples_to_spare_the_variance_decides_and_says_so(name: str) -> None:
    mask = torch.zeros(1, 1, 1, 24, 1)
    mask[..., 12, :] = 1
    A = kspace_operator(mask=mask)
    (y,) = A(_photograph(24, 20).to(torch.complex64))
    found = _method(name).reconstruct(InverseProblem(data=y, operator=A, noise_std=0.1))
    assert found.diagnostics["rule"] == "variance"
    assert "too few samples" in found.diagnostics["note"]


@METHODS
@pytest.mark.parametrize("noise", [0.1, None])
def test_noisy_pixels_are_never_pasted_whether_the_level_is_known_or_not(name, noise) -> None:
    problem = _denoising(noise)
    for finish in (0.0, 0.5):
        image = _method(name, finish=finish, average=0.0).reconstruct(problem).image
        assert float((image == problem.data).float().mean()) < 0.01


@METHODS
def test_known_pixels_are_those_of_the_data_whatever_the_scale(name: str) -> None:
    problem = _inpainting()
    seen = problem.operator.mask
    for factor, stop in ((1.0, None), (1 / 3, "held-out"), (777.0, None)):
        scaled = InverseProblem(
            data=factor * problem.data, operator=problem.operator, image_domain="real"
        )
        image = _method(name, stop=stop).reconstruct(scaled).image
        assert torch.equal(image[seen], scaled.data[seen])
        assert bool(torch.isfinite(image).all())


@METHODS
def test_the_fit_ends_with_all_samples(name: str) -> None:
    watching = Watching()
    found = _method(name, iterations=8, finish=0.5).reconstruct(_scan(), progress=watching)
    assert found.diagnostics["finishing_iterations"] == max(
        1, round(0.5 * found.diagnostics["chosen_iteration"])
    )
    assert watching.calls == 8 + found.diagnostics["finishing_iterations"]
    without = _method(name, iterations=8, finish=0.0).reconstruct(_scan())
    assert "finishing_iterations" not in without.diagnostics
    assert not torch.equal(without.image, found.image)


@METHODS
def test_previews_are_shown_in_the_unit_of_the_data(name: str) -> None:
    watching = Watching()
    settings = {"stop": "last", "average": 0.0}
    result = _method(name, **settings).reconstruct(_scan(1000.0), progress=watching)
    assert len(watching.images) == 4
    assert watching.images[-1].shape == result.image.shape
    ratio = float(watching.images[-1].abs().mean() / result.image.abs().mean())
    assert 0.2 < ratio < 5


@METHODS
@pytest.mark.parametrize("call", [2, 4, 5, 6])
def test_an_interrupt_returns_the_image_so_far(name: str, call: int) -> None:
    problem = _scan()
    result = _method(name, finish=1.0).reconstruct(problem, progress=Watching(interrupt_at=call))
    assert result.diagnostics["stopping_reason"] == "interrupted"
    assert result.image.shape == problem.shape
    assert float(result.image.abs().max()) > 0


@METHODS
def test_an_interrupt_as_the_last_iterations_begin_returns_the_image_so_far(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, step = _scan(), SkipFit.step
    expected = _method(name, iterations=1, finish=0.0).reconstruct(problem)
    count = 0

    def interrupted(self: SkipFit, *given: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return step(self, *given)

    monkeypatch.setattr(SkipFit, "step", interrupted)
    result = _method(name, iterations=1, finish=1.0).reconstruct(problem)
    assert result.diagnostics["stopping_reason"] == "interrupted"
    assert torch.allclose(result.image, expected.image, atol=1e-6)


@METHODS
def test_an_interrupt_before_there_is_an_image_goes_on(name, monkeypatch) -> None:
    def interrupted(self: SkipFit, *given: Any) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(SkipFit, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _method(name).reconstruct(_scan())


@METHODS
def test_the_budget_is_kept_also_by_the_last_iterations(name: str) -> None:
    settings = {"iterations": 100_000, "budget": 0.25, "finish": 0.5, "patience": 100_000}
    _method(name).reconstruct(_scan())
    start = time.perf_counter()
    found = _method(name, **settings).reconstruct(_scan())
    assert time.perf_counter() - start < 1.5
    assert found.diagnostics["stopping_reason"] == "budget"
    assert 1 <= found.diagnostics["iterations"] < 100_000
    assert found.diagnostics["finishing_iterations"] >= 1


@METHODS
@pytest.mark.parametrize("budget", [0.0, -1.0, float("inf"), float("nan")])
def test_a_budget_of_nothing_is_refused(name: str, budget: float) -> None:
    with pytest.raises(ValidationError, match="budget"):
        _method(name, budget=budget)


@METHODS
def test_weights_go_to_a_file_and_come_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / "slice.safetensors"
    cold = _method(
        name, iterations=15, learning_rate=0.03, scale=1.0, save_weights=str(path)
    ).reconstruct(_scan())
    warm = _method(name, scale=1.0, warm_start=str(path)).reconstruct(_scan())
    assert warm.diagnostics["objective"][0] < 0.7 * cold.diagnostics["objective"][0]
    written = json.loads(path.with_suffix(".json").read_text())
    assert written["method"] == name
    assert written["fitted_to"] == "one measurement; no training data"
    assert written["architecture"]["channels"] == 4


@METHODS
def test_weights_carry_over_from_the_image_before(name: str) -> None:
    method = _method(name, iterations=15, learning_rate=0.03, scale=1.0, warm_start="previous")
    first, second = (method.reconstruct(_scan()).diagnostics["objective"] for _ in range(2))
    assert second[0] < 0.7 * first[0]
    plain = _method(name, iterations=15, learning_rate=0.03, scale=1.0)
    for _ in range(2):
        assert plain.reconstruct(_scan()).diagnostics["objective"] == first


@METHODS
@pytest.mark.parametrize("settings", [{"channels": 6}, {"scales": 1}, {"skip_channels": 3}])
def test_weights_of_another_size_are_one_clear_line(name, settings, tmp_path: Path) -> None:
    path = str(tmp_path / "other.safetensors")
    _method(name, save_weights=path, **settings).reconstruct(_scan())
    with pytest.raises(DataError, match=r"warm_start: the weights of .*other") as raised:
        _method(name, warm_start=path).reconstruct(_scan())
    assert "\n" not in str(raised.value)


def test_weights_of_another_method_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "dip.safetensors")
    _method("dip", save_weights=path).reconstruct(_scan())
    with pytest.raises(DataError, match="dip"):
        _method("ngr", warm_start=path).reconstruct(_scan())


@METHODS
def test_a_file_that_is_not_there_is_one_clear_line(name: str) -> None:
    with pytest.raises(LowfieldReconError, match="there is no such file") as raised:
        _method(name, warm_start="nowhere.safetensors").reconstruct(_scan())
    assert _one_line(raised)


@METHODS
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 9)])
def test_images_too_small_for_a_network_are_refused(name: str, size: tuple[int, int]) -> None:
    problem = InverseProblem(
        data=torch.full((1, 1, 1, *size), 0.5), operator=identity_operator(), image_domain="real"
    )
    with pytest.raises(DataError, match="too small for a network") as raised:
        _method(name).reconstruct(problem)
    assert _one_line(raised)


@METHODS
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (4, 33)])
@pytest.mark.parametrize("scales", [2, 5])
def test_small_images_are_taken(name: str, size: tuple[int, int], scales: int) -> None:
    result = _method(name, scales=scales).reconstruct(_inpainting(size))
    assert result.image.shape == (1, 1, 1, *size)
    assert bool(torch.isfinite(result.image).all())


@METHODS
def test_data_of_nothing_but_zeros_are_refused(name: str) -> None:
    problem = InverseProblem(
        data=torch.zeros(1, 1, 1, 12, 12), operator=identity_operator(), image_domain="real"
    )
    with pytest.raises(DataError, match="nothing to reconstruct from") as raised:
        _method(name).reconstruct(problem)
    assert _one_line(raised)


def test_not_a_number_and_an_empty_mask_do_not_get_that_far() -> None:
    with pytest.raises(DataError, match="NaN or infinite") as raised:
        InverseProblem(data=torch.full((1, 1, 1, 8, 8), torch.nan), operator=identity_operator())
    assert _one_line(raised)
    with pytest.raises(DataError, match="keeps no sample at all") as raised:
        mask_operator(torch.zeros(1, 1, 1, 8, 8))
    assert _one_line(raised)


@METHODS
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_constant_image_stays_finite(name: str, noise: float) -> None:
    mask = torch.rand(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    A = mask_operator(mask)
    problem = InverseProblem(
        data=A(torch.full((1, 1, 1, 16, 16), 0.5))[0], operator=A, noise_std=noise,
        image_domain="real",
    )  # fmt: skip
    image = _method(name, iterations=40).reconstruct(problem).image
    assert float((image - 0.5).abs().max()) < 0.5


@METHODS
def test_a_blind_objective_is_one_clear_line(name: str, monkeypatch) -> None:
    def broken(self: SkipFit, *given: Any) -> torch.Tensor:
        gradient: Callable[[torch.Tensor], torch.Tensor] = given[0]
        image = torch.full((1, 1, 1, 24, 20), torch.nan, dtype=torch.complex64)
        gradient(image)
        return image

    monkeypatch.setattr(SkipFit, "step", broken)
    with pytest.raises(DataError, match="not finite") as raised:
        _method(name).reconstruct(_scan())
    assert _one_line(raised)


@METHODS
def test_double_precision_data_give_a_double_precision_image(name: str) -> None:
    problem = _denoising()
    double = InverseProblem(
        data=problem.data.double(), operator=problem.operator, noise_std=0.1, image_domain="real"
    )
    assert _method(name).reconstruct(double).image.dtype == torch.float64


@METHODS
def test_nonnegative_images_are_not_negative(name: str) -> None:
    kernel = torch.tensor([[-0.3, 1.6, -0.3]])
    A = blur_operator(kernel, image_shape=(20, 24))
    x = 300 * (_photograph(20, 24) > 0.6).float()
    signed, clipped = (
        _method(name).reconstruct(
            InverseProblem(data=A(x)[0], operator=A, noise_std=1.0, image_domain=domain)
        ).image
        for domain in ("real", "nonnegative")
    )  # fmt: skip
    assert float(signed.min()) < 0 <= float(clipped.min())


@METHODS
def test_the_settings_say_what_was_used(name: str) -> None:
    result: Reconstruction = _method(name).reconstruct(_scan())
    assert result.method == name
    assert result.settings["precision"] == "float32"
    assert None not in (result.settings["scale"], result.settings["device"])
    half = _method(name, precision="bfloat16", iterations=1, finish=0.0).reconstruct(_scan())
    single = _method(name, iterations=1, finish=0.0).reconstruct(_scan())
    assert half.settings["precision"] == "bfloat16"
    first = [r.diagnostics["objective"][0] for r in (half, single)]
    assert first[0] != first[1]
    assert first[0] == pytest.approx(first[1], rel=0.1)
