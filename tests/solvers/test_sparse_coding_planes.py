"""Every plane of a batch is solved as if it were alone."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch

from lowfield_recon.solvers.convolutional_model import filter_spectra
from lowfield_recon.solvers.sparse_coding import (
    SparseCodingProblem,
    sparse_codes_admm,
    sparse_codes_descent,
    sparse_codes_fista,
)

SOLVERS = pytest.mark.parametrize(
    "solve",
    [
        sparse_codes_admm,
        sparse_codes_descent,
        partial(sparse_codes_fista, restart=True),
        partial(sparse_codes_fista, momentum="delayed"),
    ],
    ids=["admm", "descent", "fista with restart", "fista as mrpro"],
)
SIZE = (24, 20)
SCALES = (1.0, 0.01, 30.0)


@pytest.fixture(scope="module")
def batch() -> SparseCodingProblem:
    """Three planes with masks, gains, weights and scales of their own."""
    g = torch.Generator().manual_seed(2)
    d = torch.randn(6, 5, 5, generator=g)
    shares = torch.tensor([0.3, 0.6, 0.9])[:, None, None]
    mask = (torch.rand(3, *SIZE, generator=g) < shares).float()
    mask[2] *= 0.25
    scale = torch.tensor(SCALES)[:, None, None]
    y = torch.randn(3, *SIZE, generator=g, dtype=torch.complex64) * mask.sqrt() * scale
    weights = (0.1 + 0.4 * torch.rand(6, 3, *SIZE, generator=g)) * scale
    return SparseCodingProblem(
        spectra=filter_spectra(d / d.flatten(1).norm(dim=1)[:, None, None], SIZE),
        rhs=y * mask.sqrt() * (SIZE[0] * SIZE[1]) ** 0.5,
        energy=0.5 * float(y.abs().square().sum()),
        weights=weights,
        eigenvalues=mask,
    )


def _plane(problem: SparseCodingProblem, p: int) -> SparseCodingProblem:
    return dataclasses.replace(
        problem, rhs=problem.rhs[p : p + 1], weights=problem.weights[:, p : p + 1],
        eigenvalues=problem.eigenvalues[p : p + 1],
    )  # fmt: skip


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


@SOLVERS
@pytest.mark.parametrize("iterations", [1, 25])
def test_a_batch_of_three_is_three_batches_of_one(batch, solve, iterations):
    together = solve(batch, iterations=iterations).codes
    for p in range(3):
        alone = solve(_plane(batch, p), iterations=iterations).codes
        assert alone.any() or iterations == 1
        assert _differ(alone[:, 0], together[:, p]) <= 1e-6 or not alone.any()


@SOLVERS
def test_a_plane_that_has_arrived_waits_for_the_others(batch, solve):
    found = solve(batch, iterations=2000, tolerance=3e-4)
    alone = [solve(_plane(batch, p), iterations=2000, tolerance=3e-4) for p in range(3)]
    ends = [a.iterations for a in alone]
    assert found.stopping_reason == "tolerance"
    assert len(set(ends)) > 1
    assert abs(found.iterations - max(ends)) <= 1
    for p in range(3):
        # One iteration more or less at the threshold is what rounding may do.
        assert _differ(alone[p].codes[:, 0], found.codes[:, p]) <= 3e-4


def test_the_lipschitz_constant_is_that_of_each_plane(batch):
    expected = [float(_plane(batch, p).lipschitz()) for p in range(3)]
    assert batch.lipschitz().tolist() == pytest.approx(expected)
    assert len({round(value, 3) for value in expected}) == 3


def test_planes_that_an_operator_may_couple_share_their_step(batch):
    general = dataclasses.replace(
        batch, eigenvalues=None, gram=lambda k: batch.eigenvalues * k, norm_squared=1.0
    )
    expected = float(batch.spectra.power.max())
    assert general.lipschitz().tolist() == pytest.approx([expected] * 3)
    assert general.shared(torch.tensor([1.0, 2.0, 4.0])).tolist() == [7.0] * 3
