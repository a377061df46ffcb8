"""Denoising with the image eliminated, against explicit patches and plain iterations."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.patch_denoising import solve_coefficients
from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings
from lowfield_recon.learning.patch_reduced import ReducedProblem, inner_products, reduced_problem
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

POTENTIALS = ("power", "group")


def _regularizer(potential: str, *, beta: float = 0.7) -> PatchRegularizer:
    settings = PatchPriorSettings(
        patch=3, atoms=7, free_atoms=3, potential=potential, base_scale=0.05, initial_beta=beta
    )
    return PatchPrior(settings, seed=2).regularizer(dtype=torch.float64)


def _images(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*size, generator=generator, dtype=torch.float64)


def _patches(image: torch.Tensor, side: int) -> torch.Tensor:
    """Cut out the patch around each pixel, circularly, `(side * side, y, x)`."""
    half = side // 2
    shifts = [(dy, dx) for dy in range(-half, half + 1) for dx in range(-half, half + 1)]
    return torch.stack([image.roll((-dy, -dx), dims=(0, 1)) for dy, dx in shifts])


def _by_pixel(coefficients: torch.Tensor, problem: ReducedProblem) -> torch.Tensor:
    """Sort the coefficients of one plane as `(K, y, x)`, block by block."""
    n_y, n_x = problem.size
    block = problem.regularizer.potential.block
    sorted_ = torch.empty(len(coefficients), n_y, n_x, dtype=coefficients.dtype)
    for member in range(block * block):
        y, x = divmod(member, block)
        values = coefficients[:, member, 0].reshape(-1, n_y // block, n_x // block)
        sorted_[:, y::block, x::block] = values
    return sorted_


def _explicit_value(
    image: torch.Tensor, noisy: torch.Tensor, coefficients: torch.Tensor, problem: ReducedProblem
) -> torch.Tensor:
    """Return ``1/2 ||x - y||^2 + beta/2 sum_k ||P^ P_k x - D a_k||^2`` from explicit patches."""
    regularizer = problem.regularizer
    U = regularizer.basis.flatten(1)
    patches = torch.einsum("qp,pyx->qyx", U.mT @ U, _patches(image, regularizer.basis.shape[-1]))
    D = regularizer.dictionary.flatten(1)
    synthesis = torch.einsum("kp,kyx->pyx", D, _by_pixel(coefficients, problem))
    misfit = (image - noisy).square().sum() + regularizer.beta * (
        patches - synthesis
    ).square().sum()
    return misfit / 2


@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize("size", [(6, 8), (8, 6)])
def test_the_step_is_the_gradient_of_the_explicit_problem(potential, size) -> None:
    noisy = _images(1, *size)
    problem = reduced_problem(noisy, _regularizer(potential))
    start = torch.randn(problem.zeros().shape, dtype=torch.float64, generator=_generator())
    coefficients = start.clone().requires_grad_()
    image = problem.image(problem.channels(start))[0].requires_grad_()
    value = _explicit_value(image, noisy[0], coefficients, problem)
    image_slope, slope = torch.autograd.grad(value, (image, coefficients))
    assert float(image_slope.abs().max()) <= 1e-12
    torch.testing.assert_close(problem.forward_step(start), start - slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize("size", [(6, 8), (4, 6)])
def test_the_hessian_is_symmetric_and_between_0_and_1(potential, size) -> None:
    problem = reduced_problem(_images(1, *size), _regularizer(potential))
    zeros = problem.zeros()
    columns = []
    for index in range(zeros.numel()):
        unit = torch.zeros_like(zeros).flatten()
        unit[index] = 1
        unit = unit.reshape(zeros.shape)
        columns.append((unit - problem.without_curvature(unit)).flatten())
    hessian = torch.stack(columns)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    assert float((hessian - hessian.mT).abs().max()) <= 1e-14
    assert float(eigenvalues[0]) >= -1e-14
    assert 0.5 < float(eigenvalues[-1]) <= 0.99 + 1e-12
    diagonal = hessian.diagonal().reshape(len(zeros), -1)
    expected = problem.curvature_diagonal()[:, None].expand_as(diagonal)
    torch.testing.assert_close(diagonal, expected, rtol=0, atol=1e-14)


def test_the_diagonal_holds_for_an_odd_number_of_columns() -> None:
    problem = reduced_problem(_images(1, 5, 7), _regularizer("power"))
    zeros = problem.zeros()
    for atom in range(len(zeros)):
        unit = torch.zeros_like(zeros)
        unit[atom, 0, 0, 11] = 1
        seen = 1 - float(problem.without_curvature(unit)[atom, 0, 0, 11])
        assert seen == pytest.approx(float(problem.curvature_diagonal()[atom]), abs=1e-14)


@pytest.mark.parametrize("potential", POTENTIALS)
def test_the_solution_is_a_fixed_point_of_the_alternating_iteration(potential) -> None:
    noisy = _images(2, 8, 8)
    problem = reduced_problem(noisy, _regularizer(potential))
    found = solve_coefficients(problem, tolerance=1e-13, iterations=5000)
    assert bool(found.converged.all())
    a = found.coefficients
    torch.testing.assert_close(problem.shrink(problem.forward_step(a)), a, rtol=0, atol=1e-11)


def test_the_convex_minimiser_is_that_of_plain_gradient_steps() -> None:
    problem = reduced_problem(_images(1, 8, 8), _regularizer("group"))
    found = solve_coefficients(problem, tolerance=1e-13, iterations=5000)
    a = problem.zeros()
    for _ in range(3000):
        a = problem.shrink(problem.forward_step(a))
    image, plain = (problem.image(problem.channels(c)) for c in (found.coefficients, a))
    torch.testing.assert_close(image, plain, rtol=0, atol=1e-9)


@pytest.mark.parametrize("potential", POTENTIALS)
def test_planes_know_nothing_of_each_other(potential) -> None:
    noisy = torch.stack([_images(8, 8), 0.1 * _images(8, 8, seed=1), 5 * _images(8, 8, seed=2)])
    problem = reduced_problem(noisy, _regularizer(potential))
    one, all_ = (
        solve_coefficients(problem, tolerance=1e-6, planes_at_once=count) for count in (1, 3)
    )
    assert one.iterations.tolist() == all_.iterations.tolist()
    assert len(set(one.iterations.tolist())) > 1
    torch.testing.assert_close(one.coefficients, all_.coefficients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("potential", POTENTIALS)
def test_it_stops_when_image_and_coefficients_rest(potential) -> None:
    """The first iteration at which both relative changes are below the tolerance is the last."""
    problem = reduced_problem(_images(1, 8, 8), _regularizer(potential))
    count = int(solve_coefficients(problem, tolerance=1e-3).iterations)
    steps = [
        solve_coefficients(problem, tolerance=1e-30, iterations=n).coefficients
        for n in range(count - 2, count + 1)
    ]
    images = [problem.spectrum(problem.channels(a), problem.noisy) for a in steps]
    changes = [
        max(
            float((b - a).norm() / b.norm())
            for a, b in (pair[n : n + 2] for pair in (steps, images))
        )
        for n in range(2)
    ]
    assert changes[1] < 1.5e-3
    assert changes[0] > 0.7e-3


def test_inertia_gets_there_sooner_and_is_lost_where_it_overshoots() -> None:
    problem = reduced_problem(_images(1, 12, 12), _regularizer("group"))
    end = solve_coefficients(problem, tolerance=1e-13, iterations=5000).coefficients
    quick = solve_coefficients(problem, tolerance=1e-30, iterations=120).coefficients
    plain = with_inertia = before = problem.zeros()
    for n in range(120):
        plain = problem.shrink(problem.forward_step(plain))
        start = with_inertia + n / (n + 3) * (with_inertia - before)
        before, with_inertia = with_inertia, problem.shrink(problem.forward_step(start))
    left, plain_left, inertia_left = (float((a - end).norm()) for a in (quick, plain, with_inertia))
    assert left < 0.1 * plain_left
    assert left < 0.1 * inertia_left


def test_too_few_iterations_are_said() -> None:
    problem = reduced_problem(_images(1, 8, 8), _regularizer("power"))
    found = solve_coefficients(problem, tolerance=1e-12, iterations=3)
    assert found.iterations.tolist() == [3]
    assert found.converged.tolist() == [False]


@pytest.mark.parametrize("potential", POTENTIALS)
def test_a_constant_passes_through(potential) -> None:
    noisy = _images(1, 8, 8)
    problems = [reduced_problem(y, _regularizer(potential)) for y in (noisy, noisy + 3)]
    images = [
        p.image(p.channels(solve_coefficients(p, tolerance=1e-12).coefficients)) for p in problems
    ]
    torch.testing.assert_close(images[1], images[0] + 3, rtol=0, atol=1e-9)


def test_inner_products_agree_for_one_plane_and_several() -> None:
    first, second = _images(4, 1, 3, 5), _images(4, 1, 3, 5, seed=1)
    together = inner_products(first, second)
    for plane in range(3):
        chosen = slice(plane, plane + 1)
        alone = inner_products(first[:, :, chosen], second[:, :, chosen])
        torch.testing.assert_close(alone, together[chosen], rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("potential", "image", "match"),
    [
        ("power", torch.ones(1, 2, 8), "smaller than the patches of 3 x 3"),
        ("group", torch.ones(1, 8, 7), "expected multiples of 2"),
        ("power", torch.ones(8, 8), r"expected real \(planes, y, x\)"),
        ("power", torch.ones(1, 8, 8, dtype=torch.complex64), "complex64; expected real"),
    ],
)
def test_images_that_do_not_fit_are_refused(potential, image, match) -> None:
    with pytest.raises(UsageError, match=match):
        reduced_problem(image, _regularizer(potential))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)
