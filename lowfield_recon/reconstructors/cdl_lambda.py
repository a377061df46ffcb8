"""Sparse codes in any convolutional dictionary, with sparsity-level maps that a network infers."""

from __future__ import annotations

from functools import cached_property

import torch
from pydantic import Field

from lowfield_recon.learning.cdl_lambda import CdlLambdaModel, load_model
from lowfield_recon.operators import identity_operator
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import Outcome
from lowfield_recon.reconstructors.convolutional_dictionary import (
    ConvolutionalDictionaryMethod,
    ConvolutionalDictionarySettings,
    SparsityWeights,
    WeightRule,
)
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.reconstructors.weights import backprojected_noise, noise_level
from lowfield_recon.solvers.convolutional_model import FilterSpectra
from lowfield_recon.solvers.sparse_coding import Penalty

_LEAST_NOISE = 1e-6


class CdlLambdaSettings(ConvolutionalDictionarySettings):
    """Settings of `cdl-lambda`."""

    regularization_weight: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="factor of the inferred maps; None takes them as they are",
    )  # fmt: skip
    weights: str = Field(
        default="cdl-lambda_set", description="name or .safetensors file of the network's weights"
    )
    beta: float | None = Field(
        default=None, ge=0, allow_inf_nan=False,
        description="weight of the low-pass's differences; None takes the learnt one",
    )  # fmt: skip
    penalty: Penalty | None = Field(
        default=None,
        description="|s| (modulus) or |Re s| + |Im s| (components); None: as it was trained",
    )
    keep_maps: bool = Field(
        default=False, description="keep Lambda `(K, planes, y, x)` in the diagnostics"
    )


class CdlLambda(ConvolutionalDictionaryMethod[CdlLambdaSettings]):
    r"""``argmin_s 1/2 ||A (l + D s) - y||^2 + sum_k ||Lambda_k s_k||_1``, Lambda from a network.

    A network looks at ``D^H A^H y``, the noise level and the filters, and says how sparse the codes
    of each filter are to be at each pixel; the problem that is then solved is convex. The
    dictionary is an argument: the weights know no kernel, and one set of them serves any number
    and size of kernels. Solvers, smooth part and stop are those of `cdl`.

    References
    ----------
    Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
    dictionaries. arXiv:2602.21707
    """

    name = "cdl-lambda"
    summary = "sparse codes in any convolutional dictionary, sparsity maps from a network"
    needs = "a dictionary and weights (both ship)"
    settings_type = CdlLambdaSettings

    @cached_property
    def model(self) -> CdlLambdaModel:
        """The network with its beta, loaded once for all slices of a scan."""
        return load_model(self.settings.weights)

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Find the codes for the data, or for ``A^H y`` where the weights were trained so."""
        if self.model.settings.fidelity == "image":
            problem = image_problem(problem)
        return super().solve(problem, progress)

    def rule(self, problem: InverseProblem) -> WeightRule:
        """Return the learnt beta, and maps from the network."""
        settings = self.settings
        model = self.model.to(problem.data.device, problem.image_dtype.to_real())
        sigma, source = noise_level(problem)

        def weights(
            term: DataTerm, spectra: FilterSpectra, smooth: torch.Tensor, eigenvalues: torch.Tensor
        ) -> SparsityWeights:
            planes = (-1, *problem.shape[-2:])
            dtype = spectra.values.dtype
            known = eigenvalues.expand(problem.shape)
            known = known.mean(dim=-3, keepdim=True).expand(problem.shape).reshape(planes)
            noise = known.new_full((known.shape[0],), max(sigma / term.scale, _LEAST_NOISE))
            maps = model.maps(
                spectra, term.smooth.rhs.reshape(planes).to(dtype),
                smooth.reshape(planes).to(dtype), known, noise,
            )  # fmt: skip
            given = settings.regularization_weight
            factor = 1.0 if given is None else given
            notes = {
                "noise_std": sigma,
                "noise_source": source,
                "mean_map": maps.mean(dim=(-3, -2, -1)) * (factor * term.scale),
            }
            if settings.keep_maps:
                notes["maps"] = maps * (factor * term.scale)
            penalty = settings.penalty or model.settings.penalty
            return SparsityWeights(
                weights=maps * factor,
                penalty=penalty,
                diagnostics=notes,
                resolved={
                    "regularization_weight": factor,
                    "weights": settings.weights,
                    "penalty": penalty,
                },
            )

        beta = float(model.beta()) if settings.beta is None else settings.beta
        return WeightRule(beta=beta, weights=weights)


def image_problem(problem: InverseProblem) -> InverseProblem:
    """Return the denoising of ``A^H y`` as if its noise were white: no data consistency.

    Parameters
    ----------
    problem
        Data and operator.

    Returns
    -------
        ``A^H y`` over the bound of ``||A||^2`` with ``A = I`` and the noise of its pixels.

    Examples
    --------
    >>> from lowfield_recon.operators import kspace_operator
    >>> mask = torch.arange(8).reshape(1, 1, 1, 8, 1) % 2 == 0
    >>> scan = InverseProblem(
    ...     data=mask * torch.ones(1, 1, 1, 8, 8) + 0j, operator=kspace_operator(mask=mask),
    ...     noise_std=2.0,
    ... )
    >>> round(image_problem(scan).noise_std, 4)
    1.4142
    """
    term = data_term(problem)
    sigma, _ = noise_level(problem)
    eigenvalues = preconditioner_eigenvalues(problem, term)
    return InverseProblem(
        data=term.smooth.rhs * (term.scale / term.lipschitz),
        operator=identity_operator(),
        noise_std=backprojected_noise(problem, eigenvalues, sigma) / term.lipschitz,
        image_domain=problem.image_domain,
        geometry=problem.geometry,
    )
