"""Convolutional synthesis ``x = x_low + D s`` in the Fourier domain: spectra, low-pass, norms."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilterSpectra:
    """DFTs of the filters on one image grid, centre tap at the origin, in FFT order."""

    values: torch.Tensor
    """Unnormalised DFT of each filter `(K, 1, y, x)`, complex; the 1 stands for the planes."""

    power: torch.Tensor
    """``sum_k |d_k(w)|^2``, real `(y, x)`."""

    def chunk(self, n_planes: int = 1) -> int:
        """Return how many filters' codes fit into the processor's cache together.

        Parameters
        ----------
        n_planes
            Number of image planes.

        Returns
        -------
            At least 1.
        """
        one = n_planes * self.values[0].numel() * self.values.element_size()
        return max(1, min(self.values.shape[0], _CHUNK_BYTES // max(one, 1)))


def filter_spectra(kernels: torch.Tensor, size: tuple[int, int]) -> FilterSpectra:
    r"""Transform filters to the grid of an image.

    ``d_k(w) = sum_t d_k(t) exp(-2 pi i w t)`` with the centre tap at t = 0; a filter larger than
    the grid wraps round by addition, as circular convolution demands.

    Parameters
    ----------
    kernels
        Real filters `(K, ky, kx)` of odd size.
    size
        Grid (y, x).

    Returns
    -------
        Spectra, complex64 or complex128 after the dtype of `kernels`.

    Examples
    --------
    >>> delta = torch.zeros(1, 3, 3)
    >>> delta[0, 1, 1] = 1
    >>> bool((filter_spectra(delta, (4, 5)).values == 1).all())
    True
    """
    n_y, n_x = size
    placed = kernels.new_zeros(kernels.shape[0], n_y, n_x)
    rows = (torch.arange(kernels.shape[1], device=kernels.device) - kernels.shape[1] // 2) % n_y
    columns = (torch.arange(kernels.shape[2], device=kernels.device) - kernels.shape[2] // 2) % n_x
    where = (rows[:, None] * n_x + columns[None, :]).flatten()
    placed.view(kernels.shape[0], -1).index_add_(1, where, kernels.flatten(1))
    values = torch.fft.fft2(placed)[:, None]
    return FilterSpectra(values=values, power=values.abs().square().sum(dim=(0, 1)))


def lipschitz_constant(spectra: FilterSpectra, eigenvalues: torch.Tensor) -> torch.Tensor:
    r"""Return the largest eigenvalue of ``(A D)^H A D`` where ``A^H A`` is diagonal in Fourier.

    ``max_w g(w) sum_k |d_k(w)|^2``: at each frequency A D is one row of K numbers.

    Parameters
    ----------
    spectra
        Spectra of the filters.
    eigenvalues
        Eigenvalues g >= 0 of A^H A in FFT order, `(y, x)` or `(planes, y, x)`.

    Returns
    -------
        The constant, exact: one number, or one for each plane `(planes,)`.

    Examples
    --------
    >>> delta = torch.ones(1, 1, 1)
    >>> lipschitz_constant(filter_spectra(delta, (4, 4)), torch.ones(4, 4))
    tensor(1.)
    """
    return (eigenvalues * spectra.power).amax(dim=(-2, -1))


def low_pass_response(
    beta: float | torch.Tensor, size: tuple[int, int], *, device: torch.device | None = None
) -> torch.Tensor:
    r"""Return the response of ``argmin_l 1/2 ||l - x||^2 + beta/2 ||G l||^2`` in FFT order.

    ``1 / (1 + beta (4 - 2 cos w_y - 2 cos w_x))`` with circular forward differences G: exact, where
    conjugate gradients would only come near.

    Parameters
    ----------
    beta
        Weight of the differences, >= 0; a tensor keeps its gradient.
    size
        Grid (y, x).
    device
        Where the result is wanted.

    Returns
    -------
        Real `(y, x)`, float64.

    Examples
    --------
    >>> low_pass_response(0.5, (2, 2))
    tensor([[1.0000, 0.3333],
            [0.3333, 0.2000]], dtype=torch.float64)
    """
    y, x = (
        2 - 2 * torch.cos(2 * torch.pi * torch.fft.fftfreq(n, dtype=torch.float64, device=device))
        for n in size
    )
    return 1 / (1 + beta * (y[:, None] + x[None, :]))


def synthesise(spectra: FilterSpectra, codes: torch.Tensor) -> torch.Tensor:
    """Return ``D s = sum_k d_k * s_k`` (circular).

    Parameters
    ----------
    spectra
        Spectra of the filters.
    codes
        `(K, planes, y, x)`, complex.

    Returns
    -------
        Image `(planes, y, x)`, complex.

    Examples
    --------
    >>> s = torch.ones(1, 2, 4, 4, dtype=torch.complex64)
    >>> bool((synthesise(filter_spectra(torch.ones(1, 1, 1), (4, 4)), s) == s[0]).all())
    True
    """
    image: torch.Tensor = torch.fft.ifft2(weighted_sum(spectra, codes))
    return image


def weighted_sum(spectra: FilterSpectra, codes: torch.Tensor) -> torch.Tensor:
    """Return the unnormalised DFT of ``D s``, filter by filter so that it stays in the cache.

    Parameters
    ----------
    spectra
        Spectra of the filters.
    codes
        `(K, planes, y, x)`, complex.

    Returns
    -------
        `(planes, y, x)`, complex, in FFT order.
    """
    total = torch.zeros_like(codes[0])
    step = spectra.chunk(codes.shape[1])
    for k in range(0, codes.shape[0], step):
        transformed = torch.fft.fft2(codes[k : k + step])
        total = total + (transformed * spectra.values[k : k + step]).sum(dim=0)
    return total


def analyse(spectra: FilterSpectra, image: torch.Tensor) -> torch.Tensor:
    """Return ``D^H x``: the circular correlation of an image with each filter.

    Parameters
    ----------
    spectra
        Spectra of the filters.
    image
        `(planes, y, x)`, complex.

    Returns
    -------
        `(K, planes, y, x)`, complex.

    Examples
    --------
    >>> x = torch.randn(1, 4, 4, dtype=torch.complex64)
    >>> torch.allclose(analyse(filter_spectra(torch.ones(1, 1, 1), (4, 4)), x)[0], x)
    True
    """
    codes: torch.Tensor = torch.fft.ifft2(spectra.values.conj() * torch.fft.fft2(image))
    return codes
