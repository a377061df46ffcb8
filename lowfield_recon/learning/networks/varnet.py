r"""The variational network for one image: gradient steps on the data and a network by turns.

``x_{t+1} = x_t - eta_t A^H (A x_t - y) + G_t(x_t)`` from ``x_0 = A^H y``: what the cascades of
the end-to-end variational network are for one coil, and its form with known sensitivities for
several.

References
----------
Hammernik K et al. Learning a variational network for reconstruction of accelerated MRI data. Magn
Reson Med 2018;79:3055-3071. https://doi.org/10.1002/mrm.26977
Sriram A et al. End-to-end variational networks for accelerated MRI reconstruction. MICCAI 2020.
arXiv:2004.06688
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from lowfield_recon.learning.measured import Measured, from_channels
from lowfield_recon.learning.networks.modl import SHARPNESS, inverse_softplus
from lowfield_recon.learning.networks.norms import Normalisation
from lowfield_recon.learning.networks.residual_cnn import Cnn, in_chunks, network_input

VarnetKind = Literal["shared", "separate", "multi-coil"]


class VarnetSettings(BaseModel):
    """Architecture of a variational network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: VarnetKind = Field(
        default="shared",
        description="one convolutional network for all cascades (the published comparator), a "
        "U-Net for each, or that with a sensitivity network on the k-space of several coils",
    )
    cascades: int = Field(default=8, ge=1, le=100, description="cascades")
    filters: int = Field(default=32, ge=1, le=512, description="channels (U-Net: of its top)")
    layers: int = Field(default=5, ge=2, le=50, description="shared: convolutions")
    normalisation: Normalisation = Field(
        default="none", description="shared: none, instance, batch"
    )
    slope: float = Field(
        default=0.1, ge=0, le=1, description="shared: of the activation below zero; published: 0"
    )
    noise_input: bool = Field(
        default=True, description="shared: whether the network sees the noise level; published: no"
    )
    step: float = Field(default=0.5, gt=0, le=100, description="where the steps eta start")
    pools: int = Field(default=2, ge=1, le=5, description="U-Net: how often it halves the grid")
    sensitivity_filters: int = Field(
        default=4, ge=1, le=64, description="multi-coil: channels of the sensitivity network"
    )
    sensitivity_pools: int = Field(
        default=2, ge=1, le=5, description="multi-coil: how often that halves the grid"
    )


class VarnetNetwork(nn.Module):
    """Cascades on images, for the kinds `"shared"` and `"separate"`.

    Parameters
    ----------
    settings
        Architecture.

    Examples
    --------
    >>> shared = VarnetNetwork(VarnetSettings(noise_input=False))
    >>> sum(p.numel() for p in shared.parameters())
    28936
    """

    def __init__(self, settings: VarnetSettings) -> None:
        super().__init__()
        self.settings = settings
        start = inverse_softplus(settings.step)
        self.raw_steps = nn.Parameter(torch.full((settings.cascades,), start))
        if settings.kind == "shared":
            self.networks = nn.ModuleList(
                [
                    Cnn(
                        3 if settings.noise_input else 2, 2, filters=settings.filters,
                        layers=settings.layers, normalisation=settings.normalisation,
                        slope=settings.slope,
                    )
                ]
            )  # fmt: skip
            self.least_size = 3
        else:
            from fastmri.models.varnet import NormUnet

            self.networks = nn.ModuleList(
                NormUnet(settings.filters, settings.pools) for _ in range(settings.cascades)
            )
            self.least_size = 2 ** (settings.pools + 1)

    def steps(self) -> torch.Tensor:
        """Return the steps eta of all cascades.

        Returns
        -------
            Real `(cascades,)`, > 0.
        """
        return functional.softplus(self.raw_steps, beta=SHARPNESS)

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
        x = measured.adjoint
        for cascade, step in enumerate(self.steps()):
            x = (
                x
                - step * (measured.gram(x) - measured.adjoint)
                + self._change(measured, x, cascade)
            )
        return x

    def _change(self, measured: Measured, x: torch.Tensor, cascade: int) -> torch.Tensor:
        settings = self.settings
        if settings.kind == "shared":
            seen = network_input(measured, x, with_noise=settings.noise_input)
            parts = in_chunks(self.networks[0], seen, n_channels=2 * settings.filters)
            return from_channels(parts)
        removed = self.networks[cascade](torch.view_as_real(x)[:, None])
        return -torch.view_as_complex(removed.contiguous())[:, 0]
