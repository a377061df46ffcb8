"""The implicit gradient against finite differences, a long unrolling and a dense system."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lowfield_recon.learning.patch_adjoint import AdjointSystem
from lowfield_recon.learning.patch_denoising import solve_coefficients
from lowfield_recon.learning.patch_implicit import (
    ImplicitReport,
    ImplicitSettings,
    denoise,
)
from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings
from lowfield_recon.learning.patch_reduced import reduced_problem

POTENTIALS = ("power", "group")
EXACT = ImplicitSettings(
    tolerance=1e-14, iterations=20_000, backward_tolerance=1e-12, backward_iterations=3000
)
ANDERSON = ImplicitSettings(
    tolerance=1e-14, iterations=20_000, backward="anderson", backward_tolerance=1e-12,
    backward_iterations=3000,
)  # fmt: skip


def _prior(potential: str, removal: str = "learned", *, patch: int = 5) -> PatchPrior:
    settings = PatchPriorSettings(
        patch=patch,
        atoms=14,
        free_atoms=0 if removal == "none" else 12 if patch == 5 else 3,
        removal=removal,
        potential=potential,
        base_scale=0.05 if potential == "power" else 0.02,
        initial_beta=0.9,
    )
    prior = PatchPrior(settings, seed=1).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        prior.scaling.add_(0.3 * torch.randn(14, generator=generator, dtype=torch.float64))
    return prior


def _data(n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(2, 2, n, n, generator=generator, dtype=torch.float64)
    return pair[0], pair[1]


def _loss(
    prior: PatchPrior,
    settings: ImplicitSettings,
    report: Callable[[ImplicitReport], None] | None = None,
) -> torch.Tensor:
    noisy, clean = _data()
    return (denoise(noisy, prior(), settings, report=report) - clean).square().mean()


def _gradients(prior: PatchPrior, settings: ImplicitSettings) -> dict[str, torch.Tensor]:
    prior.zero_grad()
    _loss(prior, settings).backward()
    return {name: p.grad.clone() for name, p in prior.named_parameters()}  # type: ignore[union-attr]


@pytest.mark.parametrize("removal", ["learned", "dct", "none"])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_every_gradient_is_that_of_finite_differences(potential, removal) -> None:
    prior = _prior(potential, removal)
    gradients = _gradients(prior, EXACT)
    kinds = {"atoms", "beta", "scaling"} | ({"free_atoms"} if removal == "learned" else set())
    assert set(gradients) == kinds
    generator = torch.Generator().manual_seed(7)
    for name, parameter in prior.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction += 3 * gradients[name] / gradients[name].norm()
        direction *= parameter.detach().norm() / direction.norm()
        analytic = float((gradients[name] * direction).sum())
        numeric = _difference(prior, parameter, direction)
        assert analytic == pytest.approx(numeric, rel=1e-5), name


def _difference(prior: PatchPrior, parameter: torch.Tensor, direction: torch.Tensor) -> float:
    values = []
    with torch.no_grad():
        own = parameter.clone()
        for sign in (1, -1):
            parameter.copy_(own + sign * 1e-5 * direction)
            values.append(float(_loss(prior, EXACT)))
        parameter.copy_(own)
    return (values[0] - values[1]) / 2e-5


@pytest.mark.parametrize("potential", POTENTIALS)
def test_the_gradient_is_that_of_a_long_unrolling(potential) -> None:
    prior = _prior(potential)
    implicit = _gradients(prior, EXACT)
    prior.zero_grad()
    noisy, clean = _data()
    problem = reduced_problem(noisy, prior())
    a = solve_coefficients(problem, tolerance=1e-14, iterations=20_000).coefficients
    for _ in range(600):
        a = problem.shrink(problem.forward_step(a))
    (problem.image(problem.channels(a)) - clean).square().mean().backward()
    for name, parameter in prior.named_parameters():
        unrolled = parameter.grad
        assert float((implicit[name] - unrolled).norm() / unrolled.norm()) <= 1e-7, name


@pytest.mark.parametrize("potential", POTENTIALS)
def test_anderson_acceleration_finds_the_same(potential) -> None:
    prior = _prior(potential)
    one, other = _gradients(prior, EXACT), _gradients(prior, ANDERSON)
    for name, gradient in one.items():
        assert float((gradient - other[name]).norm() / gradient.norm()) <= 1e-8, name


@pytest.mark.parametrize("backward", ["cg", "anderson"])
@pytest.mark.parametrize("potential", POTENTIALS)
def test_planes_may_be_solved_together(potential, backward) -> None:
    settings = {
        count: ImplicitSettings(
            tolerance=1e-12, iterations=20_000, backward=backward, backward_tolerance=1e-10,
            backward_iterations=3000, planes_at_once=count,
        )
        for count in (1, 2)
    }  # fmt: skip
    prior = _prior(potential)
    one, both = (_gradients(prior, settings[count]) for count in (1, 2))
    for name, gradient in one.items():
        assert float((gradient - both[name]).norm() / gradient.norm()) <= 1e-7, name


@pytest.mark.parametrize("potential", POTENTIALS)
def test_anderson_acceleration_accelerates(potential) -> None:
    """The plain iteration z <- g + (I - B) J z needs more than twice the steps."""
    prior = _prior(potential)
    reports: list[ImplicitReport] = []
    _loss(prior, ANDERSON, reports.append).backward()
    problem = reduced_problem(_data()[0], prior.regularizer(dtype=torch.float64))
    a = solve_coefficients(problem, tolerance=1e-14, iterations=20_000).coefficients
    jacobian = problem.regularizer.potential.jacobian(
        problem.forward_step(a).flatten(2), problem.regularizer.scales
    )
    generator = torch.Generator().manual_seed(0)
    z = start = torch.randn(a.shape, generator=generator, dtype=torch.float64)
    steps = int(2 * reports[0].backward_iterations)
    for _ in range(steps):
        before = z
        z = start + problem.without_curvature(jacobian(z.flatten(2)).reshape(z.shape))
    assert float((z - before).norm() / start.norm()) > 1e-12


@pytest.mark.parametrize("potential", POTENTIALS)
def test_the_preconditioner_is_the_diagonal(potential) -> None:
    prior = _prior(potential, patch=3)
    generator = torch.Generator().manual_seed(4)
    noisy = torch.rand(1, 4, 4, generator=generator, dtype=torch.float64)
    problem = reduced_problem(noisy, prior.regularizer(dtype=torch.float64))
    a = solve_coefficients(problem, tolerance=1e-12).coefficients
    system = AdjointSystem(problem, a, a)
    basis = torch.eye(a.numel(), dtype=torch.float64)
    product = torch.stack([system.symmetric(unit.reshape(a.shape)).flatten() for unit in basis])
    assert float((product - product.mT).abs().max()) <= 1e-14
    inverse = system.inverse_diagonal()
    if potential == "power":
        torch.testing.assert_close(1 / inverse.flatten(), product.diagonal(), rtol=1e-12, atol=0)
    else:
        # The blocks of B are taken as diagonal.
        error = 1 / inverse.flatten() - product.diagonal()
        assert float(error.abs().max()) < 0.1 * float(1 - product.diagonal().min())


def test_conjugate_gradients_need_fewer_iterations() -> None:
    needed = {}
    for settings in (EXACT, ANDERSON):
        reports: list[ImplicitReport] = []
        _loss(_prior("power"), settings, reports.append).backward()
        (report,) = reports
        assert report.unconverged == report.backward_unconverged == report.negative_curvature == 0
        needed[settings.backward] = report.backward_iterations
    assert needed["cg"] < needed["anderson"]


@pytest.mark.parametrize("backward", ["cg", "anderson"])
def test_an_adjoint_system_that_is_not_solved_is_told(backward) -> None:
    settings = ImplicitSettings(
        tolerance=1e-8, backward=backward, backward_tolerance=1e-10, backward_iterations=2
    )
    reports: list[ImplicitReport] = []
    _loss(_prior("power"), settings, reports.append).backward()
    assert reports[0].backward_unconverged == 2
    assert reports[0].backward_iterations >= 2


def test_away_from_a_minimiser_the_adjoint_system_is_still_solved() -> None:
    """Two iterations leave negative curvature; the dense system has the same solution."""
    settings = ImplicitSettings(
        tolerance=1e-12, iterations=2, backward_tolerance=1e-11, backward_iterations=3000
    )
    prior = _prior("power", patch=3)
    generator = torch.Generator().manual_seed(4)
    noisy = 2 * torch.rand(1, 6, 6, generator=generator, dtype=torch.float64)
    reports: list[ImplicitReport] = []
    image = denoise(noisy, prior(), settings, report=reports.append)
    image.square().sum().backward()
    assert reports[0].unconverged == reports[0].negative_curvature == 1
    expected = _dense_gradient(prior, noisy, settings)
    for name, parameter in prior.named_parameters():
        assert float((parameter.grad - expected[name]).norm() / expected[name].norm()) <= 1e-7, name


def _dense_gradient(
    prior: PatchPrior, noisy: torch.Tensor, settings: ImplicitSettings
) -> dict[str, torch.Tensor]:
    """Differentiate ``a = T(a - grad f(a))`` with a matrix for every derivative."""
    problem = reduced_problem(noisy, prior())
    found = solve_coefficients(problem, iterations=settings.iterations, tolerance=1e-12)

    def step(flat: torch.Tensor) -> torch.Tensor:
        return problem.shrink(problem.forward_step(flat.reshape(problem.zeros().shape))).flatten()

    start = found.coefficients.flatten()
    matrix = torch.autograd.functional.jacobian(step, start).detach()
    stepped = step(start)
    leaf = stepped.detach().requires_grad_()
    image = problem.image(problem.channels(leaf.reshape(problem.zeros().shape)))
    names = [name for name, _ in prior.named_parameters()]
    parameters = list(prior.parameters())
    g, *direct = torch.autograd.grad(
        image.square().sum(), [leaf, *parameters], retain_graph=True, allow_unused=True
    )
    # dl/dtheta = direct + z^T dstep/dtheta with (I - J_step^T at the point of departure) z = g,
    # where the derivative of T after the step is symmetric: z = g + (I - B) J z.
    eye = torch.eye(len(start), dtype=torch.float64)
    z = torch.linalg.solve(eye - matrix.mT, g)
    through = torch.autograd.grad(stepped, parameters, z, allow_unused=True)
    return {
        name: sum(part for part in (a, b) if part is not None)
        for name, a, b in zip(names, direct, through, strict=True)
    }
