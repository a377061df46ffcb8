"""`score_all` gives the numbers of `metrics.score`, of scikit-image and of fastMRI."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fastmri import evaluate
from scipy import ndimage
from skimage import data, measure, metrics

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.fast_scores import SCORE_NAMES, score_all
from lowfield_recon.evaluation.metrics import score

TOLERANCE = 1e-6


def _stack(shape: tuple[int, int], count: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return parts of a photograph, and blurred and noisy versions of them."""
    rng = np.random.default_rng(seed)
    photograph = data.camera() / 255
    references = np.empty((count, *shape))
    for reference in references:
        y, x = (rng.integers(0, n - m + 1) for n, m in zip(photograph.shape, shape, strict=True))
        reference[:] = photograph[y : y + shape[0], x : x + shape[1]]
    blurred = ndimage.gaussian_filter(references, (0, 0.8, 0.8))
    return np.abs(blurred + rng.normal(0, 0.04, blurred.shape)), references


def _expected(images, references, ranges, masks=None) -> dict[str, list[float]]:
    rows = [
        score(x, r, data_range=d, mask=None if masks is None else masks[i])
        for i, (x, r, d) in enumerate(zip(images, references, ranges, strict=True))
    ]
    return {name: [getattr(row, name) for row in rows] for name in SCORE_NAMES}


def _assert_equal(found: dict[str, np.ndarray], expected: dict[str, list[float]]) -> None:
    assert set(found) == set(SCORE_NAMES)
    for name, values in expected.items():
        assert found[name].dtype == np.float64
        assert found[name] == pytest.approx(values, abs=TOLERANCE, nan_ok=True), name


@pytest.mark.parametrize("shape", [(7, 9), (11, 300), (64, 64), (101, 83), (320, 320)])
def test_a_stack_scores_as_its_images_do(shape):
    images, references = _stack(shape)
    ranges = np.array([1.0, 0.5, 2.0])
    _assert_equal(
        score_all(images, references, data_ranges=ranges), _expected(images, references, ranges)
    )
    single = images.astype(np.float32), references.astype(np.float32)
    _assert_equal(score_all(*single, data_ranges=1), _expected(*single, np.ones(3)))


@pytest.mark.parametrize("shape", [(24, 31), (90, 100)])
def test_masks_count_as_in_the_definition(shape):
    images, references = _stack(shape)
    shared = np.zeros(shape, dtype=bool)
    shared[5:20, 8:21] = True
    found = score_all(images, references, data_ranges=1.0, mask=shared)
    _assert_equal(found, _expected(images, references, np.ones(3), [shared] * 3))
    own = np.stack([shared, np.roll(shared, 2, 0), np.roll(shared, 4, 1)])
    found = score_all(images, references, data_ranges=1.0, mask=torch.from_numpy(own))
    _assert_equal(found, _expected(images, references, np.ones(3), own))
    assert abs(found["psnr_db"][1] - score_all(images, references, data_ranges=1.0)["psnr_db"][1])


@pytest.mark.parametrize(("gain", "offset"), [(1e-12, 0), (1e12, 0), (1, 1000), (0.01, -3)])
def test_units_and_offsets_cost_no_digits(gain, offset):
    images, references = (gain * stack + offset for stack in _stack((96, 80)))
    found = score_all(images, references, data_ranges=gain)
    _assert_equal(found, _expected(images, references, np.full(3, gain)))


def test_scikit_image_and_fastmri_agree():
    images, references = _stack((128, 150))
    found = score_all(images, references, data_ranges=0.9)
    for i, (x, r) in enumerate(zip(images, references, strict=True)):
        expected = {
            "psnr_db": metrics.peak_signal_noise_ratio(r, x, data_range=0.9),
            "ssim": metrics.structural_similarity(r, x, data_range=0.9),
            "nrmse": metrics.normalized_root_mse(r, x, normalization="euclidean"),
            "blur_effect": measure.blur_effect(x),
        }
        for name, value in expected.items():
            assert found[name][i] == pytest.approx(value, abs=TOLERANCE), name
        pair = r[None], x[None]
        assert found["ssim"][i] == pytest.approx(evaluate.ssim(*pair, 0.9)[0], abs=TOLERANCE)
        assert found["psnr_db"][i] == pytest.approx(float(evaluate.psnr(*pair, 0.9)), abs=TOLERANCE)
        assert found["nrmse"][i] ** 2 == pytest.approx(float(evaluate.nmse(*pair)), abs=TOLERANCE)


def test_magnitudes_of_complex_tensors_count_and_nothing_is_written_to():
    images, references = _stack((70, 75))
    phases = np.exp(1j * np.linspace(0, 6, 75))
    rotated = torch.from_numpy((images * phases).astype(np.complex64))
    before = rotated.clone()
    found = score_all(rotated, torch.from_numpy(references), data_ranges=1.0)
    magnitudes = rotated.abs().numpy()
    _assert_equal(found, _expected(magnitudes, references, np.ones(3)))
    assert torch.equal(rotated, before)


def test_perfect_and_constant_images():
    _, references = _stack((70, 75), count=2)
    images = np.stack([references[0], np.zeros_like(references[1])])
    found = score_all(images, references, data_ranges=1.0)
    assert found["psnr_db"][0] == math.inf
    assert found["ssim"][0] == pytest.approx(1, abs=1e-12)
    assert (found["nrmse"][0], found["hfen"][0]) == (0, 0)
    assert (found["nrmse"][1], found["hfen"][1]) == (1, pytest.approx(1, abs=TOLERANCE))
    assert math.isnan(found["blur_effect"][1])


_EYES = np.stack([np.eye(8), np.eye(8)])


@pytest.mark.parametrize(
    ("images", "references", "options", "message"),
    [
        (_EYES, np.ones((2, 8, 8)), {}, "image 0 of 2: reference: every pixel is 1"),
        (_EYES, _EYES[:, :, :7], {}, "expected the shape of the references"),
        (_EYES[0], _EYES[0], {}, r"expected a stack \(n, y, x\)"),
        (_EYES[:0], _EYES[:0], {}, "of at least one"),
        (np.eye(6)[None], np.eye(6)[None], {}, "at least 7 x 7"),
        (np.where(np.eye(8) > 0, np.nan, _EYES), _EYES, {}, "image 0 of 2: image: holds NaN"),
        (_EYES, np.where(np.eye(8) > 0, np.inf, _EYES), {}, "reference: holds NaN"),
        (_EYES, _EYES, {"data_ranges": [1.0, 0.0]}, "data_range: expected"),
        (_EYES, _EYES, {"data_ranges": [1.0, 1.0, 1.0]}, "one for each of 2 images"),
        (_EYES, _EYES, {"mask": np.zeros((8, 8))}, "keeps no pixel"),
        (_EYES, _EYES, {"mask": np.ones((3, 3))}, "mask: expected a shape"),
        (_EYES, _EYES, {"mask": 1 - np.eye(8)}, "is zero wherever the mask is set"),
        (_EYES, _EYES, {"mask": np.eye(8) * (np.arange(8) == 0)}, "lies 3 or more pixels inside"),
        (np.full((1, 8, 8), "a"), _EYES[:1], {}, "expected numbers"),
    ],
)
def test_what_cannot_be_judged_is_refused(images, references, options, message):
    with pytest.raises(DataError, match=message):
        score_all(images, references, **{"data_ranges": 1.0, **options})
