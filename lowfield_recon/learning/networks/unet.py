"""A small U-Net, in the layout of the published sparsity-map networks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

Padding = Literal["zeros", "circular"]


class UNet(nn.Module):
    """Convolutions 3 x 3 with leaky ReLU, maximum pooling, bilinear upsampling, skips, 1 x 1 head.

    Each stage doubles the channels; between stages the grid is halved. On the way up, the
    upsampled features pass one convolution without activation before they meet the skip.

    Parameters
    ----------
    inputs, outputs
        Channels in and out.
    filters
        Channels of the first stage.
    stages
        Resolutions; 1 has no pooling.
    bias
        Whether convolutions have a bias.
    padding
        What the image is continued with.

    Examples
    --------
    >>> sum(p.numel() for p in UNet(2, 1, filters=32, stages=2).parameters())
    111489

    References
    ----------
    Ronneberger O et al. arXiv:1505.04597; layout as in arXiv:2602.21707
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        filters: int,
        stages: int,
        bias: bool = True,
        padding: Padding = "zeros",
    ) -> None:
        super().__init__()
        widths = [filters * 2**i for i in range(stages)]

        def convolution(n_in: int, n_out: int) -> nn.Conv2d:
            return nn.Conv2d(n_in, n_out, 3, padding=1, bias=bias, padding_mode=padding)

        def pair(n_in: int, n_out: int) -> nn.Sequential:
            return nn.Sequential(
                convolution(n_in, n_out), nn.LeakyReLU(0.01),
                convolution(n_out, n_out), nn.LeakyReLU(0.01),
            )  # fmt: skip

        self.down = nn.ModuleList(
            pair(n_in, n_out) for n_in, n_out in zip([inputs, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(convolution(2 * w, w) for w in reversed(widths[:-1]))
        self.join = nn.ModuleList(pair(2 * w, w) for w in reversed(widths[:-1]))
        self.head = nn.Conv2d(filters, outputs, 1, bias=bias)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Apply the network.

        Parameters
        ----------
        image
            `(batch, inputs, y, x)`, float.

        Returns
        -------
            `(batch, outputs, y, x)`.
        """
        skips: list[torch.Tensor] = []
        for stage, block in enumerate(self.down):
            if stage:
                image = functional.max_pool2d(image, 2, ceil_mode=True)
            image = block(image)
            skips.append(image)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            skip = skips.pop()
            larger = functional.interpolate(image, skip.shape[-2:], mode="bilinear")
            image = join(torch.cat([up(larger), skip], dim=1))
        result: torch.Tensor = self.head(image)
        return result
