"""Differences that end at the border, and the transforms that diagonalise either kind."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch

from lowfield_recon.operators.gradient import GradientOp


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("n", [1, 2, 11, 12])
def test_the_cosine_transform_diagonalises_differences_that_end_at_the_border(n: int) -> None:
    D = GradientOp((-1,), periodic=False)
    x = _random(1, 1, 1, 3, n)
    (laplacian,) = D.adjoint(*D(x))
    spectrum = scipy.fft.dct(x.numpy(), type=2, axis=-1)
    eigenvalues = 2 - 2 * np.cos(np.pi * np.arange(n) / n)
    expected = scipy.fft.idct(eigenvalues * spectrum, type=2, axis=-1)
    assert np.abs(laplacian.numpy() - expected).max() <= 1e-12
    assert np.abs(D.gram_symbol(x.shape).numpy() - eigenvalues).max() <= 1e-14


def test_it_diagonalises_them_along_three_axes_at_once() -> None:
    D = GradientOp((-4, -2, -1), periodic=False)
    x = _random(1, 4, 1, 5, 6)
    (laplacian,) = D.adjoint(*D(x))
    axes = (1, 3, 4)
    spectrum = scipy.fft.dctn(x.numpy(), type=2, axes=axes)
    expected = scipy.fft.idctn(D.gram_symbol(x.shape).numpy() * spectrum, type=2, axes=axes)
    assert np.abs(laplacian.numpy() - expected).max() <= 1e-12


def test_the_last_difference_vanishes_only_at_the_border() -> None:
    x = torch.tensor([1.0, 2.0, 5.0]).reshape(1, 1, 1, 1, 3)
    (ended,) = GradientOp((-1,), periodic=False)(x)
    (wrapped,) = GradientOp((-1,))(x)
    assert ended.flatten().tolist() == [1.0, 3.0, 0.0]
    assert wrapped.flatten().tolist() == [1.0, 3.0, -4.0]


@pytest.mark.parametrize("periodic", [True, False])
def test_complex_values_keep_their_imaginary_part_and_precision(periodic: bool) -> None:
    D = GradientOp((-2, -1), periodic=periodic)
    re, im = _random(1, 1, 1, 4, 5), _random(1, 1, 1, 4, 5).flip(-1)
    (fields,) = D(torch.complex(re, im))
    assert fields.dtype == torch.complex128
    assert torch.equal(fields.real, D(re)[0])
    assert torch.equal(fields.imag, D(im)[0])
    (back,) = D.adjoint(fields)
    assert torch.equal(back.imag, D.adjoint(fields.imag)[0])
