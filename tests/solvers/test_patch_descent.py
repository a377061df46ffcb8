"""The alternating iteration against one on explicit patches, its objective, and when it stops."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import scipy.special
import torch

from lowfield_recon.solvers.patch_descent import DescentSettings, PatchDescent, first_stretch
from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.patch_solver import solve_patches

SIZE = (8, 6)
N = 48
Stretch = Callable[[int], float]


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def norms(v: torch.Tensor, prior: PatchRegularizer) -> torch.Tensor:
    """Return for every coefficient `(K, n)` the norm of those that it is coupled with."""
    if prior.potential.name == "power":
        return v.abs()
    ny, nx = SIZE
    squares = v.abs().square().reshape(-1, ny // 2, 2, nx // 2, 2).sum((2, 4), keepdim=True)
    return squares.sqrt().expand(-1, -1, 2, -1, 2).reshape(v.shape)


def shrunk(v: torch.Tensor, prior: PatchRegularizer, scales: torch.Tensor) -> torch.Tensor:
    n, t = norms(v, prior), scales[:, None]
    if prior.potential.name == "power":
        return v * n**1.8 / (t**1.8 + n**1.8)
    return v * (1 - t / n).clamp(min=0)


def penalty(v: torch.Tensor, prior: PatchRegularizer) -> float:
    """Return R(T(v)), by scipy's hypergeometric function or the norms of the blocks."""
    a, t = shrunk(v, prior, prior.scales), prior.scales[:, None]
    if prior.potential.name == "group":
        return float((t * norms(a, prior)).sum()) / 4
    n = norms(v, prior)
    b = 2 / 1.8
    envelope = (
        n**2 / 2 * torch.from_numpy(scipy.special.hyp2f1(1, b, 1 + b, -((n / t) ** 1.8).numpy()))
    )
    return float(envelope.sum() - (v - a).abs().square().sum() / 2)


@dataclasses.dataclass
class Explicit:
    """The iteration with every patch written out, on one plane."""

    problem: PatchProblem
    patches: torch.Tensor
    exact: bool
    images: list[torch.Tensor] = dataclasses.field(default_factory=list)
    objectives: list[float] = dataclasses.field(default_factory=list)

    def run(
        self,
        iterations: int,
        *,
        inertia: bool = True,
        restart_after: tuple[int, ...] = (),
        stretch: Stretch = lambda k: 1.0,
        warm: int = 0,
    ) -> Explicit:
        problem, prior = self.problem, self.problem.regularizer
        dtype = problem.rhs.dtype
        P = self.patches.to(dtype)
        U, beta = prior.basis.flatten(1).to(dtype), prior.beta
        D = prior.dictionary.flatten(1).to(dtype)
        h = torch.einsum("kpu,rp,rq,kqv->uv", P, U, U, P)
        unit = torch.eye(N, dtype=dtype).reshape(N, 1, *SIZE)
        gram = torch.stack([problem.gram(e).flatten() for e in unit], 1)
        largest = float(torch.linalg.eigvalsh(h)[-1])
        step = 1 / (1.01 * (beta * largest + problem.lipschitz))
        rhs = problem.rhs.flatten()
        x = x_before = rhs
        a = a_before = torch.zeros(D.shape[0], N, dtype=dtype)

        def coefficients(m: float, factor: float) -> torch.Tensor:
            ahead = a + m * (a - a_before)
            rest = D.mT @ ahead - (P @ x).mT
            return ahead - beta * D @ rest

        for k in range(warm):
            v = coefficients(k / (k + 3), stretch(0))
            a, a_before = shrunk(v, prior, stretch(0) * prior.scales), a
        since = 0
        for k in range(1, iterations + 1):
            since += 1
            m = (since - 1) / (since + 2) if inertia else 0.0
            v = coefficients(m, stretch(k))
            a, a_before = shrunk(v, prior, stretch(k) * prior.scales), a
            back = torch.einsum("kpu,ap,ak->u", P, D, a)
            if self.exact:
                x, x_before = torch.linalg.solve(gram + beta * h, rhs + beta * back), x
            else:
                ahead = x + m * (x - x_before)
                slope = gram @ ahead - rhs + beta * (h @ ahead - back)
                x, x_before = ahead - step * slope, x
                if problem.is_nonnegative:
                    x = x.clamp(min=0)
            rough = (P @ x) @ U.mT @ U - (D.mT @ a).mT
            value = problem.misfit(x.reshape(1, *SIZE)) + penalty(v, prior)
            self.objectives.append(value + beta / 2 * float(rough.abs().square().sum()))
            self.images.append(x.reshape(1, *SIZE))
            if k in restart_after:
                since = 0
        return self


def iterated(problem: PatchProblem, settings: DescentSettings):
    """Run and keep every image."""
    images: list[torch.Tensor] = []
    found = PatchDescent(problem, settings).run(
        problem.rhs, lambda state: images.append(state.solution)
    )
    return found, images


def assert_same(images, expected) -> None:
    for one, other in zip(images, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("potential", ["power", "group"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
@pytest.mark.parametrize("inertia", [True, False], ids=["inertia", "plain"])
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "gradient"])
def test_images_and_objectives_are_those_of_explicit_patches(
    small_prior, patch_matrix, stated, mirrored_gain, potential, dtype, inertia, exact
):
    y = draw(1, *SIZE, dtype=dtype)
    problem = stated(y, small_prior(potential, scale=0.2), 0.1 + mirrored_gain(SIZE))
    settings = DescentSettings(
        iterations=12, exact_image=exact, inertia=inertia, safeguard=False, check_every=1
    )
    found, images = iterated(problem, settings)
    explicit = Explicit(problem, patch_matrix(SIZE, (5, 3)), exact).run(12, inertia=inertia)
    assert_same(images, explicit.images)
    assert torch.equal(found.image, images[-1])
    assert found.evaluated_at == tuple(range(1, 13))
    assert found.objective == pytest.approx(explicit.objectives, rel=1e-9)
    changes = [
        float((new - old).norm() / old.norm())
        for new, old in zip(images, [problem.rhs, *images[:-1]], strict=True)
    ]
    assert found.changes == pytest.approx(changes, rel=1e-9)


@pytest.mark.parametrize("method", ["ipalm", "palm"])
def test_the_methods_differ_by_their_inertia(
    small_prior, patch_matrix, stated, mirrored_gain, method
):
    problem = stated(draw(1, *SIZE), small_prior(), 1.5 * mirrored_gain(SIZE), is_nonnegative=True)
    images: list[torch.Tensor] = []
    solve_patches(
        problem, method=method, iterations=10, tolerance=0,
        callback=lambda state: images.append(state.solution),
    )  # fmt: skip
    explicit = Explicit(problem, patch_matrix(SIZE, (5, 3)), exact=False)
    assert_same(images, explicit.run(10, inertia=method == "ipalm").images)


def test_the_nonnegative_gradient_iteration_starts_at_the_data(
    small_prior, patch_matrix, stated, mirrored_gain
):
    problem = stated(draw(1, *SIZE), small_prior(), mirrored_gain(SIZE), is_nonnegative=True)
    _, images = iterated(problem, DescentSettings(iterations=9, exact_image=False, safeguard=False))
    explicit = Explicit(problem, patch_matrix(SIZE, (5, 3)), exact=False).run(9)
    assert_same(images, explicit.images)
    assert float(images[-1].min()) == 0


@pytest.mark.parametrize("potential", ["power", "group"])
def test_enlarged_scales_fall_to_their_values(small_prior, patch_matrix, stated, potential):
    problem = stated(draw(1, *SIZE), small_prior(potential))
    settings = DescentSettings(
        iterations=14, stretch=9.0, continuation=6, warm=True, check_every=2, safeguard=False
    )
    found, images = iterated(problem, settings)
    explicit = Explicit(problem, patch_matrix(SIZE, (5, 3)), exact=True).run(
        14, stretch=lambda k: max(9.0 ** (1 - k / 6), 1.0), warm=10
    )
    assert_same(images, explicit.images)
    # While the scales are not their own the objective means nothing.
    assert found.evaluated_at == (6, 8, 10, 12, 14)
    assert found.objective == pytest.approx(explicit.objectives[5::2], rel=1e-9)


@pytest.mark.parametrize("safeguard", [True, False])
def test_the_extrapolation_starts_anew_after_a_rise(small_prior, patch_matrix, stated, safeguard):
    problem = stated(draw(1, *SIZE), small_prior())
    said = iter([0.0, 0.0, 1e6, 0.0, 0.0])
    lying = dataclasses.replace(problem, misfit=lambda x: next(said))
    settings = DescentSettings(iterations=10, safeguard=safeguard, check_every=2)
    found, images = iterated(lying, settings)
    assert len(found.objective) == 5
    explicit = Explicit(problem, patch_matrix(SIZE, (5, 3)), exact=True)
    assert_same(images, explicit.run(10, restart_after=(6,) if safeguard else ()).images)
    plain = Explicit(problem, patch_matrix(SIZE, (5, 3)), exact=True).run(10)
    gap = float((images[-1] - plain.images[-1]).abs().max())
    assert (gap > 1e-6) == safeguard


def stop_of(problem: PatchProblem, tolerance: float):
    settings = DescentSettings(iterations=300, tolerance=tolerance, inertia=False, check_every=7)
    return PatchDescent(problem, settings).run(problem.rhs)


@pytest.mark.parametrize("case", ["image waits", "objective waits", "both"])
def test_it_stops_when_image_and_objective_both_rest(small_prior, stated, case):
    # With a small beta the image is still while the coefficients, and J, are not; a large
    # constant in J hides that it falls.
    beta = 1e-5 if case == "objective waits" else 0.7
    problem = stated(draw(1, *SIZE), small_prior(beta=beta, scale=0.02 * math.sqrt(beta / 0.7)))
    if case == "image waits":
        plain = problem.misfit
        problem = dataclasses.replace(problem, misfit=lambda x: 1e9 + plain(x))
    tolerance = 3e-3
    whole = stop_of(problem, 0.0)
    stopped = stop_of(problem, tolerance)
    assert stopped.stopping_reason == "tolerance"
    image, objective = [], []
    for i in range(1, len(whole.objective)):
        now = whole.objective[i]
        image.append(whole.changes[whole.evaluated_at[i] - 1] <= tolerance)
        objective.append(abs(whole.objective[i - 1] - now) / (7 * abs(now)) <= tolerance)
    first = next(i for i in range(len(image)) if image[i] and objective[i])
    assert stopped.iterations == whole.evaluated_at[first + 1]
    assert stopped.objective == whole.objective[: first + 2]
    assert stopped.changes == whole.changes[: stopped.iterations]
    if case == "image waits":
        assert any(o and not i for i, o in zip(image, objective, strict=True))
    if case == "objective waits":
        assert any(i and not o for i, o in zip(image, objective, strict=True))


def test_a_callback_sees_each_iteration_and_may_end_it(small_prior, stated):
    problem = stated(draw(1, *SIZE), small_prior())
    seen: list[tuple[int, int, float | None]] = []

    def look(state) -> str | None:
        seen.append((state.number, state.total, state.objective))
        return "enough" if state.number == 7 else None

    settings = DescentSettings(iterations=30, check_every=3)
    found = PatchDescent(problem, settings).run(problem.rhs, look)
    assert (found.iterations, found.stopping_reason) == (7, "enough")
    assert [(number, total) for number, total, _ in seen] == [(k, 30) for k in range(1, 8)]
    assert [objective is not None for _, _, objective in seen] == [k % 3 == 0 for k in range(1, 8)]
    assert [objective for _, _, objective in seen if objective is not None] == [*found.objective]


def test_the_last_iteration_is_always_evaluated_and_zero_never(small_prior, stated):
    problem = stated(draw(1, *SIZE), small_prior())
    for every, expected in ((4, (4, 8, 10)), (100, (10,)), (0, ())):
        settings = DescentSettings(iterations=10, check_every=every)
        found = PatchDescent(problem, settings).run(problem.rhs)
        assert found.evaluated_at == expected
        assert len(found.objective) == len(expected)


@pytest.mark.parametrize("potential", ["power", "group"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_the_first_stretch_leaves_one_coefficient_in_five(
    small_prior, patch_matrix, stated, potential, dtype
):
    y = draw(2, *SIZE, dtype=dtype)
    D, patches = small_prior().dictionary.flatten(1), patch_matrix(SIZE, (5, 3))
    block = small_prior(potential).potential.block
    for scale in (0.02, 1e-6, 1e6):
        prior = small_prior(potential, scale=scale)
        problem = stated(y, prior)
        values = []
        for plane in y:
            v = prior.beta * D.to(dtype) @ (patches.to(dtype) @ plane.flatten()).mT
            n = norms(v, prior) / prior.scales[:, None]
            # A block is one coefficient: its four pixels say the same.
            values.append(n.reshape(14, *SIZE)[:, ::block, ::block])
        flat = torch.cat([v.flatten() for v in values]).sort().values
        expected = float(flat[math.ceil(0.8 * flat.numel()) - 1])
        found = first_stretch(problem, y)
        assert found == pytest.approx(min(max(expected, 2.0), 64.0), rel=1e-12)
    middle = first_stretch(stated(y, small_prior(potential, scale=0.05)), y)
    assert 2 < middle < 64
