"""Averaging repetitions of one scan after their phases are aligned.

References
----------
Ahn CB, Cho ZH. A new phase correction method in NMR imaging based on autocorrelation and histogram
analysis. IEEE Trans Med Imaging 1987;6:32-36. https://doi.org/10.1109/TMI.1987.4307795
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.prepare.drift import measure_drift, without_drift

_LOWEST_COHERENCE = 0.5


def average_repetitions(
    kspace: torch.Tensor,
    weights: Sequence[float] | None = None,
    *,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    r"""Average repetitions, each aligned with the first by constant and linear phases.

    ``k = sum_r w_r D_r^-1 k_r / sum_r w_r``; independent noise of standard deviation s becomes
    ``s sqrt(sum w^2) / sum w``, for equal weights ``s / sqrt(n)``.

    Parameters
    ----------
    kspace
        Complex, `(repetitions, *other, coils, k2, k1, k0)`.
    weights
        Positive weight of each repetition; None weighs all alike.
    mask
        Samples that all repetitions acquired, bool, broadcastable to one of them; None where it is
        all.

    Returns
    -------
        k-space of the average, without the axis of repetitions.

    Raises
    ------
    DataError
        If the weights do not fit, or a repetition hardly correlates with the first one.

    Examples
    --------
    >>> kspace = torch.randn(1, 1, 1, 16, 16, dtype=torch.complex64)
    >>> mean = average_repetitions(torch.stack([kspace, -kspace, 1j * kspace]))
    >>> torch.allclose(mean, kspace, atol=1e-4)
    True

    References
    ----------
    Phase slopes: https://doi.org/10.1109/TMI.1987.4307795
    """
    n = kspace.shape[0]
    chosen = [1.0] * n if weights is None else [float(w) for w in weights]
    if n < 1 or len(chosen) != n or not all(math.isfinite(w) and w > 0 for w in chosen):
        raise DataError(
            f"averaging: expected a positive weight for each of {n} repetitions, got {chosen}."
        )
    total = chosen[0] * kspace[0]
    for r in range(1, n):
        total = total + chosen[r] * aligned_with(kspace[0], kspace[r], mask, name=f"repetition {r}")
    return total / sum(chosen)


def aligned_with(
    reference: torch.Tensor, kspace: torch.Tensor, mask: torch.Tensor | None, *, name: str
) -> torch.Tensor:
    """Align one repetition with another, and refuse one that is of something else.

    Parameters
    ----------
    reference
        k-space of the first repetition, complex, `(*other, coils, k2, k1, k0)`.
    kspace
        k-space of another one.
    mask
        Samples that both acquired, or None where it is all.
    name
        What the other is called in an error.

    Returns
    -------
        The other's k-space without its drift.

    Raises
    ------
    DataError
        If the shapes differ, or the two hardly correlate.

    Examples
    --------
    >>> kspace = torch.randn(1, 1, 1, 16, 16, dtype=torch.complex64)
    >>> torch.allclose(aligned_with(kspace, 1j * kspace, None, name="b"), kspace, atol=1e-4)
    True
    """
    drift = measure_drift(reference, kspace, mask)
    if drift.coherence < _LOWEST_COHERENCE:
        raise DataError(
            f"averaging: {name} correlates with the first one by {drift.coherence:.2f}, expected "
            f"{_LOWEST_COHERENCE} or more; it is of something else, or moved too far. Leave it out."
        )
    return without_drift(kspace, drift)
