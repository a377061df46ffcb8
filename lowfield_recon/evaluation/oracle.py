"""The best image that a method came by, chosen with the reference: for the record, never to use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from lowfield_recon.errors import UsageError

NOTE = (
    "best PSNR over all iterates that were shown, chosen with the reference; not what was written"
)
"""What stands beside the oracle's figures wherever they are written."""


class Oracle:
    """Scores every k-th image that a method shows, and remembers the best.

    It only looks: the method is given neither the reference nor the scores. Images with NaN or
    infinite values do not count.

    Parameters
    ----------
    psnr_of
        PSNR of an image against the reference [dB].
    every
        k; the first image counts too.

    Raises
    ------
    UsageError
        If k is below 1.

    Examples
    --------
    >>> oracle = Oracle(lambda image: 30 - float((image - 21).abs()), every=10)
    >>> for i in (i for i in range(1, 41) if oracle.wants_image(i)):
    ...     oracle.show_image(i, torch.tensor(float(i)))
    >>> oracle.record()["iteration"], oracle.record()["psnr_db"]
    (20, 29.0)
    """

    def __init__(self, psnr_of: Callable[[torch.Tensor], float], *, every: int = 10) -> None:
        """Store the measure."""
        if every < 1:
            raise UsageError(f"every: expected at least 1, got {every}.")
        self._psnr_of = psnr_of
        self._every = every
        self._best = -math.inf
        self._iteration: int | None = None

    def wants_image(self, iteration: int) -> bool:
        """Return whether the image of this iteration is to be scored."""
        return iteration == 1 or iteration % self._every == 0

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        """Score an image; of equal ones the first is the best."""
        if not bool(torch.isfinite(image).all()):
            return
        found = self._psnr_of(image)
        if self._iteration is None or found > self._best:
            self._best, self._iteration = found, iteration

    def record(self) -> dict[str, Any] | None:
        """Return what is written beside the score of the image that the method chose.

        Returns
        -------
            `psnr_db`, `iteration` and `note`; None if no image was scored.
        """
        if self._iteration is None:
            return None
        return {"psnr_db": self._best, "iteration": self._iteration, "note": NOTE}
