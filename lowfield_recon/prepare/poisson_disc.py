"""Variable-density Poisson-disc patterns: random samples that keep their distance.

References
----------
Bridson R. Fast Poisson disk sampling in arbitrary dimensions. ACM SIGGRAPH Sketches 2007.
https://doi.org/10.1145/1278780.1278807
Lustig M, Pauly JM. SPIRiT: iterative self-consistent parallel imaging reconstruction from arbitrary
k-space. Magn Reson Med 2010;64:457-471. https://doi.org/10.1002/mrm.22428
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import UsageError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_GROWTH = 2.0
_BISECTIONS = 9
_CLOSE = 0.003


def poisson_disc(calibration: torch.Tensor, n_samples: int, *, seed: int = 0) -> torch.Tensor:
    """Draw samples at random that stay apart, the further apart the further out.

    A sample p forbids its surroundings up to ``r(p) = s (1 + 2 |p|)`` samples, with |p| = 1 at the
    middle of each edge of k-space. Candidates come in random order, and each is taken unless a
    sample before it forbids it. The scale s is found by bisection with the same order, so that
    slightly too many samples result; the surplus is left out at random, which brings none closer
    together.

    Parameters
    ----------
    calibration
        Samples that are taken in any case, bool, `(k2, k1)`; they forbid nothing.
    n_samples
        Number of samples to be taken, those of the calibration included.
    seed
        Seed of the order.

    Returns
    -------
        Samples taken, bool, `(k2, k1)`, exactly `n_samples`.

    Raises
    ------
    UsageError
        If there are fewer places than samples, or fewer samples than the calibration has.

    Examples
    --------
    >>> centre = torch.zeros(1, 64, dtype=torch.bool)
    >>> centre[:, 28:36] = True
    >>> int(poisson_disc(centre, 16, seed=1).sum())
    16

    References
    ----------
    Pattern: https://doi.org/10.1145/1278780.1278807. Its use: https://doi.org/10.1002/mrm.22428
    """
    block = calibration.numpy(force=True)
    n_free = n_samples - int(block.sum())
    if n_free < 0 or n_samples > block.size:
        raise UsageError(
            f"poisson-disc: expected {int(block.sum())} (the calibration) to {block.size} samples, "
            f"got {n_samples}; change acceleration or calibration_lines."
        )
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(block.size, generator=generator).numpy()
    order = order[~block.ravel()[order]]
    distance = 1 + _GROWTH * _radius(block.shape)
    low, high = 0.0, 2.0 * max(block.shape)
    chosen = order  # s = 0 forbids nothing
    for _ in range(_BISECTIONS + max(block.shape).bit_length()):
        if len(chosen) <= n_free * (1 + _CLOSE):
            break
        middle = 0.5 * (low + high)
        found = _throw(order, middle * distance, n_free)
        if len(found) >= n_free:
            low, chosen = middle, found
        else:
            high = middle
    keep = torch.randperm(len(chosen), generator=generator).numpy()[:n_free]
    block = block.copy()
    block.ravel()[chosen[keep]] = True
    return torch.from_numpy(block)


def _radius(shape: tuple[int, ...]) -> Floats:
    """Return the distance from the centre, 1 at the middle of each edge."""
    axes = [(np.arange(n) - n // 2) / max(n / 2, 1) if n > 1 else np.zeros(1) for n in shape]
    radius: Floats = np.hypot(axes[0][:, None], axes[1][None, :])
    return radius


def _throw(order: npt.NDArray[np.int64], radii: Floats, n_wanted: int) -> npt.NDArray[np.int64]:
    """Take candidates in order unless they lie within the radius of one that was taken.

    Stops where the rest cannot reach the wanted number, or once there are far more than wanted.
    """
    n_2, n_1 = radii.shape
    is_forbidden = np.zeros((n_2, n_1), dtype=bool)
    flat = is_forbidden.ravel()
    discs: dict[int, Bools] = {}
    squared = np.floor(radii.ravel() ** 2).astype(np.int64)
    taken = []
    for place in order.tolist():
        if flat[place]:
            continue
        taken.append(place)
        key = int(squared[place])
        if key == 0:
            continue
        if key not in discs:
            discs[key] = _disc(key, n_2, n_1)
        disc = discs[key]
        h_2, h_1 = disc.shape[0] // 2, disc.shape[1] // 2
        i, j = divmod(place, n_1)
        top, left = max(h_2 - i, 0), max(h_1 - j, 0)
        window = is_forbidden[max(i - h_2, 0) : i + h_2 + 1, max(j - h_1, 0) : j + h_1 + 1]
        window |= disc[top : top + window.shape[0], left : left + window.shape[1]]
        if len(taken) > 1.5 * n_wanted + 64:
            break
    return np.array(taken, dtype=np.int64)


def _disc(squared: int, n_2: int, n_1: int) -> Bools:
    """Return the points of the grid whose squared distance from the middle is at most `squared`."""
    h = int(np.sqrt(squared))
    h_2, h_1 = min(h, n_2 - 1), min(h, n_1 - 1)
    i, j = np.arange(-h_2, h_2 + 1), np.arange(-h_1, h_1 + 1)
    inside: Bools = i[:, None] ** 2 + j[None, :] ** 2 <= squared
    return inside
