r"""The three published networks of sparsity-level maps.

References
----------
Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
dictionaries. arXiv:2602.21707
Kofler A et al. Learning spatially adaptive l1-norms weights for convolutional synthesis
regularization. arXiv:2503.09483
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks.inputs import MapInput
from lowfield_recon.learning.networks.unet import UNet

_SCALED_MAXIMUM = 10.0
_UPPER = 10.0
_SHARPNESS = 1.5


class ImageNetwork(nn.Module):
    """V1: a U-Net from (Re, Im) of ``A^H y`` to K maps, channel k tied to filter k."""

    def __init__(self, *, filters: int, stages: int, n_kernels: int, level: float | None) -> None:
        super().__init__()
        self.n_kernels = n_kernels
        self.unet = UNet(2, n_kernels, filters=filters, stages=stages)
        _set_level(self.unet, level)

    def forward(self, data: MapInput) -> torch.Tensor:
        """Return the maps.

        Parameters
        ----------
        data
            Planes and dictionary.

        Returns
        -------
            Lambda, real `(K, planes, y, x)`.

        Raises
        ------
        DataError
            If the dictionary has another number of kernels.
        """
        _check_number(data, self.n_kernels, "V1")
        scale = data.scale() / _SCALED_MAXIMUM
        image = torch.view_as_real(data.adjoint / _per_plane(scale)).permute(0, 3, 1, 2)
        return _level(self.unet(image)).transpose(0, 1) * _per_plane(scale)


class CoefficientNetwork(nn.Module):
    """V2: a U-Net from ``D^H A^H y`` of all filters, 2 K channels, to K maps."""

    def __init__(self, *, filters: int, stages: int, n_kernels: int, level: float | None) -> None:
        super().__init__()
        self.n_kernels = n_kernels
        self.unet = UNet(2 * n_kernels, n_kernels, filters=filters, stages=stages)
        _set_level(self.unet, level)

    def forward(self, data: MapInput) -> torch.Tensor:
        """Return the maps.

        Parameters
        ----------
        data
            Planes and dictionary.

        Returns
        -------
            Lambda, real `(K, planes, y, x)`.

        Raises
        ------
        DataError
            If the dictionary has another number of kernels.
        """
        _check_number(data, self.n_kernels, "V2")
        scale = data.scale() / _SCALED_MAXIMUM
        spectrum = torch.fft.fft2(data.adjoint / _per_plane(scale))
        parts = torch.view_as_real(data.coefficients(spectrum, slice(None)))
        stacked = parts.permute(1, 0, 4, 2, 3).flatten(1, 2)
        return _level(self.unet(stacked)).transpose(0, 1) * _per_plane(scale)


class SharedNetwork(nn.Module):
    """V3: one U-Net from (Re, Im) of ``(D^H A^H y)_k`` to the map of filter k, for every k."""

    def __init__(self, *, filters: int, stages: int, level: float | None) -> None:
        super().__init__()
        self.channels = 6 * filters
        self.unet = UNet(2, 1, filters=filters, stages=stages)
        _set_level(self.unet, level)

    def forward(self, data: MapInput) -> torch.Tensor:
        """Return the maps.

        Parameters
        ----------
        data
            Planes and dictionary.

        Returns
        -------
            Lambda, real `(K, planes, y, x)`.
        """
        scale = data.scale() / _SCALED_MAXIMUM
        spectrum = torch.fft.fft2(data.adjoint / _per_plane(scale))
        maps = []
        for chunk in data.chunks(self.channels):
            parts = torch.view_as_real(data.coefficients(spectrum, chunk))
            u = self.unet(parts.permute(0, 1, 4, 2, 3).flatten(0, 1))
            maps.append(_level(u).reshape(parts.shape[:-1]))
        return torch.cat(maps) * _per_plane(scale)


def _level(u: torch.Tensor) -> torch.Tensor:
    """Return ``10 softplus_1.5(u)``, > 0, for images with maximum 10."""
    return _UPPER * functional.softplus(u, beta=_SHARPNESS)


def _set_level(unet: UNet, level: float | None) -> None:
    """Let the maps start near `level` instead of 4.6, for images with maximum 10."""
    if level is not None and unet.head.bias is not None:
        with torch.no_grad():
            unet.head.bias += math.log(math.expm1(_SHARPNESS * level / _UPPER)) / _SHARPNESS


def _per_plane(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None]


def _check_number(data: MapInput, n_kernels: int, name: str) -> None:
    given = data.spectra.values.shape[0]
    if given != n_kernels:
        raise DataError(
            f"weights: the network {name} was trained for {n_kernels} kernels, got {given}; use a "
            f"dictionary of {n_kernels} kernels, or weights of 'set' or 'v3', which take any."
        )
