"""The residual is 1 in units of the noise for the true image, whatever the operator."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.data_fit import data_consistency, data_fit, measured_samples
from lowfield_recon.operators import kspace_operator, mask_operator
from lowfield_recon.problem import InverseProblem


def _problem(noise_std: float | None = 0.3, sigma: float = 0.3, n: int = 48) -> InverseProblem:
    generator = torch.Generator().manual_seed(1)
    reference = torch.randn(1, 1, 1, n, n, generator=generator, dtype=torch.complex64)
    maps = torch.randn(1, 3, 1, n, n, generator=generator, dtype=torch.complex64)
    mask = torch.rand(1, 1, 1, n, 1, generator=generator) < 0.5
    operator = kspace_operator(mask=mask, coil_maps=maps)
    (clean,) = operator(reference)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.complex64)
    data = clean + sigma * noise * mask
    return InverseProblem(data=data, operator=operator, noise_std=noise_std, reference=reference)


def test_the_true_image_has_one_within_the_spread_of_chi_square():
    problem = _problem()
    fit = data_fit(problem, problem.reference)
    m = int(problem.operator.mask.sum()) * 48 * 3
    assert fit.n_samples == m
    assert abs(fit.consistency - 1) < 3 / (2 * math.sqrt(m))
    assert abs(fit.z_score) < 3
    assert data_consistency(problem, problem.reference) == fit.consistency


def test_it_is_the_residual_of_the_measured_samples_only():
    problem = _problem()
    mask = problem.operator.mask.expand(problem.data.shape)
    spoilt = InverseProblem(
        data=torch.where(mask, problem.data, 100.0), operator=problem.operator, noise_std=0.3
    )
    image = 0.5 * problem.reference
    (predicted,) = problem.operator(image)
    residual = (predicted - problem.data)[mask].to(torch.complex128).abs().square().sum().sqrt()
    expected = float(residual) / (0.3 * math.sqrt(int(mask.sum())))
    for one in (problem, spoilt):
        assert data_consistency(one, image) == pytest.approx(expected, rel=1e-5)
        assert torch.equal(measured_samples(one.operator, one.data), mask)


def test_noise_that_is_not_white_or_of_another_level_shows():
    problem = _problem(noise_std=0.2, sigma=0.3)
    fit = data_fit(problem, problem.reference)
    assert fit.consistency == pytest.approx(1.5, rel=0.03)
    expected = (fit.consistency**2 - 1) * math.sqrt(fit.n_samples)
    assert fit.z_score == pytest.approx(expected)
    assert fit.z_score > 50


def test_without_noise_level_it_is_relative_to_the_data():
    problem = _problem(noise_std=None)
    zero = torch.zeros(problem.shape, dtype=torch.complex64)
    fit = data_fit(problem, zero)
    assert (fit.consistency, fit.z_score) == (None, None)
    assert data_consistency(problem, zero) == pytest.approx(1)
    exact = _problem(noise_std=0.0, sigma=0.0)
    assert data_consistency(exact, exact.reference) < 1e-6


def test_real_samples_count_once_and_masked_pixels_not():
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(1, 1, 1, 64, 64, generator=generator)
    mask = torch.rand(1, 1, 1, 64, 64, generator=generator) < 0.7
    problem = InverseProblem(
        data=noise * mask, operator=mask_operator(mask), noise_std=0.1, image_domain="real"
    )
    fit = data_fit(problem, torch.zeros(problem.shape))
    assert fit.n_samples == int(mask.sum())
    assert abs(fit.z_score) < 3
    spread = math.sqrt(2 / fit.n_samples)
    assert fit.z_score == pytest.approx((fit.consistency**2 - 1) / spread)


def test_what_does_not_fit_is_refused():
    problem = _problem()
    with pytest.raises(DataError, match=r"expected the problem's shape \(1, 1, 1, 48, 48\)"):
        data_fit(problem, torch.zeros(1, 1, 1, 4, 4))
    with pytest.raises(DataError, match="gives zero for every image"):
        blind = kspace_operator(coil_maps=torch.zeros(1, 1, 1, 4, 4, dtype=torch.complex64))
        measured_samples(blind, torch.ones(1, 1, 1, 4, 4, dtype=torch.complex64))
