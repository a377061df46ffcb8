r"""From raw trained tensors to a smooth basis, a penalised basis and a dictionary, differentiably.

A patch is a smooth part in the span of Q and the constant, and a rest. Q comes from a free matrix
by Bjorck's iteration, the dictionary from another one by projection and a common scale.

References
----------
Bjorck A, Bowie C. An iterative algorithm for computing the best estimate of an orthogonal matrix.
SIAM J Numer Anal. 1971;8:358-364. doi.org/10.1137/0708036

Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lowfield_recon.errors import DataError

STEPS = 15
"""Steps of Bjorck's iteration in the published models."""

_POLISHING_STEPS = 2
_CONVERGED = 1e-5
_ANISOTROPY = 1.3
_SMALLEST_SHARE = 1e-6


def spectral_norm(matrix: torch.Tensor) -> torch.Tensor:
    r"""Return the largest singular value, ``||A|| = sqrt(max eig(A A^T))``.

    Its gradient is finite also where other singular values coincide.

    Parameters
    ----------
    matrix
        A, real, `(m, n)`.

    Returns
    -------
        A number with its gradient.

    Examples
    --------
    >>> spectral_norm(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 4.0]]))
    tensor(4.)
    """
    gram = matrix @ matrix.mT if matrix.shape[0] <= matrix.shape[1] else matrix.mT @ matrix
    largest: torch.Tensor = torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt()
    return largest


def orthonormal_rows(matrix: torch.Tensor, *, steps: int = STEPS) -> torch.Tensor:
    r"""Return the orthonormal rows nearest to the centred ones, a polar factor of ``A - mean(A)``.

    ``H <- 1.5 H - 0.5 H H^T H`` from ``H = A / ||A||``. Every step stays in the row space, so that
    the means stay zero. What the steps have made nearly orthonormal, two more make so to rounding.

    Parameters
    ----------
    matrix
        A, real, `(q, p)` with q < p.
    steps
        Steps until the rows must be nearly orthonormal. 15 serve condition numbers up to about 100.

    Returns
    -------
        ``Q^T``, `(q, p)`: orthonormal rows of zero mean, with their gradient.

    Raises
    ------
    DataError
        If the rows are too near to dependent ones for that many steps.

    Examples
    --------
    >>> rows = orthonormal_rows(torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 5.0]]).double())
    >>> (rows @ rows.mT).round(decimals=12) + 0.0
    tensor([[1., 0.],
            [0., 1.]], dtype=torch.float64)

    References
    ----------
    doi.org/10.1137/0708036
    """
    H = matrix - matrix.mean(dim=1, keepdim=True)
    H = H / spectral_norm(H)
    for _ in range(steps):
        H = 1.5 * H - 0.5 * (H @ H.mT) @ H
    error = _distance_from_orthonormal(H)
    if not error <= _CONVERGED:
        raise DataError(
            f"the smooth basis is not orthonormal after {steps} steps (error {error:.1e}, expected "
            f"at most {_CONVERGED:.0e}): its free atoms are nearly dependent. Train with a smaller "
            "learning rate or fewer free atoms, or set a larger orthonormalization_steps."
        )
    for _ in range(_POLISHING_STEPS):
        H = 1.5 * H - 0.5 * (H @ H.mT) @ H
    return H


def cosine_rows(
    patch: int, count: int, *, dtype: torch.dtype, device: torch.device | str | None = None
) -> torch.Tensor:
    r"""Return the 2-D cosine vectors (DCT-II) of lowest frequency, without the constant.

    They are ordered by ``fy^2 + fx^2``, and by fy where these are equal.

    Parameters
    ----------
    patch
        Side of a patch.
    count
        How many, at most ``patch^2 - 1``.
    dtype
        Real type.
    device
        Where.

    Returns
    -------
        Orthonormal rows of zero mean, `(count, patch * patch)`, row-major.

    Examples
    --------
    >>> rows = cosine_rows(2, 3, dtype=torch.float64)
    >>> [[round(number, 3) for number in row] for row in rows.tolist()]
    [[0.5, -0.5, 0.5, -0.5], [0.5, 0.5, -0.5, -0.5], [0.5, -0.5, -0.5, 0.5]]
    """
    positions = torch.arange(patch, dtype=torch.float64) + 0.5
    frequencies = torch.arange(patch, dtype=torch.float64)
    waves = torch.cos(torch.pi / patch * frequencies[:, None] * positions)
    waves = waves / waves.norm(dim=1, keepdim=True)
    pairs = sorted(
        ((fy, fx) for fy in range(patch) for fx in range(patch)),
        key=lambda pair: (pair[0] ** 2 + pair[1] ** 2, pair[0]),
    )[1 : count + 1]
    rows = [torch.outer(waves[fy], waves[fx]).flatten() for fy, fx in pairs]
    found = torch.stack(rows) if rows else torch.zeros(0, patch * patch, dtype=torch.float64)
    return found.to(device, dtype)


def penalised_basis(smooth: torch.Tensor, patch: int) -> torch.Tensor:
    r"""Return an orthonormal basis U of what is left of a patch without its smooth part.

    ``P^ = I - Q Q^T - 1 1^T / p`` projects on it. Of all its bases this is the one that makes an
    anisotropic Laplacian diagonal, from smooth to rough, so that U depends on nothing but Q; it is
    computed without a gradient as U_0, and ``U = 1.5 V - 0.5 V V^T V`` with ``V = U_0 P^`` has the
    value of U_0 and the derivative of an orthonormal basis of the subspace that moves with Q.

    Parameters
    ----------
    smooth
        ``Q^T``, orthonormal rows of zero mean, `(q, patch * patch)`.
    patch
        Side of a patch.

    Returns
    -------
        U, orthonormal rows, `(patch * patch - 1 - q, patch * patch)`, with the gradient of every
        function that does not depend on which basis of the subspace U is.

    Examples
    --------
    >>> smooth = cosine_rows(3, 5, dtype=torch.float64)
    >>> basis = penalised_basis(smooth, 3)
    >>> basis.shape, bool((basis @ smooth.mT).abs().max() < 1e-14)
    (torch.Size([3, 9]), True)
    """
    p = patch * patch
    identity = torch.eye(p, dtype=smooth.dtype, device=smooth.device)
    projector = identity - smooth.mT @ smooth - 1 / p
    with torch.no_grad():
        detached = projector.to("cpu", torch.float64)
        roughness = _anisotropic_laplacian(patch) + torch.eye(p, dtype=torch.float64)
        _, vectors = torch.linalg.eigh(detached @ roughness @ detached)
        fixed = vectors[:, p - (p - 1 - smooth.shape[0]) :].mT
        # Of the two signs, the one with a positive product with a fixed uneven vector.
        uneven = torch.arange(1, p + 1, dtype=torch.float64).sqrt()
        fixed = fixed * torch.where(fixed @ uneven < 0, -1.0, 1.0)[:, None]
    V = fixed.to(smooth.device, smooth.dtype) @ projector
    basis: torch.Tensor = 1.5 * V - 0.5 * (V @ V.mT) @ V
    return basis


def scaled_factors(
    basis: torch.Tensor, atoms: torch.Tensor, squared_norm: torch.Tensor | float
) -> torch.Tensor:
    r"""Return ``C = U D`` with atoms of one common norm and ``||C||^2 = ||D||^2`` as given.

    ``c_i = U a_i / |U a_i|``, then ``C <- C sqrt(squared_norm) / ||C||``. U leaves out the means
    and the smooth part of the raw atoms, which therefore need no projection of their own.

    Parameters
    ----------
    basis
        U, `(r, p)`.
    atoms
        Raw atoms, `(K, p)`.
    squared_norm
        ``||C||^2``.

    Returns
    -------
        C, `(r, K)`, with its gradient.

    Raises
    ------
    DataError
        If an atom has nothing outside the smooth subspace.

    Examples
    --------
    >>> scaled_factors(torch.eye(2), torch.tensor([[5.0, 0.0], [0.0, 1.0]]), 4.0)
    tensor([[2., 0.],
            [0., 2.]])
    """
    C = basis @ atoms.mT
    norms = C.norm(dim=0)
    empty = ~(norms.detach() > _SMALLEST_SHARE * atoms.detach().norm(dim=1))
    if bool(empty.any()):
        raise DataError(
            f"atom {int(empty.nonzero()[0])} of the dictionary lies in the smooth subspace or is "
            "not finite; expected something to penalise. Take other weights or train again."
        )
    C = C / norms
    scale = torch.as_tensor(squared_norm, dtype=C.dtype, device=C.device).sqrt()
    scaled: torch.Tensor = C * (scale / spectral_norm(C))
    return scaled


def load_parameters(model: nn.Module, state: Mapping[str, torch.Tensor], name: str) -> None:
    """Put tensors in the place of a model's parameters, after a look at names and shapes.

    Parameters
    ----------
    model
        The model.
    state
        Tensors by name.
    name
        Name of their file, for the message.

    Raises
    ------
    DataError
        If a tensor is missing, unknown, of another shape or not real.
    """
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in state.items()}
    for key in sorted({*expected, *given}):
        if expected.get(key) != given.get(key):
            raise DataError(
                f"{name}: '{key}' has shape {given.get(key, 'none')}, expected "
                f"{expected.get(key, 'none')} for its architecture; the file was changed after "
                "training."
            )
        if not state[key].is_floating_point():
            raise DataError(f"{name}: '{key}' is {state[key].dtype}; expected real numbers.")
    model.load_state_dict(state)


def _anisotropic_laplacian(patch: int) -> torch.Tensor:
    """Sum the squared differences along y and, with another weight, along x; without wrapping."""
    difference = torch.diff(torch.eye(patch, dtype=torch.float64), dim=0)
    one = difference.mT @ difference
    identity = torch.eye(patch, dtype=torch.float64)
    return torch.kron(_ANISOTROPY * one, identity) + torch.kron(identity, one)


def _distance_from_orthonormal(rows: torch.Tensor) -> float:
    detached = rows.detach()
    identity = torch.eye(len(rows), dtype=rows.dtype, device=rows.device)
    return float((detached @ detached.mT - identity).abs().max()) if len(rows) else 0.0
