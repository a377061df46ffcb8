"""Radial maps of patch coefficients: the norm over the members, and symmetric Jacobians."""

from __future__ import annotations

from collections.abc import Callable

import torch

LinearMap = Callable[[torch.Tensor], torch.Tensor]
"""w -> J w on coefficients `(K, members, groups)`."""


def squared_norm(v: torch.Tensor) -> torch.Tensor:
    """Return ``n^2``, the sum of squares over the members.

    Parameters
    ----------
    v
        Coefficients, real, `(K, members, groups)`.

    Returns
    -------
        A new tensor `(K, groups)`.

    Examples
    --------
    >>> squared_norm(torch.tensor([[[3.0], [4.0]]]))
    tensor([[25.]])
    """
    square = v[:, 0].square()
    for member in v.unbind(1)[1:]:
        square.addcmul_(member, member)
    return square


def is_recorded(v: torch.Tensor, scales: torch.Tensor) -> bool:
    """Return whether autograd follows what is computed from `v` and `scales`.

    Parameters
    ----------
    v, scales
        Tensors.

    Returns
    -------
        True if one of them asks for a gradient and gradients are enabled.

    Examples
    --------
    >>> is_recorded(torch.ones(1, requires_grad=True), torch.ones(1))
    True
    """
    return torch.is_grad_enabled() and (v.requires_grad or scales.requires_grad)


def radial_map(v: torch.Tensor, along: torch.Tensor, across: torch.Tensor) -> LinearMap:
    r"""Return ``w -> across w + (along - across) e (e . w)`` with ``e = v/||v||``.

    It is the symmetric map with the eigenvalue `along` in the direction of v and `across` in the
    others. Where v is 0 it is `across`.

    Parameters
    ----------
    v
        Coefficients, real, `(K, members, groups)`; with one member there is nothing across.
    along, across
        Eigenvalues, `(K, groups)`.

    Returns
    -------
        The linear map, of and to the shape of `v`.

    Examples
    --------
    >>> v = torch.tensor([[[2.0], [0.0]]])
    >>> halve_along = radial_map(v, torch.tensor([[0.5]]), torch.tensor([[1.0]]))
    >>> halve_along(torch.ones(1, 2, 1)).flatten()
    tensor([0.5000, 1.0000])
    """
    if v.shape[1] == 1:
        return lambda w: along[:, None] * w
    norm = squared_norm(v).sqrt().clamp(min=torch.finfo(v.dtype).tiny)
    e = v / norm[:, None]
    surplus = (along - across)[:, None] * e

    def apply(w: torch.Tensor) -> torch.Tensor:
        return across[:, None] * w + surplus * (e * w).sum(1, keepdim=True)

    return apply
