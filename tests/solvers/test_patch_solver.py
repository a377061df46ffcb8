"""The patch solver as a whole: its methods agree, grids, planes, precision, callbacks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon.solvers import patch_solver
from lowfield_recon.solvers.patch_problem import PatchProblem, coarse_size
from lowfield_recon.solvers.patch_solver import default_iterations, smooth_image, solve_patches
from lowfield_recon.solvers.patch_subspace import PatchSubspace

WIDE = (50, 34)
"""Two grids with patches of 5 x 3 pixels: 28 x 20 and this one."""


def scene(size: tuple[int, int], planes: int = 1, *, seed: int = 0) -> torch.Tensor:
    """Return squares on a slope with some noise, float64 `(planes, y, x)`."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(
        torch.linspace(0, 1, size[0], dtype=torch.float64),
        torch.linspace(0, 1, size[1], dtype=torch.float64),
        indexing="ij",
    )
    squares = ((3 * y).floor() + (4 * x).floor()) % 2
    noise = torch.randn(planes, *size, generator=generator, dtype=torch.float64)
    return 0.3 * y + 0.6 * squares + 0.05 * noise


def differ(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.fixture
def ill_posed(small_prior, stated, mirrored_gain):
    """Return what states a problem with half of the frequencies missing."""

    def state(potential: str = "power", dtype: torch.dtype = torch.float64, **how) -> PatchProblem:
        prior = small_prior(potential, dtype.to_real(), beta=0.05, scale=0.004)
        image = scene(WIDE).to(dtype.to_real())
        if dtype.is_complex:
            image = image * torch.exp(1j * torch.linspace(0, 2, WIDE[1], dtype=dtype.to_real()))
        return stated(image, prior, mirrored_gain(WIDE, kept=0.3), **how)

    return state


@pytest.mark.parametrize("potential", ["power", "group"])
@pytest.mark.parametrize("kind", ["real", "complex", "nonnegative", "not exact"])
def test_accelerated_ends_no_higher_than_ipalm(ill_posed, potential, kind):
    dtype = torch.complex128 if kind == "complex" else torch.float64
    problem = ill_posed(
        potential, dtype, is_exact=kind != "not exact", is_nonnegative=kind == "nonnegative"
    )
    slow = solve_patches(problem, method="ipalm", iterations=500, tolerance=1e-6, check_every=100)
    fast = solve_patches(problem, iterations=200, tolerance=1e-6)
    assert fast.objective[-1] <= 1.005 * slow.objective[-1]
    if kind == "nonnegative":
        assert float(fast.image.min()) >= 0


def test_the_convex_minimiser_does_not_depend_on_the_way(ill_posed):
    problem = ill_posed("group")
    images = [
        solve_patches(problem, method=method, iterations=n, tolerance=0, check_every=n)
        for method, n in (("accelerated", 600), ("ipalm", 1500))
    ]
    fast, slow = images
    assert fast.objective[-1] == pytest.approx(slow.objective[-1], rel=1e-4)
    assert differ(fast.image, slow.image) <= 3e-3


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("method", ["accelerated", "ipalm", "palm"])
@pytest.mark.parametrize("potential", ["power", "group"])
def test_planes_do_not_know_of_each_other(small_prior, stated, dtype, method, potential):
    images = scene((12, 14), 3).to(dtype)
    images[1] *= 3
    prior = small_prior(potential)
    together = solve_patches(stated(images, prior), method=method, iterations=20, tolerance=0)
    for plane in range(3):
        one = stated(images[plane : plane + 1], prior)
        alone = solve_patches(one, method=method, iterations=20, tolerance=0)
        assert differ(together.image[plane], alone.image[0]) <= 1e-12


@pytest.mark.parametrize("method", ["ipalm", "palm"])
def test_planes_with_masks_of_their_own(small_prior, stated, mirrored_gain, method):
    images, prior = scene((12, 14), 3), small_prior()
    gains = torch.cat([mirrored_gain((12, 14), seed=s) for s in range(3)])
    together = solve_patches(
        stated(images, prior, gains), method=method, iterations=20, tolerance=0
    )
    for i in range(3):
        one = stated(images[i : i + 1], prior, gains[i : i + 1])
        one = dataclasses.replace(one, lipschitz=float(gains.square().max()))
        alone = solve_patches(one, method=method, iterations=20, tolerance=0)
        assert differ(together.image[i], alone.image[0]) <= 1e-12


def test_the_smooth_images_of_planes_with_masks_of_their_own(small_prior, stated, mirrored_gain):
    images, prior = scene((12, 14), 3), small_prior()
    gains = torch.cat([mirrored_gain((12, 14), seed=s) for s in range(3)])
    together = smooth_image(stated(images, prior, gains))
    for i in range(3):
        alone = smooth_image(stated(images[i : i + 1], prior, gains[i : i + 1]))
        assert differ(together[i], alone[0]) <= 1e-12


@pytest.mark.parametrize("potential", ["power", "group"])
@pytest.mark.parametrize("method", ["accelerated", "ipalm", "palm"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_single_precision_is_near_double(ill_posed, potential, method, dtype):
    double = solve_patches(ill_posed(potential, dtype), method=method, iterations=25, tolerance=0)
    lower = torch.complex64 if dtype.is_complex else torch.float32
    single = solve_patches(ill_posed(potential, lower), method=method, iterations=25, tolerance=0)
    assert single.image.dtype == lower
    # Along the continuation a non-convex R makes more of a rounding error.
    is_sensitive = method == "accelerated" and potential == "power"
    assert differ(single.image, double.image) <= (1e-3 if is_sensitive else 1e-5)
    assert single.objective[-1] == pytest.approx(double.objective[-1], rel=1e-5)


@pytest.mark.parametrize("is_exact", [True, False])
def test_the_smooth_image_solves_its_equations(ill_posed, is_exact):
    problem = ill_posed(is_exact=is_exact)
    prior = problem.regularizer
    x = smooth_image(problem)
    h = PatchSubspace(prior.basis, WIDE).response
    left = problem.gram(x) + prior.beta * torch.fft.ifft2(h * torch.fft.fft2(x)).real
    assert differ(left, problem.rhs) <= 1e-8
    huge = dataclasses.replace(prior, scales=prior.scales * 1e12)
    limit = dataclasses.replace(problem, regularizer=huge)
    if is_exact:
        found = solve_patches(limit, iterations=3, tolerance=0)
        assert differ(found.image, x) <= 1e-8


def test_the_smooth_image_of_a_nonnegative_problem_is_its_minimiser(ill_posed):
    problem = ill_posed(is_nonnegative=True)
    shifted = dataclasses.replace(problem, rhs=problem.rhs - 0.4)
    prior = problem.regularizer
    x = smooth_image(shifted)
    h = PatchSubspace(prior.basis, WIDE).response
    slope = problem.gram(x) + prior.beta * torch.fft.ifft2(h * torch.fft.fft2(x)).real - shifted.rhs
    assert float(x.min()) == 0
    scale = float(shifted.rhs.abs().max())
    assert float(slope[x > 0].abs().max()) <= 1e-3 * scale
    assert float(slope[x == 0].min()) >= -1e-3 * scale


@pytest.mark.parametrize("method", ["accelerated", "ipalm", "palm"])
def test_a_callback_sees_full_images_counted_over_all_grids(ill_posed, method):
    problem = ill_posed()
    assert coarse_size(WIDE, (5, 3)) == (28, 20)
    seen: list[tuple[int, int]] = []

    def look(state) -> None:
        assert state.solution.shape == problem.rhs.shape
        seen.append((state.number, state.total))

    found = solve_patches(problem, method=method, iterations=30, tolerance=0, callback=look)
    coarse = len(seen) - 30
    assert (coarse > 0) == (method == "accelerated")
    assert seen == [(k, coarse + 30) for k in range(1, coarse + 31)]
    assert (found.iterations, len(found.changes)) == (30, 30)
    assert found.evaluated_at[-1] == 30


@pytest.mark.parametrize("number", [3, -3])
def test_a_callback_may_end_it_on_any_grid(ill_posed, number):
    problem = ill_posed()
    last: list[torch.Tensor] = []

    def look(state) -> str | None:
        last.append(state.solution)
        place = number if number > 0 else state.total + number
        return "budget" if state.number == place else None

    found = solve_patches(problem, iterations=30, tolerance=0, callback=look)
    assert found.stopping_reason == "budget"
    assert found.iterations == (0 if number > 0 else 27)
    assert len(found.changes) == found.iterations
    assert torch.equal(found.image, last[-1])


def test_no_image_of_a_nonnegative_problem_is_negative_on_any_grid(ill_posed):
    problem = ill_posed(is_nonnegative=True)
    dark = dataclasses.replace(problem, rhs=problem.rhs - 0.4)
    least: list[float] = []
    solve_patches(
        dark, iterations=3, tolerance=0, callback=lambda s: least.append(float(s.solution.min()))
    )
    assert len(least) > 3
    assert set(least) == {0.0}


def test_well_posed_problems_have_one_grid(small_prior, stated):
    seen: list[int] = []
    problem = stated(scene(WIDE), small_prior())
    solve_patches(
        problem, iterations=7, tolerance=0, callback=lambda state: seen.append(state.total)
    )
    assert seen == [7] * 7


def test_the_tolerance_ends_the_full_grid_only(ill_posed):
    found = solve_patches(ill_posed("group"), iterations=1000, tolerance=3e-4)
    assert found.stopping_reason == "tolerance"
    assert found.changes[-1] <= 3e-4
    before, last = found.objective[-2:]
    gap = found.evaluated_at[-1] - found.evaluated_at[-2]
    assert abs(before - last) <= 3e-4 * gap * abs(last)
    assert found.iterations < 1000


def test_iterations_are_those_of_the_full_grid(ill_posed):
    for n in (1, 2, 12):
        found = solve_patches(ill_posed(), iterations=n, tolerance=0)
        assert (found.iterations, found.stopping_reason) == (n, "iterations")
        assert found.evaluated_at[-1] == n
        assert found.image.isfinite().all()


def test_two_runs_are_bit_identical(ill_posed):
    first = solve_patches(ill_posed("group"), iterations=15, tolerance=0)
    torch.rand(3)
    second = solve_patches(ill_posed("group"), iterations=15, tolerance=0)
    assert torch.equal(first.image, second.image)
    assert first.objective == second.objective


def test_an_image_of_zeros_stays_zero(small_prior, stated, mirrored_gain):
    problem = stated(torch.zeros(1, *WIDE).double(), small_prior(), mirrored_gain(WIDE, kept=0.3))
    for method in ("accelerated", "ipalm", "palm"):
        found = solve_patches(problem, method=method, iterations=20)
        assert not found.image.any()
        assert found.objective[-1] == 0


def test_the_coarse_grids_are_used(ill_posed, monkeypatch):
    """Without them the accelerated method starts from the data, and is elsewhere after a step."""
    problem = ill_posed()
    short = solve_patches(problem, iterations=2, tolerance=0)
    monkeypatch.setattr(patch_solver, "coarse_size", lambda size, patch: None)
    alone = solve_patches(problem, iterations=2, tolerance=0)
    assert differ(short.image, alone.image) > 1e-3


def test_where_the_data_determine_the_image_more_iterations_are_allowed(
    small_prior, stated, ill_posed
):
    everything = stated(scene((12, 14), 1), small_prior())
    assert (default_iterations(everything), default_iterations(ill_posed())) == (300, 180)
