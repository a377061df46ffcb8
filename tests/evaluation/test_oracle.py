"""The oracle scores every k-th image and keeps the best, for the record only."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.metrics import psnr
from lowfield_recon.evaluation.oracle import NOTE, Oracle
from lowfield_recon.learning.untrained.loop import Estimate, run_fit
from lowfield_recon.learning.untrained.rules import LastIterate

TRUTH = torch.rand(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def _noise(i: int) -> torch.Tensor:
    """Return an iterate whose error is least at iteration 23."""
    return TRUTH + 0.01 * (1 + abs(i - 23))


class Observer:
    """The oracle as a progress callback."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle
        self.wants_image = oracle.wants_image

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        """Ignore the progress."""

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        self.oracle.show_image(iteration, image)


@pytest.mark.parametrize(("every", "best"), [(1, 23), (10, 20), (12, 24), (100, 1)])
def test_the_best_of_the_shown_images_is_kept(every, best):
    oracle = Oracle(lambda image: psnr(image, TRUTH, data_range=1.0), every=every)

    def advance(i: int) -> Estimate:
        return Estimate(image=_noise(i), objective=1.0)

    fitted = run_fit(advance, LastIterate(), iterations=40, progress=Observer(oracle))
    assert torch.equal(fitted.image, _noise(40))
    expected = psnr(_noise(best), TRUTH, data_range=1.0)
    assert oracle.record() == {"psnr_db": expected, "iteration": best, "note": NOTE}


def test_without_images_there_is_no_record():
    assert Oracle(lambda _: 1.0).record() is None


def test_images_that_are_not_finite_do_not_count_and_the_first_of_equal_ones_does():
    oracle = Oracle(lambda image: float(image.sum()))
    oracle.show_image(1, torch.tensor([math.nan]))
    assert oracle.record() is None
    for i, value in ((10, -math.inf), (20, 3.0), (30, 3.0), (40, math.inf)):
        oracle.show_image(i, torch.tensor([value]))
    record = oracle.record()
    assert (record["iteration"], record["psnr_db"]) == (20, 3.0)


def test_every_zeroth_image_makes_no_sense():
    with pytest.raises(UsageError, match="every"):
        Oracle(lambda _: 1.0, every=0)
