"""Sampling patterns of Cartesian scans, and the calibration block that a pattern contains.

References
----------
Lustig M, Donoho D, Pauly JM. Sparse MRI. Magn Reson Med 2007;58:1182-1195.
https://doi.org/10.1002/mrm.21391
Griswold MA et al. Generalized autocalibrating partially parallel acquisitions (GRAPPA). Magn Reson
Med 2002;47:1202-1210. https://doi.org/10.1002/mrm.10171
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.prepare.fastmri_masks import FASTMRI_KINDS, FastMriKind, fastmri_mask
from lowfield_recon.prepare.poisson_disc import poisson_disc

MaskKind = Literal[
    "random",
    "regular",
    "poisson-disc",
    "fastmri-random",
    "fastmri-equispaced",
    "fastmri-equispaced-fraction",
    "fastmri-magic",
    "fastmri-magic-fraction",
]
"""Patterns of phase encodings."""

MASK_KINDS: tuple[MaskKind, ...] = ("random", "regular", "poisson-disc", *FASTMRI_KINDS)


def undersampling_mask(
    shape_k: Sequence[int],
    *,
    acceleration: float,
    calibration_lines: int,
    kind: MaskKind = "random",
    seed: int | str = 0,
    center_fraction: float | None = None,
) -> torch.Tensor:
    """Choose the phase encodings of an accelerated Cartesian scan; the readout stays complete.

    `"random"` takes exactly ``round(n / R)`` of the n encodings: the calibration lines and the rest
    uniformly at random. `"regular"` takes every R-th, counted from the centre, and the calibration
    lines on top. `"poisson-disc"` takes exactly ``round(n / R)`` too, the calibration lines and
    others that keep a distance from each other which grows outwards. In three dimensions (k2 > 1)
    these work on the plane of (k2, k1): calibration is a centred square block, and a regular R is
    split into two factors as equal as possible, the larger one along k1. The masks of the `fastmri`
    package choose lines along k1 only, and have their own rule for the centre and for R, see
    `lowfield_recon.prepare.fastmri_masks`.

    Parameters
    ----------
    shape_k
        Size of k-space `(k2, k1, k0)`.
    acceleration
        R >= 1; an integer for `"regular"` and most masks of fastMRI.
    calibration_lines
        Width of the fully sampled centre, in lines.
    kind
        `"random"`, `"regular"`, `"poisson-disc"`, `"fastmri-random"`, `"fastmri-equispaced"`,
        `"fastmri-equispaced-fraction"`, `"fastmri-magic"` or `"fastmri-magic-fraction"`.
    seed
        Seed of the random choice; the same seed gives the same pattern. For the masks of fastMRI
        also the name of a file.
    center_fraction
        Centre of the masks of fastMRI as a part of k1, as fastMRI has it (0.08 for R = 4, 0.04 for
        R = 8); None takes `calibration_lines`.

    Returns
    -------
        Acquired encodings, bool, `(1, 1, k2, k1, 1)`.

    Raises
    ------
    UsageError
        If R < 1, the calibration lines do not fit, R cannot be reached with them, a regular R is
        not an integer, the kind is unknown, or an option does not belong to it.

    Examples
    --------
    >>> mask = undersampling_mask((1, 12, 8), acceleration=3, calibration_lines=2, kind="regular")
    >>> mask[0, 0, 0, :, 0].int()
    tensor([1, 0, 0, 1, 0, 1, 1, 0, 0, 1, 0, 0], dtype=torch.int32)
    >>> int(undersampling_mask((1, 128, 8), acceleration=4, calibration_lines=16, seed=1).sum())
    32

    References
    ----------
    Lustig M, Donoho D, Pauly JM. https://doi.org/10.1002/mrm.21391
    """
    n_2, n_1 = _plane(shape_k)
    _check_kind(kind, seed, center_fraction)
    if not (math.isfinite(acceleration) and acceleration >= 1):
        raise UsageError(f"acceleration: expected a number R >= 1, got {acceleration}.")
    if calibration_lines < 0 or calibration_lines > n_1:
        raise UsageError(
            f"calibration_lines: expected 0 to {n_1}, the number of k-space lines, got "
            f"{calibration_lines}."
        )
    if kind.startswith("fastmri-"):
        lines = _fastmri_lines(n_1, acceleration, calibration_lines, kind, seed, center_fraction)
        return lines.expand(n_2, n_1)[None, None, :, :, None].clone()
    mask = torch.zeros(n_2, n_1, dtype=torch.bool)
    rows, columns = min(calibration_lines, n_2), calibration_lines
    mask[_centred(n_2, rows), _centred(n_1, columns)] = True
    if kind == "regular":
        _add_regular(mask, acceleration)
    elif kind == "random":
        _add_random(mask, acceleration, int(seed))
    else:
        mask = poisson_disc(mask, _line_count(mask, acceleration), seed=int(seed))
    return mask[None, None, :, :, None]


def calibration_width(mask: torch.Tensor) -> int:
    """Find the largest fully sampled block in the centre of k-space.

    That is the largest w for which the block of ``min(w, n)`` samples along each axis of length n,
    placed with its index ``w // 2`` on ``n // 2``, is acquired in every coil and all of `*other`.

    Parameters
    ----------
    mask
        Acquired samples, bool, broadcastable to `(*other, coils, k2, k1, k0)`; an axis of length 1
        does not limit the block.

    Returns
    -------
        Width w, at most the longest axis; 0 when the centre itself is missing.

    Examples
    --------
    >>> calibration_width(torch.tensor([1, 0, 1, 1, 1, 1, 0, 1]).bool()[None, None, None, :, None])
    4
    """
    sizes = mask.shape[-3:]
    acquired = mask.reshape(-1, *sizes).all(dim=0)
    low, high = 0, max(sizes)
    while low < high:  # the blocks are nested, so bisection finds the largest complete one
        w = (low + high + 1) // 2
        block = acquired[tuple(_centred(n, min(w, n)) for n in sizes)]
        low, high = (w, high) if bool(block.all()) else (low, w - 1)
    return low


def _plane(shape_k: Sequence[int]) -> tuple[int, int]:
    if len(shape_k) != 3 or min(shape_k) < 1:
        raise UsageError(f"shape_k: expected the size of k-space (k2, k1, k0), got {shape_k}.")
    return int(shape_k[0]), int(shape_k[1])


def _check_kind(kind: str, seed: int | str, center_fraction: float | None) -> None:
    if kind not in MASK_KINDS:
        raise UsageError(f"kind '{kind}': {nearest_name(kind, MASK_KINDS)}")
    if kind.startswith("fastmri-"):
        return
    if isinstance(seed, str):
        raise UsageError(
            f"seed: '{kind}' takes an integer, got {seed!r}; only the masks of fastMRI are seeded "
            "by a file name."
        )
    if center_fraction is not None:
        raise UsageError(
            f"center_fraction: belongs to the masks of fastMRI, not to '{kind}'; give "
            "calibration_lines instead."
        )


def _fastmri_lines(
    n_1: int,
    acceleration: float,
    calibration_lines: int,
    kind: MaskKind,
    seed: int | str,
    center_fraction: float | None,
) -> torch.Tensor:
    fraction = calibration_lines / n_1 if center_fraction is None else center_fraction
    return fastmri_mask(
        n_1,
        kind=cast(FastMriKind, kind),
        acceleration=acceleration,
        center_fraction=fraction,
        seed=seed,
    )


def _centred(n: int, width: int) -> slice:
    start = n // 2 - width // 2
    return slice(start, start + width)


def _add_regular(mask: torch.Tensor, acceleration: float) -> None:
    if acceleration != int(acceleration):
        raise UsageError(
            f"acceleration: a regular pattern takes every R-th line, so R must be an integer, got "
            f"{acceleration}; use kind='random' for fractions."
        )
    n_2, n_1 = mask.shape
    r = int(acceleration)
    r_2 = max(f for f in range(1, math.isqrt(r) + 1) if r % f == 0) if n_2 > 1 else 1
    r_1 = r // r_2
    if r_1 > n_1 or r_2 > n_2:
        raise UsageError(f"acceleration: R = {r} is more than the {n_2 * n_1} lines of this scan.")
    on_2 = (torch.arange(n_2) - n_2 // 2) % r_2 == 0
    on_1 = (torch.arange(n_1) - n_1 // 2) % r_1 == 0
    mask |= on_2[:, None] & on_1[None, :]


def _line_count(mask: torch.Tensor, acceleration: float) -> int:
    """Return how many encodings 1 in R are, after checking that the calibration leaves room."""
    n_lines = round(mask.numel() / acceleration)
    n_calibration = int(mask.sum())
    if n_lines < max(n_calibration, 1):
        raise UsageError(
            f"acceleration: R = {acceleration:g} leaves {n_lines} of {mask.numel()} lines, fewer "
            f"than the {n_calibration} of the calibration block; lower R or calibration_lines."
        )
    return n_lines


def _add_random(mask: torch.Tensor, acceleration: float, seed: int) -> None:
    n_lines = _line_count(mask, acceleration)
    n_calibration = int(mask.sum())
    free = (~mask).flatten().nonzero().flatten()
    generator = torch.Generator().manual_seed(seed)
    chosen = free[torch.randperm(len(free), generator=generator)[: n_lines - n_calibration]]
    mask.view(-1)[chosen] = True
