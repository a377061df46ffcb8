"""Figures of a patch prior that say whether it is what it should be."""

from __future__ import annotations

import torch

from lowfield_recon.learning.patch_prior import PatchPrior

GRID = 64
"""Side of the grid of frequencies on which the Lipschitz constant is stated [pixels]."""

_DIGITS = 6


def prior_figures(prior: PatchPrior) -> dict[str, float | int]:
    r"""Describe the regulariser that a prior's own beta and lambda_0 make.

    The Lipschitz constant is ``L_P = ||sum_k P_k^T P^ P_k|| = max_f sum_u |U^_u(f)|^2`` on a grid
    of 64x64; on another image size it differs a little.

    Parameters
    ----------
    prior
        The prior.

    Returns
    -------
        `beta`; `atom_norm`, which all atoms share; `beta_dictionary_norm_squared` (0.99 as built);
        `lipschitz` and `beta_lipschitz`; `scale_min`, `scale_median` (of an even number the
        lower one of the middle) and `scale_max`, in the unit of the image; `rank` of the
        dictionary. To six significant digits.

    Raises
    ------
    DataError
        If the prior makes no regulariser.

    Examples
    --------
    >>> from lowfield_recon.learning.patch_prior import PatchPriorSettings
    >>> settings = PatchPriorSettings(patch=5, atoms=14, free_atoms=12, beta_map="relu")
    >>> figures = prior_figures(PatchPrior(settings))
    >>> figures["beta"], figures["rank"], figures["beta_dictionary_norm_squared"]
    (2.0, 12, 0.99)
    """
    regularizer = prior.regularizer(dtype=torch.float64)
    dictionary = regularizer.dictionary.flatten(1)
    singular = torch.linalg.svdvals(dictionary)
    norms = dictionary.norm(dim=1)
    lipschitz = float(torch.fft.fft2(regularizer.basis, s=(GRID, GRID)).abs().square().sum(0).max())
    scales = regularizer.scales
    beta = regularizer.beta
    figures = {
        "beta": beta,
        "atom_norm": float(norms.mean()),
        "beta_dictionary_norm_squared": beta * float(singular[0]) ** 2,
        "lipschitz": lipschitz,
        "beta_lipschitz": beta * lipschitz,
        "scale_min": float(scales.min()),
        "scale_median": float(scales.median()),
        "scale_max": float(scales.max()),
    }
    rounded: dict[str, float | int] = {key: _rounded(value) for key, value in figures.items()}
    return {**rounded, "rank": int((singular > 1e-9 * singular[0]).sum())}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
