"""Tuning of a method's settings on images whose truth is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from lowfield_recon import __version__
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import atomic_path, check_output_path
from lowfield_recon.manifest import software_versions, to_plain
from lowfield_recon.pipeline.tuning_evaluation import (
    Metric,
    Outcome,
    Scoring,
    Task,
    check_search,
)
from lowfield_recon.pipeline.tuning_figure import draw_search
from lowfield_recon.pipeline.tuning_images import ValidationImage
from lowfield_recon.pipeline.tuning_log import EvaluationLog, open_evaluation_log
from lowfield_recon.pipeline.tuning_search import (
    Point,
    Round,
    SearchOptions,
    SearchResult,
    pattern_search,
)
from lowfield_recon.pipeline.tuning_workers import EvaluateTasks, open_evaluations
from lowfield_recon.progress import ProgressBars, progress_bar

TUNED = "tuned.json"
FIGURE = "tuning.png"
NOTE = (
    "The settings were chosen by the truth of these images. Their score is no test score: judge "
    "the settings on other images, at best of other subjects."
)
_UNITS = {"psnr": "PSNR [dB]", "ssim": "SSIM"}
_FLAT_GAINS = 50
_PROGRESS = partial(progress_bar, noun="evaluation")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TuningJob:
    """What is to be tuned, on what, and how."""

    method: str
    """Name of the method."""

    start: Mapping[str, float]
    """First value of each setting that is searched, above 0."""

    images: Sequence[ValidationImage]
    """Images whose truth is known; the mean of their scores counts."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that stay as they are."""

    conditions: Mapping[str, Any] = field(default_factory=dict)
    """What was done to the images, for the record: task, degradation."""

    metric: Metric = "psnr"
    """What is made as large as possible."""

    margin: int = 0
    """Pixels along each side of an image that do not count."""

    device: str = "auto"
    """Where to compute, unless the settings say so."""

    search: SearchOptions = field(default_factory=SearchOptions)
    """How the grid moves and shrinks."""

    workers: int = 1
    """Number of processes, each with one thread."""


def tune(
    job: TuningJob,
    folder: Path,
    *,
    progress: ProgressBars = _PROGRESS,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Search for the settings with the best mean score, and write them with the whole search.

    Every evaluation is written to `evaluations.jsonl` as it comes: the same job goes on where it
    was interrupted, and computes nothing twice. The result does not depend on the number of
    workers.

    Parameters
    ----------
    job
        What is to be tuned, on what, and how.
    folder
        Where to write; made where there is none.
    progress
        Where progress is shown.
    tell
        Called with a line for the user after each grid.

    Returns
    -------
        What was written to `tuned.json`; `reconstruct` and `restore` take it with `--settings`.

    Raises
    ------
    UsageError
        If a setting cannot be searched, or the folder holds another tuning.
    DataError
        If an image cannot be read or has no reference, or the method fails at every point.

    Examples
    --------
    >>> import tempfile
    >>> from lowfield_recon.pipeline.degrading import Degradation
    >>> from lowfield_recon.pipeline.tuning_images import photograph_images
    >>> from lowfield_recon.resources import sample_path
    >>> noise = Degradation(task="denoise", noise_std=0.1)
    >>> images = photograph_images([sample_path("camera.png")], noise, crop=48)
    >>> job = TuningJob(method="tv", start={"regularization_weight": 0.1}, images=images)
    >>> record = tune(job, Path(tempfile.mkdtemp()) / "tuned")
    >>> 0.01 < record["settings"]["regularization_weight"] < 1
    True
    """
    check_search(job.method, job.settings, job.start)
    if not job.images:
        raise UsageError("tune: no image; expected at least one whose truth is known.")
    keys = [(image.name, image.sha256) for image in job.images]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{key[0]}: the same image is there twice; name each once.")
    check_output_path(folder)
    names = tuple(job.start)
    scoring = Scoring(
        method=job.method,
        settings=dict(job.settings),
        searched=names,
        metric=job.metric,
        margin=job.margin,
        device=job.device,
    )
    with (
        open_evaluation_log(folder, _fingerprint(job), names) as log,
        open_evaluations(scoring, job.workers) as evaluate,
    ):
        session = _Session(job, log, evaluate, progress)
        session.check_images()
        report = None if tell is None else partial(_tell_round, tell, job)
        found = pattern_search(session.scores, tuple(job.start.values()), job.search, tell=report)
        failures = session.failures(found.points)
        if math.isnan(found.score):
            raise DataError(f"{job.method}: fails at every point; {failures[0]}.")
        record = _record(job, found, log, failures)
    draw_search(
        folder / FIGURE,
        found,
        names,
        score=f"mean {_UNITS[job.metric]}",
        title=f"tune {job.method}",
    )
    with atomic_path(folder / TUNED) as temporary:
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return record


@dataclass(frozen=True, slots=True, eq=False)
class _Session:
    """The evaluations of one run."""

    job: TuningJob
    log: EvaluationLog
    evaluate: EvaluateTasks
    progress: ProgressBars

    def check_images(self) -> None:
        """Build the problems that were never built, so that a bad image ends this at once."""
        tasks = [
            Task(image=image, point=None) for image in self.job.images if not self.log.knows(image)
        ]
        with self.progress("reading", len(tasks)) as progress_of:
            for _ in self.evaluate(tasks, progress_of):
                pass

    def scores(self, points: Sequence[Point]) -> list[float]:
        """Return the mean score of each point over the images, NaN where the method failed."""
        tasks = [
            Task(image=image, point=point)
            for image in self.job.images
            for point in points
            if self.log.outcome(point, image) is None
        ]
        with self.progress(f"tune {self.job.method}", len(tasks)) as progress_of:
            for index, outcome in self.evaluate(tasks, progress_of):
                point = tasks[index].point
                assert point is not None  # noqa: S101 - given above
                self.log.add(point, tasks[index].image, outcome)
        return [self._mean(point) for point in points]

    def _mean(self, point: Point) -> float:
        scores = [self._outcome(point, image).score for image in self.job.images]
        return fmean(math.nan if score is None else score for score in scores)

    def _outcome(self, point: Point, image: ValidationImage) -> Outcome:
        outcome = self.log.outcome(point, image)
        assert outcome is not None  # noqa: S101 - evaluated before
        return outcome

    def failures(self, points: Sequence[Point]) -> list[str]:
        """Say where the method failed, and why."""
        return [
            f"{image.name} at {_values(self.job, point)}: {outcome.error.rstrip('.')}"
            for point in points
            for image in self.job.images
            if (outcome := self._outcome(point, image)).error is not None
        ]


def _fingerprint(job: TuningJob) -> dict[str, Any]:
    """Return all that the scores depend on besides image and point."""
    fingerprint: dict[str, Any] = to_plain(
        {
            "method": job.method,
            "settings": dict(job.settings),
            "searched": list(job.start),
            "images": [{"name": image.name, "sha256": image.sha256} for image in job.images],
            "conditions": dict(job.conditions),
            "metric": job.metric,
            "margin": job.margin,
            "device": job.device,
            "version": __version__,
        }
    )
    return fingerprint


def _record(
    job: TuningJob, found: SearchResult, log: EvaluationLog, failures: Sequence[str]
) -> dict[str, Any]:
    """Return what `tuned.json` holds."""
    outcomes = [log.outcome(found.best, image) for image in job.images]
    record: dict[str, Any] = to_plain(
        {
            "method": job.method,
            "settings": {**job.settings, **dict(zip(job.start, found.best, strict=True))},
            "note": NOTE,
            "tuned_on": {
                "metric": job.metric,
                "mean_score": found.score,
                "images": [
                    {"name": image.name, "sha256": image.sha256, "score": outcome and outcome.score}
                    for image, outcome in zip(job.images, outcomes, strict=True)
                ],
                "margin": job.margin,
                **job.conditions,
            },
            "on_border": {
                name: side
                for name, side in zip(job.start, found.border(), strict=True)
                if side is not None
            },
            "without_influence": [
                name
                for name, spread in zip(job.start, found.influence(), strict=True)
                if spread <= _FLAT_GAINS * job.search.least_gain
            ],
            "search": {
                "start": dict(job.start),
                "factor": job.search.factor,
                "stop_factor": job.search.stop_factor,
                "least_gain": job.search.least_gain,
                "n_points": len(found.points),
                "stopped_by": found.stopped_by,
            },
            "failures": list(failures),
            "device": job.device,
            "versions": software_versions(),
        }
    )
    return record


def _tell_round(tell: Callable[[str], None], job: TuningJob, state: Round) -> None:
    tell(
        f"ratio {state.factor:.4g}, {state.n_new} new points: best {_UNITS[job.metric]} "
        f"{state.score:.4f} at {_values(job, state.best)}"
    )


def _values(job: TuningJob, point: Point) -> str:
    return ", ".join(f"{name}={value:.6g}" for name, value in zip(job.start, point, strict=True))
