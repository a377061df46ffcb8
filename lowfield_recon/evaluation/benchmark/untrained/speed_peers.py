"""Deep image priors of others, iteration by iteration: a plain loop, and deepinv's."""

from __future__ import annotations

import math
import time
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from lowfield_recon.errors import MissingDependencyError
from lowfield_recon.learning.networks.skip_network import SkipNetwork, SkipNetworkSettings
from lowfield_recon.problem import InverseProblem

_INPUT_LEVEL = 0.1
_INPUT_NOISE = 0.03
_LEARNING_RATE = 0.01


def has_deepinv() -> bool:
    """Return whether deepinv is installed.

    Returns
    -------
        Whether it is.
    """
    return find_spec("deepinv") is not None


def stamps_of_plain_loop(
    problem: InverseProblem,
    network: SkipNetworkSettings,
    *,
    inputs: int,
    iterations: int,
    seed: int,
) -> dict[str, Any]:
    """Fit a skip network as the original does: the loss through autograd, single precision.

    Parameters
    ----------
    problem
        Inpainting of a photograph.
    network
        Size of the network.
    inputs
        Channels of the random input.
    iterations
        How many.
    seed
        Of weights, input and noise.

    Returns
    -------
        `stamps`, the time at which each iteration began; `parameters` of the network, and
        `multiplications` of its convolutions in one pass.

    References
    ----------
    Ulyanov D et al. Deep image prior. Int J Comput Vis 2020;128:1867-1888.
    https://doi.org/10.1007/s11263-020-01303-4
    """
    generator = torch.Generator().manual_seed(seed)
    y = problem.data.squeeze(-3)
    mask = (y != 0).float()
    net = SkipNetwork(inputs, y.shape[1], network, generator=generator)
    z = _INPUT_LEVEL * torch.rand(1, inputs, *y.shape[-2:], generator=generator)
    size = network_size(net, z)
    optimiser = torch.optim.Adam(net.parameters(), lr=_LEARNING_RATE)
    stamps = []
    with torch.enable_grad():
        for _ in range(iterations + 1):
            stamps.append(time.perf_counter())
            noisy = z + _INPUT_NOISE * torch.randn(z.shape, generator=generator)
            loss = nn.functional.mse_loss(net(noisy).sigmoid() * mask, y)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return {"stamps": stamps, **size}


def stamps_of_deepinv(
    problem: InverseProblem, network: SkipNetworkSettings, *, iterations: int, seed: int
) -> dict[str, Any]:
    """Run deepinv's `DeepImagePrior` with its `ConvDecoder`.

    The decoder has as many channels as the skip network, and doubles the size as often.

    Parameters
    ----------
    problem
        Inpainting of a photograph whose sides are multiples of `2^scales`.
    network
        Size of the skip network that it stands beside.
    iterations
        How many.
    seed
        Of weights and input.

    Returns
    -------
        As `stamps_of_plain_loop`.

    Raises
    ------
    MissingDependencyError
        If deepinv is not installed.
    """
    if not has_deepinv():
        raise MissingDependencyError(
            "deepinv is not installed; expected it for this comparison: pip install "
            "'lowfield-recon[compare]'."
        )
    from deepinv.models import ConvDecoder, DeepImagePrior
    from deepinv.physics import Inpainting

    y = problem.data.squeeze(-3)
    shape = tuple(y.shape[1:])
    first = tuple(max(n // 2**network.scales, 1) for n in shape[-2:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = ConvDecoder(
            shape, in_size=first, layers=network.scales + 1, channels=network.channels
        )
        stamped = _Stamped(decoder)
        size = network_size(decoder, torch.zeros(1, network.channels, *first))
        method = DeepImagePrior(
            stamped, img_size=(network.channels, *first), iterations=iterations + 1,
            learning_rate=_LEARNING_RATE,
        )  # fmt: skip
        method(y, Inpainting(img_size=shape, mask=(y != 0).float()[0]))
    return {"stamps": stamped.stamps[: iterations + 1], **size}


def network_size(network: nn.Module, z: torch.Tensor) -> dict[str, int]:
    """Count the parameters of a network and the multiplications of its convolutions.

    Parameters
    ----------
    network
        The network.
    z
        An input.

    Returns
    -------
        `parameters`, and `multiplications` of one pass forwards.

    Examples
    --------
    >>> network_size(nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 8, 8))
    {'parameters': 57, 'multiplications': 3456}
    """
    total = 0

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, torch.Tensor)  # noqa: S101 - of a convolution
        total += output[0, 0].numel() * weight.numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        network(z)
    for hook in hooks:
        hook.remove()
    parameters = sum(math.prod(p.shape) for p in network.parameters())
    return {"parameters": parameters, "multiplications": total}


class Stamps:
    """A progress callback that notes when it is called."""

    def __init__(self) -> None:
        """Begin without any."""
        self.stamps: list[float] = []

    def __call__(self, _iteration: int, _total: int, _objective: float | None, /) -> None:
        """Note the time."""
        self.stamps.append(time.perf_counter())


class _Stamped(nn.Module):
    """A network that notes when it is called."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.stamps: list[float] = []

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.stamps.append(time.perf_counter())
        output: torch.Tensor = self.network(z)
        return output
