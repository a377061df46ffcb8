"""The published splitting as its iteration is written down, and the exact image step beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.reconstructors.ngr_splitting import ImageUpdate, Splitting
from lowfield_recon.solvers.gradient_fit import FieldData, GradientFit

SHAPE = (1, 3, 1, 8, 7)
AXES, WEIGHTS = (-2, -1, -4), (1.0, 1.0, 0.5)


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


MASK = torch.rand(SHAPE, generator=torch.Generator().manual_seed(9)) < 0.4


def _splitting(y: torch.Tensor, axes=AXES, weights=WEIGHTS) -> Splitting:
    return Splitting(y, MASK, axes, weights, generator=torch.Generator().manual_seed(3))


def test_it_begins_as_published() -> None:
    y = _random(*SHAPE) * MASK
    splitting = _splitting(y)
    largest = np.linalg.svd(y.numpy().reshape(3, 56), compute_uv=False)[0]
    dual = max(largest, float(y.abs().max()) / (0.5 + 1e-8))
    assert splitting.penalty == pytest.approx(0.1 / dual, rel=1e-12)
    assert torch.allclose(splitting.multiplier, y / dual, rtol=1e-12)
    assert torch.equal(splitting.start[MASK], y[MASK])
    filled = splitting.start[~MASK]
    assert 0 <= float(filled.min()) < 0.1
    assert 0.9 < float(filled.max()) < 1


def test_a_small_weight_of_the_third_direction_enlarges_the_dual_norm() -> None:
    y = _random(*SHAPE) * MASK
    splitting = _splitting(y, weights=(1.0, 1.0, 0.01))
    assert splitting.penalty == pytest.approx(0.1 * (0.01 + 1e-8) / float(y.abs().max()), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_every_update_is_the_published_one(dtype: torch.dtype) -> None:
    y = _random(*SHAPE, dtype=dtype) * MASK
    splitting = _splitting(y)
    mu, Lam, K = splitting.penalty, splitting.multiplier.numpy(), np.zeros(SHAPE)
    symbol = np.zeros(SHAPE)
    for axis, weight in zip(AXES, WEIGHTS, strict=True):
        k = np.arange(SHAPE[axis]).reshape([-1] + [1] * (-axis - 1))
        symbol = symbol + weight * (2 - 2 * np.cos(2 * np.pi * k / SHAPE[axis]))
    mask, data = MASK.numpy(), y.numpy()
    x = splitting.start
    for step in range(60):
        F = _random(3, *SHAPE, seed=step, dtype=dtype)
        x = splitting(F, x)
        pull = sum(
            weight * (np.roll(f, 1, axis) - f)
            for f, axis, weight in zip(F.numpy(), AXES, WEIGHTS, strict=True)
        )
        expected = np.fft.ifftn(np.fft.fftn(pull + mu * (data - K) + Lam) / (mu + symbol))
        K = (1 - mask) * (data - expected + Lam / mu)
        Lam = Lam + mu * (data - expected - K)
        mu = min(50.0, 1.2 * mu)
        assert x.dtype == dtype
        assert np.allclose(x.numpy(), expected, atol=1e-10)
        assert np.allclose(splitting.multiplier.numpy(), Lam, atol=1e-9)
        assert splitting.penalty == pytest.approx(mu, rel=1e-12)
    assert mu == 50.0


def test_the_exact_step_begins_at_the_harmonic_continuation() -> None:
    x = torch.linspace(0, 1, 9, dtype=torch.float64).expand(1, 1, 1, 7, 9)
    seen = torch.zeros(x.shape, dtype=torch.bool)
    seen[..., ::4] = True
    data = FieldData(
        rhs=x * seen, gram=lambda v: v * seen, is_exact=False, observed=seen,
        eigenvalues=torch.ones(1, 1, 1, dtype=torch.float64),
    )  # fmt: skip
    solver = GradientFit(data, axes=(-2, -1), weights=(1, 1), strength=1.0, periodic=False)
    update = ImageUpdate(solver, data.rhs)
    assert torch.allclose(update.start, x, atol=1e-10)
    (fields,) = GradientOp((-2, -1), periodic=False)(x.square())
    assert torch.equal(update(fields, update.start), solver(fields, update.start))
