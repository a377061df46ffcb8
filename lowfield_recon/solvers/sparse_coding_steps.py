"""What the solvers of convolutional sparse coding share: shrinking, extrapolating, adding up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.solvers.sparse_coding_problem import Penalty

Momentum = Literal["chambolle-dossal", "delayed", "nesterov", "none"]


def shrink(u: torch.Tensor, threshold: torch.Tensor, penalty: Penalty) -> torch.Tensor:
    """Return ``argmin_s 1/2 |s - u|^2 + threshold |s|`` (or of the components), a new tensor.

    Parameters
    ----------
    u
        Codes, complex.
    threshold
        Real, >= 0, broadcastable to `u`.
    penalty
        The modulus, or real and imaginary part each.

    Returns
    -------
        Codes of the shape of `u`; exactly zero where they do not exceed the threshold.

    Examples
    --------
    >>> shrink(torch.tensor([3 + 4j, 0.6 + 0.8j]), torch.tensor(2.0), "modulus")
    tensor([1.8000+2.4000j, 0.0000+0.0000j])
    >>> shrink(torch.tensor([3 + 4j]), torch.tensor(2.0), "components")
    tensor([1.+2.j])
    """
    parts = torch.view_as_real(u)
    if penalty == "components":
        t = threshold.unsqueeze(-1)
        return torch.view_as_complex(parts - torch.minimum(torch.maximum(parts, -t), t))
    # Complex products run over contiguous memory, products of the parts by a modulus do not.
    real, imaginary = parts.square().unbind(-1)
    size = (real + imaginary).clamp_(min=torch.finfo(parts.dtype).tiny)
    return u * size.rsqrt_().mul_(threshold).neg_().add_(1).clamp_(min=0)


def extrapolation(rule: Momentum, n: int) -> float:
    """Return the extrapolation weight w after iteration n (1, 2, ...) of a rule; 0 for n = 0.

    Parameters
    ----------
    rule
        See `lowfield_recon.solvers.sparse_coding.sparse_codes_fista`.
    n
        Number of iterations done since the start or the last restart.

    Returns
    -------
        The weight, 0 <= w < 1.

    Examples
    --------
    >>> [round(extrapolation("nesterov", n), 3) for n in range(4)]
    [0.0, 0.0, 0.25, 0.4]
    """
    if rule == "none":
        return 0.0
    if rule == "nesterov":
        return (n - 1) / (n + 2) if n > 0 else 0.0
    if rule == "delayed":
        return max(n - 2, 0) / (n + 2) if n > 1 else 0.0
    return (n - 1) / (n + 3) if n > 0 else 0.0


def extrapolated(old: torch.Tensor, new: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Return ``new + w (new - old)``, a new tensor.

    Parameters
    ----------
    old, new
        Complex, of one shape.
    w
        Real, broadcastable to them.

    Returns
    -------
        The extrapolated values.
    """
    parts = torch.lerp(torch.view_as_real(old), torch.view_as_real(new), (1 + w).unsqueeze(-1))
    return torch.view_as_complex(parts)


def inner_by_plane(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return ``Re <a, b>`` of each plane.

    Parameters
    ----------
    a, b
        Complex `(*other, planes, y, x)`.

    Returns
    -------
        Real `(planes,)`.
    """
    products = torch.linalg.vecdot(
        torch.view_as_real(a).flatten(-3), torch.view_as_real(b).flatten(-3)
    )
    total: torch.Tensor = products.reshape(-1, products.shape[-1]).sum(dim=0)
    return total


@dataclass(slots=True)
class Extrapolations:
    """Counts the iterations of each plane since its last restart."""

    rule: Momentum
    counts: list[int]

    def advance(self, is_restart: torch.Tensor) -> torch.Tensor:
        """Return the weights of the next extrapolation.

        Parameters
        ----------
        is_restart
            Bool `(planes,)`: where n goes back to 0.

        Returns
        -------
            Real `(planes, 1, 1)`, float64.
        """
        pairs = zip(self.counts, is_restart.tolist(), strict=True)
        self.counts = [0 if starts_anew else n + 1 for n, starts_anew in pairs]
        weights = [extrapolation(self.rule, n) for n in self.counts]
        return torch.tensor(weights, dtype=torch.float64)[:, None, None]


def relative_length(step: torch.Tensor, length: torch.Tensor, *, where_zero: float) -> torch.Tensor:
    """Return ``sqrt(step / length)``, `where_zero` where the length is 0.

    Parameters
    ----------
    step, length
        Squared lengths by plane, real `(planes,)`.
    where_zero
        What is said of codes that are all zero.

    Returns
    -------
        Real `(planes,)`.
    """
    return torch.where(length > 0, (step / length).sqrt(), where_zero)
