"""Operators of photographs against SciPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.operators import (
    blur_operator,
    capabilities,
    downsample_operator,
    identity_operator,
    mask_operator,
)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel_size", [(3, 3), (4, 4), (5, 2), (7, 8)])
def test_blur_is_scipys_periodic_convolution(kernel_size: tuple[int, int]) -> None:
    x, kernel = _random(1, 2, 1, 7, 8), _random(*kernel_size, seed=1)
    (blurred,) = blur_operator(kernel, image_shape=x.shape)(x)
    expected = np.stack(
        [scipy.ndimage.convolve(c, kernel.numpy(), mode="wrap") for c in x[0, :, 0].numpy()]
    )
    assert np.allclose(blurred[0, :, 0].numpy(), expected, atol=1e-12)


def test_a_kernel_with_one_tap_in_its_centre_changes_nothing() -> None:
    for size in (3, 4):
        kernel = torch.zeros(size, size, dtype=torch.float64)
        kernel[size // 2, size // 2] = 1
        x = _random(1, 1, 1, 6, 9)
        assert torch.allclose(blur_operator(kernel, image_shape=x.shape)(x)[0], x, atol=1e-14)


def test_compositions_know_when_their_gram_stays_diagonal() -> None:
    x = _random(1, 1, 1, 6, 8)
    blur = blur_operator(_random(3, 3, seed=1), image_shape=x.shape)
    twice = capabilities(blur @ blur)
    assert twice.gram_fourier is not None
    expected = torch.fft.ifft2(torch.fft.fft2(x) * twice.gram_fourier).real
    assert torch.allclose((blur @ blur).gram(x)[0], expected, atol=1e-10)
    mask = mask_operator(torch.rand(1, 1, 1, 6, 8) < 0.5)
    assert capabilities(mask @ mask).gram_image is not None
    assert capabilities(identity_operator() @ blur).gram_fourier is not None
    mixed = capabilities(mask @ blur)
    assert mixed.gram_fourier is None
    assert mixed.gram_image is None


def test_downsampling_keeps_every_second_pixel_and_its_adjoint_puts_it_back() -> None:
    A = downsample_operator(2, image_shape=(5, 6))
    x = _random(1, 1, 1, 5, 6)
    (small,) = A(x)
    assert torch.equal(small, x[..., ::2, ::2])
    assert torch.equal(A(A.adjoint(small)[0])[0], small)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mask_operator(torch.zeros(1, 1, 4, 4)), "keeps no sample"),
        (lambda: blur_operator(torch.ones(3), image_shape=(4, 4)), r"\(ky, kx\)"),
        (lambda: blur_operator(torch.zeros(3, 3), image_shape=(4, 4)), "not all zero"),
        (lambda: blur_operator(torch.ones(5, 5), image_shape=(4, 4)), "larger than the image"),
        (lambda: blur_operator(torch.full((3, 3), torch.inf), image_shape=(4, 4)), "finite"),
        (lambda: downsample_operator(0, image_shape=(4, 4)), "factor"),
        (lambda: downsample_operator(5, image_shape=(4, 4)), "factor"),
    ],
)
def test_it_says_what_does_not_fit(make: object, words: str) -> None:
    with pytest.raises(LowfieldReconError, match=words):
        make()  # type: ignore[operator]


def test_data_of_another_size_is_refused_with_both_sizes() -> None:
    A = mask_operator(torch.ones(1, 1, 1, 4, 5))
    with pytest.raises(DataError, match=r"\(1, 1, 1, 4, 5\).*\(1, 1, 1, 4, 4\)"):
        A.image_shape_for((1, 1, 1, 4, 4))
