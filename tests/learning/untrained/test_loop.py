"""The loop: which image it returns, when it ends, whom it tells."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.learning.untrained.loop import Estimate, Verdict, run_fit
from lowfield_recon.learning.untrained.rules import LastIterate, SmallestObjective


def _counting(
    objective: Callable[[int], float] = float, interrupt_at: int | None = None
) -> Callable[[int], Estimate]:
    """Return what fills one buffer with the number of the iteration, over and over."""
    buffer = torch.zeros(1, 1, 1, 2, 2)

    def advance(i: int) -> Estimate:
        buffer.fill_(-1.0)
        if i == interrupt_at:
            raise KeyboardInterrupt
        return Estimate(image=buffer.fill_(float(i)), objective=objective(i))

    return advance


class Observer:
    """Notes what it is told and shown."""

    def __init__(self, every: int = 1, interrupt_at: int | None = None) -> None:
        self.told: list[tuple[int, int, float | None]] = []
        self.shown: dict[int, float] = {}
        self._every = every
        self._interrupt_at = interrupt_at

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        self.told.append((iteration, total, objective))
        if iteration == self._interrupt_at:
            raise KeyboardInterrupt

    def wants_image(self, iteration: int) -> bool:
        return iteration % self._every == 0

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        self.shown[iteration] = float(image.mean())


class Stopping:
    """Keeps one iteration and stops at another."""

    name = "stopping"
    values = ()

    def __init__(self, keep: int, stop: int) -> None:
        self._keep = keep
        self._stop = stop

    def __call__(self, iteration: int, _estimate: Estimate) -> Verdict:
        return Verdict(
            keep=iteration == self._keep, stop="enough" if iteration == self._stop else None
        )


def test_all_iterations_are_done_and_reported() -> None:
    observer = Observer(every=2)
    fitted = run_fit(_counting(), LastIterate(), iterations=5, progress=observer)
    assert fitted.stopping_reason == "iterations"
    assert (fitted.iterations, fitted.chosen_iteration) == (5, 5)
    assert fitted.objective == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert observer.told == [(i, 5, float(i)) for i in range(1, 6)]
    assert observer.shown == {2: 2.0, 4: 4.0}


def test_the_image_is_a_copy_of_the_chosen_one() -> None:
    fitted = run_fit(_counting(lambda i: (i - 3.0) ** 2), SmallestObjective(), iterations=8)
    assert fitted.chosen_iteration == 3
    assert torch.equal(fitted.image, torch.full((1, 1, 1, 2, 2), 3.0))


def test_the_rule_ends_it() -> None:
    fitted = run_fit(_counting(), Stopping(keep=2, stop=4), iterations=9)
    assert (fitted.chosen_iteration, fitted.iterations) == (2, 4)
    assert fitted.stopping_reason == "enough"
    assert float(fitted.image.mean()) == 2.0


def test_the_first_estimate_is_kept_even_where_the_rule_wants_none() -> None:
    fitted = run_fit(_counting(), Stopping(keep=99, stop=3), iterations=9)
    assert (fitted.chosen_iteration, float(fitted.image.mean())) == (1, 1.0)


def test_images_are_shown_in_the_unit_of_the_problem() -> None:
    observer = Observer()
    run_fit(_counting(), LastIterate(), iterations=2, progress=observer, to_image=lambda x: 10 * x)
    assert observer.shown == {1: 10.0, 2: 20.0}


def test_a_plain_callback_is_shown_nothing() -> None:
    told: list[int] = []

    def converted(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    run_fit(
        _counting(), LastIterate(), iterations=2, to_image=converted,
        progress=lambda i, total, objective: told.append(i),
    )  # fmt: skip
    assert told == [1, 2]


def test_kept_iterations_are_told() -> None:
    kept: list[int] = []
    heights = {1: 5.0, 2: 3.0, 3: 4.0, 4: 1.0}
    run_fit(_counting(heights.__getitem__), SmallestObjective(), iterations=4, on_keep=kept.append)
    assert kept == [1, 2, 4]


def test_no_iteration_begins_after_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    counting = _counting()

    def advance(i: int) -> Estimate:
        nonlocal now
        now += 1.0
        return counting(i)

    fitted = run_fit(advance, LastIterate(), iterations=50, budget=2.5)
    assert (fitted.iterations, fitted.stopping_reason) == (3, "budget")


def test_one_iteration_is_done_however_small_the_budget() -> None:
    fitted = run_fit(_counting(), LastIterate(), iterations=50, budget=1e-9)
    assert (fitted.iterations, fitted.stopping_reason) == (1, "budget")


def test_an_interrupt_returns_the_best_image_so_far() -> None:
    advance = _counting(lambda i: abs(i - 2.0), interrupt_at=5)
    fitted = run_fit(advance, SmallestObjective(), iterations=9)
    assert fitted.stopping_reason == "interrupted"
    assert (fitted.chosen_iteration, fitted.iterations) == (2, 4)
    assert torch.equal(fitted.image, torch.full((1, 1, 1, 2, 2), 2.0))


def test_an_interrupt_while_progress_is_told_counts_that_iteration() -> None:
    fitted = run_fit(_counting(), LastIterate(), iterations=9, progress=Observer(interrupt_at=3))
    assert (fitted.chosen_iteration, fitted.stopping_reason) == (3, "interrupted")


def test_an_interrupt_before_there_is_an_image_goes_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        run_fit(_counting(interrupt_at=1), LastIterate(), iterations=9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_first_objective_that_is_not_finite_is_one_clear_line(bad: float) -> None:
    with pytest.raises(DataError, match="not finite") as caught:
        run_fit(_counting(lambda i: bad), LastIterate(), iterations=3)
    assert "\n" not in str(caught.value)


def test_a_later_one_ends_the_fit_with_the_last_sound_image() -> None:
    fitted = run_fit(_counting(lambda i: math.nan if i == 4 else 1.0), LastIterate(), iterations=9)
    assert fitted.stopping_reason == "objective not finite"
    assert (fitted.chosen_iteration, fitted.iterations) == (3, 3)
    assert float(fitted.image.mean()) == 3.0
