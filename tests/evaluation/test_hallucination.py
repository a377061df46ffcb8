"""What the operator does not see, and the worst perturbation, against dense decompositions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.hallucination import (
    find_worst_case,
    null_space_check,
    null_space_component,
    null_space_fraction,
    worst_case_instability,
)
from lowfield_recon.operators import kspace_operator, mask_operator
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import create

N = 8
WEIGHT = 0.05


def _problem(coils: int = 0, noise_std: float | None = 0.1) -> InverseProblem:
    generator = torch.Generator().manual_seed(3)
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1], dtype=torch.bool).reshape(1, 1, 1, N, 1)
    maps = None
    if coils:
        size = (1, coils, 1, N, N)
        # Nearly equal coils, so that some combinations of pixels are hardly seen.
        maps = 1 + 0.3 * torch.randn(size, generator=generator, dtype=torch.complex128)
    operator = kspace_operator(mask=mask, coil_maps=maps)
    x = torch.randn(1, 1, 1, N, N, generator=generator, dtype=torch.complex128)
    (y,) = operator(x)
    noise = torch.randn(y.shape, generator=generator, dtype=torch.complex128)
    data = y + 0.1 * noise * mask
    return InverseProblem(data=data, operator=operator, noise_std=noise_std, reference=x)


def _matrix(problem: InverseProblem) -> torch.Tensor:
    units = torch.eye(N * N, dtype=torch.complex128).reshape(-1, 1, 1, 1, N, N)
    return torch.stack([problem.operator(unit)[0].reshape(-1) for unit in units], dim=1)


def test_the_component_of_one_coil_is_what_the_mask_leaves_out():
    problem = _problem()
    found = null_space_component(problem, problem.reference)
    assert float(problem.operator(found)[0].abs().max()) < 1e-12
    rest = problem.reference - found
    assert abs(torch.vdot(found.reshape(-1), rest.reshape(-1))) < 1e-12
    left_out = ~problem.operator.mask.expand(problem.data.shape)
    (whole,) = kspace_operator()(problem.reference)
    expected = whole[left_out].abs().square().sum() / whole.abs().square().sum()
    fraction = null_space_fraction(problem, problem.reference)
    assert fraction == pytest.approx(float(expected), rel=1e-9)
    assert 0.2 < fraction < 0.6


@pytest.mark.parametrize("threshold", [0.03, 0.3])
def test_the_component_of_several_coils_is_that_of_the_singular_values(threshold):
    problem = _problem(coils=2)
    _, s, vh = torch.linalg.svd(_matrix(problem), full_matrices=True)
    from lowfield_recon.operators import operator_norm

    norm = operator_norm(problem.operator, problem.shape).value
    floor = (threshold * norm) ** 2
    gains = torch.cat([s, s.new_zeros(N * N - len(s))])
    coefficients = vh @ problem.reference.reshape(-1) * floor / (gains**2 + floor)
    expected = (vh.mH @ coefficients).reshape(problem.shape)
    found = null_space_component(problem, problem.reference, threshold=threshold)
    assert float((found - expected).norm() / expected.norm()) < 1e-3
    fraction = float((expected.norm() / problem.reference.norm()) ** 2)
    assert null_space_fraction(problem, problem.reference, threshold=threshold) == pytest.approx(
        fraction, rel=2e-3
    )


def test_pixels_that_a_mask_hides_are_unseen_and_stay_real():
    mask = torch.ones(1, 1, 1, 4, 4)
    mask[..., :2] = 0
    problem = InverseProblem(
        data=mask, operator=mask_operator(mask), image_domain="nonnegative", noise_std=0.1
    )
    image = torch.arange(16.0).reshape(1, 1, 1, 4, 4)
    assert torch.equal(null_space_component(problem, image), image * (1 - mask))


def test_the_check_tells_empty_right_and_invented_apart():
    problem = _problem()
    truth = problem.reference
    unseen = null_space_component(problem, truth)
    empty = null_space_check(problem, truth - unseen)
    assert empty.image_fraction == pytest.approx(0, abs=1e-12)
    assert (empty.error_fraction, empty.invented) == (pytest.approx(1), pytest.approx(1))
    right = null_space_check(problem, truth + 0.1 * (truth - unseen))
    assert right.error_fraction == pytest.approx(0, abs=1e-12)
    assert right.invented == pytest.approx(0, abs=1e-9)
    wrong = null_space_check(problem, truth - 3 * unseen)
    assert wrong.invented == pytest.approx(3)
    perfect = null_space_check(problem, truth)
    assert (perfect.error_fraction, perfect.invented) == (0.0, 0.0)
    seen_only = replace(problem, reference=truth - unseen)
    assert null_space_check(seen_only, truth).invented is None


def _cg_sense(weight: float = WEIGHT):
    return create(
        "cg-sense", {"regularization_weight": weight, "iterations": 500, "tolerance": 1e-10}
    )


def _gains(problem: InverseProblem, weight: float) -> torch.Tensor:
    """Return how much cg-sense amplifies each left singular vector of A: s / (s^2 + w)."""
    s = torch.linalg.svdvals(_matrix(problem))
    s = s[s > 1e-9]
    return s / (s**2 + weight)


@pytest.mark.parametrize("coils", [0, 3])
def test_the_worst_perturbation_of_a_linear_method_is_found(coils):
    problem = _problem(coils)
    largest = float(_gains(problem, WEIGHT).max())
    found = find_worst_case(_cg_sense(), problem, radius=0.1, steps=16, seed=0)
    assert found.amplification <= largest * (1 + 1e-6)
    assert found.amplification >= 0.97 * largest
    rms = float(_gains(problem, WEIGHT).square().sum()) / int(
        problem.operator.mask.expand(problem.data.shape).sum()
    )
    assert found.typical == pytest.approx(math.sqrt(rms), rel=0.25)
    # The reported perturbation has the stated size and does what is reported.
    m = int(problem.operator.mask.expand(problem.data.shape).sum())
    assert found.size == pytest.approx(0.1 * 0.1 * math.sqrt(m))
    assert float(found.perturbation.norm()) == pytest.approx(found.size)
    assert float((found.perturbation * ~problem.operator.mask).abs().max()) == 0
    moved = replace(problem, data=problem.data + found.perturbation)
    method = _cg_sense()
    change = method.reconstruct(moved).image - method.reconstruct(problem).image
    assert float(change.norm()) / found.size == pytest.approx(found.amplification, rel=1e-6)


def test_more_steps_find_no_less_and_the_seed_decides():
    problem = _problem(coils=3)
    values = [
        worst_case_instability(_cg_sense(), problem, radius=0.1, steps=steps, seed=0)
        for steps in (3, 6, 12)
    ]
    assert values == sorted(values)
    assert values[2] > 1.1 * values[0]
    assert values[1] == worst_case_instability(_cg_sense(), problem, radius=0.1, steps=6, seed=0)
    assert values[0] != worst_case_instability(_cg_sense(), problem, radius=0.1, steps=3, seed=1)


def test_an_unstable_method_is_told_from_a_stable_one():
    problem = _problem(coils=3)
    stable, unstable = (
        worst_case_instability(_cg_sense(weight), problem, steps=12) for weight in (1.0, 1e-3)
    )
    assert unstable > 3 * stable


def test_a_hidden_step_of_a_nonlinear_method_is_measured_at_the_stated_size():
    problem = _problem()
    base = problem.data.clone()

    def jumpy(p: InverseProblem) -> torch.Tensor:
        moved = float((p.data - base).norm())
        (image,) = p.operator.adjoint(p.data)
        return image + (10 if moved > 0.05 else 0)

    m = int(problem.operator.mask.expand(problem.data.shape).sum())
    unit = 0.1 * math.sqrt(m)
    small = find_worst_case(jumpy, problem, radius=0.04 / unit, steps=4)
    large = find_worst_case(jumpy, problem, radius=0.06 / unit, steps=4)
    assert small.amplification == pytest.approx(1, rel=1e-6)
    assert large.amplification > 80 / 0.06 - 2


def test_the_reference_is_never_shown():
    problem = _problem()

    def peeking(p: InverseProblem) -> torch.Tensor:
        assert p.reference is None
        return p.operator.adjoint(p.data)[0]

    assert worst_case_instability(peeking, problem, steps=3) == pytest.approx(1, rel=1e-6)


def test_what_makes_no_sense_is_refused():
    problem = _problem()
    method = _cg_sense()
    with pytest.raises(UsageError, match="radius: expected"):
        find_worst_case(method, problem, radius=0)
    with pytest.raises(UsageError, match="at least 3"):
        find_worst_case(method, problem, steps=2)
    with pytest.raises(UsageError, match="noise_std: is 0"):
        find_worst_case(method, replace(problem, noise_std=0.0))
    ones = torch.ones(1, 1, 1, 2, 2)
    pixels = InverseProblem(
        data=ones, operator=mask_operator(ones), noise_std=0.1, image_domain="real"
    )
    with pytest.raises(UsageError, match="only 4 independent"):
        find_worst_case(lambda p: p.data, pixels, steps=5)
    with pytest.raises(UsageError, match="threshold: expected"):
        null_space_component(problem, problem.reference, threshold=1.0)
    with pytest.raises(DataError, match="problem's shape"):
        null_space_component(problem, torch.zeros(1, 1, 1, 2, 2))
    with pytest.raises(UsageError, match="reference: the problem has none"):
        null_space_check(replace(problem, reference=None), problem.reference)
