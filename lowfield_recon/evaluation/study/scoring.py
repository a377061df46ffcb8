"""What every method is given, and how its image is scored."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.evaluation.benchmark.quality_methods import compared, reference_of
from lowfield_recon.evaluation.benchmark.quality_scans import View
from lowfield_recon.evaluation.data_fit import data_consistency
from lowfield_recon.evaluation.demo import head_mask
from lowfield_recon.evaluation.fast_scores import score_all
from lowfield_recon.problem import InverseProblem

_BACKGROUND_THRESHOLD = 0.05
_BACKGROUND_MARGIN = 4
_LEAST_BACKGROUND = 200

Plane = NDArray[np.float64]


class StudyCase(Protocol):
    """An image in a condition with a seed: what every method is given."""

    @property
    def condition(self) -> str:
        """Name of the condition."""
        ...

    @property
    def image(self) -> str:
        """Name of the image."""
        ...

    @property
    def subject(self) -> str:
        """Whose image it is."""
        ...

    @property
    def domain(self) -> str:
        """Which set of images it belongs to."""
        ...

    @property
    def seed(self) -> int:
        """Seed of masks and noise."""
        ...

    @property
    def is_recorded(self) -> bool:
        """Whether a scanner recorded it, so that its reference holds noise."""
        ...

    @property
    def identity(self) -> str:
        """Hash of all that the problem is made from."""
        ...

    def build(self) -> InverseProblem:
        """Make the problem, with its reference."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How images are scored, the same for all."""

    foreground: float | None = None
    """Pixels count where the smoothed reference exceeds this part of its peak, holes filled; None
    counts all."""


def case_place(case: StudyCase) -> tuple[str, str, int]:
    """Return condition, image and seed of a case."""
    return case.condition, case.image, case.seed


def build_problem(case: StudyCase) -> InverseProblem:
    """Make the problem of a case, and refuse one that nothing can be scored on.

    Parameters
    ----------
    case
        The case.

    Returns
    -------
        Its problem, with the reference.

    Raises
    ------
    DataError
        If it cannot be made, has no reference, or the reference is constant or tiny; the message
        names image and condition.
    """
    place = f"image '{case.image}', condition '{case.condition}'"
    try:
        problem = case.build()
    except LowfieldReconError as error:
        raise DataError(f"{place}: {error}") from error
    if problem.reference is None:
        raise DataError(f"{place}: has no reference to score against; expected a complete image.")
    magnitude = problem.reference.abs()
    if bool((magnitude == magnitude.flatten()[0]).all()):
        raise DataError(
            f"{place}: every pixel of the reference is {float(magnitude.flatten()[0]):g}; expected "
            "an image with contrast. Leave it out."
        )
    return problem


def score_image(
    problem: InverseProblem, image: torch.Tensor, scoring: Scoring, *, is_recorded: bool = False
) -> dict[str, float | None]:
    """Score an image against the problem's reference; the data range is the reference's maximum.

    Magnitudes are compared. Those of a recorded reference have a floor of noise, which would reward
    noise: of recorded scans the real parts along the smooth phase of the reference are compared.

    Parameters
    ----------
    problem
        The problem with its reference.
    image
        What a method found.
    scoring
        Which pixels count.
    is_recorded
        Whether the reference holds noise.

    Returns
    -------
        All measures by name; None for one that is not finite.

    Raises
    ------
    DataError
        If the image has another shape than the reference or holds NaN.
    """
    assert problem.reference is not None  # noqa: S101 - build_problem has checked it
    if tuple(image.shape) != tuple(problem.reference.shape):
        raise DataError(
            f"its image has the shape {tuple(image.shape)}; expected that of the reference "
            f"{tuple(problem.reference.shape)}."
        )
    if not bool(torch.isfinite(image).all()):
        raise DataError("its image holds NaN or infinite values.")
    view: View = "real part" if is_recorded else "magnitude"
    x, x_ref = compared(image, problem, view), reference_of(problem, view)
    peak = float(x_ref.max())
    mask = None if scoring.foreground is None else head_mask(x_ref, scoring.foreground)
    scores = score_all(x[None], x_ref[None], data_ranges=peak, mask=mask)
    values = {name: float(found[0]) for name, found in scores.items()}
    values["data_consistency"] = data_consistency(problem, image)
    values["background_std"] = _background_std(x, x_ref) / peak
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def problem_hash(problem: InverseProblem) -> str:
    """Hash data, noise level and reference, so that one can see that all methods had the same.

    Parameters
    ----------
    problem
        The problem.

    Returns
    -------
        64 hexadecimal digits.
    """
    digest = hashlib.sha256(repr(problem.noise_std).encode())
    for tensor in (problem.data, problem.reference):
        if tensor is not None:
            digest.update(repr(tuple(tensor.shape)).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def input_snr_db(problem: InverseProblem) -> float | None:
    """Return the mean power of the noise-free data over the noise's, at sampled places.

    Parameters
    ----------
    problem
        The problem with its reference.

    Returns
    -------
        ``10 log10(mean |A x_ref|^2 / noise_std^2)`` [dB]; None without noise.
    """
    if not problem.noise_std or problem.reference is None:
        return None
    (clean,) = problem.operator(problem.reference)
    sampled = problem.data != 0
    if clean.shape != problem.data.shape or not bool(sampled.any()):
        return None
    power = float(clean[sampled].abs().double().square().mean())
    return 10 * math.log10(power / problem.noise_std**2) if power > 0 else None


def _background_std(x: Plane, x_ref: Plane) -> float:
    """Return the deviation of the image where the reference is dark, well away from the object."""
    object_mask = head_mask(x_ref, _BACKGROUND_THRESHOLD)
    values = x[~ndimage.binary_dilation(object_mask, iterations=_BACKGROUND_MARGIN)]
    return float(values.std()) if values.size >= _LEAST_BACKGROUND else math.nan
