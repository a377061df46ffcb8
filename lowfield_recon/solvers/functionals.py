"""Functionals and proximal operators that the solvers work with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

Apply = Callable[[torch.Tensor], torch.Tensor]


def inner(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return ``Re <a, b>`` over all entries.

    Parameters
    ----------
    a, b
        Tensors of one shape and dtype.

    Returns
    -------
        The real part of the inner product.

    Examples
    --------
    >>> inner(torch.tensor([1j, 2.0]), torch.tensor([1j, 1.0]))
    3.0
    """
    return float(torch.vdot(a.reshape(-1), b.reshape(-1)).real)


def norm(a: torch.Tensor) -> float:
    """Return ``||a||_2`` over all entries.

    Parameters
    ----------
    a
        Real or complex tensor.

    Returns
    -------
        The norm.

    Examples
    --------
    >>> norm(torch.tensor([3.0, 4.0]))
    5.0
    """
    return math.sqrt(max(inner(a, a), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquares:
    r"""``f(x) = 1/2 ||A x - y||^2``, known through ``A^H A``, ``A^H y`` and ``||y||^2``.

    ``f(x) = 1/2 <x, A^H A x> - Re <x, A^H y> + 1/2 ||y||^2`` and ``grad f(x) = A^H A x - A^H y``,
    so that one application of the Gram gives both.
    """

    gram: Apply
    """x -> A^H A x."""

    rhs: torch.Tensor
    """A^H y."""

    constant: float = 0.0
    """1/2 ||y||^2."""

    def value(self, x: torch.Tensor, gram_x: torch.Tensor) -> float:
        """Return f(x), given ``gram_x = A^H A x``."""
        return 0.5 * inner(x, gram_x) - inner(x, self.rhs) + self.constant


def squared_modulus(x: torch.Tensor) -> torch.Tensor:
    """Return ``|x|^2`` without the slow complex absolute value.

    Parameters
    ----------
    x
        Real or complex tensor.

    Returns
    -------
        Real tensor of the same shape.

    Examples
    --------
    >>> squared_modulus(torch.tensor([3 + 4j]))
    tensor([25.])
    """
    if not x.is_complex():
        return x.square()
    squares = torch.view_as_real(x).square()
    return squares[..., 0] + squares[..., 1]


def group_norm(z: torch.Tensor) -> torch.Tensor:
    r"""Return ``sqrt(sum_d |z_d|^2)`` over the first axis, the pixel-wise length of a gradient.

    Parameters
    ----------
    z
        Real or complex tensor `(n, ...)`.

    Returns
    -------
        Real tensor `(...)`.

    Examples
    --------
    >>> group_norm(torch.tensor([[3.0], [4j]]))
    tensor([5.])
    """
    if not z.is_complex():
        total = z[0].square()
        for component in z[1:]:
            total.addcmul_(component, component)
        return total.sqrt_()
    parts = torch.view_as_real(z)
    squares = parts[0].square()
    for part in parts[1:]:
        squares.addcmul_(part, part)
    return (squares[..., 0] + squares[..., 1]).sqrt_()


def project_groups(z: torch.Tensor, radius: float) -> torch.Tensor:
    r"""Project the groups along the first axis onto balls, ``z_d min(1, radius / |z|)``, in place.

    It is the proximal operator of the conjugate of ``radius * sum |.|_2``; its complement
    ``z - project(z)`` is the isotropic soft threshold.

    Parameters
    ----------
    z
        Real or complex tensor `(n, ...)`; overwritten.
    radius
        Radius of the balls, >= 0.

    Returns
    -------
        `z`.

    Examples
    --------
    >>> project_groups(torch.tensor([[3.0], [4.0]]), 1.0).flatten()
    tensor([0.6000, 0.8000])
    """
    length = group_norm(z)
    factor = (
        length.clamp_(min=max(radius, torch.finfo(length.dtype).tiny)).reciprocal_().mul_(radius)
    )
    factor_as_z = factor.to(z.dtype)
    for component in z:
        component.mul_(factor_as_z)
    return z


def shrink_modulus(z: torch.Tensor, threshold: float | torch.Tensor) -> torch.Tensor:
    r"""Soft threshold of the modulus, ``z max(1 - threshold / |z|, 0)``.

    It is the proximal operator of ``threshold * sum |z|`` and keeps the phase.

    Parameters
    ----------
    z
        Real or complex tensor.
    threshold
        Threshold >= 0, a number or a tensor broadcastable to `z`.

    Returns
    -------
        A new tensor of the same shape.

    Examples
    --------
    >>> shrink_modulus(torch.tensor([3.0, -0.5]), 1.0)
    tensor([2., 0.])
    """
    if not z.is_complex():
        return z - torch.clamp(z, min=-threshold, max=threshold)  # type: ignore[arg-type]
    modulus = squared_modulus(z).sqrt_()
    floor = torch.finfo(modulus.dtype).tiny
    factor = (1 - threshold / modulus.clamp_(min=floor)).clamp_(min=0)
    return z * factor.to(z.dtype)
