"""Safeguarded Adam: which step is accepted, and that nothing rises."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from lowfield_recon.solvers.safeguarded_step import SafeguardedAdam, Step

CURVATURES = torch.tensor([1.0, 100.0, 1e4], dtype=torch.float64)


def quadratic(theta: torch.Tensor) -> float:
    return 0.5 * float((CURVATURES * theta.square()).sum())


def descend(stepper: SafeguardedAdam, steps: int) -> list[Step]:
    theta = torch.ones(3, dtype=torch.float64)
    value, done = quadratic(theta), []
    for _ in range(steps):
        done.append(stepper.step(theta, CURVATURES * theta, value, quadratic))
        theta, value = done[-1].theta, done[-1].value
    return done


def test_the_objective_never_rises_where_plain_adam_does() -> None:
    safe = [step.value for step in descend(SafeguardedAdam(0.2), 200)]
    plain = [step.value for step in descend(SafeguardedAdam(0.2, is_safe=False), 200)]
    assert all(after <= before for before, after in pairwise(safe))
    assert any(after > before for before, after in pairwise(plain))
    assert safe[-1] < 1e-3 * quadratic(torch.ones(3, dtype=torch.float64))


def test_plain_steps_are_those_of_torch() -> None:
    theta = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    reference = torch.optim.Adam([theta], lr=0.05)
    for step in descend(SafeguardedAdam(0.05, is_safe=False), 20):
        reference.zero_grad()
        (0.5 * (CURVATURES * theta.square()).sum()).backward()
        reference.step()
        torch.testing.assert_close(step.theta, theta.detach(), rtol=1e-10, atol=1e-12)


def test_the_largest_power_of_two_that_does_not_rise_is_taken() -> None:
    tried: list[float] = []

    def wall(theta: torch.Tensor) -> float:
        tried.append(float(theta))
        return 0.0 if float(theta) > 0.8 else 2.0

    step = SafeguardedAdam(1.0).step(torch.ones(1), torch.ones(1), 1.0, wall)
    assert (step.kind, step.size, step.evaluations) == ("adam", 0.125, 4)
    assert tried == pytest.approx([0.0, 0.5, 0.75, 0.875])


def test_a_gradient_step_helps_where_the_direction_of_adam_does_not() -> None:
    stepper = SafeguardedAdam(1.0)
    theta = torch.tensor([1.0], dtype=torch.float64)
    for _ in range(5):
        stepper.step(theta, -theta, 1.0, lambda t: 0.0)  # moments that point upwards
    step = stepper.step(theta, theta, 0.5, lambda t: 0.5 * float(t.square()))
    assert step.kind == "gradient"
    assert step.value <= 0.5 - 1e-4 * step.size
    torch.testing.assert_close(step.theta, theta - step.size * theta)


@pytest.mark.parametrize("worse", [2.0, float("nan"), float("inf")])
def test_where_nothing_helps_the_step_is_rejected_and_the_moments_start_anew(worse: float) -> None:
    stepper, theta = SafeguardedAdam(0.1), torch.ones(2)
    step = stepper.step(theta, theta, 1.0, lambda t: worse)
    assert (step.kind, step.size, step.value) == ("rejected", 0.0, 1.0)
    assert torch.equal(step.theta, theta)
    after = stepper.step(theta, -theta, 1.0, lambda t: 0.5)
    torch.testing.assert_close(after.theta, theta + 0.1)  # as a first step of Adam


def test_a_vanishing_gradient_stays() -> None:
    theta = torch.ones(2)
    step = SafeguardedAdam(0.1).step(theta, torch.zeros(2), 1.0, lambda t: 1.0)
    assert torch.equal(step.theta, theta)
    assert step.value == 1.0
