"""Metrics agree with scikit-image on real images, and refuse what they cannot judge."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data, measure, metrics

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.metrics import blur_effect, hfen, nrmse, psnr, score, ssim

TOLERANCE = 1e-6


def _noisy(reference: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.05, reference.shape)
    return np.clip(ndimage.gaussian_filter(reference, 0.7) + noise, 0, None)


@pytest.fixture(params=["camera", "astronaut"])
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Return a real image and a blurred, noisy version of it, of odd and even sizes."""
    photograph = data.camera()[:255, :300] if request.param == "camera" else _channels()[1]
    reference = photograph / photograph.max()
    return _noisy(reference), reference


def _channels() -> np.ndarray:
    return np.moveaxis(data.astronaut(), -1, 0)[:, :240, 100:360] / 255


def test_psnr_and_nrmse_agree_with_scikit_image(pair):
    image, reference = pair
    expected = metrics.peak_signal_noise_ratio(reference, image, data_range=0.8)
    assert psnr(image, reference, data_range=0.8) == pytest.approx(expected, abs=TOLERANCE)
    expected = metrics.normalized_root_mse(reference, image, normalization="euclidean")
    assert nrmse(image, reference) == pytest.approx(expected, abs=TOLERANCE)


def test_ssim_agrees_with_scikit_image_for_both_windows(pair):
    image, reference = pair
    expected = metrics.structural_similarity(reference, image, data_range=0.8)
    assert ssim(image, reference, data_range=0.8) == pytest.approx(expected, abs=TOLERANCE)
    expected = metrics.structural_similarity(
        reference,
        image,
        data_range=0.8,
        gaussian_weights=True,
        use_sample_covariance=False,
        sigma=1.5,
    )
    found = ssim(image, reference, data_range=0.8, window="gaussian")
    assert found == pytest.approx(expected, abs=TOLERANCE)


def test_blur_effect_agrees_with_scikit_image(pair):
    for image in pair:
        assert blur_effect(image) == pytest.approx(measure.blur_effect(image), abs=TOLERANCE)
        assert blur_effect(1e-9 * image) == pytest.approx(blur_effect(image), abs=TOLERANCE)


def test_hfen_agrees_with_an_explicit_kernel(pair):
    image, reference = pair
    y, x = np.mgrid[-7:8, -7:8]
    g = np.exp(-(np.arange(-7, 8) ** 2) / (2 * 1.5**2))
    gaussian = np.outer(g, g) / g.sum() ** 2
    kernel = gaussian * ((x**2 + y**2) / 1.5**4 - 2 / 1.5**2)
    filtered = [ndimage.convolve(array, kernel) for array in (image, reference)]
    expected = np.linalg.norm(filtered[0] - filtered[1]) / np.linalg.norm(filtered[1])
    assert hfen(image, reference) == pytest.approx(expected, rel=1e-3)  # truncation differs


def test_slices_are_averaged_or_pooled_as_stated():
    reference = _channels()
    image = _noisy(reference)
    expected = metrics.normalized_root_mse(reference, image, normalization="euclidean")
    assert nrmse(image, reference) == pytest.approx(expected, abs=TOLERANCE)
    slices = [
        metrics.structural_similarity(r, i, data_range=1.0)
        for r, i in zip(reference, image, strict=True)
    ]
    assert ssim(image, reference, data_range=1.0) == pytest.approx(np.mean(slices), abs=TOLERANCE)
    blurs = [measure.blur_effect(plane) for plane in image]
    assert blur_effect(image) == pytest.approx(np.mean(blurs), abs=TOLERANCE)


def test_mask_limits_every_metric_to_its_pixels(pair):
    image, reference = pair
    mask = np.zeros(reference.shape, dtype=bool)
    mask[60:180, 50:170] = True
    inside, whole = image[60:180, 50:170], reference[60:180, 50:170]
    assert psnr(image, reference, data_range=1.0, mask=mask) == pytest.approx(
        psnr(inside, whole, data_range=1.0)
    )
    assert nrmse(image, reference, mask=mask) == pytest.approx(nrmse(inside, whole))
    similarity = metrics.structural_similarity(reference, image, data_range=1.0, full=True)[1]
    assert ssim(image, reference, data_range=1.0, mask=mask) == pytest.approx(
        similarity[mask].mean(), abs=TOLERANCE
    )
    spoilt = np.where(mask, image, 5.0)
    far = ndimage.binary_erosion(mask, iterations=20)
    found = asdict(score(spoilt, reference, data_range=1.0, mask=far))
    assert found == pytest.approx(asdict(score(image, reference, data_range=1.0, mask=far)))


def test_magnitude_of_complex_tensors_counts(pair):
    image, reference = pair
    phase = torch.exp(1j * torch.linspace(0, 6, image.shape[-1], dtype=torch.float64))
    rotated = torch.from_numpy(image) * phase
    assert nrmse(rotated, torch.from_numpy(reference)) == pytest.approx(nrmse(image, reference))


def test_equal_images_score_perfectly_and_scale_is_never_fitted(pair):
    _, reference = pair
    perfect = score(reference, reference, data_range=1.0)
    assert perfect.psnr_db == math.inf
    assert (perfect.ssim, perfect.nrmse, perfect.hfen) == (pytest.approx(1.0), 0.0, 0.0)
    doubled = score(2 * reference, reference, data_range=1.0)
    assert (doubled.nrmse, doubled.hfen) == (pytest.approx(1.0), pytest.approx(1.0))


def test_a_constant_result_is_scored_but_has_no_blur_effect(pair):
    _, reference = pair
    scores = score(np.zeros_like(reference), reference, data_range=1.0)
    assert scores.nrmse == 1.0
    assert math.isnan(scores.blur_effect)


@pytest.mark.parametrize(
    ("image", "reference", "options", "message"),
    [
        (np.eye(8), np.eye(9), {}, "expected the shape of the reference"),
        (np.eye(8), np.ones((8, 8)), {}, "every pixel is 1"),
        (np.full((8, 8), np.nan), np.eye(8), {}, "image: holds NaN"),
        (np.eye(8), np.full((8, 8), np.inf), {}, "reference: holds NaN"),
        (np.eye(8), np.eye(8), {"data_range": 0.0}, "data_range: expected"),
        (np.eye(8), np.eye(8), {"mask": np.zeros((8, 8))}, "keeps no pixel"),
        (np.eye(8), np.eye(8), {"mask": np.ones((3, 3))}, "mask: expected a shape"),
        (np.eye(6), np.eye(6), {}, "at least 7 x 7"),
        (np.arange(8.0), np.arange(8.0), {}, r"expected \(..., y, x\)"),
        (np.full((8, 8), "a"), np.eye(8), {}, "expected numbers"),
    ],
)
def test_what_cannot_be_judged_is_refused(image, reference, options, message):
    with pytest.raises(DataError, match=message):
        score(image, reference, **{"data_range": 1.0, **options})


def test_metrics_do_not_touch_files(tmp_path: Path, pair):
    image, reference = pair
    before = image.copy()
    score(image, reference, data_range=1.0)
    assert np.array_equal(image, before)
