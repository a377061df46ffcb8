"""What a network of sparsity-level maps may look at: measured data and the dictionary only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from lowfield_recon.solvers.convolutional_model import FilterSpectra

_CHUNK_BYTES = 256 << 20
_QUANTILE = 0.995


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapInput:
    """Images, dictionary and noise of a batch of planes."""

    spectra: FilterSpectra
    """The dictionary on the grid of the images."""

    adjoint: torch.Tensor
    """``x_0 = A^H y``, complex `(planes, y, x)`."""

    smooth: torch.Tensor
    """Its smooth part x_low, of the same shape."""

    eigenvalues: torch.Tensor
    """Eigenvalues of A^H A, or of the circulant nearest to it, real `(planes, y, x)`."""

    noise_std: torch.Tensor
    """Standard deviation of the complex noise of one sample of y, real `(planes,)`, > 0."""

    def gains(self) -> torch.Tensor:
        r"""Return ``g_k = (mean_w m(w) |d_k(w)|^2)^(1/2)``.

        It is the standard deviation of the noise of ``(D^H x_0)_k`` over that of y.

        Returns
        -------
            Real `(K, planes)`.
        """
        power = self.spectra.values[:, 0].abs().square()
        means = torch.einsum("kyx,pyx->kp", power, self.eigenvalues) / power[0].numel()
        return means.sqrt()

    def scale(self) -> torch.Tensor:
        """Return a robust maximum of ``|x_0|``: its 99.5 % quantile in each plane.

        Returns
        -------
            Real `(planes,)`, > 0.
        """
        modulus = self.adjoint.abs().flatten(1)
        rank = min(modulus.shape[1], int(_QUANTILE * modulus.shape[1]) + 1)
        value = modulus.kthvalue(rank, dim=1).values
        return torch.where(value > 0, value, torch.ones_like(value))

    def coefficients(self, image: torch.Tensor, chunk: slice) -> torch.Tensor:
        """Return ``(D^H x)_k`` of some of the filters.

        Parameters
        ----------
        image
            Spectrum of the image `(planes, y, x)`, unnormalised, FFT order.
        chunk
            Which filters.

        Returns
        -------
            Complex `(k, planes, y, x)`.
        """
        correlated: torch.Tensor = torch.fft.ifft2(self.spectra.values[chunk].conj() * image)
        return correlated

    def chunks(self, channels: int) -> Iterator[slice]:
        """Split the filters so that what a network keeps of some at once stays small.

        Parameters
        ----------
        channels
            Real numbers kept for one pixel of one filter.

        Yields
        ------
            Slices of the filters, all of them in one where a gradient is wanted.
        """
        n_filters = self.spectra.values.shape[0]
        one = 4 * channels * self.adjoint.numel()
        size = n_filters if torch.is_grad_enabled() else max(1, _CHUNK_BYTES // max(one, 1))
        for first in range(0, n_filters, size):
            yield slice(first, min(first + size, n_filters))
