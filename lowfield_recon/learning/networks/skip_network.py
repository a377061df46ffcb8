"""The encoder-decoder with skip branches that untrained methods fit to one measurement."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

Upsampling = Literal["nearest", "bilinear"]


class SkipNetworkSettings(BaseModel):
    """Size of the network; the defaults are the published ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: int = Field(default=128, ge=1, description="channels at every scale")
    scales: int = Field(default=5, ge=1, le=8, description="how often the resolution is halved")
    skip_channels: int = Field(default=4, ge=0, description="channels of each skip branch")
    upsampling: Upsampling = Field(default="bilinear", description="how a scale is enlarged")


class SkipNetwork(nn.Module):
    r"""Encoder-decoder with a narrow skip branch at every scale.

    Each scale halves the resolution by a convolution of stride 2, and comes back by upsampling, a
    3x3 and a 1x1 convolution of the deeper result beside the skip branch; every convolution is
    padded by reflection, normalised over its plane with a learnt scale and offset (which is batch
    normalisation of one image), and passed through a leaky rectifier of slope 0.2. The head is
    linear. Of an odd number of rows or columns the larger half goes deeper, and what comes back is
    cut. Inputs of at most ``2^scales`` pixels are continued by reflection to twice that.

    Parameters
    ----------
    inputs
        Channels of the input.
    outputs
        Channels of the output.
    settings
        Size of the network.
    generator
        Where the initial weights come from.

    References
    ----------
    Ulyanov D et al. Deep image prior. Int J Comput Vis 2020;128:1867-1888.
    https://doi.org/10.1007/s11263-020-01303-4

    Examples
    --------
    >>> small = SkipNetworkSettings(channels=8, scales=2)
    >>> network = SkipNetwork(2, 1, small, generator=torch.Generator().manual_seed(0))
    >>> network(torch.zeros(1, 2, 9, 12)).shape
    torch.Size([1, 1, 9, 12])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        settings: SkipNetworkSettings,
        *,
        generator: torch.Generator,
    ) -> None:
        """Build the scales from the outermost to the deepest."""
        super().__init__()
        self.settings = settings
        n, skip = settings.channels, settings.skip_channels
        self.scales = nn.ModuleList(
            _Scale(inputs if i == 0 else n, n, skip) for i in range(settings.scales)
        )
        self.head = nn.Conv2d(n, outputs, 1)
        _draw_weights(self, generator)
        # Channels side by side in memory: a quarter faster on the CPU.
        self.to(memory_format=torch.channels_last)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Return `(1, outputs, y, x)` for an input `(1, inputs, y, x)`."""
        y, x = z.shape[-2:]
        least = 2**self.settings.scales
        # Two pixels at the deepest scale: a single one can neither be reflected nor normalised.
        rows, columns = (n if n > least else 2 * least for n in (y, x))
        if (rows, columns) != (y, x):
            z = _continued(z, rows, columns)
        z = z.contiguous(memory_format=torch.channels_last)
        output: torch.Tensor = self.head(self._scale(z, 0))
        return output[..., :y, :x]

    def _scale(self, x: torch.Tensor, number: int) -> torch.Tensor:
        scale = self.scales[number]
        assert isinstance(scale, _Scale)  # noqa: S101 - the list holds nothing else
        deeper = scale.down(x)
        if number + 1 < len(self.scales):
            deeper = self._scale(deeper, number + 1)
        mode = self.settings.upsampling
        corners = None if mode == "nearest" else False
        enlarged = nn.functional.interpolate(
            deeper, scale_factor=2.0, mode=mode, align_corners=corners
        )
        rows, columns = x.shape[-2:]
        enlarged = enlarged[..., :rows, :columns]
        joined = enlarged if scale.skip is None else torch.cat((scale.skip(x), enlarged), dim=1)
        result: torch.Tensor = scale.up(joined)
        return result


class _Scale(nn.Module):
    """One scale: the way down, the skip branch, the way up."""

    def __init__(self, inputs: int, channels: int, skip: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            *_convolution(inputs, channels, 3, stride=2), *_convolution(channels, channels, 3)
        )
        self.skip = nn.Sequential(*_convolution(inputs, skip, 1)) if skip else None
        self.up = nn.Sequential(
            _normalisation(channels + skip),
            *_convolution(channels + skip, channels, 3),
            *_convolution(channels, channels, 1),
        )


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(
            inputs, outputs, size, stride=stride, padding=size // 2, padding_mode="reflect"
        ) if size > 1 else nn.Conv2d(inputs, outputs, size),
        _normalisation(outputs),
        nn.LeakyReLU(0.2, inplace=True),
    ]  # fmt: skip


def _normalisation(channels: int) -> nn.Module:
    # At batch 1 the same function as instance normalisation, which is what is meant.
    return nn.BatchNorm2d(channels, track_running_stats=False)


def _continued(z: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Continue by reflection, also past the image's own size."""
    while z.shape[-2] < rows or z.shape[-1] < columns:
        down = min(rows - z.shape[-2], z.shape[-2] - 1 or 1)
        right = min(columns - z.shape[-1], z.shape[-1] - 1 or 1)
        mode = "reflect" if min(z.shape[-2:]) > 1 else "replicate"
        z = nn.functional.pad(z, (0, right, 0, down), mode=mode)
    return z


def _draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw uniform weights and offsets within ``1 / sqrt(fan in)``, as torch does by itself."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = (module.in_channels * module.kernel_size[0] * module.kernel_size[1]) ** -0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            assert module.bias is not None  # noqa: S101 - all have one
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
