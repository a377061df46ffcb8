"""The analytic dictionary: two-dimensional cosines, which need no training images."""

from __future__ import annotations

import math

import torch

from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.errors import UsageError


def cosine_dictionary(kernel_size: int, n_kernels: int | None = None) -> Dictionary:
    r"""Return the atoms of the two-dimensional discrete cosine transform without the constant.

    ``d_{pq}[m, n] = c_p c_q cos(pi p (2 m + 1) / 2 k) cos(pi q (2 n + 1) / 2 k)``, in the order of
    ``p^2 + q^2``; they are orthonormal and have zero mean.

    Parameters
    ----------
    kernel_size
        Side k of the kernels in pixels, odd.
    n_kernels
        Number of atoms, at most k^2 - 1; None takes all.

    Returns
    -------
        The dictionary.

    Raises
    ------
    UsageError
        If the size is even or below 3, or more atoms are asked for than there are.

    References
    ----------
    Ahmed N, Natarajan T, Rao KR. IEEE Trans Comput 1974;C-23:90-93.
    https://doi.org/10.1109/T-C.1974.223784

    Examples
    --------
    >>> cosine_dictionary(7).kernels.shape
    torch.Size([48, 7, 7])
    """
    k = kernel_size
    if k < 3 or k % 2 == 0:
        raise UsageError(f"kernel_size: expected an odd number of at least 3, got {k}.")
    count = k * k - 1 if n_kernels is None else n_kernels
    if not 1 <= count <= k * k - 1:
        raise UsageError(
            f"n_kernels: expected 1 to {k * k - 1} for a kernel of {k}x{k}, got {count}."
        )
    m = torch.arange(k, dtype=torch.float64)
    basis = torch.cos(math.pi * torch.outer(m, 2 * m + 1) / (2 * k)) * math.sqrt(2 / k)
    basis[0] *= math.sqrt(0.5)
    pairs = sorted(
        ((p, q) for p in range(k) for q in range(k)), key=lambda a: (a[0] ** 2 + a[1] ** 2, a)
    )
    atoms = torch.stack([torch.outer(basis[p], basis[q]) for p, q in pairs[1 : count + 1]])
    return Dictionary(
        kernels=atoms.float(),
        name=f"cosine_k{k}_K{count}",
        provenance={
            "formula": "two-dimensional discrete cosine transform",
            "licence": "Apache-2.0",
        },
    )
