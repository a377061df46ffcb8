"""Noise definitions, each reproduced from the finished k-space."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.simulation.noise import complex_noise, noise_level, noise_report, object_mean
from lowfield_recon.simulation.recipe import Recipe
from lowfield_recon.simulation.simulate import simulate_kspace


def disc(n: int = 128) -> torch.Tensor:
    """A disc of 2 with a faint rim of 0.1, `(1, 1, 1, n, n)`."""
    axis = torch.arange(n) - n // 2
    r = torch.hypot(axis[:, None].float(), axis.float())
    return (2.0 * (r < n / 4) + 0.1 * ((r >= n / 4) & (r < n / 3)))[None, None, None]


def test_noise_is_circular_with_variance_one() -> None:
    e = complex_noise((400, 400), torch.Generator().manual_seed(1)).numpy()
    assert np.mean(np.abs(e) ** 2) == pytest.approx(1, rel=0.02)
    assert np.var(e.real) == pytest.approx(0.5, rel=0.02)
    assert np.var(e.imag) == pytest.approx(0.5, rel=0.02)
    assert abs(np.mean(e**2)) < 0.02


@pytest.mark.parametrize("n_coils", [1, 4])
def test_the_snr_is_that_of_the_fully_sampled_image(n_coils: int) -> None:
    x = disc()
    scan = simulate_kspace(x, Recipe(snr=25, n_coils=n_coils, seed=3))
    image = (scan.coil_maps.conj() * centred_ifft(scan.kspace, (-2, -1))).sum(1, keepdim=True)
    error = (image - x)[x == 0].abs().square().mean().sqrt()
    # the rim lies below a tenth of the maximum, so the object's mean is 2
    assert float(2 / error) == pytest.approx(25, rel=0.02)
    assert float(scan.noise_std) == pytest.approx(2 / 25)


@pytest.mark.parametrize("window", [1.0, 0.5])
def test_the_variance_of_the_noise_is_the_stated_one_on_every_sample(window: float) -> None:
    scan = simulate_kspace(disc(), Recipe(noise_std=0.7, window=window, n_coils=3))
    noise = (scan.kspace - scan.signal)[scan.mask.expand_as(scan.kspace)]
    assert noise.numel() == 3 * (128 * window) ** 2
    assert float(noise.abs().square().mean()) == pytest.approx(0.49, rel=0.02)


def test_the_variance_factor_refers_to_the_mean_power_of_k_space() -> None:
    x = disc()
    scan = simulate_kspace(x, Recipe(variance_factor=0.2))
    power = centred_fft(x.to(torch.complex64), (-2, -1)).abs().square().mean()
    noise = scan.kspace - scan.signal
    assert float(noise.abs().square().mean() / power) == pytest.approx(0.2, rel=0.02)


def test_images_have_one_level_together_or_one_each() -> None:
    x = torch.cat([disc(32), 3 * disc(32)])
    assert noise_level(x, Recipe(snr=10)).shape == (1, 1, 1, 1, 1)
    # together, the mean runs over both discs: (2 + 6) / 2
    assert float(noise_level(x, Recipe(snr=10))) == pytest.approx(0.4)
    each = noise_level(x, Recipe(snr=10), together=False)
    assert each.shape == (2, 1, 1, 1, 1)
    assert each.flatten().tolist() == pytest.approx([0.2, 0.6])
    factor = noise_level(x, Recipe(variance_factor=0.1), together=False).flatten()
    assert float(factor[1] / factor[0]) == pytest.approx(3)


def test_the_object_is_what_exceeds_the_threshold() -> None:
    x = disc()
    assert float(object_mean(x, 0.1)) == pytest.approx(2)
    assert float(object_mean(x, 0.0)) == pytest.approx(float(x[x > 0].mean()))


def test_an_empty_image_has_no_relative_noise() -> None:
    for recipe in (Recipe(snr=10), Recipe(variance_factor=1)):
        with pytest.raises(DataError, match="zero everywhere"):
            noise_level(torch.zeros(1, 1, 1, 4, 4), recipe)


def test_the_report_states_one_level_in_every_definition() -> None:
    x = disc()
    scan = simulate_kspace(x, Recipe(variance_factor=0.2, window=0.5))
    report = noise_report(scan.signal, scan.image, scan.mask, float(scan.noise_std), Recipe())
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x[0, 0, 0].numpy()), norm="ortho"))
    kept = np.abs(k[32:96, 32:96]) ** 2
    sigma2 = 0.2 * np.mean(np.abs(k) ** 2)
    assert report["noise_variance"] == pytest.approx(sigma2, rel=1e-5)
    assert report["variance_factor"] == pytest.approx(0.2, rel=1e-5)
    assert report["snr"] == pytest.approx(2 / np.sqrt(sigma2), rel=1e-5)
    assert report["snr_kspace_db"] == pytest.approx(10 * np.log10(kept.mean() / sigma2), rel=1e-5)
    silent = noise_report(scan.signal, scan.image, scan.mask, 0.0, Recipe())
    assert (silent["snr"], silent["snr_kspace_db"], silent["variance_factor"]) == (None, None, 0)
