"""Total variation."""

from __future__ import annotations

import torch
from pydantic import Field

from lowfield_recon.operators.gradient import GradientOp, spatial_axes
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import IterativeSettings, watch
from lowfield_recon.reconstructors.data_term import DataTerm
from lowfield_recon.reconstructors.regularized import (
    CHECK_EVERY,
    SPLITTING_THRESHOLD,
    RegularizedReconstructor,
)
from lowfield_recon.solvers import SolverResult, admm, group_norm, pdhg, project_groups
from lowfield_recon.solvers.normal_equations import NormalEquations


class TotalVariationSettings(IterativeSettings):
    """Settings of `tv`."""

    iterations: int = Field(default=300, ge=1, description="most iterations")
    tolerance: float = Field(
        default=1e-3, ge=0, description="relative primal and dual residual to stop at"
    )


class TotalVariation(RegularizedReconstructor[TotalVariationSettings]):
    r"""``argmin_x 1/2 ||A x - y||^2 + w sum_r sqrt(sum_d |x[r + e_d] - x[r]|^2)``.

    The total variation is isotropic, of the complex image (its modulus differences and its phase),
    with periodic differences along z, y and x, each channel of a photograph by itself. Solved by
    ADMM, whose linear solve is exact where A^H A is diagonal in Fourier space and takes two
    conjugate gradient steps with a circulant preconditioner otherwise; with the constraint ``x >=
    0`` by primal-dual hybrid gradients. The weight that is chosen when none is given is
    `weight_per_noise` standard deviations of the noise of one pixel of ``A^H y``.

    References
    ----------
    Rudin LI, Osher S, Fatemi E. Physica D 1992;60:259-268.
    https://doi.org/10.1016/0167-2789(92)90242-F
    Block KT et al. Magn Reson Med 2007;57:1086-1098. https://doi.org/10.1002/mrm.21236
    """

    name = "tv"
    summary = "isotropic total variation of the complex image, by ADMM"
    settings_type = TotalVariationSettings
    weight_per_noise = 0.5

    def minimise(
        self,
        problem: InverseProblem,
        term: DataTerm,
        eigenvalues: torch.Tensor,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        """Minimise the total variation functional."""
        if problem.image_domain == "nonnegative":
            return self._primal_dual(term, weight, progress)
        return self._split(term, eigenvalues, weight, progress)

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
