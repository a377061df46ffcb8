"""The methods of the quality table, one scan at a time: scores, time, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lowfield_recon.dictionaries import Dictionary
from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.evaluation.benchmark.best_scalar import best_octaves
from lowfield_recon.evaluation.benchmark.quality_scans import View
from lowfield_recon.evaluation.benchmark.quality_weights import METHOD, WeightsChoice
from lowfield_recon.evaluation.demo import head_mask
from lowfield_recon.evaluation.metrics import psnr, score, ssim
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import uninterrupted

Image = NDArray[np.float64]

RULE = "cdl"
BEST_PSNR, BEST_SSIM = "best scalar, PSNR", "best scalar, SSIM"
_HEAD_THRESHOLD = 0.1
_PHASE_SIGMA = 4.0
_METRICS = {BEST_PSNR: "psnr_db", BEST_SSIM: "ssim"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """What one row of the table got out of one scan."""

    record: dict[str, Any]
    """Scores, seconds and what was chosen; JSON can hold it."""

    image: Image
    """As it is compared, `(y, x)`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unit:
    """One piece of work: a method whose result is one row, or several that share their work."""

    name: str
    """What the progress bar says."""

    rows: tuple[str, ...]
    """Names of its rows."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    identity: tuple[Any, ...] = ()
    """All that the results depend on besides the scan."""

    search_iterations: int = 30
    """Of the search for the best scalar; what is scored has the method's own number."""

    def solve(self, problem: InverseProblem, view: View = "magnitude") -> dict[str, Solved]:
        """Reconstruct and score.

        Parameters
        ----------
        problem
            Problem with its reference, which is used for scores and for the best scalar only.
        view
            What of the images is compared.

        Returns
        -------
            What each row got.

        Raises
        ------
        LowfieldReconError
            If the method refuses the problem or its settings.
        """
        if len(self.rows) == 1:
            return {self.rows[0]: solve(problem, self.method, self.settings, view)}
        return _scalars(problem, self.settings, self.search_iterations, view)


def quality_units(
    weights: Sequence[WeightsChoice],
    dictionary: Dictionary,
    *,
    iterations: int | None = None,
    search_iterations: int = 30,
) -> tuple[Unit, ...]:
    """List the methods of the quality table.

    Parameters
    ----------
    weights
        Trained weights.
    dictionary
        Dictionary of `cdl` and `cdl-lambda`.
    iterations
        Most iterations of every iterative method; None takes each method's default.
    search_iterations
        Iterations of each trial of the search for the best scalar.

    Returns
    -------
        Zero-filled, `tv`, the scalar weights, and `cdl-lambda` with each of the weights.
    """
    few: dict[str, Any] = {} if iterations is None else {"iterations": iterations}
    shared = {"dictionary": dictionary, **few}
    content = dictionary.sha256()
    return (
        Unit(name="zero-filled", rows=("zero-filled",), method="adjoint", identity=("adjoint",)),
        Unit(name="tv", rows=("tv",), method="tv", settings=few, identity=("tv", few)),
        Unit(
            name="cdl and best scalar",
            rows=(RULE, BEST_PSNR, BEST_SSIM),
            method="cdl",
            settings=shared,
            identity=("scalars", content, few, search_iterations),
            search_iterations=search_iterations,
        ),
        *(
            Unit(
                name=choice.label,
                rows=(choice.label,),
                method=METHOD,
                settings={**shared, "weights": choice.source},
                identity=(METHOD, content, few, choice.sha256),
            )
            for choice in weights
        ),
    )


def solve(
    problem: InverseProblem,
    method: str,
    settings: Mapping[str, Any],
    view: View = "magnitude",
) -> Solved:
    """Reconstruct one problem and score it against its reference.

    Parameters
    ----------
    problem
        Problem of one slice with its reference.
    method
        Name of the method.
    settings
        Its settings.
    view
        What of the images is compared.

    Returns
    -------
        Scores, their data range the maximum of the reference; those that begin with `head` count
        pixels where the smoothed reference exceeds a tenth of its peak.

    Raises
    ------
    LowfieldReconError
        If the method refuses the problem or its settings.
    """
    result = uninterrupted(create(method, settings).reconstruct(problem))
    image, reference = compared(result.image, problem, view), reference_of(problem, view)
    peak = float(reference.max())
    scores = score(image, reference, data_range=peak)
    head = head_mask(reference, _HEAD_THRESHOLD)
    record = {
        "psnr_db": scores.psnr_db,
        "ssim": scores.ssim,
        "nrmse": scores.nrmse,
        "hfen": scores.hfen,
        "head_psnr_db": psnr(image, reference, data_range=peak, mask=head),
        "head_ssim": ssim(image, reference, data_range=peak, mask=head),
        "seconds": result.seconds,
        **_notes(result),
    }
    return Solved(record=record, image=image)


def reference_of(problem: InverseProblem, view: View = "magnitude") -> Image:
    """Return the reference as it is compared, `(y, x)`.

    Parameters
    ----------
    problem
        Problem with a reference.
    view
        What of the images is compared.

    Returns
    -------
        The reference.

    Raises
    ------
    DataError
        If there is none.
    """
    if problem.reference is None:
        raise DataError("problem: has no reference to score against.")
    return compared(problem.reference, problem, view)


def compared(image: Any, problem: InverseProblem, view: View = "magnitude") -> Image:
    """Return what of an image `(1, 1, 1, y, x)` is compared with the reference.

    `"magnitude"`: ``|x|``. `"real part"`: ``Re(x e^{-i phi})`` with phi the phase of the smoothed
    reference. Where the reference holds noise, its magnitude has a floor in the background, and
    comparing magnitudes would reward what leaves noise there; the noise of the real part has mean
    zero.

    Parameters
    ----------
    image
        Image of one slice.
    problem
        Problem with its reference.
    view
        What is compared.

    Returns
    -------
        Real image `(y, x)`.
    """
    values = image.detach().cpu()[0, 0, 0].to(torch.complex128).numpy()
    if view == "magnitude" or problem.reference is None:
        return np.asarray(np.abs(values))
    reference = problem.reference[0, 0, 0].to(torch.complex128).numpy()
    smooth = ndimage.gaussian_filter(reference, _PHASE_SIGMA)
    return np.asarray((values * np.exp(-1j * np.angle(smooth))).real)


def refusal(error: LowfieldReconError) -> dict[str, Any]:
    """Return the record of a row that a method refused.

    Parameters
    ----------
    error
        Why.

    Returns
    -------
        A record without scores.
    """
    return {"refused": str(error)}


def _scalars(
    problem: InverseProblem, settings: Mapping[str, Any], search_iterations: int, view: View
) -> dict[str, Solved]:
    """Score `cdl` with the weight of its rule, and with the best weights for this image."""
    by_rule = solve(problem, "cdl", settings, view)
    start = by_rule.record["regularization_weight"]
    trial = {**settings, "iterations": search_iterations}
    count = 0

    def score_at(octave: float) -> Mapping[str, float]:
        nonlocal count
        count += 1
        weighted = {**trial, "regularization_weight": start * 2**octave}
        return solve(problem, "cdl", weighted, view).record

    octaves = best_octaves(score_at, list(_METRICS.values())) if start > 0 else {}
    tried = [by_rule] + [
        solve(problem, "cdl", {**settings, "regularization_weight": start * 2**octave}, view)
        for octave in sorted(set(octaves.values()))
    ]
    rows = {RULE: by_rule}
    for row, metric in _METRICS.items():
        best = max(tried, key=lambda solved: float(solved.record[metric]))
        factor = best.record["regularization_weight"] / start if start > 0 else None
        record = {**best.record, "weight_over_rule": factor, "search_trials": count}
        rows[row] = Solved(record=record, image=best.image)
    return rows


def _notes(result: Reconstruction) -> dict[str, Any]:
    """Return what the diagnostics say that a table may show."""
    notes: dict[str, Any] = {}
    for key in ("iterations", "stopping_reason", "fraction_of_nonzero_codes"):
        if key in result.diagnostics:
            notes[key] = result.diagnostics[key]
    for key in ("regularization_weight", "beta"):
        if key in result.settings:
            notes[key] = result.settings[key]
    return notes
