"""Networks that map pixel coordinates to image values: what they share, and SIREN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

NetworkKind = Literal["siren", "wire"]

_ROWS_AT_ONCE = 4096
"""Coordinates that pass the layers together, so that what they become stays in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateNetworkSettings:
    """Kind and size of a coordinate network."""

    kind: NetworkKind = "siren"
    """`"siren"`, sines, or `"wire"`, complex Gabor wavelets."""

    features: int = 64
    """Width; WIRE has ``features / sqrt(2)`` complex units, about as many numbers."""

    hidden_layers: int = 2
    """Layers between the first and the last."""

    omega: float = 30.0
    """Frequency of the first layer, in radians per half the image."""

    hidden_omega: float = 30.0
    """Frequency of the hidden layers; for SIREN it only scales their weights and thus the step."""

    sigma: float = 5.0
    """Width parameter of the Gaussians of WIRE; SIREN has none."""


def pixel_coordinates(
    size: Sequence[int], *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return the pixel centres of an image that fills ``[-1, 1]^2``.

    Parameters
    ----------
    size
        (y, x).
    dtype, device
        Of the result.

    Returns
    -------
        Coordinates (y, x) of the pixels in reading order, `(y * x, 2)`.

    Examples
    --------
    >>> pixel_coordinates((1, 2)).tolist()
    [[0.0, -0.5], [0.0, 0.5]]
    """
    axes = [
        (2 * torch.arange(n, dtype=torch.float64, device=device) + 1) / n - 1 for n in tuple(size)
    ]
    return torch.cartesian_prod(*axes).to(dtype)


def uniform_weights(
    shape: tuple[int, ...], bound: float, generator: torch.Generator, dtype: torch.dtype
) -> torch.Tensor:
    """Draw weights uniformly within ``+-bound``, the same numbers in every precision.

    Parameters
    ----------
    shape
        Shape.
    bound
        Largest modulus.
    generator
        Where they come from.
    dtype
        Real dtype of the result.

    Returns
    -------
        The weights.
    """
    draws = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (2 * draws - 1).mul_(bound).to(dtype)


class CoordinateNetwork(nn.Module):
    """What SIREN and WIRE share: the layout, real or complex values, rows in blocks."""

    def __init__(
        self, settings: CoordinateNetworkSettings, *, inputs: int, outputs: int, is_complex: bool
    ) -> None:
        """Store the layout."""
        super().__init__()
        self.settings = settings
        self.inputs = inputs
        self.outputs = outputs
        self.is_complex = is_complex

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the values `(n, outputs)` at coordinates `(n, inputs)`."""
        return torch.cat(
            [self.head_of(self.hidden(block)) for block in torch.split(inputs, _ROWS_AT_ONCE)]
        )

    def features(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer as real numbers, `(n, number_of_features)`."""
        hidden = torch.cat([self.hidden(block) for block in torch.split(inputs, _ROWS_AT_ONCE)])
        return torch.view_as_real(hidden).flatten(1) if hidden.is_complex() else hidden

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer of one block of coordinates."""
        raise NotImplementedError

    def head_of(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the values that a hidden layer gives."""
        raise NotImplementedError


class Siren(CoordinateNetwork):
    r"""Network of sines, ``h_0 = sin(omega (W_0 c + b_0))``, ``h_i = sin(w (W_i h + b_i))``.

    Here h is the layer before. The output ``W h + b`` is linear and zero at the start. Weights are
    uniform, of the first layer within ``1 / inputs``, of the hidden ones within
    ``sqrt(6 / features) / w``. A complex value is two real outputs.

    Parameters
    ----------
    settings
        Size and frequencies.
    inputs
        Numbers per pixel that come in, 2 for coordinates.
    outputs
        Values per pixel.
    is_complex
        Whether these are complex.
    generator
        Where the initial weights come from.
    dtype
        `torch.float32` or `torch.float64`.
    half_precision
        Whether hidden layers compute in bfloat16; the phase of the first layer and the last layer
        do not.

    References
    ----------
    Sitzmann V et al. Implicit neural representations with periodic activation functions.
    arXiv:2006.09661

    Examples
    --------
    >>> network = Siren(
    ...     CoordinateNetworkSettings(features=8), outputs=3, is_complex=False,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> network(pixel_coordinates((4, 4))).abs().max()
    tensor(0., grad_fn=<MaxBackward1>)
    """

    def __init__(
        self,
        settings: CoordinateNetworkSettings,
        *,
        inputs: int = 2,
        outputs: int,
        is_complex: bool,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        half_precision: bool = False,
    ) -> None:
        """Draw the weights."""
        super().__init__(settings, inputs=inputs, outputs=outputs, is_complex=is_complex)
        self._half = torch.bfloat16 if half_precision else None
        n = settings.features
        hidden = math.sqrt(6 / n) / settings.hidden_omega
        bounds = [1 / inputs] + [hidden] * settings.hidden_layers
        widths = [inputs] + [n] * settings.hidden_layers

        def drawn(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(uniform_weights(shape, bound, generator, dtype))

        self.weights = nn.ParameterList(
            drawn(bound, width, n) for bound, width in zip(bounds, widths, strict=True)
        )
        self.offsets = nn.ParameterList(
            drawn(1 / math.sqrt(width) / (1 if i == 0 else settings.hidden_omega), n)
            for i, width in enumerate(widths)
        )
        reals = outputs * (2 if is_complex else 1)
        self.head = nn.Parameter(torch.zeros(n, reals, dtype=dtype))
        self.head_offset = nn.Parameter(torch.zeros(reals, dtype=dtype))

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer of one block of coordinates."""
        omega, hidden_omega = self.settings.omega, self.settings.hidden_omega
        h = torch.sin(torch.addmm(omega * self.offsets[0], inputs, omega * self.weights[0]))
        if self._half is not None:
            h = h.to(self._half)
        for weight, offset in zip(self.weights[1:], self.offsets[1:], strict=True):
            scaled, shift = hidden_omega * weight, hidden_omega * offset
            h = torch.sin(torch.addmm(shift.to(h.dtype), h, scaled.to(h.dtype)))
        return h.to(self.head.dtype)

    def head_of(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the values that a hidden layer gives."""
        values = torch.addmm(self.head_offset, hidden, self.head)
        if not self.is_complex:
            return values
        return torch.view_as_complex(values.reshape(-1, self.outputs, 2))
