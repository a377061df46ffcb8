r"""The power potential in closed form, R(T(v)) from the norm of v, without a table.

With ``b = 2/g``, ``s = (n/lambda)^g`` and ``w = s/(1+s) = ||T(v)||/n`` the Moreau envelope of R is
``M = lambda^2 b/2 I_b(s)``, ``I_b(s) = int_0^s t^(b-1)/(1+t) dt``, and ``R = M - n^2 (1-w)^2/2``.

Up to s = 1 the Pfaff transform converges: ``I_b(s) = s^b/b (1-w) (1 + w S_b(w))``. Above, the
integral is split at 1 and the rest turned by ``t -> 1/t``:
``I_b(s) = I_b(1) + (s^(b-1) - 1)/(b-1) + I_{2-b}(1/s) - I_{2-b}(1)``. Unlike the usual inversion,
which divides by sin(pi b), this is as exact at b = 1 (g = 2) as elsewhere.

References
----------
DLMF 15.8.1 (the linear transformations of 2F1). https://dlmf.nist.gov/15.8
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch

_DEGREES = {torch.float32: 8, torch.float64: 21}
_TERMS = 60
_ENTRIES_AT_ONCE = 2**17


def power_potential_value(
    square: torch.Tensor, squared_scales: torch.Tensor, order: float
) -> torch.Tensor:
    r"""Return R(T(v)) of the power potential, summed.

    ``R = M - n^2 (1-w)^2/2`` as in the head of this module; for g = 2 it is
    ``lambda^2/2 (ln(1 + n^2/lambda^2) - w (1-w))``.

    Parameters
    ----------
    square
        ``n^2``, `(K, groups)`; overwritten.
    squared_scales
        ``lambda^2 > 0``, `(K, 1)`.
    order
        g > 1.

    Returns
    -------
        Scalar, float64.

    Examples
    --------
    >>> value = power_potential_value(torch.tensor([[4.0]]), torch.tensor([[0.25]]), 2.0)
    >>> round(float(value), 6)
    0.347231
    """
    n_rows = max(1, _ENTRIES_AT_ONCE // max(1, square.shape[1]))
    total = square.new_zeros((), dtype=torch.float64)
    for start in range(0, square.shape[0], n_rows):
        scales = squared_scales[start : start + n_rows]
        sums = _row_values(square[start : start + n_rows], scales, order)
        total += (sums * scales[:, 0].double()).sum()
    return total


def _row_values(square: torch.Tensor, squared_scales: torch.Tensor, order: float) -> torch.Tensor:
    """Return the sums of ``R/lambda^2`` over the groups, float64 `(K,)`; overwrites `square`."""
    largest = 1 / torch.finfo(square.dtype).tiny
    ratio = square.div_(squared_scales).clamp_(max=largest)
    if order == 2:
        rest = (1 + ratio).reciprocal_()
        values = torch.log1p(ratio).sub_(ratio.mul_(rest).mul_(rest)).mul_(0.5)
    else:
        b = 2 / order
        logarithm = ratio.log().mul_(1 / b)
        values = _up_to_one(ratio, logarithm, b)
        at_one = _beyond_one(square.new_ones(1), square.new_zeros(1), b)
        values.add_(_beyond_one(ratio.clamp_(min=1), logarithm.clamp_(min=0), b).sub_(at_one))
    return values.sum(1, dtype=torch.float64)


def _up_to_one(ratio: torch.Tensor, logarithm: torch.Tensor, b: float) -> torch.Tensor:
    """Return ``R/lambda^2`` up to s = 1, ``n^2 w (1-w) (1 + S_b(w))/2``, where nothing cancels."""
    w = logarithm.clamp(max=0).sigmoid_()
    values = _series(w, b).add_(1).mul_(w)
    values.addcmul_(values, w, value=-1)
    return values.mul_(torch.clamp(ratio, max=1, out=w)).mul_(0.5)


def _beyond_one(ratio: torch.Tensor, logarithm: torch.Tensor, b: float) -> torch.Tensor:
    """Return what ``R/lambda^2`` gains beyond s = 1, and a constant; overwrites its arguments.

    At s = 1 every step is exact, so that the constant, computed there, cancels to the last bit.
    """
    c = 2 - b
    rest = logarithm.neg().sigmoid_()
    growth = logarithm if b == 1 else logarithm.mul_(b - 1).expm1_()
    integral = _series(rest, c).mul_(rest).add_(1).mul_(rest).mul_(1 / c)
    if b != 1:
        integral.addcmul_(integral, growth)
        growth.mul_(1 / (b - 1))
    integral.add_(growth).mul_(b)
    return integral.sub_(rest.square_().mul_(ratio)).mul_(0.5)


def _series(w: torch.Tensor, b: float) -> torch.Tensor:
    """Return S_b(w) for w from 0 to 1/2, in the precision of `w`, by Horner's rule."""
    polynomial = _polynomial(b, _DEGREES.get(w.dtype, _DEGREES[torch.float64]))
    first, *others = w.new_tensor(polynomial).unbind()
    x = (4 * w).sub_(1)
    total = torch.addcmul(others[0], first, x)
    for coefficient in others[1:]:
        torch.addcmul(coefficient, total, x, out=total)
    return total


@cache
def _polynomial(b: float, degree: int) -> tuple[float, ...]:
    """Return S_b as a polynomial in ``4 w - 1``, the highest power first.

    Interpolation in Chebyshev points needs half as many terms as the power series cut off.
    """
    points = np.polynomial.chebyshev.chebpts1(degree + 1)
    chebyshev = np.polynomial.chebyshev.chebfit(points, _power_series((points + 1) / 4, b), degree)
    return tuple(float(c) for c in np.polynomial.chebyshev.cheb2poly(chebyshev)[::-1])


def _power_series(w: npt.NDArray[np.float64], b: float) -> npt.NDArray[np.float64]:
    """Return ``sum_k (k+1)! / ((1+b) ... (1+b+k)) w^k``, with ``1 + w S_b(w) = 2F1(1,1;1+b;w)``."""
    term = np.full_like(w, 1 / (1 + b))
    total = term.copy()
    for k in range(1, _TERMS):
        term = term * w * (k + 1) / (1 + b + k)
        total += term
    return total
