"""Networks of complex Gabor wavelets that map pixel coordinates to image values."""

from __future__ import annotations

import math

import torch
from torch import nn

from lowfield_recon.learning.networks.coordinate_network import (
    CoordinateNetwork,
    CoordinateNetworkSettings,
    uniform_weights,
)


class Wire(CoordinateNetwork):
    r"""Network of complex Gabor wavelets, ``g(z) = exp(i omega z - |sigma z|^2)``, ``z = W h + b``.

    The weights of the first layer are real, the others complex; the output is linear, zero at the
    start, and its real part where the image is real.

    Parameters
    ----------
    settings
        Size, frequency and width.
    inputs
        Numbers per pixel that come in, 2 for coordinates.
    outputs
        Values per pixel.
    is_complex
        Whether these are complex.
    generator
        Where the initial weights come from.
    dtype
        Real dtype, `torch.float32` or `torch.float64`.

    References
    ----------
    Saragadam V et al. WIRE: wavelet implicit neural representations. arXiv:2301.05187

    Examples
    --------
    >>> from lowfield_recon.learning.networks.coordinate_network import pixel_coordinates
    >>> network = Wire(
    ...     CoordinateNetworkSettings(kind="wire", features=8, omega=8.0), outputs=1,
    ...     is_complex=True, generator=torch.Generator().manual_seed(0),
    ... )
    >>> network(pixel_coordinates((4, 4))).dtype
    torch.complex64
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
    ) -> None:
        """Draw the weights; complex ones are stored as real numbers with a last axis of two."""
        super().__init__(settings, inputs=inputs, outputs=outputs, is_complex=is_complex)
        n = max(1, int(settings.features / math.sqrt(2)))

        def drawn(bound: float, *shape: int) -> nn.Parameter:
            return nn.Parameter(uniform_weights(shape, bound, generator, dtype))

        first, later = 1 / math.sqrt(inputs), 1 / math.sqrt(n)
        self.first = drawn(first, inputs, n)
        self.first_offset = drawn(first, n)
        layers = range(settings.hidden_layers)
        self.weights = nn.ParameterList(drawn(later, n, n, 2) for _ in layers)
        self.offsets = nn.ParameterList(drawn(later, n, 2) for _ in layers)
        self.head = nn.Parameter(torch.zeros(n, outputs, 2, dtype=dtype))
        self.head_offset = nn.Parameter(torch.zeros(outputs, 2, dtype=dtype))

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the last hidden layer of one block of coordinates."""
        omega, sigma = self.settings.omega, self.settings.sigma
        z = torch.addmm(self.first_offset, inputs, self.first)
        h = torch.exp(torch.complex(-(sigma * z).square(), omega * z))
        for weight, offset in zip(self.weights, self.offsets, strict=True):
            z = torch.addmm(_complex(offset), h, _complex(weight))
            parts = torch.view_as_real(z)
            real, imaginary = parts[..., 0], parts[..., 1]
            decay = -omega * imaginary - (sigma * sigma) * (real.square() + imaginary.square())
            h = torch.exp(torch.complex(decay, omega * real))
        return h

    def head_of(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the values that a hidden layer gives."""
        values = torch.addmm(_complex(self.head_offset), hidden, _complex(self.head))
        return values if self.is_complex else values.real


def _complex(parts: torch.Tensor) -> torch.Tensor:
    # No view: weights that are slices of one vector need not begin at an even place.
    return torch.complex(parts[..., 0], parts[..., 1])
