"""What is fixed of a fit of `mg-spair` beforehand, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lowfield_recon.learning.networks.coordinate_network import CoordinateNetworkSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GradePlan:
    """What is fixed of a grade before the fit."""

    network: CoordinateNetworkSettings
    """Kind, size and frequencies."""

    iterations: int
    """Most iterations."""

    coarsening: int = 1
    """Spacing of the network's grid in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """What is fixed of a fit."""

    grades: Sequence[GradePlan]
    """From coarse to fine."""

    warm_up: int = 100
    """First iterations of the first grade, without the sparse term."""

    learning_rate: float = 1e-3
    """Of Adam at the start of a grade."""

    final_rate: float = 0.1
    """What the learning rate has been multiplied by at the end of a grade."""

    is_safe: bool = True
    """Whether the objective must not rise."""

    weight_decay: float = 1e-6
    """eps of eps/2 ||theta||^2, which is part of the objective."""

    is_composed: bool = False
    """Whether a grade's input is the last hidden layer of the grade below."""

    noise_energy: float = 0.0
    """Squared norm of the residual at which the data are explained; there the warm-up ends."""

    stops_at_noise: bool = False
    """Whether the fit ends there too."""

    tolerance: float = 1e-5
    """Relative decrease of the objective over 50 iterations below which a grade ends."""

    seed: int = 0
    """Seed of the weights."""

    half_precision: bool = False
    """Whether hidden layers compute in bfloat16."""


@dataclass(slots=True)
class FitLog:
    """What happened, one entry per iteration; `grade_starts` has one per grade."""

    misfit: list[float] = field(default_factory=list)
    coupling: list[float] = field(default_factory=list)
    penalty: list[float] = field(default_factory=list)
    decay: list[float] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    step_size: list[float] = field(default_factory=list)
    nonzeros: list[int] = field(default_factory=list)
    evaluations: int = 0
    rises: int = 0
    grade_starts: list[int] = field(default_factory=list)
    grade_scales: list[float] = field(default_factory=list)
    grade_ends: list[str] = field(default_factory=list)

    def as_diagnostics(self) -> dict[str, Any]:
        """Return the log under the names of the diagnostics."""
        return {
            "misfit": tuple(self.misfit),
            "coupling": tuple(self.coupling),
            "penalty": tuple(self.penalty),
            "weight_decay": tuple(self.decay),
            "accepted_step": tuple(self.step),
            "step_size": tuple(self.step_size),
            "nonzeros": tuple(self.nonzeros),
            "evaluations": self.evaluations,
            "rises_of_objective": self.rises,
            "grade_starts": tuple(self.grade_starts),
            "grade_scales": tuple(self.grade_scales),
            "grade_ends": tuple(self.grade_ends),
        }
