"""Prewhitening against the definition of a covariance, and on a real scan with noise readouts."""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.prepare import estimate_noise_std, noise_covariance, prewhiten


def white_noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Complex noise with E|e|^2 = 1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.fixture
def mixing() -> torch.Tensor:
    """A full, well-conditioned mixture of four coils."""
    generator = torch.Generator().manual_seed(3)
    return torch.randn(4, 4, dtype=torch.complex64, generator=generator) + 2 * torch.eye(4)


def test_covariance_of_known_mixture(mixing: torch.Tensor) -> None:
    noise = mixing @ white_noise((4, 200_000), 0)
    found = noise_covariance(noise)
    torch.testing.assert_close(found, found.mH)
    expected = (mixing @ mixing.mH).to(torch.complex128)
    assert float((found - expected).norm() / expected.norm()) < 0.01
    numpy_covariance = np.cov(noise.numpy(), bias=True)  # less the mean
    np.testing.assert_allclose(found.numpy(), numpy_covariance, atol=1e-3)


def test_whitened_noise_is_white_with_unit_complex_variance(mixing: torch.Tensor) -> None:
    noise = mixing @ white_noise((4, 50_000), 1)
    k = torch.einsum("ij,njabc->niabc", mixing, white_noise((2, 4, 1, 100, 100), 2))
    whitened = prewhiten(k, noise)
    samples = whitened.movedim(1, 0).reshape(4, -1)
    covariance = (samples @ samples.mH / samples.shape[1]).numpy()
    np.testing.assert_allclose(covariance, np.eye(4), atol=0.03)


def test_dwell_time_scale_is_a_variance_ratio(mixing: torch.Tensor) -> None:
    noise = mixing @ white_noise((4, 1000), 1)
    k = white_noise((1, 4, 1, 8, 8), 2)
    torch.testing.assert_close(prewhiten(k, noise, scale=0.0952), prewhiten(k, noise) * 0.0952**0.5)


def test_signal_is_kept_up_to_the_mixture(mixing: torch.Tensor) -> None:
    """Undoing the Cholesky factor by hand gives the data back: only a linear map was done."""
    noise = mixing @ white_noise((4, 1000), 1)
    k = white_noise((1, 4, 1, 8, 8), 2)
    L = np.linalg.cholesky(noise_covariance(noise).numpy())
    back = np.einsum("ij,njabc->niabc", L, prewhiten(k, noise).numpy())
    np.testing.assert_allclose(back, k.numpy(), atol=1e-5)


def test_too_few_samples() -> None:
    with pytest.raises(DataError, match="39 samples do not determine the covariance of 4 coils"):
        noise_covariance(white_noise((4, 39), 0))


@pytest.mark.parametrize("defect", ["copy", "dead"])
def test_singular_covariance_names_the_channel(defect: str) -> None:
    noise = white_noise((4, 1000), 0)
    noise[2] = noise[0] if defect == "copy" else 0
    with pytest.raises(DataError, match="not positive definite; the noise of channel 2"):
        prewhiten(white_noise((1, 4, 1, 8, 8), 1), noise)


@pytest.mark.parametrize(
    ("shape", "scale", "message"),
    [
        ((3, 100), 1.0, "coils do not fit"),
        ((4, 100), 0.0, "positive"),
        ((4, 100), -1.0, "positive"),
    ],
)
def test_wrong_use(shape: tuple[int, int], scale: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prewhiten(white_noise((1, 4, 1, 8, 8), 1), white_noise(shape, 0), scale=scale)


def test_noise_must_be_finite_and_complex() -> None:
    noise = white_noise((1, 100), 0)
    noise[0, 5] = float("nan")
    with pytest.raises(DataError, match="NaN"):
        noise_covariance(noise)
    with pytest.raises(DataError, match="complex"):
        noise_covariance(torch.ones(2, 100))


@pytest.mark.shared_data
def test_real_scan_has_unit_noise_after_whitening(shared_data: Path) -> None:
    """SNR_R3: 14 coils, noise at another dwell time; the noise of the image data must become 1."""
    file = next((shared_data / "gadgetron_onlineclass_snr_r3").glob("*.h5"))
    with ismrmrd.Dataset(file, mode="r") as dataset:
        readouts = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    noise = next(r for r in readouts if r.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
    lines = [
        r
        for r in readouts
        if not r.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        and not r.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    ]
    bandwidth = header.acquisitionSystemInformation.relativeReceiverNoiseBandwidth
    scale = lines[0].sample_time_us / noise.sample_time_us * bandwidth
    assert scale == pytest.approx(0.0952, abs=2e-4)
    k = torch.from_numpy(np.stack([line.data for line in lines], axis=1))[None, :, None]
    whitened = prewhiten(k, torch.from_numpy(noise.data), scale=scale)
    assert estimate_noise_std(whitened) == pytest.approx(1.0, rel=0.05)
