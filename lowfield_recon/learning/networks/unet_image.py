r"""A U-Net from image to image: what a network does alone, or with one projection on the data.

``x = x_0 + U(x_0)`` from ``x_0 = A^H y``, or ``x = x_0 + sigma U(x_0)`` with the standard deviation
sigma of a pixel's noise; with the projection, ``F x = y`` wherever k-space was sampled.

References
----------
Ronneberger O et al. U-Net: convolutional networks for biomedical image segmentation. MICCAI 2015.
arXiv:1505.04597
Zbontar J et al. fastMRI: an open dataset and benchmarks for accelerated MRI. arXiv:1811.08839
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from lowfield_recon.learning.measured import Measured, from_channels
from lowfield_recon.learning.networks.consistency import projection
from lowfield_recon.learning.networks.residual_cnn import SMALL, in_chunks, network_input
from lowfield_recon.learning.networks.unet import UNet


class UnetSettings(BaseModel):
    """Architecture of the U-Net."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layout: Literal["fastmri", "plain"] = Field(
        default="fastmri",
        description="fastmri's, or that of the networks of sparsity-level maps (no normalisation)",
    )
    filters: int = Field(default=10, ge=1, le=512, description="channels at the top")
    pools: int = Field(default=2, ge=1, le=5, description="how often it halves the grid")
    noise_input: bool = Field(
        default=False,
        description="whether it sees the noise level, which instance normalisation would remove",
    )
    noise_scaled: bool = Field(
        default=False,
        description="whether its output counts in units of the noise: how large it has to be, "
        "instance normalisation does not let through either",
    )
    projection: bool = Field(
        default=False, description="whether its image is projected on the data"
    )


class UnetNetwork(nn.Module):
    """The network.

    Parameters
    ----------
    settings
        Architecture.

    Examples
    --------
    >>> sum(p.numel() for p in UnetNetwork(UnetSettings()).parameters())
    45602
    """

    def __init__(self, settings: UnetSettings) -> None:
        super().__init__()
        self.settings = settings
        inputs = 3 if settings.noise_input else 2
        if settings.layout == "plain":
            self.unet: nn.Module = UNet(
                inputs, 2, filters=settings.filters, stages=settings.pools + 1
            )
        else:
            from fastmri.models.unet import Unet

            self.unet = Unet(inputs, 2, chans=settings.filters, num_pool_layers=settings.pools)
        last = [layer for layer in self.unet.modules() if isinstance(layer, nn.Conv2d)][-1]
        with torch.no_grad():
            last.weight.mul_(SMALL)
        self.least_size = 2 ** (settings.pools + 1)

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
        settings = self.settings
        seen = network_input(measured, measured.adjoint, with_noise=settings.noise_input)
        parts = in_chunks(self.unet, seen, n_channels=8 * settings.filters)
        residual = from_channels(parts)
        if settings.noise_scaled:
            residual = residual * measured.pixel_noise[:, None, None]
        image = measured.adjoint + residual
        return projection(measured, image) if settings.projection else image
