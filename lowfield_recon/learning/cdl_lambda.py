r"""The trainable part of CDL-Lambda: a network of sparsity-level maps and the weight beta.

``x = x_low + D s`` with ``argmin_s 1/2 ||A (x_low + D s) - y||^2 + sum_k ||Lambda_k s_k||_1``; the
dictionary is an argument, never a part of the model.

References
----------
Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
dictionaries. arXiv:2602.21707
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn
from torch.nn import functional

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks import MapInput, NetworkSettings, make_network
from lowfield_recon.learning.weight_files import load_weights
from lowfield_recon.solvers.convolutional_model import FilterSpectra, low_pass_response
from lowfield_recon.solvers.sparse_coding import Penalty

ARCHITECTURE_VERSION = 1
"""Counts up when the same settings come to mean another network."""


class ModelSettings(BaseModel):
    """Architecture of a model: what its weights belong to, and the problem they were made for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: NetworkSettings = Field(default_factory=NetworkSettings, description="the network")
    penalty: Penalty = Field(default="modulus", description="|s|, or |Re s| + |Im s| as published")
    beta: float = Field(default=1.0, gt=0, le=1000, description="where beta starts")
    fidelity: Literal["kspace", "image"] = Field(
        default="kspace",
        description="what the codes fit: the data, or the image A^H y as it stands (an ablation)",
    )


class CdlLambdaModel(nn.Module):
    """Network and beta of CDL-Lambda.

    Parameters
    ----------
    settings
        Architecture.
    seed
        Seed of the fresh weights; the global generator is left alone.

    Examples
    --------
    >>> round(CdlLambdaModel(ModelSettings()).beta().item(), 4)
    1.0
    """

    def __init__(self, settings: ModelSettings, *, seed: int = 0) -> None:
        super().__init__()
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = make_network(settings.network)
        self.raw_beta = nn.Parameter(torch.tensor(math.log(math.expm1(settings.beta))))

    def beta(self) -> torch.Tensor:
        """Return the weight of the low-pass's differences.

        Returns
        -------
            A positive number with its gradient.
        """
        return functional.softplus(self.raw_beta)

    def smooth_part(self, adjoint: torch.Tensor) -> torch.Tensor:
        r"""Return ``x_low = argmin_l 1/2 ||l - x_0||^2 + beta/2 ||G l||^2``.

        Parameters
        ----------
        adjoint
            ``x_0 = A^H y``, complex `(planes, y, x)`.

        Returns
        -------
            Its smooth part, of the same shape.
        """
        response = low_pass_response(
            self.beta(), (adjoint.shape[-2], adjoint.shape[-1]), device=adjoint.device
        )
        smooth: torch.Tensor = torch.fft.ifft2(
            torch.fft.fft2(adjoint) * response.to(adjoint.real.dtype)
        )
        return smooth

    def maps(
        self,
        spectra: FilterSpectra,
        adjoint: torch.Tensor,
        smooth: torch.Tensor,
        eigenvalues: torch.Tensor,
        noise_std: torch.Tensor,
    ) -> torch.Tensor:
        """Infer the sparsity-level maps.

        Parameters
        ----------
        spectra
            The dictionary on the grid of the images.
        adjoint
            ``x_0 = A^H y``, complex `(planes, y, x)`.
        smooth
            Its smooth part.
        eigenvalues
            Eigenvalues of A^H A, or of the circulant nearest to it, real `(planes, y, x)`.
        noise_std
            Standard deviation of the complex noise of one sample of y, `(planes,)`, > 0.

        Returns
        -------
            Lambda, real, > 0, `(K, planes, y, x)`, in the unit of the data.
        """
        weights: torch.Tensor = self.network(
            MapInput(
                spectra=spectra, adjoint=adjoint, smooth=smooth, eigenvalues=eigenvalues,
                noise_std=noise_std,
            )
        )  # fmt: skip
        return weights


def load_model(weights: str) -> CdlLambdaModel:
    """Load a trained model.

    Parameters
    ----------
    weights
        Name of weights that ship, or path of a .safetensors file that training wrote.

    Returns
    -------
        The model, in evaluation mode, on the CPU.

    Raises
    ------
    UsageError
        If there are no such weights.
    DataError
        If the file is damaged, or its weights belong to another method, architecture or version.
    """
    found = load_weights(weights, method="cdl-lambda", architecture_version=ARCHITECTURE_VERSION)
    try:
        settings = ModelSettings.model_validate(found.header.get("architecture"))
    except ValidationError as error:
        raise DataError(
            f"{found.name}: its architecture is not one of this version of cdl-lambda "
            f"({error.errors()[0]['msg'].lower()}); train it anew, or update lowfield-recon."
        ) from error
    model = CdlLambdaModel(settings)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in found.state.items()}
    if expected != given:
        odd = sorted(key for key in {*expected, *given} if expected.get(key) != given.get(key))[0]
        raise DataError(
            f"{found.name}: '{odd}' has shape {given.get(odd, 'none')}, expected "
            f"{expected.get(odd, 'none')} for its architecture '{settings.network.name}'; the file "
            "was changed after training."
        )
    model.load_state_dict(found.state)
    return model.eval()
