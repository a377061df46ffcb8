"""Sparse codes in a convolutional dictionary, with one weight for all of them."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import ConfigDict, Field

from lowfield_recon.dictionaries import Dictionary, load_dictionary
from lowfield_recon.errors import UsageError
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import IterativeSettings, Outcome, Reconstructor, watch
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.reconstructors.weights import backprojected_noise, noise_level
from lowfield_recon.solvers import cg
from lowfield_recon.solvers.convolutional_model import (
    FilterSpectra,
    filter_spectra,
    low_pass_response,
    weighted_sum,
)
from lowfield_recon.solvers.sparse_coding import (
    SparseCodes,
    SparseCodingProblem,
    sparse_codes_admm,
    sparse_codes_fista,
)

_DEFAULT_DICTIONARY = "brain_K32_k9_lam2_beta0.5"


class CdlSettings(IterativeSettings):
    """Settings of `cdl`."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    iterations: int = Field(default=150, ge=1, description="most iterations")
    tolerance: float = Field(default=1e-3, ge=0, description="relative residual to stop at")
    dictionary: Any = Field(
        default=_DEFAULT_DICTIONARY,
        description="name, path of a .safetensors or .npy, or Dictionary",
    )
    beta: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="weight of the low-pass's differences"
    )
    penalty: Literal["modulus", "components"] = Field(
        default="modulus", description="|s|, or |Re s| + |Im s| as published"
    )


class Cdl(Reconstructor[CdlSettings]):
    r"""``x = l + D s`` with ``argmin_s 1/2 ||A (l + D s) - y||^2 + w sum_k ||s_k||_1``.

    The smooth part ``l = argmin 1/2 ||A l - y||^2 + beta/2 ||G l||^2`` is not penalised by w; D
    acts on each (y, x) plane by circular convolution. Where A^H A is diagonal in Fourier space
    plane by plane, l is a closed form and the codes come from ADMM with an exact linear solve;
    otherwise l comes from conjugate gradients and the codes from FISTA with restart. The weight
    that is chosen when none is given is `weight_per_noise` standard deviations of the noise of one
    pixel of ``A^H y``. An image that cannot be negative is clipped at the end.

    References
    ----------
    Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
    dictionaries. arXiv:2602.21707
    Wohlberg B. IEEE Trans Image Process 2016;25:301-315. https://doi.org/10.1109/TIP.2015.2495260
    """

    name = "cdl"
    summary = "sparse codes in a convolutional dictionary, one weight, by ADMM or FISTA"
    needs = "a dictionary (one ships)"
    settings_type = CdlSettings
    weight_per_noise = 1.3

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Split off the smooth part, find the codes, and put the image together."""
        dictionary = _dictionary(self.settings.dictionary)
        size = (problem.shape[-2], problem.shape[-1])
        term = data_term(problem)
        real = term.smooth.rhs.real.dtype
        spectra = filter_spectra(dictionary.kernels.to(term.smooth.rhs.device, real), size)
        eigenvalues = preconditioner_eigenvalues(problem, term)
        smooth = _smooth_part(problem, term, eigenvalues, self.settings.beta)
        weight, notes = self._weight(problem, eigenvalues)
        coding = self._coding(problem, term, spectra, smooth, weight / term.scale)
        result = self._codes(coding, progress)
        detail = torch.fft.ifft2(weighted_sum(spectra, result.codes)).reshape(problem.shape)
        image = (
            smooth + (detail if problem.image_domain == "complex" else detail.real)
        ) * term.scale
        if problem.image_domain == "nonnegative":
            image = image.clamp(min=0)
        diagnostics = {
            **notes,
            "objective": tuple(f * term.scale**2 for f in result.objective),
            "residual": result.residual,
            "iterations": result.iterations,
            "stopping_reason": result.stopping_reason,
            "fraction_of_nonzero_codes": float((result.codes != 0).float().mean()),
            "dictionary_sha256": dictionary.sha256(),
        }
        resolved = {"dictionary": dictionary.name, "regularization_weight": weight}
        return Outcome(image.to(problem.image_dtype), diagnostics, resolved)

    def _weight(
        self, problem: InverseProblem, eigenvalues: torch.Tensor
    ) -> tuple[float, dict[str, Any]]:
        given = self.settings.regularization_weight
        if given is not None:
            return given, {}
        sigma, source = noise_level(problem)
        weight = self.weight_per_noise * backprojected_noise(problem, eigenvalues, sigma)
        return weight, {
            "noise_std": sigma,
            "noise_source": source,
            "weight_rule": f"w = {self.weight_per_noise:g} standard deviations of the noise of one "
            "pixel of A^H y",
        }

    def _coding(
        self,
        problem: InverseProblem,
        term: DataTerm,
        spectra: FilterSpectra,
        smooth: torch.Tensor,
        weight: float,
    ) -> SparseCodingProblem:
        """State the sparse coding of what the smooth part leaves, planes (y, x) in a row."""
        size = problem.shape[-2:]
        left = term.smooth.rhs - term.smooth.gram(smooth)
        is_complex = problem.image_domain == "complex"

        def gram(image: torch.Tensor) -> torch.Tensor:
            x = torch.fft.ifft2(image).reshape(problem.shape)
            applied = term.smooth.gram(x if is_complex else x.real)
            spectrum: torch.Tensor = torch.fft.fft2(applied.reshape(-1, *size).to(image.dtype))
            return spectrum

        known = _planewise(term.fourier, problem.shape)
        return SparseCodingProblem(
            spectra=spectra,
            rhs=torch.fft.fft2(left.reshape(-1, *size).to(spectra.values.dtype)),
            energy=term.misfit(smooth),
            weights=left.real.new_full((spectra.values.shape[0], 1, 1, 1), max(weight, 1e-12)),
            eigenvalues=known,
            gram=None if known is not None else gram,
            norm_squared=term.lipschitz,
            penalty=self.settings.penalty,
        )

    def _codes(self, coding: SparseCodingProblem, progress: ProgressCallback | None) -> SparseCodes:
        settings = self.settings
        callback = watch(progress, settings.budget, total=settings.iterations)
        if coding.eigenvalues is not None:
            return sparse_codes_admm(
                coding, iterations=settings.iterations, tolerance=settings.tolerance,
                callback=callback,
            )  # fmt: skip
        return sparse_codes_fista(
            coding, iterations=settings.iterations, tolerance=settings.tolerance, restart=True,
            callback=callback,
        )  # fmt: skip


def _dictionary(choice: Any) -> Dictionary:
    if isinstance(choice, Dictionary):
        return choice
    if not isinstance(choice, str):
        raise UsageError(
            f"dictionary: expected a name, a path or a Dictionary, got {type(choice).__name__}."
        )
    return load_dictionary(choice)


def _planewise(values: torch.Tensor | None, shape: tuple[int, ...]) -> torch.Tensor | None:
    """Return Fourier eigenvalues by plane, None where A^H A couples planes or is not diagonal."""
    if values is None or shape[-3] != 1:
        return None
    return values.expand(shape).reshape(-1, *shape[-2:])


def _smooth_part(
    problem: InverseProblem, term: DataTerm, eigenvalues: torch.Tensor, beta: float
) -> torch.Tensor:
    """Return ``argmin_l 1/2 ||A l - y||^2 + beta/2 ||G l||^2`` with differences along y and x."""
    response = low_pass_response(beta, problem.shape[-2:], device=problem.data.device)  # type: ignore[arg-type]
    symbol = (1 / response - 1).to(term.smooth.rhs.real.dtype)
    rhs, axes = term.smooth.rhs, (-2, -1)
    if _planewise(term.fourier, problem.shape) is not None:
        divisor = (eigenvalues + symbol).clamp(min=torch.finfo(symbol.dtype).eps)
        smooth: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(rhs, dim=axes) / divisor, dim=axes)
        return smooth if rhs.is_complex() else smooth.real

    def penalised(x: torch.Tensor) -> torch.Tensor:
        rough: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(x, dim=axes) * symbol, dim=axes)
        return term.smooth.gram(x) + (rough if x.is_complex() else rough.real)

    return cg(penalised, rhs, iterations=50, tolerance=1e-4).solution
