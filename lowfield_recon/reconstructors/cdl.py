"""Sparse codes in a convolutional dictionary, with one weight for all of them."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors.convolutional_dictionary import (
    ConvolutionalDictionaryMethod,
    ConvolutionalDictionarySettings,
    SparsityWeights,
    WeightRule,
)
from lowfield_recon.reconstructors.data_term import DataTerm
from lowfield_recon.reconstructors.weights import backprojected_noise, noise_level
from lowfield_recon.solvers.convolutional_model import FilterSpectra
from lowfield_recon.solvers.sparse_coding import Penalty


class CdlSettings(ConvolutionalDictionarySettings):
    """Settings of `cdl`."""

    beta: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="weight of the low-pass's differences"
    )
    penalty: Penalty = Field(default="modulus", description="|s|, or |Re s| + |Im s| as published")


class Cdl(ConvolutionalDictionaryMethod[CdlSettings]):
    r"""``x = l + D s`` with ``argmin_s 1/2 ||A (l + D s) - y||^2 + w sum_k ||s_k||_1``.

    The smooth part ``l = argmin 1/2 ||A l - y||^2 + beta/2 ||G l||^2`` is not penalised by w; D
    acts on each (y, x) plane by circular convolution. Where A^H A is diagonal in Fourier space
    plane by plane, l is a closed form, otherwise it comes from conjugate gradients. The codes come
    from extrapolated descent over one filter after the other. The weight that is chosen when none
    is given is `weight_per_noise` standard deviations of the noise of one pixel of ``A^H y``. An
    image that cannot be negative is clipped at the end.

    References
    ----------
    Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
    dictionaries. arXiv:2602.21707
    Wohlberg B. IEEE Trans Image Process 2016;25:301-315. https://doi.org/10.1109/TIP.2015.2495260
    """

    name = "cdl"
    summary = "sparse codes in a convolutional dictionary, one weight"
    needs = "a dictionary (one ships)"
    settings_type = CdlSettings
    weight_per_noise = 1.3

    def rule(self, problem: InverseProblem) -> WeightRule:
        """Return one weight for all codes: given, or from the noise."""

        def weights(
            term: DataTerm, spectra: FilterSpectra, smooth: torch.Tensor, eigenvalues: torch.Tensor
        ) -> SparsityWeights:
            weight, notes = self._weight(problem, eigenvalues)
            shape = (spectra.values.shape[0], 1, 1, 1)
            return SparsityWeights(
                weights=smooth.real.new_full(shape, max(weight / term.scale, 1e-12)),
                penalty=self.settings.penalty,
                diagnostics=notes,
                resolved={"regularization_weight": weight},
            )

        return WeightRule(beta=self.settings.beta, weights=weights)

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
