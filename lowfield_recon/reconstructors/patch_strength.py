"""How strong the patch prior is: given, by a published optimum, or from the noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.operators import capabilities
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors.data_term import DataTerm
from lowfield_recon.reconstructors.weights import noise_level
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.patch_solver import WELL_POSED

_LEAST_LEVEL = 0.01
"""Noise level, relative to the brightest value, below which the prior is not made weaker: what the
data leave open needs it, however small the noise."""

_BETWEEN_MODELS = math.sqrt(5 * 25) / 255
"""Noise level between those of the two published models."""

_BRIGHTEST_PHOTOGRAPH = 4.0
"""99.9 % quantile up to which a photograph counts as one on the grey scale 0..1, noise included."""


class StrengthSettings(Protocol):
    """The settings that decide."""

    @property
    def regularization_weight(self) -> float | None: ...  # noqa: D102
    @property
    def beta(self) -> float | None: ...  # noqa: D102
    @property
    def weights(self) -> str | None: ...  # noqa: D102
    @property
    def preset(self) -> str | None: ...  # noqa: D102
    @property
    def scale(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchStrength:
    """Weights, beta and lambda_0 of a problem, and where they come from."""

    weights: str
    scale: float
    """What counts as 1, in the unit of the image."""

    beta: float | None
    """None is the weights' own."""

    base_scale: float | None
    """lambda_0 for an image with values up to 1; None is the weights' own."""

    notes: Mapping[str, Any] = field(default_factory=dict)

    def resolved(self, regularizer: PatchRegularizer) -> dict[str, Any]:
        """Return the settings that were used."""
        return {
            "weights": self.weights,
            "beta": regularizer.beta,
            "regularization_weight": self.base_scale,
            "scale": self.scale,
        }


def patch_strength(
    method: str,
    problem: InverseProblem,
    term: DataTerm,
    eigenvalues: torch.Tensor,
    settings: StrengthSettings,
) -> PatchStrength:
    r"""Choose weights, beta and lambda_0.

    What is given counts, then the preset. The rest follows from the noise: a model that was trained
    on noise of standard deviation s stands, at noise t s, for ``beta t^2`` and ``lambda_0 t``:
    ``1/2 ||A x - y||^2 / sigma^2`` is what the prior is weighed against. The level is that of one
    real component of a sample, relative to `scale` and ``||A||``. For complex images it is
    multiplied by 1.2 (full acquisitions, model of strong noise) or 0.7 (undersampled ones), which
    was measured. Where the data leave much open it is at least 0.01.

    Parameters
    ----------
    method
        `"ncpr"` or `"cpr"`.
    problem
        Data and operator.
    term
        Its data term.
    eigenvalues
        Those of A^H A or of the nearest circulant.
    settings
        What was given.

    Returns
    -------
        The strength.
    """
    scale = _scale(problem, term) if settings.scale is None else settings.scale
    preset = None if settings.preset is None else patch_preset(method, settings.preset)
    notes: dict[str, Any] = {"strength_rule": "given"}
    weights, beta, base = settings.weights, settings.beta, settings.regularization_weight
    if preset is not None:
        weights = weights or preset.weights
        own = load_patch_prior(weights, method=method)
        beta = beta or preset.beta or own.regularizer().beta
        base = base or preset.base_scale or own.settings.base_scale
        notes["strength_rule"] = f"{preset.origin} '{preset.task}'"
    if weights is None or beta is None or base is None:
        level, notes = _relative_noise(problem, term, scale)
        mean = float(eigenvalues.mean()) / term.lipschitz
        if weights is None:
            is_low = mean >= WELL_POSED and level < _BETWEEN_MODELS
            weights = f"{method}_sigma5" if is_low else f"{method}_sigma25"
        prior = load_patch_prior(weights, method=method)
        trained = trained_level(prior.card)
        is_noisy_model = trained > _BETWEEN_MODELS
        if problem.image_domain == "complex":
            level *= _complex_factor(is_well_posed=mean >= WELL_POSED, is_noisy=is_noisy_model)
        if mean < WELL_POSED:
            level = max(level, _LEAST_LEVEL)
        ratio = max(level, 1e-4) / trained
        factor = term.lipschitz * ratio**2
        beta = beta or prior.regularizer().beta * factor
        base = base or prior.settings.base_scale * math.sqrt(factor)
        notes["strength_rule"] = (
            f"trained strength times the noise ratio {ratio:.4g}: beta x ratio^2, lambda_0 x ratio"
        )
        if settings.beta or settings.regularization_weight:
            notes["strength_rule"] += "; what is given stays"
    return PatchStrength(weights=weights, scale=scale, beta=beta, base_scale=base, notes=notes)


def _complex_factor(*, is_well_posed: bool, is_noisy: bool) -> float:
    """Return what the noise level of a complex image is multiplied by.

    The models know real images. Measured on heads simulated at three noise levels and on a 0.055 T
    scan with added noise: a full acquisition wants a little more than the law of scaling says from
    the model of strong noise, an undersampled one, whose images hold less noise, less.
    """
    if not is_well_posed:
        return 0.7
    return 1.2 if is_noisy else 1.0


def trained_level(card: Mapping[str, Any]) -> float:
    """Return the noise standard deviation that weights were trained on, for images in [0, 1].

    Parameters
    ----------
    card
        Model card, with `training: noise_std_255` (published) or `settings: noise` (trained here);
        else the level is 25/255.

    Returns
    -------
        The standard deviation.

    Examples
    --------
    >>> round(trained_level({"training": {"noise_std_255": 5}}), 4)
    0.0196
    """
    places = ((card.get("training"), "noise_std_255"), (card.get("settings"), "noise"))
    for section, key in places:
        stated = section.get(key) if isinstance(section, Mapping) else None
        if isinstance(stated, int | float) and stated > 0:
            return float(stated) / 255
    return 25 / 255


def _scale(problem: InverseProblem, term: DataTerm) -> float:
    """Return what counts as 1: 1 for photographs in 0..1, else a quantile of |A^H y|."""
    if capabilities(problem.operator).data_domain == "image" and not problem.data.is_complex():
        brightest = _high_quantile(problem.data.abs())
        return 1.0 if brightest <= _BRIGHTEST_PHOTOGRAPH else brightest
    found = _high_quantile(term.smooth.rhs.abs()) * term.scale / term.lipschitz
    return found if found > torch.finfo(torch.float32).tiny else 1.0


def _high_quantile(values: torch.Tensor) -> float:
    rank = max(1, math.ceil(0.999 * values.numel()))
    return float(values.flatten().kthvalue(rank).values)


def _relative_noise(
    problem: InverseProblem, term: DataTerm, scale: float
) -> tuple[float, dict[str, Any]]:
    sigma, source = noise_level(problem)
    component = sigma / math.sqrt(2) if problem.data.is_complex() else sigma
    level = component / (scale * math.sqrt(term.lipschitz))
    return level, {"noise_std": sigma, "noise_source": source, "relative_noise": level}
