r"""SRDenseNet: image to image with dense skip connections, without data consistency.

The published network doubles the grid of an image of half the matrix, by a transposed convolution,
and takes that factor only. On the full grid, from the zero-filled image and with its correction
added to it, the same layers take any matrix and any window.

References
----------
Tong T, Li G, Liu X, Gao Q. Image super-resolution using dense skip connections. ICCV 2017.
https://doi.org/10.1109/ICCV.2017.514
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from lowfield_recon.errors import DataError
from lowfield_recon.learning.measured import Measured, channels, from_channels
from lowfield_recon.learning.networks.residual_cnn import SMALL, in_chunks, network_input
from lowfield_recon.prepare.cropping import crop_center

_SLOPE = 0.2
_OUTSIDE = 1e-6


class SrdensenetSettings(BaseModel):
    """Architecture of SRDenseNet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    doubles: bool = Field(
        default=False,
        description="whether it doubles the grid of the central half of k-space (published)",
    )
    first: int = Field(default=16, ge=1, le=256, description="channels of the first convolution")
    blocks: int = Field(default=3, ge=1, le=32, description="dense blocks")
    layers: int = Field(default=3, ge=1, le=32, description="convolutions of a block")
    growth: int = Field(default=8, ge=1, le=256, description="channels that each of them adds")
    bottleneck: int = Field(default=24, ge=1, le=1024, description="channels after the blocks")
    noise_input: bool = Field(
        default=True, description="whether it sees the noise level; published: no"
    )


class SrdensenetNetwork(nn.Module):
    """The network.

    Parameters
    ----------
    settings
        Architecture.

    Examples
    --------
    >>> published = SrdensenetSettings(
    ...     doubles=True, blocks=8, layers=8, growth=16, bottleneck=256, noise_input=False
    ... )
    >>> sum(p.numel() for p in SrdensenetNetwork(published).parameters())
    5654834
    """

    least_size = 3

    def __init__(self, settings: SrdensenetSettings) -> None:
        super().__init__()
        self.settings = settings
        width, growth = settings.first, settings.growth
        self.first = nn.Conv2d(3 if settings.noise_input else 2, width, 3, padding=1)
        n_layers = settings.blocks * settings.layers
        self.dense = nn.ModuleList(
            nn.Conv2d(width + i * growth, growth, 3, padding=1) for i in range(n_layers)
        )
        self.bottleneck = nn.Conv2d(width + n_layers * growth, settings.bottleneck, 1)
        n = settings.bottleneck
        self.wider: nn.Module = (
            nn.ConvTranspose2d(n, n, 3, stride=2, padding=1, output_padding=1)
            if settings.doubles
            else nn.Conv2d(n, n, 3, padding=1)
        )
        self.last = nn.Conv2d(n, 2, 3, padding=1)
        if not settings.doubles:
            with torch.no_grad():
                self.last.weight.mul_(SMALL)

    def forward(self, measured: Measured) -> torch.Tensor:
        """Reconstruct.

        Parameters
        ----------
        measured
            Data, scaled.

        Returns
        -------
            Images, complex `(planes, y, x)`.

        Raises
        ------
        DataError
            If the published form meets an odd matrix, or samples outside of the central half.
        """
        settings = self.settings
        image = measured.adjoint
        seen = _half(measured) if settings.doubles else image
        parts = network_input(measured, seen, with_noise=settings.noise_input)
        width = settings.first + settings.blocks * settings.layers * settings.growth
        made = in_chunks(self.features, parts, n_channels=2 * width + 2 * settings.bottleneck)
        return from_channels(made) if settings.doubles else image + from_channels(made)

    def features(self, parts: torch.Tensor) -> torch.Tensor:
        """Apply all layers.

        Parameters
        ----------
        parts
            Real `(planes, 2 or 3, y, x)`.

        Returns
        -------
            Real `(planes, 2, y, x)`, of twice the grid where it doubles.
        """
        known = functional.leaky_relu(self.first(parts), _SLOPE)
        for layer in self.dense:
            known = torch.cat([known, functional.leaky_relu(layer(known), _SLOPE)], dim=1)
        narrow = functional.leaky_relu(self.bottleneck(known), _SLOPE)
        result: torch.Tensor = self.last(functional.leaky_relu(self.wider(narrow), _SLOPE))
        return result


def _half(measured: Measured) -> torch.Tensor:
    """Return the image of half the matrix, from the central half of k-space along both axes."""
    image = measured.adjoint
    size = (image.shape[-2], image.shape[-1])
    if any(n % 2 for n in size):
        raise DataError(
            f"srdensenet: these weights double a grid, and the matrix is {size[0]} x {size[1]}; "
            "expected even numbers. Use weights that take any matrix (doubles: false)."
        )
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    centre = crop_center(crop_center(spectrum, size[0] // 2, -2), size[1] // 2, -1)
    total, inside = (channels(s).double().square().sum(dim=(1, 2, 3)) for s in (spectrum, centre))
    if bool((total - inside > _OUTSIDE * total).any()):
        raise DataError(
            "srdensenet: these weights take the central half of k-space along both axes, and this "
            "scan sampled more; use weights that take any window (doubles: false)."
        )
    half: torch.Tensor = torch.fft.ifft2(torch.fft.ifftshift(centre, dim=(-2, -1))) / 4
    return half
