"""The multi-grade alternating scheme: monotone, frozen below, continuous where a grade begins."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from lowfield_recon.learning.networks.coordinate_network import (
    CoordinateNetworkSettings,
    NetworkKind,
)
from lowfield_recon.learning.untrained.loop import Estimate
from lowfield_recon.learning.untrained.mg_spair import (
    LeastObjective,
    MultiGradeFit,
)
from lowfield_recon.learning.untrained.mg_spair_grade import Grade
from lowfield_recon.learning.untrained.mg_spair_objective import SplitObjective
from lowfield_recon.learning.untrained.mg_spair_records import FitPlan, GradePlan
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators import mask_operator
from lowfield_recon.operators.framelet import FrameletOp
from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.solvers.sparse_penalties import PenaltyKind, SparsePenalty

SHAPE = (1, 1, 1, 14, 12)
MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(7)) < 0.6


def truth(dtype: torch.dtype, shape: Sequence[int] = SHAPE) -> torch.Tensor:
    y = torch.linspace(0, 1, shape[-2])[:, None]
    x = torch.linspace(0, 1, shape[-1])
    plane = 0.3 + 0.4 * (y + 0.2 < x) + 0.1 * torch.sin(9 * y) * x
    image = plane.expand(tuple(shape)).to(dtype)
    return image * torch.exp(torch.tensor(0.5j)).to(dtype) if dtype.is_complex else image


def objective(
    dtype: torch.dtype = torch.float64,
    *,
    penalty: PenaltyKind | None = "l0",
    mu: float = 0.5,
    weight: float = 5e-4,
    relaxation: float = 0.9,
    transform: LinearOperator | None = None,
    shape: Sequence[int] = SHAPE,
) -> SplitObjective:
    A = mask_operator(MASK if tuple(shape) == SHAPE else torch.ones(tuple(shape), dtype=torch.bool))
    noise = torch.randn(tuple(shape), dtype=dtype, generator=torch.Generator().manual_seed(8))
    (data,) = A(truth(dtype, shape) + 0.02 * noise)
    return SplitObjective(
        forward=lambda x: A(x)[0],
        adjoint=lambda r: A.adjoint(r)[0],
        data=data,
        transform=FrameletOp() if transform is None else transform,
        coupling=mu,
        penalty=None if penalty is None else SparsePenalty(kind=penalty, theta=3 * weight / mu),
        weight=weight,
        relaxation=relaxation,
    )


def plan(
    grades: int = 2, iterations: int = 30, kind: NetworkKind = "siren", features: int = 10
) -> FitPlan:
    return FitPlan(
        grades=[
            GradePlan(
                network=CoordinateNetworkSettings(
                    kind=kind, features=features, omega=4.0 * 2**g, sigma=2.0, hidden_omega=10.0
                ),
                iterations=iterations,
                coarsening=2 ** (grades - 1 - g),
            )
            for g in range(grades)
        ],
        warm_up=10,
        learning_rate=1e-2,
        weight_decay=1e-5,
    )


def fitted(
    terms: SplitObjective, plan: FitPlan, *, shape: Sequence[int] = SHAPE, iterations: int = 0
) -> tuple[MultiGradeFit, list[Estimate]]:
    start = torch.zeros(tuple(shape), dtype=terms.data.dtype)
    fit = MultiGradeFit(terms, start, samples=int(MASK.sum()), plan=plan)
    estimates = []
    for i in range(1, (iterations or sum(g.iterations for g in plan.grades)) + 1):
        estimate = fit.advance(i)
        estimates.append(dataclasses.replace(estimate, image=estimate.image.clone()))
    return fit, estimates


def largest_rise(fit: MultiGradeFit, estimates: list[Estimate]) -> float:
    """Largest increase of the objective after the warm-up, relative to its first value."""
    values = [e.objective for e in estimates[fit.counted_from - 1 :]]
    rises = [b - a for a, b in itertools.pairwise(values)]
    return max(rises) / abs(values[0])


@pytest.mark.parametrize("penalty", ["l0", "l1", "mcp"])
@pytest.mark.parametrize("kind", ["siren", "wire"])
def test_the_objective_never_rises_across_grades(penalty: PenaltyKind, kind: NetworkKind) -> None:
    single = fitted(objective(torch.float32, penalty=penalty), plan(3, 25, kind))
    double = fitted(objective(torch.float64, penalty=penalty), plan(3, 25, kind))
    assert largest_rise(*single) <= 1e-6
    assert largest_rise(*double) <= 1e-12
    assert double[0].log.rises == 0
    assert len(double[0].grades) == 3


def test_plain_adam_does_rise() -> None:
    fast = dataclasses.replace(plan(2, 40), is_safe=False, learning_rate=5e-2)
    fit, estimates = fitted(objective(), fast)
    assert largest_rise(fit, estimates) > 1e-6
    assert fit.log.rises > 0


def test_the_complex_objective_never_rises() -> None:
    gradient = GradientOp((-2, -1))
    terms = objective(torch.complex128, penalty="l1", transform=gradient)
    assert largest_rise(*fitted(terms, plan())) <= 1e-12


@pytest.mark.parametrize("is_composed", [False, True])
def test_grades_below_stay_bit_for_bit(is_composed: bool) -> None:
    chosen = dataclasses.replace(plan(2, 20), is_composed=is_composed)
    terms = objective()
    fit = MultiGradeFit(terms, torch.zeros(SHAPE, dtype=torch.float64), samples=99, plan=chosen)
    for i in range(1, 21):
        estimate = fit.advance(i)
    below = fit.grades[0]
    image, before = estimate.image.clone(), _digest(below)
    for i in range(21, 41):
        fit.advance(i)
        assert _digest(below) == before
    above = fit.grades[1]
    assert torch.equal(above.base, image)
    assert torch.equal(below.image(below.theta()).detach(), image)
    assert not torch.equal(above.image(above.theta()).detach(), image)


def _digest(grade: Grade) -> str:
    return hashlib.sha256(grade.theta().numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_a_new_grade_is_exactly_its_base(dtype: torch.dtype) -> None:
    base = torch.randn((2, 3, 2, 9, 7), dtype=dtype, generator=torch.Generator().manual_seed(0))
    for coarsening in (1, 2, 4):
        grade = Grade(
            CoordinateNetworkSettings(features=5), base=base, scale=0.3, coarsening=coarsening,
            generator=torch.Generator().manual_seed(1),
        )  # fmt: skip
        assert torch.equal(grade.image(grade.theta()), base)


def test_the_objective_is_continuous_where_a_grade_begins() -> None:
    terms = objective(torch.float32)
    chosen = plan(2, 20)
    fit, estimates = fitted(terms, chosen, iterations=20)
    u, end = fit.u, estimates[-1]
    new = Grade(
        chosen.grades[1].network, base=end.image, scale=fit.log.grade_scales[-1],
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip
    at_switch = terms.parts(terms.at(new.image(new.theta())), u, terms.penalty_of(u)).total
    assert at_switch == pytest.approx(end.objective - fit.log.decay[-1], rel=1e-6)


def test_the_scale_of_a_grade_is_the_residual_of_the_data() -> None:
    terms = objective()
    fit, estimates = fitted(terms, plan(2, 15), iterations=16)
    residual = terms.forward(estimates[14].image) - terms.data
    expected = float(residual.square().sum() / int(MASK.sum())) ** 0.5
    assert fit.log.grade_starts == [1, 16]
    assert fit.log.grade_scales == pytest.approx([1.0, expected], rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("kind", ["siren", "wire"])
def test_the_gradient_is_that_of_finite_differences(dtype: torch.dtype, kind: NetworkKind) -> None:
    terms = objective(dtype, penalty="l1")
    fit, _ = fitted(terms, plan(1, 14, kind), iterations=14)
    grade, u = fit.grades[0], fit.u
    theta = grade.theta()
    point = terms.at(grade.image(theta))
    gradient = grade.pulled_back(point.image, terms.gradient(point, u))
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        d = torch.randn(theta.shape, dtype=torch.float64, generator=generator)
        d *= 1e-5 / float(torch.linalg.vector_norm(d))
        above, below = (terms.parts(terms.at(grade.image(theta + s * d)), u).total for s in (1, -1))
        assert (above - below) / 2 == pytest.approx(float(gradient @ d), rel=1e-5)


@pytest.mark.parametrize("penalty", ["l0", "l1", "mcp"])
def test_the_relaxed_step_minimises_with_the_proximal_term(penalty: PenaltyKind) -> None:
    a, mu, weight = 0.7, 0.5, 0.05
    terms = objective(penalty=penalty, relaxation=a, mu=mu, weight=weight)
    generator = torch.Generator().manual_seed(2)
    point = terms.at(truth(torch.float64) + 0.3 * torch.randn(SHAPE, generator=generator))
    old = 0.4 * torch.randn((8, *SHAPE), dtype=torch.float64, generator=generator)
    new = terms.sparse_step(point, old)
    assert new is not None and point.coefficients is not None
    assert terms.penalty is not None

    def cost(u: torch.Tensor, b: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
        psi = torch.tensor([terms.penalty.value(v) for v in u], dtype=torch.float64)  # type: ignore[union-attr]
        return weight * psi + mu / 2 * (u - b).square() + mu * (1 - a) / (2 * a) * (u - o).square()

    for k in range(0, new.numel(), 97):
        b, o, u = (v.flatten()[k] for v in (point.coefficients, old, new))
        near = torch.linspace(-1e-4, 1e-4, 21, dtype=torch.float64) + u
        candidates = torch.cat((torch.linspace(-2, 2, 401).double(), near, torch.zeros(1).double()))
        assert float(cost(u[None], b, o)) <= float(cost(candidates, b, o).min()) + 1e-10


def test_without_weight_the_coefficients_are_those_of_the_image() -> None:
    for relaxation, exact in ((1.0, True), (0.5, False)):
        terms = objective(weight=0.0, relaxation=relaxation)
        point = terms.at(truth(torch.float64))
        assert point.coefficients is not None
        u: torch.Tensor | None = torch.zeros_like(point.coefficients)
        for _ in range(1 if exact else 60):
            u = terms.sparse_step(point, u)
        assert u is not None
        torch.testing.assert_close(u, point.coefficients, rtol=0, atol=0 if exact else 1e-12)


def test_without_penalty_it_is_a_plain_fit() -> None:
    chosen = dataclasses.replace(plan(1, 25), weight_decay=0.0)
    fit, estimates = fitted(objective(penalty=None), chosen)
    assert fit.u is None
    assert fit.counted_from == 1
    for misfit, estimate in zip(fit.log.misfit, estimates, strict=True):
        assert misfit == estimate.objective
    grade = Grade(
        chosen.grades[0].network, base=torch.zeros(SHAPE, dtype=torch.float64),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    optimiser = torch.optim.Adam(grade.parameters(), lr=1e-2)
    terms, misfit = objective(penalty=None), []
    for i in range(25):
        optimiser.param_groups[0]["lr"] = 1e-2 * 0.1 ** (i / 25)
        optimiser.zero_grad()
        loss = 0.5 * (terms.forward(grade.image(grade.theta())) - terms.data).square().sum()
        loss.backward()
        optimiser.step()
        residual = terms.forward(grade.image(grade.theta())) - terms.data
        misfit.append(0.5 * float(residual.detach().square().sum()))
    fast = fitted(objective(penalty=None), dataclasses.replace(chosen, is_safe=False))[0]
    assert fast.log.misfit == pytest.approx(misfit, rel=1e-6)


def test_the_coefficients_of_l0_are_zero_or_large_and_their_support_settles() -> None:
    mu, weight, a = 0.5, 2e-3, 0.9
    terms = objective(mu=mu, weight=weight, relaxation=a)
    chosen = dataclasses.replace(plan(1, 250, features=16), final_rate=1e-3)
    fit, _ = fitted(terms, chosen, iterations=225)
    supports = []
    for i in range(226, 251):
        fit.advance(i)
        assert fit.u is not None
        supports.append(fit.u != 0)
    moduli = fit.u.abs()
    assert float(moduli[moduli > 0].min()) >= (2 * a * weight / mu) ** 0.5 * (1 - 1e-12)
    assert 0 < int(supports[-1].sum()) < moduli.numel()
    assert all(torch.equal(support, supports[-1]) for support in supports)


def test_the_discrepancy_ends_the_fit_and_the_rule_says_so() -> None:
    terms = objective()
    energy = 4.0 * int(MASK.sum()) * 0.02**2
    chosen = dataclasses.replace(plan(3, 60), noise_energy=energy, stops_at_noise=True)
    fit = MultiGradeFit(terms, torch.zeros(SHAPE).double(), samples=int(MASK.sum()), plan=chosen)
    rule = LeastObjective(fit)
    for i in range(1, 181):
        estimate = fit.advance(i)
        if rule(i, estimate).stop is not None:
            break
    residual = terms.forward(estimate.image) - terms.data
    assert fit.finished == "discrepancy"
    assert float(residual.square().sum()) <= energy
    assert 2 * fit.log.misfit[-2] > energy
    assert i < 180


def test_a_settled_grade_gives_way_to_the_next() -> None:
    chosen = dataclasses.replace(plan(2, 120), tolerance=10.0, warm_up=5)
    fit, _ = fitted(objective(), chosen, iterations=100)
    assert fit.log.grade_starts == [1, 57]  # 5 of warm-up, and 51 values to compare over 50
    assert fit.log.grade_ends[0] == "objective settled"


def test_the_rule_keeps_the_least_objective_after_the_warm_up() -> None:
    fit = MultiGradeFit(objective(), torch.zeros(SHAPE).double(), samples=1, plan=plan())
    rule = LeastObjective(fit)
    verdicts = [
        rule(i, Estimate(image=torch.zeros(1), objective=value)).keep
        for i, value in enumerate([0.1] * 10 + [5.0, 6.0, 4.0], start=1)
    ]
    assert verdicts == [True] * 11 + [False, True]
    assert rule.values[-3:] == (5.0, 6.0, 4.0)


def test_planes_are_independent_fits() -> None:
    shape = (1, 1, 2, 14, 12)
    grade = Grade(
        CoordinateNetworkSettings(features=6), base=torch.zeros(shape),
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    count = grade.theta().numel() // 2
    theta = grade.theta()
    theta[:count] += 0.1
    image = grade.image(theta).detach()
    assert bool(image[:, :, 0].any())
    assert not bool(image[:, :, 1].any())


def test_the_same_seed_gives_the_same_bits() -> None:
    images: list[Any] = [fitted(objective(torch.float32), plan(2, 12))[1][-1].image for _ in "ab"]
    assert torch.equal(*images)
    other = dataclasses.replace(plan(2, 12), seed=1)
    assert not torch.equal(images[0], fitted(objective(torch.float32), other)[1][-1].image)
