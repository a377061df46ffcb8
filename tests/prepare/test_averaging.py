"""Averages of repetitions: noise falls as it should, and drifts that were put in are undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import average_repetitions, undersampling_mask
from lowfield_recon.prepare.drift import measure_drift, without_drift

SIZE = (1, 96, 112)


def images(size: tuple[int, int, int] = SIZE, coils: int = 2) -> torch.Tensor:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else [0.0] for n in size), indexing="ij")
    head = 10.0 * (z**2 + (y / 0.7) ** 2 + (x / 0.6) ** 2 < 0.9)
    head *= 1 + 0.5 * ((y - 0.2) ** 2 + (x + 0.1) ** 2 < 0.06)
    head = ndimage.gaussian_filter(head, [0.7 if n > 1 else 0 for n in size])
    phases = [np.exp(1j * (0.8 * x * y + c * x + 0.3)) for c in range(coils)]
    return torch.from_numpy(head * np.stack(phases)).to(torch.complex64)[None]


def offsets(n: int, d: int) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) - n // 2).reshape(-1, *([1] * (-d - 1)))


def drifted(
    x: torch.Tensor,
    phase: float,
    image_shift: tuple[float, ...],
    kspace_shift: tuple[float, ...],
) -> torch.Tensor:
    """k-space of the image with a linear phase over it, then one over k-space, which moves it."""
    x = x * np.exp(1j * phase)
    for d, s in zip((-3, -2, -1), kspace_shift, strict=True):
        x = x * torch.exp(2j * torch.pi * s / x.shape[d] * offsets(x.shape[d], d))
    k = centred_fft(x.to(torch.complex64), (-3, -2, -1))
    for d, s in zip((-3, -2, -1), image_shift, strict=True):
        k = k * torch.exp(-2j * torch.pi * s / k.shape[d] * offsets(k.shape[d], d))
    return k.to(torch.complex64)


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize(
    ("phase", "image_shift", "kspace_shift"),
    [
        (0.0, (0, 0, 0), (0, 0, 0)),
        (2.5, (0, 0, 0), (0, 0, 0)),
        (-1.0, (0, 0, 1.3), (0, 0, 0)),
        (1.0, (0, -0.6, 0), (0, 0.8, -1.5)),
    ],
)
def test_drift_is_measured_and_undone(
    phase: float, image_shift: tuple, kspace_shift: tuple
) -> None:
    x = images()
    k = drifted(x, 0, (0, 0, 0), (0, 0, 0))
    other = drifted(x, phase, image_shift, kspace_shift)
    for std in (0.0, 1.0):
        drift = measure_drift(k + std * noise(k.shape), other + std * noise(k.shape, 1))
        assert drift.phase_rad == pytest.approx(phase, abs=0.03)
        assert drift.image_shift == pytest.approx(image_shift, abs=0.05)
        assert drift.kspace_shift == pytest.approx(kspace_shift, abs=0.03)
        assert drift.coherence > 0.95
    again = without_drift(other, measure_drift(k, other))
    assert (again - k).norm() < 0.03 * k.norm()


def test_motion_is_measured_well_in_much_noise() -> None:
    """Noise as strong as half of the image, where phase slopes alone are wrong by half a pixel."""
    x = images()
    k = drifted(x, 0, (0, 0, 0), (0, 0, 0))
    other = drifted(x, 1.0, (0, -0.6, 1.3), (0, 0.8, -1.5))
    for seed in range(3):
        noises = (5 * noise(k.shape, seed), 5 * noise(k.shape, 50 + seed))
        drift = measure_drift(k + noises[0], other + noises[1])
        assert drift.image_shift == pytest.approx((0, -0.6, 1.3), abs=0.15)
        assert drift.kspace_shift == pytest.approx((0, 0.8, -1.5), abs=0.05)


def test_noise_alone_is_not_taken_for_motion() -> None:
    k = drifted(images(), 0, (0, 0, 0), (0, 0, 0))
    for seed in range(5):
        drift = measure_drift(k + 2 * noise(k.shape, seed), 1j * k + 2 * noise(k.shape, 100 + seed))
        assert drift.image_shift == drift.kspace_shift == (0, 0, 0)
        assert drift.phase_rad == pytest.approx(np.pi / 2, abs=0.03)


def test_drift_of_a_volume() -> None:
    x = images((16, 40, 48), 1)
    k = drifted(x, 0, (0, 0, 0), (0, 0, 0))
    drift = measure_drift(k, drifted(x, 0.5, (0.4, 0, -0.7), (0.5, 0, 1.0)))
    assert drift.image_shift == pytest.approx((0.4, 0, -0.7), abs=0.05)
    assert drift.kspace_shift == pytest.approx((0.5, 0, 1.0), abs=0.05)


@pytest.mark.parametrize("n", [2, 4, 9])
def test_noise_variance_falls_by_the_number_of_repetitions(n: int) -> None:
    x = images()
    clean = drifted(x, 0, (0, 0, 0), (0, 0, 0))
    repetitions = torch.stack([
        drifted(x, 1.5 * r, (0, 0, 0.2 * r), (0, 0.3 * r, 0)) + noise(clean.shape, r)
        for r in range(n)
    ])  # fmt: skip
    mean = average_repetitions(repetitions)
    outside = x.abs() < 1e-3 * x.abs().max()
    variance = centred_ifft(mean, (-2, -1))[outside].abs().square().mean()
    assert float(variance) == pytest.approx(1 / n, rel=0.05)
    magnitude = centred_ifft(mean, (-2, -1)).abs()
    assert (magnitude - x.abs())[~outside].square().mean() < 1.5 / n
    plain = centred_ifft(repetitions.mean(dim=0), (-2, -1)).abs()
    assert (plain - x.abs())[~outside].square().mean() > 5 / n


def test_weights() -> None:
    k = drifted(images(), 0, (0, 0, 0), (0, 0, 0))
    repetitions = torch.stack([k + noise(k.shape, 1), k + 3 * noise(k.shape, 2)])
    mean = average_repetitions(repetitions, [9, 1])
    assert float((mean - k).abs().square().mean()) == pytest.approx(0.9, rel=0.05)
    for bad in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(DataError, match="a positive weight for each of 2 repetitions"):
            average_repetitions(repetitions, bad)


def test_undersampled_repetitions_stay_zero_where_nothing_was_acquired() -> None:
    """Only the readout is complete, so a linear phase over the image is undone along it alone."""
    x = images()
    mask = undersampling_mask(SIZE, acceleration=2, calibration_lines=24)
    k = drifted(x, 0, (0, 0, 0), (0, 0, 0)) * mask
    other = drifted(x, 1.0, (0, 0, 0.7), (0, 0, 1.2)) * mask
    drift = measure_drift(k, other, mask)
    assert drift.image_shift[1] == drift.kspace_shift[1] == 0
    mean = average_repetitions(torch.stack([k, other]), mask=mask)
    assert bool((mean == mean * mask).all())
    assert (mean - k).norm() < 0.03 * k.norm()


def test_repetitions_of_something_else_are_refused() -> None:
    k = drifted(images(), 0, (0, 0, 0), (0, 0, 0))
    with pytest.raises(DataError, match="repetition 1 correlates with the first one by 0"):
        average_repetitions(torch.stack([k, 20 * noise(k.shape)]))
    with pytest.raises(DataError, match="expected the same matrix and coils"):
        measure_drift(k, k[..., :-1])
