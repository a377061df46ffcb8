"""The piecewise-linear framelet transform against its filters written out, and as a tight frame."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators import capabilities, operator_norm
from lowfield_recon.operators.framelet import FrameletOp

FILTERS = (
    {-1: 0.25, 0: 0.5, 1: 0.25},
    {-1: -math.sqrt(2) / 4, 1: math.sqrt(2) / 4},
    {-1: -0.25, 0: 0.5, 1: -0.25},
)
SHAPES = [(1, 1, 1, 8, 9), (2, 3, 2, 5, 4), (1, 1, 1, 1, 6), (1, 1, 1, 1, 1)]


def image(shape: tuple[int, ...], dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(4))


def test_a_band_is_the_correlation_with_its_two_filters() -> None:
    x = image((1, 1, 1, 7, 6))
    (bands,) = FrameletOp(is_complete=True)(x)
    for number, (columns, rows) in enumerate(itertools.product(FILTERS, FILTERS)):
        expected = torch.zeros_like(x)
        for (dy, a), (dx, b) in itertools.product(rows.items(), columns.items()):
            expected += a * b * torch.roll(x, (-dy, -dx), dims=(-2, -1))
        torch.testing.assert_close(bands[number], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_complete_frame_is_tight(shape: tuple[int, ...], levels: int) -> None:
    W = FrameletOp(levels, is_complete=True)
    x = image(shape)
    (bands,) = W(x)
    (back,) = W.adjoint(bands)
    assert bands.shape == (8 * levels + 1, *shape)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("is_complete", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_adjoint_is_the_adjoint(shape: tuple[int, ...], is_complete: bool) -> None:
    W = FrameletOp(2, is_complete=is_complete)
    x = image(shape)
    (bands,) = W(x)
    z = image(tuple(bands.shape)) * 1j + 1
    (back,) = W.adjoint(z)
    left, right = torch.sum(z.conj() * bands), torch.sum(back.conj() * x)
    assert abs(left - right) <= 1e-10 * max(abs(left), 1.0)


def test_the_details_of_a_constant_vanish_and_their_norm_is_at_most_one() -> None:
    B = FrameletOp(2)
    (details,) = B(torch.full((1, 1, 1, 8, 8), 3.0, dtype=torch.float64))
    assert float(details.abs().max()) == 0
    x = image((1, 1, 1, 12, 12))
    for _ in range(200):
        x = B.gram(x)[0]
        x = x / torch.linalg.vector_norm(x)
    largest = float(torch.linalg.vector_norm(B(x)[0]))
    assert 0.99 <= largest <= 1 + 1e-10
    assert operator_norm(B, (1, 1, 1, 12, 12)).value == capabilities(B).norm_bound == 1


def test_band_norms_are_those_of_the_filters() -> None:
    norms = FrameletOp().band_norms((8, 8))
    lengths = [math.sqrt(sum(a * a for a in taps.values())) for taps in FILTERS]
    expected = [a * b for a, b in itertools.product(lengths, lengths)][1:]
    torch.testing.assert_close(norms, torch.tensor(expected, dtype=torch.float64))


def test_gradients_pass_through_the_adjoint() -> None:
    x = image((1, 1, 1, 4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: FrameletOp()(v)[0], (x,))


def test_no_level_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="levels: expected at least 1, got 0"):
        FrameletOp(0)
