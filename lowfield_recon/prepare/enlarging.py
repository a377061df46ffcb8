"""Linear interpolation of smooth volumes to a finer grid over the same field of view."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def enlarged(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Interpolate linearly along the last axes; index n // 2 stays the centre.

    Voxel i of n lies at ``(i - n // 2) / n`` of the field of view, beyond the outermost voxels the
    nearest one counts.

    Parameters
    ----------
    maps
        Volume `(..., z, y, x)`, real or complex.
    size
        New sizes of the last `len(size)` axes.

    Returns
    -------
        Volume with the new sizes.

    Examples
    --------
    >>> enlarged(torch.tensor([0.0, 1.0]), (4,))
    tensor([0.0000, 0.5000, 1.0000, 1.0000])
    """
    for d, n in zip(range(-len(size), 0), size, strict=True):
        m = maps.shape[d]
        if m == n:
            continue
        position = (m // 2 + (torch.arange(n, dtype=torch.float64) - n // 2) * (m / n)).clamp(
            0, m - 1
        )
        low = position.floor().long().clamp(max=max(m - 2, 0))
        fraction = (position - low).to(maps.real.dtype).to(maps.device)
        fraction = fraction.reshape(-1, *([1] * (-d - 1)))
        low = low.to(maps.device)
        below = maps.index_select(d, low)
        above = maps.index_select(d, (low + 1).clamp(max=m - 1))
        maps = below + fraction * (above - below)
    return maps
