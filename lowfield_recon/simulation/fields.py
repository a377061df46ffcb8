"""Smooth random fields, for the phase of the object and the off-resonance, and random streams.

References
----------
Numerical fields of low degree stand for the inhomogeneity that shims leave:
Roméo F, Hoult DI. Magnet field profiling: analysis and correcting coil design. Magn Reson Med
1984;1:44-65. https://doi.org/10.1002/mrm.1910010107
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
import torch

Stream = Literal[
    "phase",
    "off-resonance",
    "noise",
    "noise-readout",
    "interference",
    "mask",
    "motion",
    "bias-field",
    "spikes",
]

_STREAMS: tuple[Stream, ...] = (
    "phase",
    "off-resonance",
    "noise",
    "noise-readout",
    "interference",
    "mask",
    "motion",
    "bias-field",
    "spikes",
)


def stream(seed: int, name: Stream) -> torch.Generator:
    """Return the random numbers of one effect, which no other effect uses.

    Switching one effect on or off leaves the others as they are.

    Parameters
    ----------
    seed
        Seed of the whole simulation.
    name
        Effect.

    Returns
    -------
        Generator on the CPU.

    Examples
    --------
    >>> stream(1, "noise").initial_seed() == stream(1, "phase").initial_seed()
    False
    """
    words = np.random.SeedSequence([seed, _STREAMS.index(name)]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


def smooth_field(
    shape_zyx: Sequence[int], *, order: int, generator: torch.Generator
) -> torch.Tensor:
    r"""Draw a random polynomial of the position.

    ``f(r) = sum_{1 <= a+b+c <= order} w_abc P_a(z) P_b(y) P_c(x)`` with Legendre polynomials over
    -1..1 along each axis and normal weights, scaled to ``max |f| = 1``. There is no constant term.

    Parameters
    ----------
    shape_zyx
        Size; along an axis of length 1 the field is constant.
    order
        Largest degree, at least 1.
    generator
        Source of the weights.

    Returns
    -------
        Field, float64, `(z, y, x)`; zero where all axes have length 1.

    Examples
    --------
    >>> f = smooth_field((1, 8, 8), order=2, generator=torch.Generator().manual_seed(0))
    >>> f.shape, float(f.abs().max())
    (torch.Size([1, 8, 8]), 1.0)
    """
    bases = [_legendre(n, order) for n in shape_zyx]
    field = torch.zeros(tuple(shape_zyx), dtype=torch.float64)
    for a, b, c in product(range(order + 1), repeat=3):
        if not 1 <= a + b + c <= order:
            continue
        weight = torch.randn(1, generator=generator, dtype=torch.float64)
        degrees = (a, b, c)
        if any(d > 0 and n == 1 for d, n in zip(degrees, shape_zyx, strict=True)):
            continue
        z, y, x = (basis[d] for basis, d in zip(bases, degrees, strict=True))
        field += weight * z[:, None, None] * y[:, None] * x
    largest = field.abs().max()
    return field / largest if largest > 0 else field


def _legendre(n: int, order: int) -> list[torch.Tensor]:
    """Return the Legendre polynomials of degree 0 to `order` on `n` points over -1..1."""
    position = torch.linspace(-1, 1, n, dtype=torch.float64) if n > 1 else torch.zeros(1).double()
    values = [torch.ones_like(position), position]
    for k in range(1, order):
        values.append(((2 * k + 1) * position * values[k] - k * values[k - 1]) / (k + 1))
    return values
