"""What a dictionary update must know of codes: their correlations at the lags of a kernel."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_SETTLED = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeStatistics:
    r"""The quadratic function ``1/2 ||x - sum_k d_k * s_k||^2`` of the kernels d.

    Kernels are small, so of the codes it depends only on their correlations at lags shorter than
    a kernel: K² (2 n - 1)² numbers, whatever the number and size of the images.
    """

    gram: torch.Tensor
    """``sum_x conj(s_k(x)) s_l(x + t)``, `(K, K, p, p)` real, lags t modulo p = 2 n - 1."""

    cross: torch.Tensor
    """``sum_x conj(s_k(x)) x(x + t)`` at the taps t of the kernel, `(K, n_y, n_x)`, real."""

    energy: float
    """``1/2 ||x||^2``."""

    weight: float
    """Number of pixels that it sums over, old ones discounted."""

    def faded(self, factor: float, new: CodeStatistics) -> CodeStatistics:
        """Discount what was seen and add what is new.

        Parameters
        ----------
        factor
            Factor of the old statistics, 0 to 1.
        new
            Statistics of further images.

        Returns
        -------
            The sum.
        """
        return CodeStatistics(
            gram=factor * self.gram + new.gram,
            cross=factor * self.cross + new.cross,
            energy=factor * self.energy + new.energy,
            weight=factor * self.weight + new.weight,
        )

    def usage(self) -> torch.Tensor:
        """Return the energy of the codes of each kernel.

        Returns
        -------
            `(K,)`.
        """
        return self.gram[:, :, 0, 0].diagonal()

    def misfit(self, kernels: torch.Tensor) -> float:
        """Return ``1/2 ||x - D s||^2`` for other kernels.

        Parameters
        ----------
        kernels
            `(K, n_y, n_x)`.

        Returns
        -------
            Summed over the images, old ones discounted.
        """
        quadratic = 0.5 * kernels * _applied(self._spectrum(), kernels) - kernels * self.cross
        return self.energy + float(quadratic.double().sum())

    def _spectrum(self) -> torch.Tensor:
        """Return the Gram as one K×K matrix for each frequency of the p×p grid."""
        spectrum: torch.Tensor = torch.fft.fft2(self.gram).permute(2, 3, 0, 1)
        return spectrum


def code_statistics(
    codes: torch.Tensor, image: torch.Tensor, kernel_size: tuple[int, int]
) -> CodeStatistics:
    """Correlate codes with each other and with the image.

    Parameters
    ----------
    codes
        `(K, y, x)`, complex; real and imaginary part count as two images.
    image
        The image that they stand for, complex `(y, x)`.
    kernel_size
        Size of the kernels.

    Returns
    -------
        The statistics.

    Examples
    --------
    >>> s = torch.zeros(1, 8, 8, dtype=torch.complex64)
    >>> s[0, 4, 4] = 2
    >>> found = code_statistics(s, s[0], (3, 3))
    >>> float(found.usage()), found.cross[0].argmax().item()
    (4.0, 4)
    """
    n_y, n_x = kernel_size
    spectra = torch.fft.fft2(codes)
    n = codes.shape[0]
    lags_y, lags_x = _lags(n_y, codes.shape[-2]), _lags(n_x, codes.shape[-1])
    gram = codes.real.new_zeros(n, n, lags_y.numel(), lags_x.numel())
    for k in range(n):
        correlation = torch.fft.ifft2(spectra[k].conj() * spectra[k:]).real
        found = correlation[:, lags_y[:, None], lags_x[None, :]]
        gram[k, k:] = found
        # What l sees of k is what k sees of l at the opposite lag.
        gram[k:, k] = found.flip(-2, -1).roll((1, 1), (-2, -1))
    correlation = torch.fft.ifft2(spectra.conj() * torch.fft.fft2(image)).real
    taps_y = (torch.arange(n_y, device=codes.device) - n_y // 2) % codes.shape[-2]
    taps_x = (torch.arange(n_x, device=codes.device) - n_x // 2) % codes.shape[-1]
    return CodeStatistics(
        gram=gram,
        cross=correlation[:, taps_y[:, None], taps_x[None, :]],
        energy=0.5 * float(image.abs().square().double().sum()),
        weight=2.0 * image.numel(),
    )


def updated_kernels(
    statistics: CodeStatistics,
    kernels: torch.Tensor,
    *,
    iterations: int = 200,
    zero_mean: bool = False,
) -> torch.Tensor:
    r"""Minimise the misfit over kernels of at most unit norm, and normalise them.

    Projected accelerated gradients with restart on the small grid of the lags; a kernel that no
    code uses stays as it is.

    Parameters
    ----------
    statistics
        Statistics of the codes.
    kernels
        Start, `(K, n_y, n_x)`.
    iterations
        Most gradient steps.
    zero_mean
        Whether kernels must sum to zero.

    Returns
    -------
        Kernels of unit norm.

    References
    ----------
    Liu J, Garcia-Cardona C, Wohlberg B, Yin W. First- and second-order methods for online
    convolutional dictionary learning. SIAM J Imaging Sci 2018;11:1589-1628.
    https://doi.org/10.1137/17M1145689
    """
    spectrum = statistics._spectrum()
    # The largest absolute row sum bounds the eigenvalues of every frequency's matrix.
    step = 1.0 / max(float(spectrum.abs().sum(dim=-1).max()), 1e-30)
    d, v, n = kernels, kernels, 0
    for _ in range(iterations):
        gradient = _applied(spectrum, v) - statistics.cross
        new = projected(v - step * gradient, zero_mean=zero_mean)
        change = new - d
        n = 0 if float(((v - new) * change).sum()) > 0 else n + 1
        v, d = new + n / (n + 3) * change, new
        if float(change.norm()) <= _SETTLED * float(new.norm()):
            break
    norms = d.flatten(1).norm(dim=1)
    used = (statistics.usage() > 0) & (norms > 1e-6)
    return torch.where(used[:, None, None], d / norms.clamp(min=1e-6)[:, None, None], kernels)


def projected(kernels: torch.Tensor, *, zero_mean: bool) -> torch.Tensor:
    """Return the nearest kernels of at most unit norm, and of zero mean where that is wanted.

    Parameters
    ----------
    kernels
        `(K, n_y, n_x)`.
    zero_mean
        Whether they must sum to zero.

    Returns
    -------
        `(K, n_y, n_x)`.

    Examples
    --------
    >>> float(projected(torch.full((1, 2, 2), 2.0), zero_mean=False).norm())
    1.0
    """
    if zero_mean:
        kernels = kernels - kernels.mean(dim=(-2, -1), keepdim=True)
    norms: torch.Tensor = kernels.flatten(1).norm(dim=1)
    return kernels / norms.clamp(min=1.0)[:, None, None]


def _applied(spectrum: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Apply the Gram to kernels: a product of matrices at each frequency."""
    size = spectrum.shape[:2]
    d = torch.fft.fft2(kernels.to(spectrum.real.dtype), s=size).permute(1, 2, 0)
    product = (spectrum @ d[..., None])[..., 0].permute(2, 0, 1)
    applied: torch.Tensor = torch.fft.ifft2(product).real
    return applied[:, : kernels.shape[-2], : kernels.shape[-1]]


def _lags(n: int, size: int) -> torch.Tensor:
    """Return the indices of the lags 0, 1, ..., n - 1, -(n - 1), ..., -1 on a circular grid."""
    lags: torch.Tensor = torch.cat([torch.arange(n), torch.arange(-(n - 1), 0)]) % size
    return lags
