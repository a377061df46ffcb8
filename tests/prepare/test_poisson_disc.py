"""Poisson-disc patterns: distances, density, randomness, speed."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.prepare.poisson_disc import poisson_disc


def pattern(n_2: int, n_1: int, n_samples: int, *, block: int = 0, seed: int = 0) -> np.ndarray:
    calibration = torch.zeros(n_2, n_1, dtype=torch.bool)
    rows = min(block, n_2)
    top, left = n_2 // 2 - rows // 2, n_1 // 2 - block // 2
    calibration[top : top + rows, left : left + block] = True
    return poisson_disc(calibration, n_samples, seed=seed).numpy()


def nearest(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return radius (1 at the middle of each edge) and distance to the nearest other sample."""
    points = np.argwhere(mask)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    relative = (points - np.array(mask.shape) // 2) / (np.array(mask.shape) / 2)
    return np.linalg.norm(relative, axis=1), apart.min(axis=1)


def test_samples_keep_a_distance_that_random_ones_do_not() -> None:
    mask = pattern(64, 64, 512, seed=1)
    radius, apart = nearest(mask)
    rng = np.random.default_rng(0)
    uniform = np.zeros(64 * 64, dtype=bool)
    uniform[rng.choice(64 * 64, 512, replace=False)] = True
    _, apart_uniform = nearest(uniform.reshape(64, 64))
    assert np.mean(apart_uniform < 1.5) > 0.4
    assert not np.any(apart[radius > 0.5] < 1.5)
    # r(p) = s (1 + 2 |p|) of the earlier of two samples: one s holds for all pairs
    scale = (apart / (1 + 2 * radius)).min()
    assert scale > 0.5


def test_density_falls_outwards() -> None:
    mask = np.mean([pattern(64, 64, 512, seed=s) for s in range(8)], axis=0)
    y, x = np.meshgrid(np.arange(64) - 32, np.arange(64) - 32, indexing="ij")
    radius = np.hypot(y, x) / 32
    rings = [mask[(radius >= a) & (radius < a + 0.25)].mean() for a in (0, 0.25, 0.5, 0.75)]
    assert rings == sorted(rings, reverse=True)
    assert rings[0] > 2.5 * rings[-1]


def test_lines_in_one_dimension_keep_their_distance_too() -> None:
    lines = np.flatnonzero(pattern(1, 256, 64, block=24, seed=3)[0])
    gaps = np.diff(lines)
    outside = (lines[:-1] < 100) | (lines[1:] > 156)
    assert gaps[outside].min() >= 2
    assert gaps.max() < 16
    assert len(lines) == 64


def test_the_seed_decides_and_global_numbers_are_left_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (pattern(32, 40, 300, block=6, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert torch.equal(before, torch.get_rng_state())


def test_a_large_plane_takes_about_a_second() -> None:
    start = time.process_time()
    mask = pattern(256, 256, 8192, block=24)
    assert time.process_time() - start < 3  # 0.3 s on an idle core
    assert mask.sum() == 8192


@pytest.mark.parametrize("n_samples", [8, 65])
def test_impossible_numbers_are_refused(n_samples: int) -> None:
    with pytest.raises(UsageError, match=r"expected 9 \(the calibration\) to 64 samples"):
        pattern(8, 8, n_samples, block=3)
