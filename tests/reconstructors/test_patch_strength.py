"""Strength of the patch prior: what is given, presets, the noise rule, and its scaling laws."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon import InverseProblem, reconstruct
from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.operators import identity_operator, kspace_operator
from lowfield_recon.reconstructors.patch_strength import trained_level

SIDE = 20
METHODS = pytest.mark.parametrize("method", ["ncpr", "cpr"])


def squares() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing="ij")
    return (0.2 + 0.3 * y + 0.4 * ((3 * x).floor() % 2))[None, None, None].double()


def photograph(noise: float, *, factor: float = 1.0) -> InverseProblem:
    error = torch.randn(squares().shape, generator=torch.Generator().manual_seed(0)).double()
    return InverseProblem(
        data=factor * (squares() + noise * error), operator=identity_operator(),
        noise_std=factor * noise, image_domain="real",
    )  # fmt: skip


def scan(noise: float = 0.1, *, data: float = 1.0, gain: float = 1.0) -> InverseProblem:
    """Return every second column of k-space, times `data`, of a coil with the map `gain`."""
    mask = (torch.arange(SIDE) % 2 == 0) | ((torch.arange(SIDE) - SIDE // 2).abs() < 3)
    operator = kspace_operator(
        mask=mask.expand(1, 1, 1, SIDE, SIDE),
        coil_maps=torch.full((1, 1, 1, SIDE, SIDE), gain, dtype=torch.complex128),
    )
    phase = torch.exp(1j * torch.linspace(0, 1, SIDE, dtype=torch.float64))
    (y,) = operator(squares() * phase)
    error = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return InverseProblem(
        data=data * (y + gain * noise * error * operator.mask), operator=operator,
        noise_std=data * gain * noise,
    )  # fmt: skip


def differ(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def used(problem: InverseProblem, method: str, **how) -> dict:
    return reconstruct(problem, method, iterations=1, **how).settings


def own(method: str, weights: str) -> tuple[float, float]:
    prior = load_patch_prior(weights, method=method)
    return prior.regularizer().beta, prior.settings.base_scale


@METHODS
@pytest.mark.parametrize("solver", ["accelerated", "ipalm"])
def test_data_and_noise_times_t_are_the_image_times_t(method, solver):
    how = {"solver": solver, "iterations": 15, "tolerance": 0.0}
    expected = reconstruct(scan(), method, **how).image
    found = reconstruct(scan(data=250.0), method, **how).image
    assert differ(found, 250 * expected) <= 1e-10
    # A noise level that is left behind is another strength.
    quiet = InverseProblem(data=scan(data=250.0).data, operator=scan().operator, noise_std=10.0)
    assert differ(reconstruct(quiet, method, **how).image, 250 * expected) > 1e-4


@METHODS
def test_operator_data_and_noise_times_t_leave_the_image(method):
    """``beta t^2`` and ``lambda_0 t``: the data term grows by t^2, and the prior with it."""
    how = {"iterations": 15, "tolerance": 0.0}
    one, other = (reconstruct(scan(gain=t), method, **how) for t in (1.0, 3.0))
    assert differ(other.image, one.image) <= 1e-9
    assert other.settings["beta"] == pytest.approx(9 * one.settings["beta"], rel=1e-9)
    assert other.settings["regularization_weight"] == pytest.approx(
        3 * one.settings["regularization_weight"], rel=1e-9
    )
    same = {"beta": one.settings["beta"], "weights": one.settings["weights"]}
    other = reconstruct(scan(gain=3.0), method, **how, **same)
    assert differ(other.image, one.image) > 1e-4


@METHODS
def test_photographs_keep_their_unit_and_scale_with_lambda(method):
    how = {"iterations": 15, "tolerance": 0.0, "weights": f"{method}_sigma25"}
    beta, base = own(method, f"{method}_sigma25")
    expected = reconstruct(
        photograph(0.1), method, beta=beta, regularization_weight=base, **how
    ).image
    louder = reconstruct(
        photograph(0.1, factor=7.0), method, beta=beta, regularization_weight=7 * base, scale=1.0,
        **how,
    ).image  # fmt: skip
    assert differ(louder, 7 * expected) <= 1e-10
    scaled = reconstruct(
        photograph(0.1, factor=7.0), method, beta=beta, regularization_weight=base, scale=7.0, **how
    ).image
    assert differ(scaled, 7 * expected) <= 1e-10


@METHODS
@pytest.mark.parametrize(
    ("level", "weights"), [(25, "sigma25"), (50, "sigma25"), (5, "sigma5"), (9, "sigma5")]
)
def test_the_rule_scales_the_trained_strength(method, level, weights):
    found = used(photograph(level / 255), method)
    t = level / (25 if weights == "sigma25" else 5)
    beta, base = own(method, f"{method}_{weights}")
    assert found["weights"] == f"{method}_{weights}"
    assert found["scale"] == 1
    assert found["beta"] == pytest.approx(t**2 * beta, rel=1e-6)
    assert found["regularization_weight"] == pytest.approx(t * base, rel=1e-6)


@METHODS
def test_the_rule_sees_one_component_relative_to_the_brightest(method):
    problem = scan(0.2)
    found = used(problem, method)
    (back,) = problem.operator.adjoint(problem.data)
    modulus = back.abs().flatten().sort().values
    brightest = float(modulus[math.ceil(0.999 * modulus.numel()) - 1])
    assert found["scale"] == pytest.approx(brightest, rel=1e-6)
    t = 0.7 * 0.2 / math.sqrt(2) / brightest / (25 / 255)  # complex and undersampled: 0.7
    beta, base = own(method, f"{method}_sigma25")
    assert found["weights"] == f"{method}_sigma25"
    assert found["beta"] == pytest.approx(t**2 * beta, rel=1e-5)
    assert found["regularization_weight"] == pytest.approx(t * base, rel=1e-5)


@METHODS
@pytest.mark.parametrize(
    ("noise", "weights", "factor"), [(0.1, "sigma25", 1.2), (0.03, "sigma5", 1)]
)
def test_a_full_complex_acquisition_wants_a_little_more_of_the_noisy_model(
    method, noise, weights, factor
):
    size = (1, 1, 1, SIDE, SIDE)
    error = torch.randn(size, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    problem = InverseProblem(
        data=squares() + noise * error, operator=identity_operator(), noise_std=noise
    )
    found = used(problem, method, scale=1.0)
    t = factor * noise / math.sqrt(2) / ((25 if weights == "sigma25" else 5) / 255)
    beta, base = own(method, f"{method}_{weights}")
    assert found["weights"] == f"{method}_{weights}"
    assert found["beta"] == pytest.approx(t**2 * beta, rel=1e-6)
    assert found["regularization_weight"] == pytest.approx(t * base, rel=1e-6)


@METHODS
def test_little_noise_does_not_switch_the_prior_off_where_data_are_missing(method):
    beta, base = own(method, f"{method}_sigma25")
    least = 0.01 / (25 / 255)
    for noise in (1e-3, 0.0):
        found = used(scan(noise), method)
        assert found["beta"] == pytest.approx(least**2 * beta, rel=1e-5)
        assert found["regularization_weight"] == pytest.approx(least * base, rel=1e-5)
    assert used(photograph(1e-3), method)["beta"] < 0.01 * own(method, f"{method}_sigma5")[0]


@METHODS
def test_a_preset_counts_before_the_rule(method):
    for task in ("mri-8x-pd", "denoise-sigma5"):
        preset = patch_preset(method, task)
        found = used(photograph(0.3), method, preset=task)
        beta, base = own(method, preset.weights)
        assert found["weights"] == preset.weights
        assert found["beta"] == pytest.approx(preset.beta or beta, rel=1e-6)
        assert found["regularization_weight"] == pytest.approx(preset.base_scale or base, rel=1e-6)


@METHODS
def test_what_is_given_counts_before_preset_and_rule(method):
    problem = photograph(0.3)
    preset = patch_preset(method, "mri-8x-pd")
    for settings, expected in (
        ({"beta": 0.5, "preset": "mri-8x-pd"}, (preset.weights, 0.5, preset.base_scale)),
        (
            {"regularization_weight": 0.02, "preset": "mri-8x-pd"},
            (preset.weights, preset.beta, 0.02),
        ),
        (
            {"weights": f"{method}_sigma5", "preset": "mri-8x-pd"},
            (f"{method}_sigma5", preset.beta, preset.base_scale),
        ),
        (
            {"weights": f"{method}_sigma5", "beta": 0.5, "regularization_weight": 0.02},
            (f"{method}_sigma5", 0.5, 0.02),
        ),
    ):
        found = used(problem, method, **settings)
        assert found["weights"] == expected[0]
        values = (found["beta"], found["regularization_weight"])
        assert values == pytest.approx(expected[1:], rel=1e-6)
    rule = used(problem, method)
    found = used(problem, method, beta=0.5)
    assert found["beta"] == pytest.approx(0.5)
    assert found["regularization_weight"] == rule["regularization_weight"]
    found = used(problem, method, regularization_weight=0.02)
    assert (found["beta"], found["regularization_weight"]) == (rule["beta"], 0.02)
    assert used(problem, method, scale=3.0)["scale"] == 3


def test_the_trained_level_is_read_from_the_card():
    assert trained_level({"training": {"noise_std_255": 5}}) == 5 / 255
    assert trained_level({"settings": {"noise": 15}}) == 15 / 255
    for card in ({}, {"training": {}}, {"training": {"noise_std_255": "25"}}, {"training": None}):
        assert trained_level(card) == 25 / 255
