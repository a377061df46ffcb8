"""The rules against their formulas, written out over the whole sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from lowfield_recon.learning.untrained.loop import Estimate, Rule, Verdict
from lowfield_recon.learning.untrained.rules import (
    Discrepancy,
    HeldOut,
    LastIterate,
    RunningVariance,
    SmallestObjective,
)


def _judged(rule: Rule, images: Sequence[torch.Tensor]) -> list[Verdict]:
    return [
        rule(i, Estimate(image=image, objective=float(image.abs().sum())))
        for i, image in enumerate(images, start=1)
    ]


def _scalars(values: Sequence[float]) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


def _kept(verdicts: Sequence[Verdict]) -> list[int]:
    return [i for i, verdict in enumerate(verdicts, start=1) if verdict.keep]


def test_the_last_iterate_is_always_kept() -> None:
    rule = LastIterate()
    assert _judged(rule, _scalars([3, 1, 2])) == [Verdict(keep=True)] * 3
    assert rule.values == ()


def test_the_smallest_objective_is_kept_from_its_start_on() -> None:
    rule = SmallestObjective(start=3)
    assert _kept(_judged(rule, _scalars([1, 2, 9, 10, 8, 8, 7]))) == [1, 2, 3, 5, 7]
    assert rule.values == (1, 2, 9, 10, 8, 8, 7)


def test_held_out_errors_are_smoothed_without_bias() -> None:
    errors = np.random.default_rng(0).random(12)
    rule = HeldOut(float, decay=0.7)
    _judged(rule, _scalars(errors))
    weights = 0.7 ** np.arange(12)
    expected = [
        np.dot(weights[:n], errors[n - 1 :: -1][:n]) / weights[:n].sum() for n in range(1, 13)
    ]
    assert rule.values == pytest.approx(expected, rel=1e-6)


def test_held_out_keeps_every_new_least_and_ends_after_its_patience() -> None:
    rule = HeldOut(float, decay=0.0, patience=3)
    verdicts = _judged(rule, _scalars([5, 4, 6, 3, 7, 8, 9, 1]))
    assert _kept(verdicts) == [1, 2, 4, 8]
    assert [v.stop for v in verdicts] == [None] * 6 + ["held-out samples", None]


def test_held_out_measures_only_as_often_as_it_is_told() -> None:
    seen: list[float] = []

    def error(x: torch.Tensor) -> float:
        seen.append(float(x))
        return float(x)

    verdicts = _judged(HeldOut(error, every=3), _scalars([9, 8, 7, 6, 5, 4, 3]))
    assert seen == [9, 6, 3]
    assert _kept(verdicts) == [1, 4, 7]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_running_variance_is_that_of_its_recursion(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 3, dtype=dtype, generator=generator) for _ in range(9)]
    weight = torch.tensor([[True, False, True], [True, True, False]])
    rule = RunningVariance(alpha=0.2, weight=weight)
    _judged(rule, images)
    mean, variance, expected = (images[0] * weight).numpy(), 0.0, [math.inf]
    for image in images[1:]:
        step = (image * weight).numpy() - mean
        mean = 0.8 * mean + 0.2 * (mean + step)
        variance = 0.8 * (variance + 0.2 * float((abs(step) ** 2).sum()))
        expected.append(variance / float((abs(mean) ** 2).sum()))
    assert rule.values == pytest.approx(expected, rel=1e-12)


def test_known_pixels_do_not_count_in_the_variance() -> None:
    weight = torch.tensor([0.0, 1.0])
    one, other = RunningVariance(weight=weight), RunningVariance(weight=weight)
    _judged(one, [torch.tensor([float(i), 2.0 + 0.1 * i]) for i in range(5)])
    _judged(other, [torch.tensor([-7.0 * i, 2.0 + 0.1 * i]) for i in range(5)])
    assert one.values == other.values


def test_the_variance_is_believed_after_the_warm_up_alone() -> None:
    # Steps that shrink, then grow: the least variance is near iteration 8.
    steps = [0.0, 8, 7, 6, 5, 4, 2, 0.5, 3, 6, 9, 9, 9]
    images = _scalars(100 + np.cumsum(steps))
    rule = RunningVariance(alpha=0.5, patience=3, warm_up=4)
    verdicts = _judged(rule, images)
    values = np.array(rule.values)
    least = int(values[4:].argmin()) + 5
    assert all(v.keep for v in verdicts[:5])
    assert max(_kept(verdicts)) == least
    ends = [i for i, v in enumerate(verdicts, start=1) if v.stop == "running variance"]
    assert ends[0] == least + 3


def test_the_mean_is_not_the_image_that_was_handed_over() -> None:
    image = torch.ones(3)
    rule = RunningVariance()
    rule(1, Estimate(image=image, objective=0.0))
    rule(2, Estimate(image=torch.zeros(3), objective=0.0))
    assert torch.equal(image, torch.ones(3))


def test_the_discrepancy_stops_where_the_noise_explains_the_misfit() -> None:
    rule = Discrepancy(float, expected=4.0, factor=1.5)
    verdicts = _judged(rule, _scalars([9, 6.1, 6.0, 2.0]))
    assert [v.stop for v in verdicts] == [None, None, "discrepancy", "discrepancy"]
    assert all(v.keep for v in verdicts)
    assert rule.values == pytest.approx((9, 6.1, 6.0, 2.0))
