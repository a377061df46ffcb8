"""One evaluation of a tuning: a method with some settings on one validation image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.metrics import psnr, ssim
from lowfield_recon.pipeline.tuning_images import ValidationImage
from lowfield_recon.pipeline.tuning_search import Point
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import uninterrupted

Metric = Literal["psnr", "ssim"]

_KEPT_PROBLEMS = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scoring:
    """What is run and how it is judged; the same for all points and images."""

    method: str
    """Name of the method."""

    settings: Mapping[str, Any]
    """Settings that stay as they are."""

    searched: tuple[str, ...]
    """Settings that the values of a point are for."""

    metric: Metric = "psnr"
    """What is made as large as possible."""

    margin: int = 0
    """Pixels along each side of an image that do not count."""

    device: str = "auto"
    """Where to compute, unless the settings say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One evaluation to be done."""

    image: ValidationImage
    """The image."""

    point: Point | None
    """Values of the searched settings; None only builds the problem, to see that it can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a task."""

    score: float | None = None
    """The score, or None where the method failed or nothing was to be solved."""

    seconds: float = 0.0
    """How long it took."""

    error: str | None = None
    """Why the method failed, in one line, or None."""

    is_lasting: bool = True
    """False for a lack of memory and the like, which may be gone another time."""


def check_search(method: str, settings: Mapping[str, Any], start: Mapping[str, float]) -> None:
    """Check that a method has the settings that are to be searched, and that they vary smoothly.

    Parameters
    ----------
    method
        Name of the method.
    settings
        Settings that stay as they are.
    start
        First value of each setting that is searched.

    Raises
    ------
    UsageError
        If a setting is not known, given twice, no real number, or its start is not above 0.

    Examples
    --------
    >>> check_search("tv", {"iterations": 20}, {"regularization_weight": 0.01})
    """
    for name, value in start.items():
        if name in settings:
            raise UsageError(
                f"--search {name}: '{name}' is also given by --set; a setting is either searched "
                "or fixed."
            )
        if not (math.isfinite(value) and value > 0):
            raise UsageError(
                f"--search {name}={value:g}: expected a start above 0; the search multiplies and "
                "divides it."
            )
    chosen = create(method, {**settings, **start}).settings
    for name, value in start.items():
        found = getattr(chosen, name)
        if not isinstance(found, float):
            raise UsageError(
                f"--search {name}={value:g}: '{name}' of {method} is of type "
                f"{type(found).__name__}; expected a setting that takes any number above 0."
            )


class Evaluator:
    """Builds problems, solves them and scores the images, keeping the latest problems.

    Parameters
    ----------
    scoring
        What is run and how it is judged.
    """

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring
        self._problems: dict[ValidationImage, InverseProblem] = {}

    def evaluate(self, task: Task, progress: ProgressCallback | None = None) -> Outcome:
        """Do one task.

        Parameters
        ----------
        task
            Image and point.
        progress
            Called as `progress(iteration, total, objective)`.

        Returns
        -------
            The score, or why the method failed.

        Raises
        ------
        LowfieldReconError
            If the problem cannot be built; the method is then not to blame.
        """
        problem = self._problem(task.image)
        if task.point is None:
            return Outcome()
        how = self._scoring
        settings = {"device": how.device, **how.settings}
        settings |= dict(zip(how.searched, task.point, strict=True))
        start = perf_counter()
        try:
            result = uninterrupted(
                create(how.method, settings).reconstruct(problem, progress=progress)
            )
            score = _score(result.image, problem, task.image.peak, how)
        except (ArithmeticError, MemoryError, OSError, RuntimeError, ValueError) as error:
            return Outcome(
                seconds=perf_counter() - start,
                error=" ".join(str(error).split()) or type(error).__name__,
                is_lasting=not (isinstance(error, MemoryError | OSError) or "memory" in str(error)),
            )
        return Outcome(score=score, seconds=perf_counter() - start)

    def _problem(self, image: ValidationImage) -> InverseProblem:
        problem = self._problems.pop(image, None)
        if problem is None:
            problem = image.problem()
            _check_margin(problem, image.name, self._scoring.margin)
            while len(self._problems) >= _KEPT_PROBLEMS:
                self._problems.pop(next(iter(self._problems)))
        self._problems[image] = problem
        return problem


def _check_margin(problem: InverseProblem, name: str, margin: int) -> None:
    smallest = min(problem.shape[-2:])
    if smallest <= 2 * margin:
        raise DataError(
            f"{name}: a margin of {margin} pixels leaves nothing of {problem.shape[-2]} x "
            f"{problem.shape[-1]}; choose a smaller one."
        )


def _score(image: torch.Tensor, problem: InverseProblem, peak: float | None, how: Scoring) -> float:
    """Score an image as `reconstruct` and `restore` do, inside the margin."""
    reference = problem.reference
    if reference is None:
        raise DataError("the validation image has no reference.")
    scale = float(reference.abs().max()) if peak is None else peak
    y, x = (slice(how.margin, n - how.margin) for n in reference.shape[-2:])
    measure = psnr if how.metric == "psnr" else ssim
    value = measure(image[..., y, x], reference[..., y, x], data_range=scale)
    if math.isnan(value):
        raise DataError(f"{how.metric}: is not a number for this image.")
    return value
