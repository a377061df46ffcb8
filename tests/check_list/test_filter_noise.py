"""Check 12b: the noise of a filter's response is ``sigma g_k``."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.simulation.noise import complex_noise
from lowfield_recon.solvers.convolutional_model import analyse, filter_spectra

SIGMA = 0.7


@pytest.mark.parametrize("window", [(slice(None), slice(None)), (slice(24, 72), slice(30, 71))])
@pytest.mark.parametrize("source", ["learned", "random"])
def test_noise_passes_the_filters_as_predicted(learned_kernels, random_kernels, source, window):
    r"""``g_k^2 = 1/N sum_w m(w) |d_k(w)|^2`` for the complex noise of ``(D^H A^H e)_k``."""
    kernels = learned_kernels[:6] if source == "learned" else random_kernels(4, 9)
    size = (96, 101)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[window] = True
    spectra = filter_spectra(kernels.float(), size)
    power = spectra.values[:, 0].abs().square() * torch.fft.ifftshift(mask)
    predicted = SIGMA**2 * power.double().mean(dim=(1, 2))
    generator = torch.Generator().manual_seed(0)
    k = SIGMA * complex_noise((100, *size), generator) * mask
    response = analyse(spectra, centred_ifft(k, (-2, -1)))
    variance = response.abs().square().double().mean(dim=(1, 2, 3))
    assert float((variance / predicted - 1).abs().max()) <= 0.02
    # Half of the variance stands in each part, as the threshold of real and imaginary part needs.
    real = response.real.square().double().mean(dim=(1, 2, 3))
    assert float((2 * real / predicted - 1).abs().max()) <= 0.03
