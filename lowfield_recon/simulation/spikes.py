"""Spikes: samples that a short burst of interference hits, wide-band therefore.

References
----------
Campbell-Washburn AE et al. Using the robust principal component analysis algorithm to remove RF
spike artifacts from MR images. Magn Reson Med 2016;75:2517-2525. https://doi.org/10.1002/mrm.25851
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def spikes(
    shape: Sequence[int],
    *,
    fraction: float,
    amplitude: float | torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    r"""Return bursts that are shorter than the time between two samples.

    ``i_c(k) = a w_c g_k`` where ``u_k < p`` and 0 elsewhere, with u uniform from 0 to 1, g complex
    normal of variance 1, and a fixed factor w of modulus 1 for each coil: a burst hits all coils at
    once. Each is a stripe pattern over the whole image. The draws do not depend on p or a: a larger
    part keeps the bursts of a smaller one.

    Parameters
    ----------
    shape
        Shape of k-space `(*other, coils, k2, k1, k0)`.
    fraction
        Probability p that a sample is hit.
    amplitude
        Root mean square a of a burst, a number or a tensor that broadcasts to the shape.
    generator
        Source of random numbers.

    Returns
    -------
        Bursts, complex64, of that shape.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> i = spikes((1, 2, 1, 8, 8), fraction=0.1, amplitude=1.0, generator=generator)
    >>> hit = i != 0
    >>> bool((hit[:, 0] == hit[:, 1]).all()), int(hit[0, 0].sum())
    (True, 5)

    References
    ----------
    https://doi.org/10.1002/mrm.25851
    """
    *other, coils, n_2, n_1, n_0 = shape
    angles = 2 * torch.pi * torch.rand(coils, generator=generator)
    coupling = torch.polar(torch.ones_like(angles), angles)[:, None, None, None]
    size = (*other, 1, n_2, n_1, n_0)
    hit = torch.rand(size, generator=generator) < fraction
    bursts = torch.randn(size, dtype=torch.complex64, generator=generator)
    return coupling * (hit * bursts) * amplitude
