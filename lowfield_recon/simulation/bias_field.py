"""Shading: a receive field that nobody corrects.

References
----------
Sled JG, Zijdenbos AP, Evans AC. A nonparametric method for automatic correction of intensity
nonuniformity in MRI data. IEEE Trans Med Imaging 1998;17:87-97. https://doi.org/10.1109/42.668698
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lowfield_recon.simulation.fields import smooth_field


def bias_field(
    shape_zyx: Sequence[int], *, strength: float, order: int, generator: torch.Generator
) -> torch.Tensor:
    r"""Draw a smooth positive factor of the intensities.

    ``b(r) = exp(a f(r))`` with a random polynomial f of largest modulus 1 and no constant term, so
    that b lies between ``exp(-a)`` and ``exp(a)`` and is multiplicative like the fields of coils.

    Parameters
    ----------
    shape_zyx
        Size.
    strength
        Largest logarithm a, >= 0.
    order
        Degree of the polynomial, at least 1.
    generator
        Source of its weights, which do not depend on a.

    Returns
    -------
        Factor, float32, `(z, y, x)`.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> b = bias_field((1, 8, 8), strength=0.5, order=2, generator=generator)
    >>> bool((b > 0.6).all() and (b < 1.65).all())
    True

    References
    ----------
    https://doi.org/10.1109/42.668698
    """
    field = smooth_field(shape_zyx, order=order, generator=generator)
    return (strength * field).exp().to(torch.float32)
