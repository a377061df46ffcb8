"""The plain convolutional network that unrolled methods repeat.

References
----------
Aggarwal HK, Mani MP, Jacob M. IEEE Trans Med Imaging 2019;38:394-405.
https://doi.org/10.1109/TMI.2018.2865356
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn

from lowfield_recon.learning.measured import Measured, channels
from lowfield_recon.learning.networks.norms import Normalisation, make_normalisation

_CHUNK_BYTES = 256 << 20
SMALL = 0.01
"""Factor of the first weights of the layer whose output is added to an image."""

_CENTRE, _SPREAD = -3.0, 2.0


class Cnn(nn.Module):
    """Convolutions 3 x 3, each followed by a normalisation, all but the last by a leaky ReLU.

    The published layout has a batch normalisation after every convolution, the last one too. With
    one image in a batch its statistics in training are those of the image, in evaluation running
    means of many: the trained network is then another than the one that is used. Without
    normalisation, or with that of instances, both are the same.

    Parameters
    ----------
    inputs, outputs
        Channels in and out.
    filters
        Channels in between.
    layers
        Convolutions, at least 2.
    normalisation
        `"none"`, `"instance"` or `"batch"`.
    slope
        Of the activation below zero; 0 as published.

    Examples
    --------
    >>> published = Cnn(2, 2, filters=64, layers=5, normalisation="batch", slope=0.0)
    >>> sum(p.numel() for p in published.parameters())
    113412
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        filters: int,
        layers: int,
        normalisation: Normalisation,
        slope: float,
    ) -> None:
        super().__init__()
        widths = [inputs, *[filters] * (layers - 1), outputs]
        has_bias = normalisation == "none"
        blocks: list[nn.Module] = []
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            is_last = i == layers - 1
            blocks.append(nn.Conv2d(n_in, n_out, 3, padding=1, bias=has_bias and not is_last))
            if normalisation == "batch" or not is_last:
                blocks.append(make_normalisation(normalisation, n_out))
            if not is_last:
                blocks.append(nn.LeakyReLU(slope))
        self.layers = nn.Sequential(*blocks)
        self._start_small()
        self.filters = filters

    @torch.no_grad()
    def _start_small(self) -> None:
        """Begin the training near to what the output is added to."""
        convolutions = [layer for layer in self.layers if isinstance(layer, nn.Conv2d)]
        convolutions[-1].weight.mul_(SMALL)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the network.

        Parameters
        ----------
        image
            `(planes, inputs, y, x)`.

        Returns
        -------
            `(planes, outputs, y, x)`.
        """
        result: torch.Tensor = self.layers(image)
        return result


def network_input(measured: Measured, image: torch.Tensor, *, with_noise: bool) -> torch.Tensor:
    """Return the channels that a network sees of an image, with the noise level where asked for.

    Parameters
    ----------
    measured
        Data, scaled.
    image
        Complex `(planes, y, x)`.
    with_noise
        Whether a third channel holds the logarithm of the noise of a pixel, shifted and scaled.

    Returns
    -------
        Real `(planes, 2 or 3, y, x)`.

    Examples
    --------
    >>> x = torch.ones(1, 2, 2) + 0j
    >>> measured = Measured(adjoint=x, gram=lambda x: x, pixel_noise=torch.ones(1))
    >>> network_input(measured, x, with_noise=True)[0, :, 0, 0]
    tensor([1.0000, 0.0000, 1.5000])
    """
    parts = channels(image)
    if not with_noise:
        return parts
    level = noise_feature(measured)[:, None, None, None]
    return torch.cat([parts, level.expand(-1, 1, *parts.shape[-2:])], dim=1)


def noise_feature(measured: Measured) -> torch.Tensor:
    """Return the logarithm of the noise of a pixel as a number of order one.

    Parameters
    ----------
    measured
        Data, scaled.

    Returns
    -------
        Real `(planes,)`.
    """
    return (measured.pixel_noise.log() - _CENTRE) / _SPREAD


def in_chunks(
    network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, *, n_channels: int
) -> torch.Tensor:
    """Apply a network to few planes at a time where no gradient is wanted, so that memory lasts.

    Parameters
    ----------
    network
        What treats every plane by itself.
    image
        `(planes, channels, y, x)`.
    n_channels
        Channels that it holds at once, about.

    Returns
    -------
        What the network returns of all planes.

    Examples
    --------
    >>> in_chunks(nn.Identity(), torch.ones(3, 1, 2, 2), n_channels=1).shape
    torch.Size([3, 1, 2, 2])
    """
    if torch.is_grad_enabled():
        return network(image)
    one = image.element_size() * n_channels * image.shape[-2] * image.shape[-1]
    return torch.cat([network(part) for part in torch.split(image, max(1, _CHUNK_BYTES // one))])
