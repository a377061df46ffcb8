"""Where learning a dictionary begins: patches of the images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_CANDIDATES = 4


def first_kernels(
    pairs: Sequence[torch.Tensor],
    n_kernels: int,
    kernel_size: int,
    generator: torch.Generator,
    *,
    zero_mean: bool = False,
) -> torch.Tensor:
    """Draw kernels from patches of the images, the strongest of a few each time.

    Parameters
    ----------
    pairs
        High-passed images `(y, x)`, complex: real and imaginary part are images.
    n_kernels
        How many.
    kernel_size
        Width of a kernel [pixels], at most that of the images.
    generator
        Source of the random numbers.
    zero_mean
        Whether kernels must sum to zero.

    Returns
    -------
        Kernels `(K, n, n)` of unit norm, float32.

    Examples
    --------
    >>> image = torch.randn(16, 16, dtype=torch.complex64)
    >>> first_kernels([image], 4, 5, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 5, 5])
    """
    n = kernel_size
    kernels: list[torch.Tensor] = []
    while len(kernels) < n_kernels:
        candidates = [_patch(pairs, n, generator) for _ in range(_CANDIDATES)]
        patch = max(candidates, key=lambda p: float(p.norm()))
        # The noise keeps a patch without any structure from being zero.
        patch = patch / patch.norm().clamp(min=1e-6) + 1e-3 * torch.randn(n, n, generator=generator)
        if zero_mean:
            patch = patch - patch.mean()
        kernels.append(patch / patch.norm())
    return torch.stack(kernels)


def _patch(pairs: Sequence[torch.Tensor], n: int, generator: torch.Generator) -> torch.Tensor:
    image = pairs[int(torch.randint(len(pairs), (1,), generator=generator))]
    rows, columns = (int(size) - n + 1 for size in image.shape)
    i = int(torch.randint(rows, (1,), generator=generator))
    j = int(torch.randint(columns, (1,), generator=generator))
    part = image.real if float(torch.rand(1, generator=generator)) < 0.5 else image.imag
    # The kernel of a convolution is its response to a point, so that patches need no flip.
    patch: torch.Tensor = part[i : i + n, j : j + n]
    return patch
