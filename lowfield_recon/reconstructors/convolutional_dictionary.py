"""What the methods with a convolutional dictionary share: x = x_low + D s, found from Lambda."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from pydantic import ConfigDict, Field

from lowfield_recon.dictionaries import Dictionary, check_fits, load_dictionary
from lowfield_recon.errors import UsageError
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import IterativeSettings, Outcome, Reconstructor, watch
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.solvers import cg
from lowfield_recon.solvers.convolutional_model import (
    FilterSpectra,
    filter_spectra,
    low_pass_response,
    weighted_sum,
)
from lowfield_recon.solvers.sparse_coding import (
    Penalty,
    SparseCodes,
    SparseCodingProblem,
    sparse_codes_descent,
)

_DEFAULT_DICTIONARY = "brain_K32_k9_lam2_beta0.5"


class ConvolutionalDictionarySettings(IterativeSettings):
    """Settings of the methods with a convolutional dictionary."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    iterations: int = Field(default=100, ge=1, description="most sweeps over the filters")
    tolerance: float = Field(
        default=3e-3, ge=0, description="relative step of a whole sweep to stop at"
    )
    dictionary: Any = Field(
        default=_DEFAULT_DICTIONARY,
        description="name, path of a .safetensors, .npy or .pt, or Dictionary",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparsityWeights:
    """Lambda of a problem, and how it came about."""

    weights: torch.Tensor
    """Real, > 0, broadcastable to `(K, planes, y, x)`, for data divided by `DataTerm.scale`."""

    penalty: Penalty
    diagnostics: Mapping[str, Any]
    resolved: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightRule:
    """What a method decides on its own."""

    beta: float
    """Weight of the differences in the smooth part."""

    weights: Callable[[DataTerm, FilterSpectra, torch.Tensor, torch.Tensor], SparsityWeights]
    """(data term, spectra of the filters, smooth part, eigenvalues of the nearest circulant) ->
    Lambda for the scaled data."""


SettingsT = TypeVar("SettingsT", bound=ConvolutionalDictionarySettings)


class ConvolutionalDictionaryMethod(Reconstructor[SettingsT]):
    """What the methods with a convolutional dictionary share; they differ in their weights."""

    @cached_property
    def dictionary(self) -> Dictionary:
        """The dictionary, loaded once for all slices of a scan."""
        return _dictionary(self.settings.dictionary)

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Split off the smooth part, find the codes, and put the image together."""
        dictionary = self.dictionary
        size = (problem.shape[-2], problem.shape[-1])
        check_fits(dictionary, size)
        term = data_term(problem)
        real = term.smooth.rhs.real.dtype
        spectra = filter_spectra(dictionary.kernels.to(term.smooth.rhs.device, real), size)
        eigenvalues = preconditioner_eigenvalues(problem, term)
        rule = self.rule(problem)
        smooth = _smooth_part(problem, term, eigenvalues, rule.beta)
        chosen = rule.weights(term, spectra, smooth, eigenvalues)
        coding = self._coding(problem, term, spectra, smooth, chosen)
        result = self._codes(coding, progress)
        detail = torch.fft.ifft2(weighted_sum(spectra, result.codes)).reshape(problem.shape)
        image = (
            smooth + (detail if problem.image_domain == "complex" else detail.real)
        ) * term.scale
        if problem.image_domain == "nonnegative":
            image = image.clamp(min=0)
        diagnostics = {
            **chosen.diagnostics,
            "objective": tuple(f * term.scale**2 for f in result.objective),
            "residual": result.residual,
            "iterations": result.iterations,
            "stopping_reason": result.stopping_reason,
            "fraction_of_nonzero_codes": float((result.codes != 0).float().mean()),
            "dictionary_sha256": dictionary.sha256(),
        }
        notes = dictionary.provenance.get("notes")
        if notes:
            diagnostics["dictionary_notes"] = "; ".join(str(note) for note in notes)
        resolved = {"dictionary": dictionary.name, "beta": rule.beta, **chosen.resolved}
        return Outcome(image.to(problem.image_dtype), diagnostics, resolved)

    @abstractmethod
    def rule(self, problem: InverseProblem) -> WeightRule:
        """Return beta, and how Lambda is chosen."""

    def _coding(
        self,
        problem: InverseProblem,
        term: DataTerm,
        spectra: FilterSpectra,
        smooth: torch.Tensor,
        chosen: SparsityWeights,
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

        known = planewise(term.fourier, problem.shape)
        return SparseCodingProblem(
            spectra=spectra,
            rhs=torch.fft.fft2(left.reshape(-1, *size).to(spectra.values.dtype)),
            energy=term.misfit(smooth),
            weights=chosen.weights,
            eigenvalues=known,
            gram=None if known is not None else gram,
            norm_squared=term.lipschitz,
            penalty=chosen.penalty,
        )

    def _codes(self, coding: SparseCodingProblem, progress: ProgressCallback | None) -> SparseCodes:
        settings = self.settings
        return sparse_codes_descent(
            coding,
            iterations=settings.iterations,
            tolerance=settings.tolerance,
            callback=watch(progress, settings.budget, total=settings.iterations),
        )


def _dictionary(choice: Any) -> Dictionary:
    if isinstance(choice, Dictionary):
        return choice
    if not isinstance(choice, str):
        raise UsageError(
            f"dictionary: expected a name, a path or a Dictionary, got {type(choice).__name__}."
        )
    return load_dictionary(choice)


def planewise(values: torch.Tensor | None, shape: tuple[int, ...]) -> torch.Tensor | None:
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
    if planewise(term.fourier, problem.shape) is not None:
        divisor = (eigenvalues + symbol).clamp(min=torch.finfo(symbol.dtype).eps)
        smooth: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(rhs, dim=axes) / divisor, dim=axes)
        return smooth if rhs.is_complex() else smooth.real

    def penalised(x: torch.Tensor) -> torch.Tensor:
        rough: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(x, dim=axes) * symbol, dim=axes)
        return term.smooth.gram(x) + (rough if x.is_complex() else rough.real)

    return cg(penalised, rhs, iterations=50, tolerance=1e-4).solution
