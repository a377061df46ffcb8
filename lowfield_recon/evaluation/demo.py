"""The demonstration: shipped real scans, several methods, images, a figure and a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.demo_plan import DemoPlan, ExperimentPlan, MethodPlan, check_labels
from lowfield_recon.evaluation.metrics import Scores, score
from lowfield_recon.manifest import describe_inputs, describe_result, write_manifest
from lowfield_recon.problem import InverseProblem, ProgressCallback, Reconstruction
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import uninterrupted
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import Scan, load_scan
from lowfield_recon.scan.problems import Undersampling
from lowfield_recon.scan.writers import open_image_writer

ProgressFor = Callable[[int], ProgressCallback | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MethodOutcome:
    """What one method made of a scan's slices."""

    method: str
    """Its name."""

    label: str
    """What it is called in file names, tables and captions."""

    dictionary: Any
    """The dictionary that it was given: name, path or `Dictionary`; None where it takes none."""

    results: tuple[Reconstruction, ...]
    """One per slice."""

    scores: tuple[Scores, ...]
    """One per slice where there is a reference, else empty."""

    @property
    def seconds(self) -> float:
        """Wall time for all slices [s]."""
        return sum(result.seconds for result in self.results)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentOutcome:
    """What all methods made of one scan."""

    plan: ExperimentPlan
    """What was asked for."""

    scan: Scan
    """The scan."""

    slices: tuple[int, ...]
    """Which slices were reconstructed."""

    problems: tuple[InverseProblem, ...]
    """One per slice."""

    methods: tuple[MethodOutcome, ...]
    """In the order of the plan."""


def load_scans(plan: DemoPlan) -> tuple[Scan, ...]:
    """Open the scan of every experiment.

    Parameters
    ----------
    plan
        The plan.

    Returns
    -------
        One scan per experiment.

    Raises
    ------
    UsageError
        If the plan names a sample that does not exist, or two methods alike.
    """
    check_labels(plan)
    return tuple(load_scan(sample_path(experiment.sample)) for experiment in plan.experiments)


def count_images(plan: DemoPlan, scans: Sequence[Scan]) -> int:
    """Return how many images a plan reconstructs, for a progress bar.

    Parameters
    ----------
    plan
        The plan.
    scans
        What `load_scans` returned.

    Returns
    -------
        Sum over experiments of methods times slices.

    Raises
    ------
    UsageError
        If the plan names a slice that does not exist.
    """
    return sum(
        len(experiment.methods) * len(_slices(experiment, scan))
        for experiment, scan in zip(plan.experiments, scans, strict=True)
    )


def run_demo(
    plan: DemoPlan,
    scans: Sequence[Scan],
    folder: Path,
    *,
    device: str,
    progress_for: ProgressFor,
) -> Iterator[ExperimentOutcome]:
    """Reconstruct everything that the plan names and write the images.

    Parameters
    ----------
    plan
        What to do.
    scans
        What `load_scans` returned.
    folder
        Existing folder for the images.
    device
        Where to compute, e.g. `"cpu"`.
    progress_for
        Gives the progress callback of the n-th image.

    Yields
    ------
        One outcome per experiment, when its images lie in the folder.

    Raises
    ------
    UsageError
        If the plan names a sample, method or setting that does not exist.
    DataError
        If a sample or the folder is not what it must be.
    """
    position = 0
    for experiment, scan in zip(plan.experiments, scans, strict=True):
        slices = _slices(experiment, scan)
        lazy = scan.problems(undersampling=_undersampling(experiment))
        problems = tuple(lazy[index] for index in slices)
        outcomes = []
        for method in experiment.methods:
            callbacks = [progress_for(position + i) for i in range(len(slices))]
            outcomes.append(_run_method(experiment, method, problems, callbacks, device))
            position += len(slices)
        outcome = ExperimentOutcome(
            plan=experiment,
            scan=scan,
            slices=slices,
            problems=problems,
            methods=tuple(outcomes),
        )
        for done in outcomes:
            _write_images(outcome, done, folder)
        yield outcome


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread while the block runs.

    The demonstration's images are small, so that more threads gain little, cost much on a busy
    machine, and make the last digits depend on their number.

    Yields
    ------
        Nothing.

    Examples
    --------
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def magnitude(image: torch.Tensor) -> NDArray[numpy.float64]:
    """Return the middle plane of an image `(1, 1, z, y, x)` as magnitudes `(y, x)`.

    Parameters
    ----------
    image
        Image of one slice or volume.

    Returns
    -------
        Magnitudes, float64.

    Examples
    --------
    >>> magnitude(torch.full((1, 1, 1, 2, 3), 3 + 4j)).shape
    (2, 3)
    """
    plane = image.detach().cpu()[0, 0, image.shape[-3] // 2]
    return numpy.asarray(plane.abs().double().numpy())


def _slices(experiment: ExperimentPlan, scan: Scan) -> tuple[int, ...]:
    n_slices = scan.volume_shape[1]
    wanted = tuple(range(n_slices)) if experiment.slices is None else experiment.slices
    missing = [index for index in wanted if index >= n_slices]
    if missing:
        raise UsageError(
            f"{experiment.name}: slice {missing[0]} is not in {experiment.sample}; there are 0 to "
            f"{n_slices - 1}."
        )
    return wanted


def _undersampling(experiment: ExperimentPlan) -> Undersampling | None:
    chosen = experiment.undersampling
    return None if chosen is None else Undersampling(**chosen.model_dump())


def _run_method(
    experiment: ExperimentPlan,
    method: MethodPlan,
    problems: tuple[InverseProblem, ...],
    callbacks: list[ProgressCallback | None],
    device: str,
) -> MethodOutcome:
    reconstructor = create(method.name, {"device": device, **method.settings})
    results = tuple(
        uninterrupted(reconstructor.reconstruct(problem, progress=callback))
        for problem, callback in zip(problems, callbacks, strict=True)
    )
    return MethodOutcome(
        method=method.name,
        label=method.shown_as,
        dictionary=getattr(reconstructor.settings, "dictionary", None),
        results=results,
        scores=tuple(_scores(experiment, problems, results)),
    )


def _scores(
    experiment: ExperimentPlan,
    problems: tuple[InverseProblem, ...],
    results: tuple[Reconstruction, ...],
) -> Iterator[Scores]:
    for problem, result in zip(problems, results, strict=True):
        if problem.reference is not None:
            reference = problem.reference.abs()
            head = head_mask(reference.numpy(), experiment.head_threshold)
            peak = float(reference.max())
            yield score(result.image, reference, data_range=peak, mask=head)


def head_mask(magnitudes: NDArray[numpy.floating], threshold: float) -> NDArray[numpy.bool_]:
    """Find the object: where the smoothed image exceeds a part of its peak, holes filled.

    Parameters
    ----------
    magnitudes
        Image `(..., y, x)`.
    threshold
        Part of the peak of the image smoothed by 2 pixels.

    Returns
    -------
        Mask of the same shape.

    Examples
    --------
    >>> ring = numpy.zeros((32, 32))
    >>> ring[8:24, 8:24], ring[12:20, 12:20] = 1, 0
    >>> bool(head_mask(ring, 0.2)[16, 16]), bool(head_mask(ring, 0.2)[0, 0])
    (True, False)
    """
    sigma = (0.0,) * (magnitudes.ndim - 2) + (2.0, 2.0)
    smooth = ndimage.gaussian_filter(magnitudes, sigma)
    above = smooth > threshold * smooth.max()
    planes = above.reshape(-1, *above.shape[-2:])
    filled = numpy.stack([ndimage.binary_fill_holes(plane) for plane in planes])
    return numpy.asarray(filled.reshape(above.shape))


def _write_images(outcome: ExperimentOutcome, done: MethodOutcome, folder: Path) -> None:
    record = _record(outcome, done)
    inputs = describe_inputs({"scan": outcome.scan.path})
    for ending in (".nii.gz", ".png"):
        path = folder / f"{outcome.plan.name}_{done.label}{ending}"
        with open_image_writer(
            path,
            volume_shape=(1, len(outcome.slices)),
            image_shape=_size(outcome.problems[0]),
            geometries=[problem.geometry for problem in outcome.problems],
            header=outcome.scan.header,
            part="magnitude",
        ) as writer:
            for result in done.results:
                writer.append(result.image)
        options = outcome.plan.model_dump(include={"sample", "undersampling"})
        write_manifest(path, command="demo", inputs=inputs, options=options, results=record)


def _record(outcome: ExperimentOutcome, done: MethodOutcome) -> dict[str, Any]:
    images = [
        {"slice": index, "noise_std": problem.noise_std, **describe_result(result)}
        for index, problem, result in zip(
            outcome.slices, outcome.problems, done.results, strict=True
        )
    ]
    return {
        "method": done.method,
        "label": done.label,
        "seconds": round(done.seconds, 4),
        "images": images,
        "scores_in_the_head_against_full_reconstruction": [
            asdict(scores) for scores in done.scores
        ],
        "repairs": outcome.scan.repairs,
        "assumptions": outcome.scan.assumptions,
    }


def _size(problem: InverseProblem) -> tuple[int, int, int]:
    z, y, x = problem.shape[-3:]
    return z, y, x
