"""Total variation."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from lowfield_recon.operators.gradient import GradientOp, spatial_axes
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import (
    IterativeSettings,
    Outcome,
    Reconstructor,
    watch,
)
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.reconstructors.weights import backprojected_noise, noise_level
from lowfield_recon.solvers import SolverResult, admm, group_norm, pdhg, project_groups
from lowfield_recon.solvers.normal_equations import NormalEquations

CHECK_EVERY = 5
WEIGHT_PER_NOISE = 0.5
SPLITTING_THRESHOLD = 0.02


class TotalVariationSettings(IterativeSettings):
    """Settings of `tv`."""

    iterations: int = Field(default=300, ge=1, description="most iterations")
    tolerance: float = Field(
        default=1e-3, ge=0, description="relative primal and dual residual to stop at"
    )


class TotalVariation(Reconstructor[TotalVariationSettings]):
    r"""``argmin_x 1/2 ||A x - y||^2 + w sum_r sqrt(sum_d |x[r + e_d] - x[r]|^2)``.

    The total variation is isotropic, of the complex image (its modulus differences and its phase),
    with periodic differences along z, y and x, each channel of a photograph by itself. Solved by
    ADMM, whose linear solve is exact where A^H A is diagonal in Fourier space and takes two
    conjugate gradient steps with a circulant preconditioner otherwise; with the constraint ``x >=
    0`` by primal-dual hybrid gradients. The weight that is chosen when none is given is
    `WEIGHT_PER_NOISE` standard deviations of the noise of one pixel of ``A^H y``.

    References
    ----------
    Rudin LI, Osher S, Fatemi E. Physica D 1992;60:259-268.
    https://doi.org/10.1016/0167-2789(92)90242-F Block KT et al. Magn Reson Med 2007;57:1086-1098.
    https://doi.org/10.1002/mrm.21236
    """

    name = "tv"
    summary = "isotropic total variation of the complex image, by ADMM"
    settings_type = TotalVariationSettings

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Minimise the total variation functional."""
        term = data_term(problem)
        eigenvalues = preconditioner_eigenvalues(problem, term)
        weight, resolved, notes = weight_or_rule(
            problem, self.settings, eigenvalues, WEIGHT_PER_NOISE
        )
        if problem.image_domain == "nonnegative":
            result = self._primal_dual(term, weight / term.scale, progress)
        else:
            result = self._split(term, eigenvalues, weight / term.scale, progress)
        return outcome(result, term, resolved, notes)

    def _split(
        self,
        term: DataTerm,
        eigenvalues: torch.Tensor,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        rhs = term.smooth.rhs
        gradient = GradientOp(spatial_axes(rhs.shape))
        symbol = gradient.gram_symbol(rhs.shape, rhs.device).to(rhs.real.dtype)
        solve = NormalEquations(
            term.smooth.gram,
            eigenvalues,
            symbol,
            exact=term.fourier is not None,
        )

        def objective(x: torch.Tensor) -> float:
            (differences,) = gradient(x)
            return term.misfit(x) + weight * float(group_norm(differences).sum())

        return admm(
            solve,
            rhs,
            gradient,
            lambda t, rho: project_groups(t, weight / rho),
            initial=rhs,
            rho=max(weight, 1e-8) / SPLITTING_THRESHOLD,
            objective=objective,
            iterations=self.settings.iterations,
            tolerance=self.settings.tolerance,
            check_every=CHECK_EVERY,
            callback=watch(
                progress, self.settings.budget, total=self.settings.iterations, every=CHECK_EVERY
            ),
        )

    def _primal_dual(
        self, term: DataTerm, weight: float, progress: ProgressCallback | None
    ) -> SolverResult:
        gradient = GradientOp(spatial_axes(term.smooth.rhs.shape))

        def penalty(x: torch.Tensor) -> float:
            (differences,) = gradient(x)
            return weight * float(group_norm(differences).sum())

        return pdhg(
            term.smooth,
            gradient,
            lambda p, _: project_groups(p, weight),
            initial=term.smooth.rhs.clamp(min=0),
            lipschitz=term.lipschitz,
            transform_norm=(4 * len(gradient.axes)) ** 0.5,
            primal_prox=lambda x, _: x.clamp(min=0),
            penalty=penalty,
            iterations=self.settings.iterations,
            tolerance=self.settings.tolerance,
            callback=watch(progress, self.settings.budget, total=self.settings.iterations),
        )


def weight_or_rule(
    problem: InverseProblem, settings: IterativeSettings, eigenvalues: torch.Tensor, constant: float
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

    Returns
    -------
        Weight, resolved settings, diagnostics.
    """
    if settings.regularization_weight is not None:
        return settings.regularization_weight, {}, {}
    sigma, source = noise_level(problem)
    weight = constant * backprojected_noise(problem, eigenvalues, sigma)
    notes = {
        "noise_std": sigma,
        "noise_source": source,
        "weight_rule": f"w = {constant:g} standard deviations of the noise of one pixel of A^H y",
    }
    return weight, {"regularization_weight": weight}, notes


def outcome(
    result: SolverResult, term: DataTerm, resolved: dict[str, Any], notes: dict[str, Any]
) -> Outcome:
    """Return the outcome of a solver run on scaled data, in the unit of the data.

    Parameters
    ----------
    result
        What the solver found.
    term
        The scaled data term.
    resolved
        Settings that were chosen.
    notes
        More diagnostics.

    Returns
    -------
        Image, diagnostics and settings.
    """
    diagnostics = {
        **notes,
        "objective": tuple(f * term.scale**2 for f in result.objective),
        "residual": result.residual,
        "iterations": result.iterations,
        "stopping_reason": result.stopping_reason,
    }
    return Outcome(result.solution * term.scale, diagnostics, resolved)
