"""Which samples of k-space a simulated scan acquires: a central window, and lines within it.

References
----------
Lustig M, Donoho D, Pauly JM. Sparse MRI. Magn Reson Med 2007;58:1182-1195.
https://doi.org/10.1002/mrm.21391
"""

from __future__ import annotations

import torch

from lowfield_recon.prepare.cropping import pad_center
from lowfield_recon.prepare.undersampling import undersampling_mask
from lowfield_recon.scan.records import Shape
from lowfield_recon.simulation.recipe import Recipe, window_zyx


def window_size(shape_k: Shape, recipe: Recipe) -> Shape:
    """Return the size of the central rectangle (k2, k1, k0) that is sampled.

    ``max(1, round(part n))`` along every encoded axis; it starts at ``n // 2 - width // 2``.

    Parameters
    ----------
    shape_k
        Size of k-space (k2, k1, k0); of slices, k2 counts them and is never cut.
    recipe
        The recipe.

    Returns
    -------
        Size of the window.

    Examples
    --------
    >>> window_size((1, 320, 320), Recipe(window=0.5))
    (1, 160, 160)
    """
    z, y, x = (max(1, round(part * n)) for part, n in zip(window_zyx(recipe), shape_k, strict=True))
    return (shape_k[0] if recipe.encoding == "slices" else z, y, x)


def sampling_mask(shape_k: Shape, recipe: Recipe, seed: int | str) -> torch.Tensor:
    """Return the samples that a recipe acquires.

    The acceleration counts within the window: R = 2 takes half of its lines.

    Parameters
    ----------
    shape_k
        Size of k-space (k2, k1, k0).
    recipe
        The recipe.
    seed
        Seed of random lines.

    Returns
    -------
        Sampled points, bool, `(1, 1, k2, k1, k0)`; k2 is 1 for slices, which all have the same
        pattern, and k0 is 1 where whole readouts are sampled.

    Raises
    ------
    UsageError
        If the mask does not fit the size.

    Examples
    --------
    >>> mask = sampling_mask((1, 8, 8), Recipe(window=0.5), 0)
    >>> mask.shape, int(mask.sum())
    (torch.Size([1, 1, 1, 8, 8]), 16)
    """
    is_stack = recipe.encoding == "slices"
    n_2, n_1, n_0 = (1, *shape_k[1:]) if is_stack else shape_k
    w_2, w_1, w_0 = window_size(shape_k, recipe)
    w_2 = 1 if is_stack else w_2
    if recipe.mask == "full" or recipe.acceleration is None:
        lines = torch.ones(1, 1, w_2, w_1, 1, dtype=torch.bool)
    else:
        lines = undersampling_mask(
            (w_2, w_1, w_0),
            acceleration=recipe.acceleration,
            calibration_lines=recipe.calibration_lines,
            kind=recipe.mask,
            seed=seed,
            center_fraction=recipe.center_fraction,
        )
    if w_0 < n_0:
        lines = pad_center(lines.expand(1, 1, w_2, w_1, w_0), n_0, -1)
    return pad_center(pad_center(lines, n_1, -2), n_2, -3)
