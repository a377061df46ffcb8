"""The wavelet transforms against PyWavelets and against averages over shifts."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators.wavelet import ShiftInvariantWaveletOp, WaveletOp, padded_size
from lowfield_recon.operators.wavelet_filters import WAVELETS, scaling_filter


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", WAVELETS)
def test_the_filters_are_those_of_pywavelets_or_their_mirror_image(name: str) -> None:
    ours = np.array(scaling_filter(name))
    theirs = np.array(pywt.Wavelet(name).rec_lo)
    assert min(np.abs(ours - theirs).max(), np.abs(ours[::-1] - theirs).max()) < 1e-7


def test_haar_bands_have_the_norms_of_pywavelets_bands() -> None:
    x = _random(1, 1, 1, 32, 64)
    (c,) = WaveletOp(x.shape, "haar", 3)(x)
    approximation, *details = pywt.wavedec2(x[0, 0, 0].numpy(), "haar", "periodization", level=3)
    assert np.abs(c[0, 0, 0, :4, :8].numpy()) == pytest.approx(np.abs(approximation), abs=1e-12)
    n, m = 4, 8
    for level in details:
        ours = [
            c[0, 0, 0, n : 2 * n, :m],
            c[0, 0, 0, :n, m : 2 * m],
            c[0, 0, 0, n : 2 * n, m : 2 * m],
        ]
        for mine, theirs in zip(ours, level, strict=True):
            assert float(mine.abs().sum()) == pytest.approx(np.abs(theirs).sum(), rel=1e-12)
        n, m = 2 * n, 2 * m


@pytest.mark.parametrize("name", ["haar", "db4", "sym5"])
@pytest.mark.parametrize("shape", [(2, 1, 1, 16, 24), (1, 1, 8, 12, 16), (1, 3, 1, 1, 8)])
def test_the_orthogonal_transform_is_unitary(name: str, shape: tuple[int, ...]) -> None:
    x = _random(*shape)
    W = WaveletOp(shape, name)
    (c,) = W(x)
    assert torch.allclose(W.adjoint(c)[0], x, atol=1e-12)
    assert torch.allclose(W(W.adjoint(x)[0])[0], x, atol=1e-12)


def test_the_shift_invariant_penalty_is_the_mean_over_all_shifts() -> None:
    x = _random(1, 1, 1, 8, 16)
    W = WaveletOp(x.shape, "db2", 2)
    z, y, n = W.coarse_size

    def details(image: torch.Tensor) -> float:
        (c,) = W(image)
        return float(c.abs().sum() - c[..., :z, :y, :n].abs().sum())

    shifts = [(i, j) for i in range(8) for j in range(16)]
    mean = np.mean([details(torch.roll(x, shift, (-2, -1))) for shift in shifts])
    frame = ShiftInvariantWaveletOp(x.shape, "db2", 2)
    (bands,) = frame(x)
    weighted = sum(w * float(b.abs().sum()) for w, b in zip(frame.band_weights, bands, strict=True))
    assert weighted == pytest.approx(mean, rel=1e-12)


def test_shifting_the_image_shifts_every_band() -> None:
    x = _random(1, 1, 1, 9, 10)
    frame = ShiftInvariantWaveletOp(x.shape, "db3", 2)
    (bands,) = frame(x)
    (shifted,) = frame(torch.roll(x, (2, 3), (-2, -1)))
    assert torch.allclose(shifted, torch.roll(bands, (2, 3), (-2, -1)), atol=1e-12)


def test_sizes_that_cannot_be_halved_are_refused_with_the_next_that_can() -> None:
    with pytest.raises(UsageError, match=r"\(1, 128, 128\)"):
        WaveletOp((1, 1, 1, 128, 126), "haar")
    assert padded_size((1, 1, 1, 128, 126), None) == (1, 128, 128)


@pytest.mark.parametrize(("name", "levels"), [("db99", None), ("haar", 9), ("haar", 0)])
def test_unknown_wavelets_and_levels_are_refused(name: str, levels: int | None) -> None:
    with pytest.raises(UsageError, match=r"known|levels"):
        WaveletOp((1, 1, 1, 16, 16), name, levels)
