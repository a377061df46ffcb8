"""A problem as untrained methods see it: settings, scale, held-out samples, stopping rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks.skip_network import Upsampling
from lowfield_recon.learning.untrained.holdout import Split, hold_out
from lowfield_recon.learning.untrained.loop import Fitted, Rule
from lowfield_recon.learning.untrained.rules import (
    Discrepancy,
    HeldOut,
    LastIterate,
    RunningVariance,
)
from lowfield_recon.operators import capabilities
from lowfield_recon.operators.image import MaskOp
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors.base import Settings
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    in_domain,
    preconditioner_eigenvalues,
)

StopName = Literal["held-out", "variance", "discrepancy", "last"]
PrecisionName = Literal["float32", "bfloat16"]

_PEAK_OF_NETWORK = 50.0
"""Brightest value that a linear network is to put out: one that begins near zero beside its aim
learns structure first; at 1 the same number of iterations gave 1.7 dB less (0.055 T, 2-fold)."""

_BRIGHTEST = 1.5
"""Largest magnitude of a photograph on the grey scale 0..1, noise included."""


class UntrainedSettings(Settings):
    """Settings of `dip` and `ngr`."""

    iterations: int = Field(default=2000, ge=1, description="most iterations")
    budget: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="seconds after which the image that the stopping rule prefers is returned",
    )  # fmt: skip
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False, description="of Adam")
    channels: int = Field(default=128, ge=1, description="channels of the network")
    scales: int = Field(default=5, ge=1, le=8, description="times the network halves the image")
    skip_channels: int = Field(default=4, ge=0, description="channels of its skip branches")
    upsampling: Upsampling = Field(default="bilinear", description="nearest or bilinear")
    input_channels: int = Field(default=32, ge=1, description="channels of the random input")
    input_noise: float = Field(
        default=0.03, ge=0, allow_inf_nan=False, description="fresh noise on it"
    )
    average: float = Field(
        default=0.99, ge=0, lt=1, description="decay of the mean of iterates that is the result"
    )
    stop: StopName | None = Field(
        default=None,
        description="rule that chooses the iterate: held-out (samples that are not fitted), "
        "variance (of the iterates), discrepancy (needs the noise level), last; None: held-out, "
        "but last where pixels are known without noise",
    )
    held_out: float = Field(
        default=0.05, gt=0, lt=0.5, description="part of the samples that held-out keeps back"
    )
    finish: float = Field(
        default=0.25, ge=0, le=1,
        description="iterations with all samples, after those without the held-out ones, as a part "
        "of the chosen number; they go at a third of the learning rate",
    )  # fmt: skip
    patience: int = Field(
        default=400, ge=1, description="iterations without improvement after which a rule stops"
    )
    precision: PrecisionName | None = Field(
        default=None, description="of convolutions; None: bfloat16 where the hardware has it"
    )
    warm_start: str | None = Field(
        default=None,
        description="weights to start from: previous (of the image before, in the same run), or a "
        ".safetensors file of save_weights",
    )
    save_weights: str | None = Field(
        default=None, description=".safetensors file for the fitted weights"
    )
    scale: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="value that counts as 1 for the network; None: 1 for photographs in 0..1, else "
        "a fiftieth of the 99.5 % quantile of |A^H y|",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stated:
    """A problem as a fit sees it: divided by its scale, with part of the samples held out."""

    term: DataTerm
    """Of the samples that are fitted; its own scale is divided out."""

    eigenvalues: torch.Tensor
    """Of A^H A or of a circulant near to it."""

    rhs: torch.Tensor
    """A^H y of the fitted samples, divided by `scale`."""

    scale: float
    """What counts as 1."""

    peak: float
    """Brightest value, in the unit of the data: 1 for photographs, else a quantile of |A^H y|."""

    observed: torch.Tensor | None
    """Pixels that are known exactly, bool, of the image's shape; None where there are none."""

    whole: Stated | None
    """The same with all samples, where some are held out; None where nothing is."""

    split: Split | None
    """What is held out."""

    is_photograph: bool
    """Whether values lie in 0..1."""

    def gram(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``A^H A x`` of the fitted samples."""
        return self.term.smooth.gram(x)

    def objective(self, x: torch.Tensor, gram_x: torch.Tensor) -> float:
        """Return ``1/2 ||A x - y||^2`` from ``A^H A x``, not below zero."""
        products = (x.conj() * (0.5 * gram_x - self.rhs)).real.sum(dtype=torch.float64)
        return max(float(products) + self.energy, 0.0)

    def data_term(self, x: torch.Tensor) -> tuple[float, torch.Tensor]:
        """Return ``1/2 ||A x - y||^2`` and its gradient ``A^H (A x - y)``."""
        gram_x = self.gram(x)
        return self.objective(x, gram_x), gram_x - self.rhs

    def pasted(self, x: torch.Tensor) -> torch.Tensor:
        """Return an image with the pixels that are known exactly put in."""
        return x if self.observed is None else torch.where(self.observed, self.rhs, x)

    @property
    def energy(self) -> float:
        """``1/2 ||y||^2`` of the fitted samples, in this scale."""
        return self.term.smooth.constant * (self.term.scale / self.scale) ** 2

    def in_unit(self, x: torch.Tensor) -> torch.Tensor:
        """Return an image of the fit in the unit of the data."""
        return x * self.scale


def state_problem(problem: InverseProblem, settings: UntrainedSettings) -> Stated:
    """Scale a problem and hold out what the stopping rule needs.

    Parameters
    ----------
    problem
        Data and operator.
    settings
        Stopping rule and scale.

    Returns
    -------
        The problem as the fit sees it.

    Raises
    ------
    DataError
        If the data are zero, or the image has fewer than 4 pixels along y or x.
    """
    if min(problem.shape[-2:]) < 4:
        raise DataError(
            f"image of {problem.shape[-2]} x {problem.shape[-1]} pixels: too small for a network; "
            "expected at least 4 along y and x. Use tv."
        )
    split = None
    if _stop_name(problem, settings) == "held-out":
        split = hold_out(problem, settings.held_out, seed=settings.seed)
    whole = _stated(problem, settings)
    if split is None:
        return whole
    return _stated(split.problem, settings, whole, split)


def _stated(
    problem: InverseProblem,
    settings: UntrainedSettings,
    whole: Stated | None = None,
    split: Split | None = None,
) -> Stated:
    term = data_term(problem)
    if not bool(term.smooth.rhs.any()):
        raise DataError("data: A^H y is zero everywhere; there is nothing to reconstruct from.")
    is_photograph = _is_photograph(problem) if whole is None else whole.is_photograph
    if whole is not None:
        peak, scale = whole.peak, whole.scale
    else:
        found = _quantile(term.smooth.rhs) * term.scale / term.lipschitz
        peak = 1.0 if is_photograph else found
        scale = settings.scale or (1.0 if is_photograph else peak / _PEAK_OF_NETWORK)
    # Noisy pixels of which some are held out are not exact ones behind a mask.
    is_exact = whole is None or whole.observed is not None
    observed = exact_pixels(problem) if is_exact else None
    return Stated(
        term=term,
        eigenvalues=preconditioner_eigenvalues(problem, term),
        rhs=term.smooth.rhs * (term.scale / scale),
        scale=scale,
        peak=peak,
        observed=observed,
        whole=whole,
        split=split,
        is_photograph=is_photograph,
    )


def exact_pixels(problem: InverseProblem) -> torch.Tensor | None:
    """Return which pixels the data are, where they are pixels without noise.

    Parameters
    ----------
    problem
        Data and operator.

    Returns
    -------
        Mask, bool, of the image's shape; None for other data.
    """
    if isinstance(problem.operator, MaskOp) and not problem.noise_std:
        return problem.operator.mask.expand(problem.shape)
    return None


def with_exact_pixels(image: torch.Tensor, problem: InverseProblem) -> torch.Tensor:
    """Return an image of the problem's kind, with exact pixels as they are in the data, bit by bit.

    Scaling there and back would round them.

    Parameters
    ----------
    image
        Image in the unit of the data.
    problem
        Data and operator.

    Returns
    -------
        The image, not below zero where the problem says so.
    """
    image = image.to(problem.image_dtype)
    if problem.image_domain == "nonnegative":
        image = image.clamp(min=0)
    exact = exact_pixels(problem)
    return image if exact is None else torch.where(exact, in_domain(problem.data, problem), image)


def _stop_name(problem: InverseProblem, settings: UntrainedSettings) -> StopName:
    return settings.stop or ("held-out" if exact_pixels(problem) is None else "last")


def _is_photograph(problem: InverseProblem) -> bool:
    if problem.data.is_complex() or capabilities(problem.operator).data_domain != "image":
        return False
    return problem.image_domain != "complex" and float(problem.data.abs().max()) <= _BRIGHTEST


def _quantile(rhs: torch.Tensor) -> float:
    values = rhs.abs().flatten()
    rank = max(1, math.ceil(0.995 * values.numel()))
    return float(values.kthvalue(rank).values) or float(values.max())


def stopping_rule(stated: Stated, problem: InverseProblem, settings: UntrainedSettings) -> Rule:
    """Return the rule that chooses the iterate.

    Parameters
    ----------
    stated
        The problem as the fit sees it.
    problem
        The problem.
    settings
        Which rule, and its patience.

    Returns
    -------
        The rule; where nothing could be held out, the variance decides.

    Raises
    ------
    DataError
        If the discrepancy is asked for and the noise level is not known.
    """
    stop = _stop_name(problem, settings)
    if stop == "last":
        return LastIterate()
    if stop == "discrepancy":
        return _discrepancy(stated, problem)
    if stop == "variance" or stated.split is None:
        free = None if stated.observed is None else ~stated.observed
        return RunningVariance(patience=settings.patience, weight=free)
    split, scale = stated.split, stated.scale
    return HeldOut(lambda x: split.error(x * scale), patience=settings.patience)


def diagnostics_of(
    fitted: Fitted, rule: Rule, stated: Stated, settings: UntrainedSettings
) -> dict[str, Any]:
    """Return what every untrained method reports.

    Parameters
    ----------
    fitted
        The fit.
    rule
        Its rule.
    stated
        The problem as it saw it.
    settings
        Settings of the method.

    Returns
    -------
        Diagnostics by name.
    """
    found: dict[str, Any] = {
        "objective": fitted.objective,
        "iterations": fitted.iterations,
        "chosen_iteration": fitted.chosen_iteration,
        "stopping_reason": fitted.stopping_reason,
        "rule": rule.name,
        "rule_values": rule.values,
    }
    if stated.split is not None:
        found["held_out"] = f"{stated.split.n_held_out} {stated.split.unit}"
    elif settings.stop in (None, "held-out") and rule.name == "variance":
        found["note"] = "too few samples to hold any out; the variance of the iterates decided"
    return found


def _discrepancy(stated: Stated, problem: InverseProblem) -> Discrepancy:
    if not problem.noise_std:
        raise DataError(
            "stop=discrepancy: the noise level is not known; give it (--noise-std), or choose "
            "held-out or variance."
        )
    count = int((problem.data != 0).sum())
    expected = count * (problem.noise_std / stated.scale) ** 2

    def misfit(x: torch.Tensor) -> float:
        return 2 * stated.objective(x, stated.gram(x))

    return Discrepancy(misfit, expected)
