"""The sampling masks of the fastMRI challenge, as the `fastmri` package draws them.

References
----------
Zbontar J et al. fastMRI: an open dataset and benchmarks for accelerated MRI. arXiv:1811.08839.
https://arxiv.org/abs/1811.08839
Defazio A. Offset sampling improves deep learning based accelerated MRI reconstructions by
exploiting symmetry. arXiv:1912.01101. https://arxiv.org/abs/1912.01101
"""

from __future__ import annotations

from typing import Literal

import torch

from lowfield_recon.errors import UsageError, nearest_name

FastMriKind = Literal[
    "fastmri-random",
    "fastmri-equispaced",
    "fastmri-equispaced-fraction",
    "fastmri-magic",
    "fastmri-magic-fraction",
]
"""Masks of the `fastmri` package by its own names, after the prefix."""

FASTMRI_KINDS: tuple[FastMriKind, ...] = (
    "fastmri-random",
    "fastmri-equispaced",
    "fastmri-equispaced-fraction",
    "fastmri-magic",
    "fastmri-magic-fraction",
)


def fastmri_mask(
    n_lines: int,
    *,
    kind: FastMriKind,
    acceleration: float,
    center_fraction: float,
    seed: int | str = 0,
) -> torch.Tensor:
    """Draw the lines of a fastMRI mask.

    The pattern equals what `fastmri.data.subsample` gives for the same seed. The fully sampled
    centre has ``round(n_lines * center_fraction)`` lines and starts at ``(n_lines - width + 1) //
    2``. `"fastmri-equispaced"` and `"fastmri-magic"` sample more than 1 in R lines, since the
    centre comes on top; `"fastmri-random"` meets R on average.

    Parameters
    ----------
    n_lines
        Number of phase encodings.
    kind
        Which of the package's masks.
    acceleration
        R > 1; an integer but for `"fastmri-random"` and `"fastmri-equispaced-fraction"`.
    center_fraction
        Part of the lines that makes up the centre, 0 to 1.
    seed
        Integer, or the name of a file, which fastMRI turns into the codes of its letters: every
        slice of a file has the same mask.

    Returns
    -------
        Acquired lines, bool, `(n_lines,)`.

    Raises
    ------
    UsageError
        If the kind is unknown or the numbers make no such mask.

    Examples
    --------
    >>> lines = fastmri_mask(
    ...     320, kind="fastmri-equispaced", acceleration=4, center_fraction=0.08, seed="a.h5"
    ... )
    >>> int(lines.sum())
    99

    References
    ----------
    https://arxiv.org/abs/1811.08839
    """
    if kind not in FASTMRI_KINDS:
        raise UsageError(f"kind '{kind}': {nearest_name(kind, FASTMRI_KINDS)}")
    is_fractional = kind in ("fastmri-random", "fastmri-equispaced-fraction")
    if not (1 < acceleration < n_lines) or not (is_fractional or acceleration == int(acceleration)):
        number = "a number" if is_fractional else "an integer"
        raise UsageError(
            f"acceleration: '{kind}' needs {number} above 1 and below the {n_lines} lines, got "
            f"{acceleration:g}."
        )
    if not 0 <= center_fraction < 1:
        raise UsageError(f"center_fraction: expected 0 to below 1, got {center_fraction:g}.")
    if kind == "fastmri-equispaced-fraction" and n_lines <= acceleration * round(
        n_lines * center_fraction
    ):
        raise UsageError(
            f"acceleration: the centre ({round(n_lines * center_fraction)} of {n_lines} lines) is "
            f"already 1 in {acceleration:g} lines or more; lower acceleration or center_fraction."
        )
    from fastmri.data.subsample import create_mask_for_mask_type

    name = kind.removeprefix("fastmri-").replace("-", "_")
    rate = acceleration if is_fractional else int(acceleration)
    draw = create_mask_for_mask_type(name, [center_fraction], [rate])
    try:
        mask, _ = draw(
            (1, n_lines, 1), seed=tuple(map(ord, seed)) if isinstance(seed, str) else seed
        )
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise UsageError(
            f"kind '{kind}': the fastmri package draws no mask of {n_lines} lines with R = "
            f"{acceleration:g}, centre {center_fraction:g} and seed {seed!r} ({error}); change one "
            "of them."
        ) from error
    lines: torch.Tensor = mask.reshape(n_lines) > 0
    return lines
