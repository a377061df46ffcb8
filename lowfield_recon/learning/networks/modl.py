r"""MoDL: one convolutional network and data consistency by turns, the weights shared.

``z_t = x_t + G(x_t)``, ``x_{t+1} = argmin_x 1/2 ||A x - y||^2 + w/2 ||x - z_t||^2``, from
``x_0 = A^H y``.

References
----------
Aggarwal HK, Mani MP, Jacob M. MoDL: model-based deep learning architecture for inverse problems.
IEEE Trans Med Imaging 2019;38:394-405. https://doi.org/10.1109/TMI.2018.2865356
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from lowfield_recon.learning.measured import Measured, from_channels
from lowfield_recon.learning.networks.consistency import proximal_step
from lowfield_recon.learning.networks.norms import Normalisation
from lowfield_recon.learning.networks.residual_cnn import (
    Cnn,
    in_chunks,
    network_input,
    noise_feature,
)

SHARPNESS = 1.5


class ModlSettings(BaseModel):
    """Architecture of MoDL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: int = Field(default=8, ge=1, le=100, description="repetitions of network and data")
    filters: int = Field(default=32, ge=1, le=512, description="channels of the network")
    layers: int = Field(default=5, ge=2, le=50, description="its convolutions")
    normalisation: Normalisation = Field(
        default="none", description="none, instance, or batch as published"
    )
    slope: float = Field(
        default=0.1, ge=0, le=1, description="of the activation below zero; published: 0"
    )
    weight: float = Field(default=0.5, gt=0, le=1000, description="where w starts")
    noise_input: bool = Field(
        default=True,
        description="whether the network sees the noise level and w depends on it; published: no",
    )


class ModlNetwork(nn.Module):
    """The unrolled network.

    Parameters
    ----------
    settings
        Architecture.

    Examples
    --------
    >>> published = ModlSettings(
    ...     iterations=10, filters=64, normalisation="batch", slope=0, weight=2.032,
    ...     noise_input=False,
    ... )
    >>> sum(p.numel() for p in ModlNetwork(published).parameters())
    113413
    """

    least_size = 3

    def __init__(self, settings: ModlSettings) -> None:
        super().__init__()
        self.settings = settings
        self.cnn = Cnn(
            3 if settings.noise_input else 2, 2, filters=settings.filters,
            layers=settings.layers, normalisation=settings.normalisation, slope=settings.slope,
        )  # fmt: skip
        self.raw_weight = nn.Parameter(torch.tensor(inverse_softplus(settings.weight)))
        if settings.noise_input:
            self.noise_slope = nn.Parameter(torch.tensor(0.0))

    def weight(self, measured: Measured) -> torch.Tensor:
        """Return w of each plane.

        Parameters
        ----------
        measured
            Data, scaled.

        Returns
        -------
            Real `(planes,)`, > 0, differentiable.
        """
        raw = self.raw_weight.expand(measured.pixel_noise.shape)
        if self.settings.noise_input:
            raw = raw + self.noise_slope * noise_feature(measured)
        return functional.softplus(raw, beta=SHARPNESS) + torch.finfo(raw.dtype).eps

    def forward(self, measured: Measured) -> torch.Tensor:
        """Reconstruct.

        Parameters
        ----------
        measured
            Data, scaled.

        Returns
        -------
            Images, complex `(planes, y, x)`.
        """
        weight = self.weight(measured)
        x = measured.adjoint
        for _ in range(self.settings.iterations):
            seen = network_input(measured, x, with_noise=self.settings.noise_input)
            correction = in_chunks(self.cnn, seen, n_channels=2 * self.settings.filters)
            x = proximal_step(measured, x + from_channels(correction), weight)
        return x


def inverse_softplus(value: float) -> float:
    """Return u with ``softplus_1.5(u) = value``.

    Parameters
    ----------
    value
        A positive number.

    Returns
    -------
        The number u.

    Examples
    --------
    >>> round(inverse_softplus(2.0325), 3)
    2.0
    """
    x = SHARPNESS * value
    return (x + math.log(-math.expm1(-x))) / SHARPNESS
