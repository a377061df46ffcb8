r"""The trained part of NCPR and CPR: atoms, smooth basis, per-atom scales and beta.

The parameters are raw. `PatchPrior.forward` makes of them, differentiably, a regulariser that keeps
``Q^T D = 0``, ``1^T D = 0`` and ``beta ||D||^2 = 0.99``.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
"""

from __future__ import annotations

import math
import os
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.learning.patch_parameters import (
    cosine_rows,
    load_parameters,
    orthonormal_rows,
    penalised_basis,
    scaled_factors,
)
from lowfield_recon.learning.patch_prior_settings import POTENTIALS, PatchPriorSettings
from lowfield_recon.learning.weight_files import load_weights
from lowfield_recon.solvers.patch_potentials import make_potential
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

__all__ = [
    "ARCHITECTURE_VERSION",
    "POTENTIALS",
    "PatchPrior",
    "PatchPriorSettings",
    "load_patch_prior",
]

ARCHITECTURE_VERSION = 1
"""Counts up when the same settings and parameters come to mean another regulariser."""

_LEVEL = 0.99
_SMALLEST_TRAINING_BETA = 0.1
_START = 1 / 3000


class PatchPrior(nn.Module):
    r"""Raw parameters of a patch regulariser.

    ``atoms`` `(K, 1, p, p)`, ``free_atoms`` `(q, 1, p, p)` where the smooth subspace is learned,
    ``beta`` `()`, and ``scaling`` s `(K,)`: lambda_i = lambda_0 exp(s_i) for the power potential,
    t_i = lambda_0 exp(-s_i) for the group potential.

    Parameters
    ----------
    settings
        What the parameters mean.
    seed
        Seed of fresh parameters; the global generator is left alone.

    Examples
    --------
    >>> prior = PatchPrior(PatchPriorSettings(patch=5, atoms=14, free_atoms=12))
    >>> regularizer = prior.regularizer()
    >>> regularizer.basis.shape, regularizer.factors.shape, round(regularizer.beta, 6)
    (torch.Size([12, 5, 5]), torch.Size([12, 14]), 2.0)
    """

    def __init__(self, settings: PatchPriorSettings, *, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        self.name = "untrained"
        self.card: dict[str, Any] = {}
        generator = torch.Generator().manual_seed(seed)
        p = settings.patch
        fresh = torch.randn(settings.atoms, 1, p, p, generator=generator)
        self.atoms = nn.Parameter(_START * fresh)
        if settings.removal == "learned":
            fresh = torch.randn(settings.free_atoms, 1, p, p, generator=generator)
            self.free_atoms = nn.Parameter(_START * fresh)
        start = settings.initial_beta
        raw = start if settings.beta_map == "relu" else start + math.log(-math.expm1(-start))
        self.beta = nn.Parameter(torch.tensor(raw))
        self.scaling = nn.Parameter(torch.zeros(settings.atoms))

    def positive_beta(self) -> torch.Tensor:
        """Return the weight of the quadratic that the raw parameter stands for.

        Returns
        -------
            A number with its gradient; with the map "relu" it can be 0.
        """
        return self._positive(self.beta)

    def forward(
        self, *, beta: float | None = None, base_scale: float | None = None
    ) -> PatchRegularizer:
        r"""Make the regulariser, differentiably in the parameters.

        Without a given beta ``||D||^2 = 0.99 / max(beta, 0.1)`` as the published models were
        trained, else ``0.99 / beta``.

        Parameters
        ----------
        beta
            Weight of the quadratic; None takes the prior's own.
        base_scale
            lambda_0; None takes that of the settings.

        Returns
        -------
            The regulariser in the precision of the parameters. Without a given beta its `beta` is a
            tensor `()` that carries the gradient.

        Raises
        ------
        UsageError
            If a given number is not positive.
        DataError
            If the parameters allow no orthonormal smooth basis, or an atom is smooth.
        """
        if beta is not None:
            level: torch.Tensor | float = _LEVEL / _positive_number(beta, "beta")
            return self._build(dict(self.named_parameters()), beta, level, base_scale)
        own = self.positive_beta()
        level = _LEVEL / own.clamp(min=_SMALLEST_TRAINING_BETA)
        return self._build(dict(self.named_parameters()), cast(float, own), level, base_scale)

    @torch.no_grad()
    def regularizer(
        self,
        *,
        beta: float | None = None,
        base_scale: float | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> PatchRegularizer:
        r"""Make the regulariser for inverse problems, built in double precision.

        ``||D||^2 = 0.99 / beta`` for every beta: changing beta scales D, and with it what lambda_0
        means, so that the two are to be tuned together.

        Parameters
        ----------
        beta
            Weight of the quadratic; None takes the prior's own.
        base_scale
            lambda_0; None takes that of the settings.
        dtype
            Precision of what is returned.

        Returns
        -------
            The regulariser, without gradient.

        Raises
        ------
        UsageError
            If a given number is not positive.
        DataError
            If the prior's own beta or a scale is no positive number, its parameters allow no
            orthonormal smooth basis, or an atom is smooth.
        """
        parameters = {name: value.double() for name, value in self.named_parameters()}
        if beta is None:
            beta = float(self._positive(parameters["beta"]))
            if not beta > 0:
                raise DataError(
                    f"{self.name}: beta is {beta:g}; expected a positive number. Give one with "
                    "beta=..., or train again."
                )
        level = _LEVEL / _positive_number(beta, "beta")
        found = self._build(parameters, beta, level, base_scale)
        if not bool((found.scales.isfinite() & (found.scales > 0)).all()):
            raise DataError(
                f"{self.name}: a scale of its atoms is not a positive number; expected exp(scaling)"
                " to be one. Take other weights or train again."
            )
        return found.to(dtype)

    def smooth_basis(self) -> torch.Tensor:
        """Return the smooth basis beside the constant, differentiably.

        Returns
        -------
            ``Q^T`` as patches, `(q, p, p)`: orthonormal rows of zero mean.

        Raises
        ------
        DataError
            If the parameters allow no orthonormal one.
        """
        p = self.settings.patch
        return self._smooth_rows(dict(self.named_parameters())).reshape(-1, p, p)

    def _positive(self, raw: torch.Tensor) -> torch.Tensor:
        return raw.relu() if self.settings.beta_map == "relu" else functional.softplus(raw)

    def _smooth_rows(self, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        settings, atoms = self.settings, parameters["atoms"]
        if settings.removal == "learned":
            return orthonormal_rows(
                parameters["free_atoms"].flatten(1), steps=settings.orthonormalization_steps
            )
        return cosine_rows(
            settings.patch, settings.n_smooth, dtype=atoms.dtype, device=atoms.device
        )

    def _build(
        self,
        parameters: dict[str, torch.Tensor],
        beta: float,
        level: torch.Tensor | float,
        base_scale: float | None,
    ) -> PatchRegularizer:
        """Build with ``||D||^2 = level``."""
        settings = self.settings
        base = settings.base_scale
        if base_scale is not None:
            base = _positive_number(base_scale, "regularization_weight")
        U = penalised_basis(self._smooth_rows(parameters), settings.patch)
        is_power = settings.potential == "power"
        return PatchRegularizer(
            basis=U.reshape(-1, settings.patch, settings.patch),
            factors=scaled_factors(U, parameters["atoms"].flatten(1), level),
            scales=base * torch.exp(parameters["scaling"] * (1 if is_power else -1)),
            beta=beta,
            potential=make_potential(
                settings.potential,
                order=settings.order if is_power else None,
                block=None if is_power else settings.block,
            ),
        )


def load_patch_prior(source: str | os.PathLike[str], *, method: str) -> PatchPrior:
    """Load a trained prior.

    Parameters
    ----------
    source
        Name of weights that ship, or path of a .safetensors file that training or `lowfield-recon
        weights convert` wrote.
    method
        `"ncpr"` or `"cpr"`.

    Returns
    -------
        The prior on the CPU, with its `name` and model `card`.

    Raises
    ------
    UsageError
        If there are no such weights, or no such method.
    DataError
        If the file is damaged, or belongs to another method or architecture.

    Examples
    --------
    >>> prior = load_patch_prior("ncpr_sigma25", method="ncpr")
    >>> round(prior.regularizer().beta, 4), prior.card["licence"]
    (0.978, 'MIT')
    """
    if method not in POTENTIALS:
        raise UsageError(f"'{method}' has no patch prior. {nearest_name(method, list(POTENTIALS))}")
    found = load_weights(source, method=method, architecture_version=ARCHITECTURE_VERSION)
    try:
        settings = PatchPriorSettings.model_validate(found.header.get("architecture"))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "architecture"
        raise DataError(
            f"{found.name}: its architecture is not one of this version of {method} ({place}: "
            f"{first['msg'].lower()}); train it anew, or update lowfield-recon."
        ) from error
    if settings.potential != POTENTIALS[method]:
        raise DataError(
            f"{found.name}: holds the potential '{settings.potential}'; expected "
            f"'{POTENTIALS[method]}' for {method}. The file was changed after training."
        )
    prior = PatchPrior(settings)
    load_parameters(prior, found.state, found.name)
    prior.name, prior.card = found.name, found.card
    return prior.eval()


def _positive_number(value: float, name: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} is {value:g}; expected a positive number.")
    return value
