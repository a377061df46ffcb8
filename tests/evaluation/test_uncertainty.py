"""The bootstrap against the covariance of a linear method, and calibration with a known bias."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.calibration import calibrate
from lowfield_recon.evaluation.resampling import NoiseSource, image_by
from lowfield_recon.evaluation.uncertainty import (
    UncertaintyMap,
    coverage,
    expected_image,
    uncertainty_map,
)
from lowfield_recon.operators import identity_operator, kspace_operator, mask_operator
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import create

SIGMA = 0.05


def _coil_problem(n: int = 6) -> InverseProblem:
    """Return undersampled data of a bright object, so that magnitudes are about normal."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(1, 3, 1, n, n, generator=generator, dtype=torch.complex128)
    mask = (torch.arange(n) % 2 == 0).reshape(1, 1, 1, n, 1)
    operator = kspace_operator(mask=mask, coil_maps=maps)
    x = 4 + torch.rand(1, 1, 1, n, n, generator=generator, dtype=torch.float64).to(torch.complex128)
    (y,) = operator(x)
    noise = torch.randn(y.shape, generator=generator, dtype=torch.complex128)
    return InverseProblem(
        data=y + SIGMA * noise * mask, operator=operator, noise_std=SIGMA, reference=x
    )


def _image_problem(bias: float = 0.0, n: int = 64) -> InverseProblem:
    generator = torch.Generator().manual_seed(4)
    x = 1 + torch.rand(1, 1, 1, n, n, generator=generator, dtype=torch.float64)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return InverseProblem(
        data=x + SIGMA * noise, operator=identity_operator(), noise_std=SIGMA,
        image_domain="real", reference=x + bias,
    )  # fmt: skip


def _identity(problem: InverseProblem) -> torch.Tensor:
    return problem.data


@pytest.mark.parametrize("around", ["data", "estimate"])
def test_of_a_linear_method_it_is_the_propagated_noise(around):
    problem = _coil_problem()
    size = problem.shape
    n = size[-1] ** 2
    units = torch.eye(n, dtype=torch.complex128).reshape(-1, 1, 1, 1, *size[-2:])
    matrix = torch.stack([problem.operator(unit)[0].reshape(-1) for unit in units], dim=1)
    eye = torch.eye(n, dtype=torch.complex128)
    inverse = torch.linalg.solve(matrix.mH @ matrix + 0.1 * eye, matrix.mH)

    def tikhonov(p: InverseProblem) -> torch.Tensor:
        return (inverse @ p.data.reshape(-1)).reshape(size)

    draws = 600
    found = uncertainty_map(tikhonov, problem, draws=draws, seed=0, around=around)
    # Of the complex noise, half the variance lies along the phase of the image.
    expected = SIGMA * inverse.abs().square().sum(1).sqrt() / math.sqrt(2)
    ratio = found.std.reshape(-1) / expected
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)
    assert float(ratio.std()) < 2.5 / math.sqrt(2 * draws)
    assert torch.equal(found.image, tikhonov(problem))
    centre = found.image
    if around == "estimate":
        centre = (inverse @ matrix @ centre.reshape(-1)).reshape(size)
    assert float((found.mean - centre.abs()).norm() / found.mean.norm()) < 0.01
    assert (found.draws, found.noise_std, found.noise_source) == (draws, SIGMA, "given")


def test_the_estimate_around_itself_shows_a_shrinking_method_twice():
    problem = _image_problem()
    halved = uncertainty_map(lambda p: 0.5 * p.data, problem, draws=8, around="estimate")
    assert float(halved.mean.mean() / problem.data.mean()) == pytest.approx(0.25, abs=0.01)
    assert float(halved.std.mean()) == pytest.approx(0.5 * SIGMA, rel=0.1)


def test_draws_do_not_depend_on_their_number_and_unmeasured_samples_stay_empty():
    problem = _coil_problem()
    noise = NoiseSource(problem, 7)
    first = noise.draw(3)
    noise.draw(11)
    assert torch.equal(first, NoiseSource(problem, 7).draw(3))
    assert not torch.equal(first, NoiseSource(problem, 8).draw(3))
    assert float(first[..., 1::2, :].abs().max()) == 0
    assert float(first[..., ::2, :].abs().square().mean()) == pytest.approx(1, abs=0.3)
    seen = []
    uncertainty_map(lambda p: seen.append(p.data) or p.operator.adjoint(p.data)[0], problem,
                    draws=3, seed=7)  # fmt: skip
    assert torch.equal(seen[0], problem.data)
    assert torch.allclose(seen[2], problem.data + SIGMA * NoiseSource(problem, 7).draw(1))


def test_an_unknown_noise_level_is_estimated_and_said_so():
    problem = replace(_image_problem(), noise_std=None)
    flat = replace(problem, data=problem.data - problem.reference, reference=None)
    found = uncertainty_map(_identity, flat, draws=2)
    assert found.noise_std == pytest.approx(SIGMA, rel=0.1)
    assert found.noise_source.startswith("estimated from")


def test_seeds_vary_what_is_random_in_the_method():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(1, 1, 1, 16, 16, generator=generator)
    mask = torch.rand(clean.shape, generator=generator) < 0.6
    problem = InverseProblem(
        data=clean * mask, operator=mask_operator(mask), noise_std=0.01, image_domain="real"
    )
    method = create(
        "dip", {"iterations": 3, "channels": 4, "scales": 2, "stop": "last", "average": 0.0}
    )
    found = uncertainty_map(method, problem, draws=2, varied="seed")
    assert found.noise_std is None
    images = [image_by(method, problem, seed=seed).abs() for seed in (1, 2)]
    expected = torch.stack(images).std(0)
    assert torch.allclose(found.std, expected, rtol=1e-4, atol=1e-6)
    assert float(expected.max()) > 1e-3
    assert torch.equal(found.image, method.reconstruct(problem).image)
    deterministic = uncertainty_map(create("tv"), problem, draws=2, varied="seed")
    assert float(deterministic.std.max()) == 0
    with pytest.raises(UsageError, match="a function has no seed"):
        uncertainty_map(_identity, problem, varied="both")


def test_intervals_of_an_unbiased_method_hold_what_they_promise():
    problem = _image_problem()
    found = uncertainty_map(_identity, problem, draws=12)
    held = coverage(found, problem.reference)
    n = problem.reference.numel()
    for level, part in held.items():
        nominal = float(level)
        assert part == pytest.approx(nominal, abs=4 * math.sqrt(nominal * (1 - nominal) / n))
    assert list(held) == ["0.5", "0.8", "0.9", "0.95"]


def test_bias_spoils_the_coverage_and_is_told_from_wrong_intervals():
    bias = 2 * SIGMA
    problem = _image_problem()

    def shifted(p: InverseProblem) -> torch.Tensor:
        return p.data + bias

    found = uncertainty_map(shifted, problem, draws=40)
    judged = calibrate(shifted, problem, found, draws=40)
    expected = stats.norm.cdf(1.645 - 2) - stats.norm.cdf(-1.645 - 2)
    assert judged.with_bias["0.9"] == pytest.approx(expected, abs=0.05)
    assert judged.without_bias["0.9"] == pytest.approx(0.9, abs=0.025)
    assert judged.rms_bias == pytest.approx(bias, rel=0.03)
    assert judged.rms_error == pytest.approx(math.hypot(bias, SIGMA), rel=0.03)
    assert judged.mean_std == pytest.approx(SIGMA, rel=0.03)
    unbiased = calibrate(_identity, problem, uncertainty_map(_identity, problem, draws=40))
    assert unbiased.rms_bias < 0.1 * SIGMA


def test_a_map_that_knows_where_errors_are_correlates_with_them():
    problem = _image_problem()
    gain = torch.linspace(0.1, 3, 64, dtype=torch.float64)

    def uneven(p: InverseProblem) -> torch.Tensor:
        return problem.reference + gain * (p.data - problem.reference)

    informed = calibrate(uneven, problem, uncertainty_map(uneven, problem, draws=20), draws=4)
    assert informed.rank_correlation > 0.3
    blind = calibrate(_identity, problem, uncertainty_map(_identity, problem, draws=20), draws=4)
    assert abs(blind.rank_correlation) < 0.1


def test_masks_choose_the_pixels_that_are_judged():
    std = torch.ones(1, 1, 1, 8, 8)
    image = torch.zeros(1, 1, 1, 8, 8)
    found = UncertaintyMap(
        image=image, mean=image, std=std, draws=30, noise_std=1.0, noise_source="given"
    )
    target = image.clone()
    target[..., :4] = 10
    assert coverage(found, target, levels=(0.9,)) == {"0.9": 0.5}
    mask = np.zeros((8, 8), dtype=bool)
    mask[:, 4:] = True
    assert coverage(found, target, levels=(0.9,), mask=mask) == {"0.9": 1.0}


def test_intervals_are_wider_for_a_target_that_is_itself_a_mean_of_draws():
    image = torch.zeros(1, 1, 1, 8, 8)
    found = UncertaintyMap(
        image=image, mean=image, std=image + 1, draws=30, noise_std=1.0, noise_source="given"
    )
    edge = float(stats.t.ppf(0.95, 29))
    for draws, factor in ((None, 1.0), (1, math.sqrt(2)), (4, math.sqrt(1.25))):
        for near, held in ((0.999, 1.0), (1.001, 0.0)):
            target = image + near * factor * edge
            assert coverage(found, target, levels=(0.9,), target_draws=draws) == {"0.9": held}


def test_the_mean_over_new_scans_is_of_the_reference_and_hidden_from_the_method():
    problem = _coil_problem()

    def adjoint(p: InverseProblem) -> torch.Tensor:
        assert p.reference is None
        return p.operator.adjoint(p.data)[0]

    found = expected_image(adjoint, problem, draws=200)
    clean = problem.operator.adjoint(problem.operator(problem.reference)[0])[0].abs()
    assert float((found.mean - clean).norm() / clean.norm()) < 0.01


def test_what_makes_no_sense_is_refused():
    problem = _image_problem()
    for call in (uncertainty_map, expected_image):
        with pytest.raises(UsageError, match="draws: expected at least 2"):
            call(_identity, problem, draws=1)
        with pytest.raises(UsageError, match="noise_std: is 0"):
            call(_identity, replace(problem, noise_std=0.0))
    with pytest.raises(UsageError, match="reference: the problem has none"):
        expected_image(_identity, replace(problem, reference=None))
    found = uncertainty_map(_identity, problem, draws=2)
    with pytest.raises(UsageError, match="levels: expected"):
        coverage(found, problem.reference, levels=(1.0,))
    with pytest.raises(DataError, match="target: expected the image's shape"):
        coverage(found, problem.reference[..., :4])
    with pytest.raises(UsageError, match="a function has none"):
        image_by(_identity, problem, seed=3)
