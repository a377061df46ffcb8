"""What `ncpr` and `cpr` share: patches are a smooth part, left free, plus a sparse one."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field

from lowfield_recon.errors import DataError
from lowfield_recon.learning.patch_prior import PatchPrior, load_patch_prior
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import Outcome, Reconstructor, Settings, watch
from lowfield_recon.reconstructors.convolutional_dictionary import planewise
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.reconstructors.patch_grid import PatchGrid
from lowfield_recon.reconstructors.patch_strength import PatchStrength, patch_strength
from lowfield_recon.solvers.functionals import squared_modulus
from lowfield_recon.solvers.patch_problem import PatchProblem, PatchSolution
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.patch_solver import (
    PatchMethod,
    default_iterations,
    smooth_image,
    solve_patches,
)


class SmoothPlusSparseSettings(Settings):
    """Settings of `ncpr` and `cpr`."""

    regularization_weight: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="lambda_0, scale of the potential for an image whose brightest value is 1 (see "
        "scale); None: by preset, or from the noise",
    )  # fmt: skip
    beta: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="weight of ||U P_k x - C a_k||^2 / 2; None: by preset, or from the noise",
    )  # fmt: skip
    weights: str | None = Field(
        default=None,
        description="name or .safetensors file of the weights; None: by preset, or from the noise",
    )
    preset: str | None = Field(
        default=None,
        description="optimum of a task to use, e.g. mri-8x-pd or super-resolve-x4 (published), "
        "mri-multicoil-4x (tuned here)",
    )
    scale: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="value that counts as 1; None: 1 for photographs in 0..1, else the 99.9 % "
        "quantile of the data, for k-space that of |A^H y|",
    )  # fmt: skip
    solver: PatchMethod = Field(
        default="accelerated",
        description="accelerated, ipalm (the published iteration) or palm (monotone)",
    )
    iterations: int | None = Field(
        default=None, ge=1,
        description="most iterations on the full grid; None: 300 where the data determine every "
        "pixel, else 180",
    )  # fmt: skip
    tolerance: float = Field(
        default=1e-4, ge=0,
        description="relative change, of image and objective, in an iteration to stop at",
    )  # fmt: skip
    budget: float | None = Field(
        default=None, gt=0, description="seconds after which the current iterate is returned"
    )
    margin: int = Field(
        default=0, ge=0, le=256,
        description="pixels added around the image, so that its edges do not meet",
    )  # fmt: skip
    keep_parts: bool = Field(
        default=False, description="keep the smooth and the sparse part in the diagnostics"
    )


class SmoothPlusSparse(Reconstructor[SmoothPlusSparseSettings]):
    """Base of `ncpr` and `cpr`, which differ in the potential that their weights state."""

    settings_type = SmoothPlusSparseSettings
    takes: ClassVar[str] = "images of at least one patch (13 x 13) along y and x"

    @cached_property
    def _priors(self) -> dict[str, PatchPrior]:
        return {}

    def prior(self, weights: str) -> PatchPrior:
        """Return the trained model, loaded once for all slices of a scan.

        Parameters
        ----------
        weights
            Name or file.

        Returns
        -------
            The model.
        """
        if weights not in self._priors:
            self._priors[weights] = load_patch_prior(weights, method=self.name)
        return self._priors[weights]

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Scale the data, choose the strength, and minimise plane by plane where that can be."""
        term = data_term(problem)
        eigenvalues = preconditioner_eigenvalues(problem, term)
        strength = patch_strength(self.name, problem, term, eigenvalues, self.settings)
        prior = self.prior(strength.weights)
        regularizer = prior.regularizer(
            beta=strength.beta, base_scale=strength.base_scale, dtype=problem.image_dtype.to_real()
        ).to(problem.image_dtype.to_real(), problem.data.device)
        grid = PatchGrid.around(problem.shape, regularizer, margin=self.settings.margin)
        whole = self._stated(problem, term, eigenvalues, regularizer, strength.scale, grid)
        parts = _separated(whole)
        total = sum(self.settings.iterations or default_iterations(part) for part in parts)
        solutions = []
        for i, part in enumerate(parts):
            report = _shifted(progress, i, len(parts))
            solutions.append(self._solution(part, report, total))
        image = torch.cat([solution.image for solution in solutions])
        diagnostics = self._diagnostics(solutions, strength, grid)
        if self.settings.keep_parts:
            smooth = torch.cat([smooth_image(part) for part in parts])
            diagnostics["smooth_part"] = grid.cropped(smooth) * strength.scale
            diagnostics["sparse_part"] = grid.cropped(image - smooth) * strength.scale
        return Outcome(
            (grid.cropped(image) * strength.scale).to(problem.image_dtype),
            diagnostics,
            strength.resolved(regularizer),
        )

    def _stated(
        self,
        problem: InverseProblem,
        term: DataTerm,
        eigenvalues: torch.Tensor,
        regularizer: PatchRegularizer,
        scale: float,
        grid: PatchGrid,
    ) -> PatchProblem:
        """State the problem for the data divided by `scale`, planes (y, x) in a row."""
        ratio = term.scale / scale
        known = planewise(term.fourier, problem.shape)
        near = planewise(eigenvalues, problem.shape)
        if near is None:
            # Planes along z are coupled: a mean over z preconditions each of them.
            mean = eigenvalues.mean(dim=-3, keepdim=True)
            near = mean.expand(problem.shape).reshape(-1, *problem.shape[-2:])
        return PatchProblem(
            regularizer=regularizer,
            rhs=grid.padded(term.smooth.rhs * ratio),
            gram=grid.gram(term.smooth.gram),
            eigenvalues=grid.spectrum(near if known is None else known),
            is_exact=known is not None and grid.is_plain,
            misfit=lambda x: ratio**2 * term.misfit(grid.cropped(x) / ratio),
            lipschitz=term.lipschitz,
            is_nonnegative=problem.image_domain == "nonnegative",
        )

    def _solution(
        self, part: PatchProblem, progress: ProgressCallback | None, total: int
    ) -> PatchSolution:
        settings = self.settings
        return solve_patches(
            part,
            method=settings.solver,
            iterations=settings.iterations,
            tolerance=settings.tolerance,
            callback=watch(progress, settings.budget, total=total),
        )

    def _diagnostics(
        self, solutions: list[PatchSolution], strength: PatchStrength, grid: PatchGrid
    ) -> dict[str, Any]:
        first = solutions[0]
        unit = strength.scale**2
        reasons = sorted({solution.stopping_reason for solution in solutions})
        diagnostics: dict[str, Any] = {
            **strength.notes,
            "objective": tuple(f * unit for f in first.objective),
            "residual": first.changes,
            "iterations": max(solution.iterations for solution in solutions),
            "stopping_reason": ", ".join(reasons),
        }
        if len(solutions) > 1:
            diagnostics["objective_of_planes"] = tuple(
                solution.objective[-1] * unit for solution in solutions if solution.objective
            )
        if grid.note:
            diagnostics["padding"] = grid.note
        return diagnostics


def _separated(problem: PatchProblem) -> list[PatchProblem]:
    """Return a problem for each plane where they do not depend on each other."""
    planes = problem.rhs.shape[0]
    if not problem.is_exact or planes == 1:
        return [problem]
    return [_plane(problem, i) for i in range(planes)]


def _plane(problem: PatchProblem, i: int) -> PatchProblem:
    eigenvalues = problem.eigenvalues.expand(problem.rhs.shape)[i : i + 1]
    rhs = problem.rhs[i : i + 1]
    zeros = torch.zeros_like(problem.rhs)

    def gram(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.fft.ifft2(eigenvalues * torch.fft.fft2(x))
        return result if x.is_complex() or not result.is_complex() else result.real

    def misfit(x: torch.Tensor) -> float:
        # What the other planes contribute at zero is taken off: 1/2 ||A x_i - y||^2 of all data
        # less 1/2 ||y_j||^2 of theirs is not known apart, so the Gram form is completed instead.
        products = (x.conj() * (0.5 * gram(x) - rhs)).real.sum(dtype=torch.float64)
        return float(products) + share

    energy = problem.misfit(zeros)
    total = float(squared_modulus(problem.rhs).sum())
    own = float(squared_modulus(rhs).sum())
    share = energy * own / total if total else 0.0
    return replace(problem, rhs=rhs, eigenvalues=eigenvalues, gram=gram, misfit=misfit)


def _shifted(progress: ProgressCallback | None, index: int, planes: int) -> ProgressCallback | None:
    """Return a callback that counts over all planes."""
    if progress is None or planes == 1:
        return progress

    def report(number: int, total: int, objective: float | None) -> None:
        progress(index * (total // planes) + number, total, objective)

    return report


def check_size(shape: tuple[int, ...], patch: tuple[int, int]) -> None:
    """Refuse an image that is smaller than a patch.

    Parameters
    ----------
    shape
        Shape of the image, `(..., y, x)`.
    patch
        Rows and columns of a patch.

    Raises
    ------
    DataError
        If it is.
    """
    if any(n < p for n, p in zip(shape[-2:], patch, strict=True)):
        raise DataError(
            f"image of {shape[-2]} x {shape[-1]} pixels: smaller than the patches of "
            f"{patch[0]} x {patch[1]} of these weights. Use tv or wavelet, or weights of smaller "
            "patches."
        )
