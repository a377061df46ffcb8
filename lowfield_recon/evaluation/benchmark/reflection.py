"""The same problem seen in a mirror, for tools whose finite differences are backward.

With ``(R x)(r) = x(-r)``, indices periodic about the image centre, backward differences of ``R x``
have the lengths of the forward differences of x. So a tool that penalises backward differences
solves the shared problem exactly when it is given reflected maps and k-space, and its image is
reflected back.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lowfield_recon.evaluation.benchmark.objective import Problem

Array = TypeVar("Array", bound=NDArray[Any])


def reflect(array: Array) -> Array:
    """Reverse the last three axes about their centres `n // 2`, periodically.

    Parameters
    ----------
    array
        Image or k-space `(..., z, y, x)`.

    Returns
    -------
        The mirror image.

    Examples
    --------
    >>> reflect(np.arange(4.0)[None, None]).tolist()
    [[[0.0, 3.0, 2.0, 1.0]]]
    """
    axes = (-3, -2, -1)
    shifts = [1 - n % 2 for n in array.shape[-3:]]
    turned: Array = np.roll(np.flip(array, axes), shifts, axes)
    return turned


def reflected(problem: Problem) -> Problem:
    """Return the mirror image of a problem: data, maps, mask and reference.

    Parameters
    ----------
    problem
        Any problem.

    Returns
    -------
        The problem whose solutions are the mirror images.
    """
    maps = problem.coil_maps
    return Problem(
        kspace=np.ascontiguousarray(reflect(problem.kspace)),
        coil_maps=None if maps is None else np.ascontiguousarray(reflect(maps)),
        mask=reflect(problem.mask),
        reference=reflect(problem.reference),
    )
