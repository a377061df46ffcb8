"""Sensitivities of a ring of receive loops, by the law of Biot and Savart.

References
----------
Hoult DI. The principle of reciprocity in signal strength calculations - a mathematical guide.
Concepts Magn Reson 2000;12:173-187.
https://doi.org/10.1002/1099-0534(2000)12:4%3C173::AID-CMR1%3E3.0.CO;2-Q
Roemer PB et al. The NMR phased array. Magn Reson Med 1990;16:192-225.
https://doi.org/10.1002/mrm.1910160203
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

_SEGMENTS = 48
_OVERLAP = 1.1
_LARGEST_LOOP = 0.7


def loop_coil_maps(
    shape_zyx: Sequence[int],
    voxel_size_m: Sequence[float],
    *,
    n_coils: int,
    distance: float = 1.2,
    normalization: Literal["sum-of-squares", "peak"] = "sum-of-squares",
) -> torch.Tensor:
    r"""Return the receive sensitivities of loops on a cylinder around the field of view.

    ``S_c(r) = B_x(r) - i B_y(r)`` of a unit current in loop c (reciprocity, main field along z),
    with ``B(r) = sum dl x (r - r') / |r - r'|^3`` over the straight pieces of the loop. The loops
    look inwards from a ring in the plane z = 0, overlap slightly, and are as tall along z as the
    field of view.

    Parameters
    ----------
    shape_zyx
        Size of the image.
    voxel_size_m
        Voxel size (z, y, x) [m].
    n_coils
        Number of loops; a single coil is uniform.
    distance
        Radius of the ring over half the in-plane diagonal of the field of view, above 1.
    normalization
        `"sum-of-squares"`: ``sum_c |S_c|^2 = 1`` everywhere. `"peak"`: 1 at its largest, so that
        the image keeps the shading of the array.

    Returns
    -------
        Maps, complex64, `(1, coils, z, y, x)`.

    Examples
    --------
    >>> maps = loop_coil_maps((1, 16, 16), (5e-3, 1e-3, 1e-3), n_coils=4)
    >>> maps.shape, bool(torch.allclose(maps.abs().square().sum(1), torch.ones(())))
    (torch.Size([1, 4, 1, 16, 16]), True)

    References
    ----------
    https://doi.org/10.1002/mrm.1910160203
    """
    z, y, x = (
        (torch.arange(n, dtype=torch.float64) - n // 2) * d
        for n, d in zip(shape_zyx, voxel_size_m, strict=True)
    )
    maps = torch.ones(1, n_coils, *shape_zyx, dtype=torch.complex64)
    if n_coils == 1:
        return maps
    extents = [n * d for n, d in zip(shape_zyx, voxel_size_m, strict=True)]
    ring = distance * 0.5 * math.hypot(extents[1], extents[2])
    half_width = min(_OVERLAP * ring * math.sin(math.pi / n_coils), _LARGEST_LOOP * ring)
    half_height = max(half_width, 0.5 * extents[0] if shape_zyx[0] > 1 else 0.0)
    for c in range(n_coils):
        angle = 2 * math.pi * (c + 0.5) / n_coils
        loop = _loop(ring, angle, half_width, half_height)
        # The field falls with the size of the scanner; the common factor is free.
        maps[0, c] = (ring * _transverse_field(loop, z, y, x)).to(torch.complex64)
    norm = torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    scaled: torch.Tensor = maps / (norm if normalization == "sum-of-squares" else norm.max())
    return scaled


def _loop(ring: float, angle: float, half_width: float, half_height: float) -> torch.Tensor:
    """Return the corners (x, y, z) of an elliptic loop that looks at the axis, `(corners, 3)`."""
    t = 2 * math.pi * torch.arange(_SEGMENTS, dtype=torch.float64) / _SEGMENTS
    along = half_width * torch.cos(t)
    x = ring * math.cos(angle) - along * math.sin(angle)
    y = ring * math.sin(angle) + along * math.cos(angle)
    return torch.stack([x, y, half_height * torch.sin(t)], dim=1)


def _transverse_field(
    loop: torch.Tensor, z: torch.Tensor, y: torch.Tensor, x: torch.Tensor
) -> torch.Tensor:
    """Sum ``dl x (r - r') / |r - r'|^3`` over the pieces of a loop; complex `(z, y, x)`."""
    b_x = torch.zeros(len(z), len(y), len(x), dtype=torch.float64)
    b_y = torch.zeros_like(b_x)
    following = loop.roll(-1, 0)
    for (dx, dy, dz), (px, py, pz) in zip(
        (following - loop).tolist(), (0.5 * (following + loop)).tolist(), strict=True
    ):
        rx, ry, rz = x - px, (y - py)[:, None], (z - pz)[:, None, None]
        inverse_cube = (rx**2 + ry**2 + rz**2).pow_(-1.5)
        b_x += (dy * rz - dz * ry) * inverse_cube
        b_y += (dz * rx - dx * rz) * inverse_cube
    return torch.complex(b_x, -b_y)
