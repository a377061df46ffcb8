"""CG-SENSE: least squares with Tikhonov regularisation."""

from __future__ import annotations

import torch
from pydantic import Field

from lowfield_recon.operators import capabilities
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import (
    IterativeSettings,
    Outcome,
    Reconstructor,
    watch,
)
from lowfield_recon.reconstructors.data_term import DataTerm, data_term
from lowfield_recon.reconstructors.weights import noise_level, signal_power
from lowfield_recon.solvers import LeastSquares, SolverResult, cg, fista
from lowfield_recon.solvers.functionals import inner


class CgSenseSettings(IterativeSettings):
    """Settings of `cg-sense`."""

    tolerance: float = Field(
        default=1e-5, ge=0, description="relative residual of the normal equations"
    )


class CgSense(Reconstructor[CgSenseSettings]):
    r"""``argmin_x 1/2 ||A x - y||^2 + (w/2) ||x||^2``, that is ``(A^H A + w I) x = A^H y``.

    Solved in one step where A^H A is diagonal in Fourier or image space, by conjugate gradients
    otherwise, and with the constraint ``x >= 0`` by accelerated projected gradients. The weight
    that is chosen when none is given is Wiener's for a white image, ``w = noise_std^2 / mean
    |x|^2``.

    References
    ----------
    Pruessmann KP et al. Magn Reson Med 2001;46:638-651. https://doi.org/10.1002/mrm.1241
    """

    name = "cg-sense"
    summary = "least squares with Tikhonov regularisation, by conjugate gradients"
    settings_type = CgSenseSettings

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Solve the normal equations."""
        weight, resolved, notes = self._weight(problem)
        term = data_term(problem)
        result = self._solved(problem, term, weight, progress)
        diagnostics = {
            **notes,
            "objective": tuple(f * term.scale**2 for f in result.objective),
            "residual": result.residual,
            "iterations": result.iterations,
            "stopping_reason": result.stopping_reason,
        }
        return Outcome(result.solution * term.scale, diagnostics, resolved)

    def _weight(
        self, problem: InverseProblem
    ) -> tuple[float, dict[str, object], dict[str, object]]:
        given = self.settings.regularization_weight
        if given is not None:
            return given, {}, {}
        sigma, source = noise_level(problem)
        weight = sigma**2 / max(signal_power(problem, sigma), 1e-30)
        notes: dict[str, object] = {
            "noise_std": sigma,
            "noise_source": source,
            "weight_rule": "w = noise_std^2 / mean |x|^2",
        }
        return weight, {"regularization_weight": weight}, notes

    def _solved(
        self,
        problem: InverseProblem,
        term: DataTerm,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        settings = self.settings
        smooth = term.smooth
        callback = watch(progress, settings.budget, total=settings.iterations)

        def regularised(x: torch.Tensor) -> torch.Tensor:
            return smooth.gram(x).add_(x, alpha=weight)

        if problem.image_domain == "nonnegative":
            return fista(
                LeastSquares(regularised, smooth.rhs, smooth.constant),
                lambda v, _: v.clamp(min=0),
                initial=smooth.rhs.clamp(min=0),
                lipschitz=term.lipschitz + weight,
                penalty=lambda _: 0.0,
                iterations=settings.iterations,
                tolerance=settings.tolerance,
                callback=callback,
            )
        direct = _closed_form(term, weight)
        if direct is not None:
            # At the solution (A^H A + w) x = b, so the objective is its constant less <x, b> / 2.
            value = smooth.constant - 0.5 * inner(direct, smooth.rhs)
            if progress is not None:
                progress(1, 1, value)
            return SolverResult(
                solution=direct, iterations=1, objective=(value,), residual=(),
                stopping_reason="closed form",
            )  # fmt: skip
        return cg(
            regularised,
            smooth.rhs,
            iterations=settings.iterations,
            tolerance=settings.tolerance,
            batch_ndim=_separate_axes(problem),
            constant=smooth.constant,
            callback=callback,
        )


def _separate_axes(problem: InverseProblem) -> int:
    """Return how many leading axes are independent systems: those before (coils, z, y, x)."""
    per_image = capabilities(problem.operator).data_domain == "kspace"
    return problem.data.ndim - 4 if per_image else 0


def _closed_form(term: DataTerm, weight: float) -> torch.Tensor | None:
    """Return the solution where the Gram is diagonal; minimum-norm where the weight is zero."""
    rhs = term.smooth.rhs

    for eigenvalues in (term.fourier, term.pixels):
        if eigenvalues is not None and _is_flat(eigenvalues):
            # A^H y is an eigenvector of A^H A where all nonzero eigenvalues are one.
            return rhs / (float(eigenvalues.max()) + weight)

    def divided(numerator: torch.Tensor, eigenvalues: torch.Tensor) -> torch.Tensor:
        shifted = eigenvalues + weight
        floor = 1e-6 * float(shifted.max())
        inverse = torch.where(shifted > floor, shifted.clamp(min=floor).reciprocal(), 0)
        return numerator * inverse.to(numerator.dtype)

    if term.pixels is not None:
        return divided(rhs, term.pixels)
    if term.fourier is not None:
        axes = [d for d in (-3, -2, -1) if rhs.shape[d] > 1] or [-1]
        solved: torch.Tensor = torch.fft.ifftn(
            divided(torch.fft.fftn(rhs, dim=axes), term.fourier), dim=axes
        )
        return solved if rhs.is_complex() else solved.real
    return None


def _is_flat(eigenvalues: torch.Tensor) -> bool:
    """Whether the eigenvalues are zero or one positive number."""
    largest = eigenvalues.max()
    return bool(largest > 0) and bool(((eigenvalues == 0) | (eigenvalues == largest)).all())
