r"""Sparsity levels without a network: one number, one for each filter, or one map for all filters.

``Lambda_k = sigma g_k h``: what remains of CDL-Lambda's maps when the network is taken away, in the
same unit, the noise of the filter's coefficients.

References
----------
Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
dictionaries. arXiv:2602.21707
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks.inputs import MapInput
from lowfield_recon.learning.networks.unet import UNet

_START = 1.3


class ConstantNetwork(nn.Module):
    """One learnt level h for all filters and pixels, or one for each filter.

    Parameters
    ----------
    n_kernels
        None for one level, else the number of filters, to which the weights are then tied.

    Examples
    --------
    >>> [sum(p.numel() for p in ConstantNetwork(n).parameters()) for n in (None, 32)]
    [1, 32]
    """

    def __init__(self, n_kernels: int | None) -> None:
        super().__init__()
        self.n_kernels = n_kernels
        start = math.log(math.expm1(_START))
        self.raw_level = nn.Parameter(torch.full((n_kernels or 1,), start))

    def forward(self, data: MapInput) -> torch.Tensor:
        """Return the levels as maps.

        Parameters
        ----------
        data
            Planes and dictionary.

        Returns
        -------
            Lambda, real, > 0, `(K, planes, y, x)`.

        Raises
        ------
        DataError
            If the levels are tied to another number of filters.
        """
        unit = noise_unit(data)
        given = unit.shape[0]
        if self.n_kernels not in (None, given):
            raise DataError(
                f"weights: one level for each of {self.n_kernels} kernels was trained, got "
                f"{given}; use the dictionary that they were trained with."
            )
        level = functional.softplus(self.raw_level)[:, None] * unit
        return level[..., None, None].expand(-1, -1, *data.adjoint.shape[-2:])


class BlindNetwork(nn.Module):
    """A U-Net from the image to one map h for all filters: it never sees the dictionary.

    Parameters
    ----------
    filters
        Channels of the first stage.
    stages
        Resolutions.
    """

    def __init__(self, *, filters: int, stages: int) -> None:
        super().__init__()
        self.unet = UNet(2, 1, filters=filters, stages=stages, padding="circular")
        if self.unet.head.bias is not None:
            nn.init.constant_(self.unet.head.bias, math.log(math.expm1(_START)))

    def forward(self, data: MapInput) -> torch.Tensor:
        """Return the maps.

        Parameters
        ----------
        data
            Planes and dictionary.

        Returns
        -------
            Lambda, real, > 0, `(K, planes, y, x)`.
        """
        noise = data.noise_std * data.eigenvalues.mean(dim=(-2, -1)).sqrt()
        pixel = noise.clamp(min=torch.finfo(noise.dtype).tiny)[:, None, None]
        seen = [data.adjoint, data.adjoint - data.smooth]
        u = self.unet(torch.log1p(torch.stack([x.abs() / pixel for x in seen], dim=1)))
        return noise_unit(data)[..., None, None] * functional.softplus(u[:, 0])


def noise_unit(data: MapInput) -> torch.Tensor:
    """Return ``sigma g_k``, the noise of the coefficients of each filter.

    Parameters
    ----------
    data
        Planes and dictionary.

    Returns
    -------
        Real, > 0, `(K, planes)`.
    """
    unit = data.gains() * data.noise_std
    return unit.clamp(min=torch.finfo(unit.dtype).eps)
