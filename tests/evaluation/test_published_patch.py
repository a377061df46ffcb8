"""The published iteration: explicit patches give the same, and it solves what it claims to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.published_patch import (
    DirectLayers,
    penalty_kernel,
    penalty_norm,
    published_prox,
    run_published_iteration,
)
from lowfield_recon.solvers.patch_potentials import make_potential
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

SIDE = 5
SIZE = (12, 14)


def model(potential: str = "power", dtype: torch.dtype = torch.float64) -> PatchRegularizer:
    generator = torch.Generator().manual_seed(3)
    free = torch.randn(SIDE * SIDE, 15, generator=generator, dtype=torch.float64)
    free[:, 0] = 1.0
    left, _ = torch.linalg.qr(free, mode="complete")
    basis = left[:, 15:].mT.reshape(-1, SIDE, SIDE).contiguous()
    factors = torch.randn(10, 14, generator=generator, dtype=torch.float64)
    factors *= (0.99 / 0.7) ** 0.5 / torch.linalg.matrix_norm(factors, ord=2)
    scales = 0.02 * torch.exp(0.3 * torch.randn(14, generator=generator, dtype=torch.float64))
    chosen = make_potential("power", order=1.8) if potential == "power" else make_potential("group")
    return PatchRegularizer(
        basis=basis, factors=factors, scales=scales, beta=0.7, potential=chosen
    ).to(dtype)


def patches(x: np.ndarray) -> np.ndarray:
    """All circular patches around the pixels as columns, `(side^2, pixels)`."""
    half = SIDE // 2
    rows = [
        np.roll(x, (half - dy, half - dx), (0, 1)).ravel()
        for dy in range(SIDE)
        for dx in range(SIDE)
    ]
    return np.stack(rows)


def put_back(p: np.ndarray) -> np.ndarray:
    """Adjoint of `patches`."""
    half = SIDE // 2
    planes = p.reshape(SIDE, SIDE, *SIZE)
    total = np.zeros(SIZE)
    for dy in range(SIDE):
        for dx in range(SIDE):
            total += np.roll(planes[dy, dx], (dy - half, dx - half), (0, 1))
    return total


def numbers(regularizer: PatchRegularizer) -> tuple[np.ndarray, np.ndarray]:
    """D with its atoms as columns, and P^."""
    basis = regularizer.basis.flatten(1).numpy()
    return basis.T @ regularizer.factors.numpy(), basis.T @ basis


def prox_by_hand(regularizer: PatchRegularizer, v: np.ndarray) -> np.ndarray:
    scales = regularizer.scales.numpy()[:, None]
    if regularizer.potential.name == "power":
        power = np.abs(v) ** 1.8
        return v * power / (scales**1.8 + power)
    ny, nx = SIZE
    blocks = v.reshape(-1, ny // 2, 2, nx // 2, 2)
    norm = np.sqrt(np.sum(blocks**2, axis=(2, 4), keepdims=True))
    factor = np.maximum(1 - scales[:, :, None, None, None] / (norm + 1e-8), 0)
    return (blocks * factor).reshape(v.shape)


def iteration_by_hand(
    regularizer: PatchRegularizer, y: np.ndarray, gain: np.ndarray, steps: int, extra: float
) -> list[np.ndarray]:
    """The formulas with explicit patches, for `H = diag(gain)`."""
    D, projector = numbers(regularizer)
    beta = regularizer.beta
    dense = np.stack(
        [put_back(projector @ patches(e.reshape(SIZE))).ravel() for e in np.eye(y.size)]
    )
    lipschitz = 1.01 * (beta * np.linalg.eigvalsh(dense)[-1] + extra)
    x = x_old = gain * y
    a = a_old = np.zeros((D.shape[1], y.size))
    found = []
    for k in range(1, steps + 1):
        m = (k - 1) / (k + 2)
        a_hat = a + m * (a - a_old)
        v = a_hat - beta * (D.T @ (D @ a_hat) - D.T @ patches(x))
        a_old, a = a, prox_by_hand(regularizer, v)
        x_hat = x + m * (x - x_old)
        gradient = gain**2 * x_hat - gain * y
        gradient += beta * put_back(projector @ patches(x_hat) - D @ a)
        x_old, x = x, np.maximum(x_hat - gradient / lipschitz, 0)
        found.append(x)
    return found


def test_layers_are_those_of_explicit_patches():
    regularizer = model()
    D, projector = numbers(regularizer)
    layers = DirectLayers(regularizer)
    generator = np.random.default_rng(0)
    x, a = generator.normal(size=SIZE), generator.normal(size=(14, *SIZE))
    flat = a.reshape(14, -1)
    pairs = (
        (layers.analyse(torch.from_numpy(x)), (D.T @ patches(x)).reshape(a.shape)),
        (layers.combine(torch.from_numpy(a)), (D.T @ D @ flat).reshape(a.shape)),
        (layers.synthesise(torch.from_numpy(a)), put_back(D @ flat)),
        (layers.penalise(torch.from_numpy(x)), put_back(projector @ patches(x))),
    )
    for found, expected in pairs:
        assert found.shape == expected.shape
        assert np.abs(found.numpy() - expected).max() <= 1e-12


@pytest.mark.parametrize("potential", ["power", "group"])
def test_iterates_are_those_of_explicit_patches(potential):
    regularizer = model(potential)
    generator = np.random.default_rng(1)
    y, gain = generator.normal(size=SIZE), generator.uniform(0, 1, size=SIZE)
    expected = iteration_by_hand(regularizer, y, gain, steps=7, extra=1.0)
    seen: list[np.ndarray] = []
    result = run_published_iteration(
        regularizer,
        torch.from_numpy(gain * y),
        gram=lambda x: torch.from_numpy(gain**2) * x,
        nonnegative=True,
        tolerance=0.0,
        iterations=7,
        look=lambda _, x: seen.append(x.numpy()),
    )
    assert result.iterations == len(result.seconds) == 7
    assert result.stopping_reason == "iterations"
    for found, wanted in zip(seen, expected, strict=True):
        assert np.abs(found - wanted).max() <= 1e-12
    assert (expected[-1] == 0).any()
    assert (expected[-1] > 0).any()
    moved = np.linalg.norm(expected[-1] - expected[-2]) / np.linalg.norm(expected[-2])
    assert result.changes[-1] == pytest.approx(moved, rel=1e-9)


def test_the_penalty_kernel_has_its_identities():
    regularizer = model()
    kernel = penalty_kernel(regularizer)
    assert kernel.shape == (2 * SIDE - 1, 2 * SIDE - 1)
    assert float(kernel[SIDE - 1, SIDE - 1]) == pytest.approx(10, abs=1e-12)  # trace of P^
    assert abs(float(kernel.sum())) <= 1e-12  # constants are free
    assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-14)
    for size in (SIZE, (6, 7), (40, 33)):
        dense = torch.zeros(size, dtype=torch.float64)
        for u in regularizer.basis:
            padded = torch.zeros(size, dtype=torch.float64)
            padded[:SIDE, :SIDE] = u
            dense += torch.fft.fft2(padded).abs() ** 2
        assert penalty_norm(regularizer, size) == pytest.approx(float(dense.max()), rel=1e-12)


def test_without_shrinkage_left_the_quadratic_is_solved():
    """With scales that let nothing through, x solves ``(I + beta sum P^T P^ P) x = y``."""
    regularizer = model()
    _, projector = numbers(regularizer)
    high = PatchRegularizer(
        basis=regularizer.basis, factors=regularizer.factors, scales=regularizer.scales * 1e12,
        beta=regularizer.beta, potential=regularizer.potential,
    )  # fmt: skip
    y = np.random.default_rng(2).normal(size=SIZE)
    for published_step in (False, True):
        found = run_published_iteration(
            high, torch.from_numpy(y), tolerance=1e-15, iterations=3000,
            published_step=published_step,
        ).image.numpy()  # fmt: skip
        left = found + 0.7 * put_back(projector @ patches(found))
        assert np.abs(left - y).max() <= 1e-9


def test_the_published_step_is_longer():
    regularizer = model()
    y = torch.rand(SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    steps = [
        run_published_iteration(regularizer, y, iterations=1, published_step=short).changes[0]
        for short in (False, True)
    ]
    quadratic = 0.7 * penalty_norm(regularizer, SIZE)
    assert steps[1] / steps[0] == pytest.approx(1 + 1 / quadratic, rel=1e-9)


def test_it_stops_by_tolerance_or_word():
    regularizer = model(dtype=torch.float32)
    y = torch.rand(SIZE, generator=torch.Generator().manual_seed(0))
    result = run_published_iteration(regularizer, y, tolerance=1e-3)
    assert result.stopping_reason == "tolerance"
    assert result.changes[-1] <= 1e-3 < min(result.changes[:-1])
    told = run_published_iteration(
        regularizer, y, tolerance=0.0, look=lambda k, _: "enough" if k == 4 else None
    )
    assert (told.iterations, told.stopping_reason) == (4, "enough")


def test_images_that_do_not_fit_are_refused():
    regularizer = model("group")
    for image, words in (
        (torch.zeros(12, 13, dtype=torch.float64), "blocks of 2"),
        (torch.zeros(2, 12, dtype=torch.float64), "smaller than 4"),
        (torch.zeros(1, 12, 12, dtype=torch.float64), "expected real"),
        (torch.zeros(12, 12, dtype=torch.complex64), "expected real"),
    ):
        with pytest.raises(DataError, match=words):
            run_published_iteration(regularizer, image)


def test_an_unknown_potential_is_refused():
    class Other:
        name = "other"

    with pytest.raises(DataError, match="expected 'power' or 'group'"):
        published_prox(Other(), torch.zeros(1, 2, 2), torch.ones(1))  # type: ignore[arg-type]
