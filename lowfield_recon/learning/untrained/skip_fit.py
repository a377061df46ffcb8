"""A skip network with its input and optimiser, fitted by gradients with respect to its output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks.skip_network import SkipNetwork, SkipNetworkSettings
from lowfield_recon.learning.untrained.channels import (
    NoiseInput,
    channel_count,
    from_channels,
)

Precision = str
"""`"float32"` or `"bfloat16"`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitState:
    """A network and its optimiser at some iteration."""

    weights: dict[str, torch.Tensor]
    optimiser: dict[str, Any]


class SkipFit:
    """A network that puts out images, one step of Adam at a time.

    The method says what the gradient of its objective with respect to the output is, so that
    operators are applied outside of automatic differentiation and in full precision.

    Parameters
    ----------
    shape
        Shape of the image `(..., y, x)`.
    is_complex
        Whether its values are.
    network
        Size of the network.
    images
        How many such images come out.
    inputs
        Channels of the random input.
    input_noise
        Standard deviation of the fresh noise on it.
    learning_rate
        Of Adam.
    sigmoid
        Whether the output is squeezed into 0..1.
    precision
        Of the convolutions; the rest is single precision.
    generator
        Where weights, input and noise come from.
    device
        Where the network runs.
    shifts
        Most pixels by which image and input move together under the network at every step. Its
        grids of half the resolution then begin at other pixels, and none of them can be learnt.

    Examples
    --------
    >>> fit = SkipFit(
    ...     (1, 1, 8, 8), is_complex=False, network=SkipNetworkSettings(channels=4, scales=2),
    ...     inputs=2, generator=torch.Generator().manual_seed(0),
    ... )
    >>> target = torch.ones(1, 1, 8, 8)
    >>> first = [float((fit.step(lambda f: f - target) - target).square().mean()) for _ in range(9)]
    >>> first[-1] < first[0]
    True
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        is_complex: bool,
        network: SkipNetworkSettings,
        generator: torch.Generator,
        images: int = 1,
        inputs: int = 32,
        input_noise: float = 0.03,
        learning_rate: float = 0.01,
        sigmoid: bool = False,
        precision: Precision = "float32",
        device: torch.device | str = "cpu",
        shifts: int = 0,
    ) -> None:
        """Draw weights and input."""
        self._shape = shape if images == 1 else (images, *shape)
        self._is_complex = is_complex
        self._sigmoid = sigmoid
        self._is_low_precision = precision == "bfloat16"
        outputs = channel_count(self._shape, is_complex=is_complex)
        self.network = SkipNetwork(inputs, outputs, network, generator=generator).to(device)
        self.input = NoiseInput(
            inputs, (shape[-2], shape[-1]), noise=input_noise, generator=generator, device=device,
            shifts=shifts,
        )  # fmt: skip
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=learning_rate, fused=True)

    def step(
        self,
        gradient: Callable[[torch.Tensor], torch.Tensor],
        *inputs: torch.Tensor,
    ) -> torch.Tensor:
        """Put out an image and take a step.

        Parameters
        ----------
        gradient
            Output -> gradient of the objective with respect to it, both of the image's shape.
        inputs
            Inputs, over whose outputs the mean is taken; without any the fixed one with fresh
            noise.

        Returns
        -------
            The output before the step, without gradients.
        """
        with torch.enable_grad():
            outputs = [self._channels(z) for z in inputs] or [self._moved()]
            channels = outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(dim=0)
        image = from_channels(channels.detach(), self._shape, is_complex=self._is_complex)
        slope = gradient(image)
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(channels, _as_channels(slope, channels))
        self.optimiser.step()
        return image

    def output(self, z: torch.Tensor | None = None) -> torch.Tensor:
        """Return the image for an input, None for the fixed one, without a step."""
        with torch.no_grad():
            channels = self._channels(self.input.fixed if z is None else z)
        return from_channels(channels, self._shape, is_complex=self._is_complex)

    def state(self) -> dict[str, torch.Tensor]:
        """Return the weights, on the CPU."""
        return {
            name: value.detach().cpu().contiguous().clone()
            for name, value in self.network.state_dict().items()
        }

    def start_from(self, state: Mapping[str, torch.Tensor], source: str) -> None:
        """Take weights over from `source`; the optimiser begins anew.

        Raises
        ------
        DataError
            If they are of a network of another size.
        """
        own = self.network.state_dict()
        same = own.keys() == state.keys() and all(own[k].shape == state[k].shape for k in own)
        if not same:
            raise DataError(
                f"warm_start: the weights of {source} are of another network; start from one that "
                "was fitted with the same channels, scales and kind of image."
            )
        self.network.load_state_dict(dict(state))

    def snapshot(self) -> FitState:
        """Return a copy of weights and optimiser."""
        return FitState(
            weights={k: v.detach().clone() for k, v in self.network.state_dict().items()},
            optimiser=copy.deepcopy(self.optimiser.state_dict()),
        )

    def restore(self, state: FitState, *, learning_rate_factor: float = 1.0) -> None:
        """Go back to a snapshot, on with another learning rate."""
        self.network.load_state_dict(state.weights)
        # Adam would go on in the moments of the snapshot itself.
        self.optimiser.load_state_dict(copy.deepcopy(state.optimiser))
        for group in self.optimiser.param_groups:
            group["lr"] *= learning_rate_factor

    def _moved(self) -> torch.Tensor:
        """Return the channels where the image lies this time."""
        y, x = self.input.place()
        rows, columns = self._shape[-2:]
        return self._channels(self.input.perturbed((y, x)))[..., y : y + rows, x : x + columns]

    def _channels(self, z: torch.Tensor) -> torch.Tensor:
        device = z.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._is_low_precision):
            output: torch.Tensor = self.network(z)
        output = output.float()
        return output.sigmoid() if self._sigmoid else output


def _as_channels(image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bring a gradient into the order of the channels, `from_channels` the other way."""
    if not image.is_complex():
        return image.reshape(like.shape)
    planes = torch.view_as_real(image.reshape(-1, *image.shape[-2:]))
    return planes.permute(0, 3, 1, 2).reshape(like.shape)


def fastest_precision(device: torch.device) -> Precision:
    """Return bfloat16 where the hardware multiplies it, else float32.

    Parameters
    ----------
    device
        Where the network runs.

    Returns
    -------
        Name of the precision of convolutions.

    Examples
    --------
    >>> fastest_precision(torch.device("cpu")) in ("float32", "bfloat16")
    True
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return "bfloat16" if known is not None and known() else "float32"
