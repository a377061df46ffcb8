"""Centred, orthonormal Fourier transform without shifting copies."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def centre_phase(n: int, like: torch.Tensor) -> torch.Tensor:
    r"""Return ``phi[m] = exp(2 pi i (m c - c^2 / 2) / n)`` with ``c = n // 2``, shape `(n,)`.

    The centred transform is ``F_c = diag(phi) F diag(phi)`` with the plain transform F, since ``(k
    - c)(m - c) = k m - k c - m c + c^2``. For even n the values are +1 and -1 up to one constant.

    Parameters
    ----------
    n
        Length of the axis.
    like
        Complex tensor whose dtype and device are taken.

    Returns
    -------
        The phases, complex, `(n,)`.

    Examples
    --------
    >>> centre_phase(4, torch.zeros(1, dtype=torch.complex64)).real
    tensor([-1.,  1., -1.,  1.])
    """
    c = n // 2
    # Twice the turns, reduced as integers, so that the angle is exact for any n.
    turns = (2 * c * torch.arange(n, dtype=torch.int64) - c * c) % (2 * n)
    phase = torch.polar(torch.ones(n, dtype=torch.float64), turns.double() * (torch.pi / n))
    if n % 2 == 0:  # exactly +1, -1 or +i, -i
        phase = torch.complex(phase.real.round(), phase.imag.round())
    return phase.to(dtype=like.dtype, device=like.device)


def modulate(x: torch.Tensor, dims: Sequence[int], *, conjugate: bool = False) -> torch.Tensor:
    """Multiply by the centring phases along some axes.

    Parameters
    ----------
    x
        Complex tensor.
    dims
        Axes, negative.
    conjugate
        Whether to multiply by the conjugate phases.

    Returns
    -------
        A new tensor of the same shape.

    Examples
    --------
    >>> modulate(torch.ones(1, 4, dtype=torch.complex64), (-1,)).real
    tensor([[-1.,  1., -1.,  1.]])
    """
    if not dims:
        return x.clone()
    # One axis after the other: the product of all phases would be as large as the image.
    *first, last = dims
    factors = [centre_phases(x, first), centre_phases(x, [last])]
    if conjugate:
        factors = [factor.conj_physical() for factor in factors]
    return (x * factors[0]).mul_(factors[1])


def centre_phases(like: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Return the product of the centring phases of some axes, broadcastable to a tensor.

    Parameters
    ----------
    like
        Complex tensor whose sizes, dtype and device are taken.
    dims
        Axes, negative.

    Returns
    -------
        The phases, complex; a one where there is no axis.

    Examples
    --------
    >>> centre_phases(torch.zeros(2, 4, dtype=torch.complex64), (-1,)).real
    tensor([-1.,  1., -1.,  1.])
    """
    factor = torch.ones(1, dtype=like.dtype, device=like.device)
    for dim in dims:
        factor = factor * centre_phase(like.shape[dim], like).reshape(-1, *([1] * (-dim - 1)))
    return factor


def centred_fft(x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Return the centred orthonormal Fourier transform ``F_c x`` along some axes.

    Parameters
    ----------
    x
        Image, complex.
    dims
        Axes to transform, negative.

    Returns
    -------
        k-space of the same shape; the zero frequency is at index n // 2.

    Examples
    --------
    >>> centred_fft(torch.ones(1, 4, dtype=torch.complex64), (-1,)).abs()
    tensor([[0., 0., 2., 0.]])
    """
    axes = [d for d in dims if x.shape[d] > 1]
    if not axes:
        return x.clone()
    return modulate(torch.fft.fftn(modulate(x, axes), dim=axes, norm="ortho"), axes)


def centred_ifft(x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Return the inverse of `centred_fft`, which is its adjoint.

    Parameters
    ----------
    x
        k-space, complex.
    dims
        Axes to transform, negative.

    Returns
    -------
        Image of the same shape.

    Examples
    --------
    >>> centred_ifft(torch.tensor([[0, 0, 2, 0]], dtype=torch.complex64), (-1,)).real
    tensor([[1., 1., 1., 1.]])
    """
    axes = [d for d in dims if x.shape[d] > 1]
    if not axes:
        return x.clone()
    image = torch.fft.ifftn(modulate(x, axes, conjugate=True), dim=axes, norm="ortho")
    return modulate(image, axes, conjugate=True)
