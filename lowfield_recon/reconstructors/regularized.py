"""What the methods ``1/2 ||A x - y||^2 + w R(x)`` have in common: scaling, weight, report."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

import torch

from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import IterativeSettings, Outcome, Reconstructor
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.reconstructors.weights import backprojected_noise, noise_level
from lowfield_recon.solvers import SolverResult

CHECK_EVERY = 5
"""ADMM looks at residuals and objective every so many iterations."""

SPLITTING_THRESHOLD = 0.02
"""First threshold of ADMM's shrinkage, relative to ``max |A^H y|``; its penalty follows from it."""

LEAST_WEIGHT = 1e-3
"""Weight relative to ``max |A^H y|`` where data without noise leave pixels open.

The penalty fills them in. It takes the place of weights below a hundredth of it."""

SettingsT = TypeVar("SettingsT", bound=IterativeSettings)


class RegularizedReconstructor(Reconstructor[SettingsT]):
    """Base of the methods that minimise a data term and a penalty."""

    weight_per_noise: ClassVar[float]
    """Weight per standard deviation of the noise of one pixel of ``A^H y``, where none is given."""

    @abstractmethod
    def minimise(
        self,
        problem: InverseProblem,
        term: DataTerm,
        eigenvalues: torch.Tensor,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        """Minimise for data divided by ``term.scale``, with the weight divided by it too."""

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Scale the data, choose the weight, minimise, and scale back."""
        term = data_term(problem)
        eigenvalues = preconditioner_eigenvalues(problem, term)
        weight, resolved, notes = _weight_or_rule(
            problem, self.settings, eigenvalues, self.weight_per_noise, LEAST_WEIGHT * term.scale
        )
        result = self.minimise(problem, term, eigenvalues, weight / term.scale, progress)
        diagnostics = {
            **notes,
            "objective": tuple(f * term.scale**2 for f in result.objective),
            "residual": result.residual,
            "iterations": result.iterations,
            "stopping_reason": result.stopping_reason,
        }
        return Outcome(result.solution * term.scale, diagnostics, resolved)


def _weight_or_rule(
    problem: InverseProblem,
    settings: IterativeSettings,
    eigenvalues: torch.Tensor,
    constant: float,
    least: float,
) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """Return the weight that was given, or one in proportion to the noise.

    Parameters
    ----------
    problem
        Data and operator.
    settings
        Settings with the weight or None.
    eigenvalues
        Eigenvalues of A^H A, or of the circulant nearest to it.
    constant
        Weight per standard deviation of the noise of one pixel of A^H y.
    least
        Weight where there is no noise, and fewer samples than pixels.

    Returns
    -------
        Weight, resolved settings, diagnostics.
    """
    if settings.regularization_weight is not None:
        return settings.regularization_weight, {}, {}
    sigma, source = noise_level(problem)
    weight = constant * backprojected_noise(problem, eigenvalues, sigma)
    rule = f"w = {constant:g} standard deviations of the noise of one pixel of A^H y"
    if weight < 0.01 * least and _leaves_pixels_open(problem):
        weight, rule = least, f"w = {LEAST_WEIGHT:g} max |A^H y|, as there is hardly any noise"
    notes = {"noise_std": sigma, "noise_source": source, "weight_rule": rule}
    return weight, {"regularization_weight": weight}, notes


def _leaves_pixels_open(problem: InverseProblem) -> bool:
    """Return whether a coil, or a colour, has fewer samples than the image has pixels."""
    copies = max(problem.data.shape[-4] / problem.shape[-4], 1.0)
    return int(torch.count_nonzero(problem.data)) / copies < math.prod(problem.shape)
