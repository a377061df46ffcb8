"""Homodyne and POCS on an object with smooth phase, against all of its k-space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from lowfield_recon.errors import UsageError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import complete_partial_fourier, estimate_coil_maps, undersampling_mask
from lowfield_recon.prepare.partial_fourier import sampled_extent


def coil_images(size: tuple[int, int, int] = (1, 128, 96), n_coils: int = 2) -> torch.Tensor:
    """Positive object with edges; each coil adds its own smooth phase and sensitivity."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else [0.0] for n in size), indexing="ij")
    object_ = 1.0 * (z**2 + (y / 0.8) ** 2 + (x / 0.7) ** 2 < 0.95)
    object_ += 0.5 * object_ * (np.sin(25 * y) * np.cos(19 * x) > 0.3)
    object_ = ndimage.gaussian_filter(object_, [0.5 if n > 1 else 0 for n in size])
    phase = 1.2 * y * x + 0.8 * np.cos(2 * y) + 0.5 * z
    coils = [
        (1 + 0.3 * (-1) ** c * x) * np.exp(1j * (phase + c * (0.7 * x + 1))) for c in range(n_coils)
    ]
    return torch.from_numpy(object_ * np.stack(coils)).to(torch.complex64)[None]


def rows_from(first: int, n: int = 128, axis: int = -2) -> torch.Tensor:
    """Mask of the samples from `first` to the end of an axis."""
    shape = [1, 1, 1, 1, 1]
    shape[axis] = n
    return (torch.arange(n) >= first).reshape(shape)


def error(filled: torch.Tensor, images: torch.Tensor) -> float:
    """Relative error of the magnitude images."""
    found = centred_ifft(filled, (-3, -2, -1)).abs()
    return float((found - images.abs()).norm() / images.norm())


@pytest.mark.parametrize("first", [48, 32])  # 5/8 and 6/8 of 128 lines
@pytest.mark.parametrize("method", ["homodyne", "pocs"])
@pytest.mark.parametrize("is_low", [False, True])
def test_error_is_well_below_that_of_zero_filling(first: int, method: str, is_low: bool) -> None:
    images = coil_images()
    k, mask = centred_fft(images, (-2, -1)), rows_from(first)
    if is_low:  # the upper lines are missing; row 0 has no mirror image and comes on top
        mask = torch.roll(mask.flip(-2), 1, -2)
    filled, known = complete_partial_fourier(k * mask, mask, method)
    share = {"homodyne": 0.5, "pocs": 0.25}[method]
    assert error(filled, images) < share * error(k * mask, images)
    assert known.float().mean() > 0.99
    assert bool((filled == filled * known).all())


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
def test_along_the_readout(method: str) -> None:
    images = coil_images((1, 96, 128))
    k, mask = centred_fft(images, (-2, -1)), rows_from(40, axis=-1)
    filled, _ = complete_partial_fourier(k * mask, mask, method)
    assert error(filled, images) < 0.5 * error(k * mask, images)


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
def test_volume_partial_along_both_phase_encodings(method: str) -> None:
    images = coil_images((32, 64, 32), 1)
    k = centred_fft(images, (-3, -2, -1))
    mask = rows_from(8, 32, -3) & rows_from(16, 64, -2)
    filled, known = complete_partial_fourier(k * mask, mask, method)
    assert error(filled, images) < 0.75 * error(k * mask, images)
    assert known.shape == (1, 1, 32, 64, 1)
    # one corner and its mirror image were both not acquired, and stay unknown
    assert not bool(known[0, 0, 4, 60, 0])
    assert not bool(known[0, 0, 28, 4, 0])
    assert bool(known[0, 0, 4, 4, 0])


def test_acquired_samples_are_kept_exactly_by_pocs() -> None:
    mask = rows_from(48)
    k = centred_fft(coil_images(), (-2, -1)) * mask
    filled, _ = complete_partial_fourier(k, mask, "pocs")
    assert torch.equal(filled[..., 48:, :], k[..., 48:, :])


@pytest.mark.parametrize("method", ["zero-filled", "homodyne", "pocs"])
def test_nothing_missing_changes_nothing(method: str) -> None:
    for size in ((1, 64, 48), (1, 63, 49), (6, 20, 15)):
        k = centred_fft(coil_images(size), (-3, -2, -1))
        filled, known = complete_partial_fourier(k, torch.ones(1, 1, *size).bool(), method)
        assert torch.equal(filled, k)
        assert bool(known.all())


def test_a_small_symmetric_window_is_not_partial() -> None:
    k = centred_fft(coil_images((1, 64, 48)), (-2, -1))
    mask = ((torch.arange(64) - 32).abs() < 20).reshape(1, 1, 1, 64, 1)
    filled, known = complete_partial_fourier(k * mask, mask, "pocs")
    assert torch.equal(filled, k * mask)
    assert torch.equal(known, mask)


@pytest.mark.parametrize(
    ("rows", "n", "fraction"),
    [((48, 127), 128, 5 / 8), ((0, 95), 128, 6 / 8), ((42, 125), 140, 0.75)],
)
def test_fraction(rows: tuple[int, int], n: int, fraction: float) -> None:
    """The last is the example of the ISMRMRD documentation: 28 lines on one side, 55 beyond."""
    index = torch.arange(n)
    mask = ((index >= rows[0]) & (index <= rows[1])).reshape(1, n, 1)
    extent = sampled_extent(mask, (1, n, 16))
    assert extent.partial_axes == (-2,)
    assert extent.fraction(-2) == pytest.approx(fraction)


def test_weights_of_homodyne_add_up_to_two() -> None:
    """A real image without phase is exact: what is missing is the mirror image of what is there."""
    images = coil_images((1, 64, 48), 1).abs().to(torch.complex64)
    k, mask = centred_fft(images, (-2, -1)), rows_from(20, 64)
    filled, known = complete_partial_fourier(k * mask, mask, "homodyne")
    expected = k * known
    assert (filled - expected).norm() < 1e-3 * expected.norm()


def test_coil_maps_come_from_the_symmetric_centre() -> None:
    """What lies beyond it changes nothing."""
    mask = rows_from(54)
    k = centred_fft(coil_images(), (-2, -1)) * mask
    other = k.clone()
    other[..., 75:, :] = 5  # less than the largest sample, by which both are scaled
    maps, same = (estimate_coil_maps(x, mask=mask) for x in (k, other))
    assert torch.equal(maps, same)


def test_what_is_not_partial_fourier_is_refused() -> None:
    k = torch.ones(1, 1, 1, 64, 16, dtype=torch.complex64)
    random = undersampling_mask((1, 64, 16), acceleration=2, calibration_lines=8)
    with pytest.raises(UsageError, match=r"expected one complete block; use 'zero-filled'"):
        complete_partial_fourier(k * random, random, "pocs")
    with pytest.raises(UsageError, match="only 2 samples beyond the centre"):
        complete_partial_fourier(k, rows_from(30, 64), "homodyne")
    with pytest.raises(UsageError, match="the centre of k-space was not acquired"):
        complete_partial_fourier(k, rows_from(40, 64), "homodyne")
    with pytest.raises(UsageError, match="Did you mean 'pocs'"):
        complete_partial_fourier(k, rows_from(20, 64), "pcos")
