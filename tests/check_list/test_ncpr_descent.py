"""Check 10 of NCPR and CPR: without inertia the objective never rises, with it it ends as low."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.patch_solver import solve_patches
from lowfield_recon.solvers.patch_subspace import PatchSubspace

MODELS = ["ncpr_sigma25", "cpr_sigma25", "ncpr_sigma5", "cpr_sigma5"]
SIZE = (24, 26)


def assert_never_rises(problem: PatchProblem, iterations: int) -> tuple[float, ...]:
    found = solve_patches(problem, method="palm", iterations=iterations, tolerance=0, check_every=1)
    assert found.evaluated_at == tuple(range(1, iterations + 1))
    response = PatchSubspace(problem.regularizer.basis, problem.size).response
    spectrum = torch.fft.fft2(problem.rhs, norm="ortho")
    rough = float((response * spectrum.abs().square()).sum())
    at_start = problem.misfit(problem.rhs) + 0.5 * problem.regularizer.beta * rough
    values = (at_start, *found.objective)
    assert all(b <= a + 1e-10 * at_start for a, b in itertools.pairwise(values))
    assert values[-1] < 0.99 * at_start
    return values


@pytest.mark.parametrize("name", MODELS)
def test_denoising(published_model, patch_denoising, photograph, name):
    sigma = (25 if "25" in name else 5) / 255
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 32, 32, generator=generator, dtype=torch.float64)
    noisy = photograph[150:182, 220:252] + sigma * noise
    problem = patch_denoising(noisy, published_model(name))
    palm = assert_never_rises(problem, 150)
    ipalm = solve_patches(problem, method="ipalm", iterations=150, tolerance=0, check_every=150)
    assert ipalm.evaluated_at == (150,)
    assert ipalm.objective[-1] <= palm[-1] + 1e-3


def masked_fourier(regularizer: PatchRegularizer, photograph: torch.Tensor) -> PatchProblem:
    """A real nonnegative image from half of its columns of k-space."""
    image = (photograph[100:124, 230:256] - 0.5).clamp(min=0)
    column = torch.arange(SIZE[1])
    mask = ((column % 2 == 0) | (column < 4) | (column > 22)).double().expand(SIZE)
    noise = torch.randn(2, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    k = mask * (torch.fft.fft2(image, norm="ortho") + 0.02 * torch.complex(noise[0], noise[1]))
    mirrored = mask[:, (-column) % SIZE[1]]
    return PatchProblem(
        regularizer=regularizer,
        rhs=torch.fft.ifft2(k, norm="ortho").real[None],
        gram=lambda x: torch.fft.ifft2(mask * torch.fft.fft2(x)).real,
        eigenvalues=0.5 * (mask + mirrored)[None],
        is_exact=True,
        misfit=lambda x: 0.5 * float((mask * torch.fft.fft2(x, norm="ortho") - k).norm()) ** 2,
        lipschitz=1.0,
        is_nonnegative=True,
    )


def multi_coil(regularizer: PatchRegularizer, photograph: torch.Tensor) -> PatchProblem:
    """A complex image from every second column of three coils."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, SIZE[0], dtype=torch.float64),
        torch.linspace(-1, 1, SIZE[1], dtype=torch.float64),
        indexing="ij",
    )
    image = photograph[100:124, 230:256] * torch.exp(1j * (x + y * y))
    turns = [2 * math.pi * c / 3 for c in range(3)]
    maps = torch.stack([torch.exp(x * math.cos(t) + (1 + 1j) * y * math.sin(t)) for t in turns])
    maps = maps / maps.abs().square().sum(0).sqrt()
    mask = (torch.arange(SIZE[1]) % 2 == 0).double().expand(SIZE)
    noise = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(2)).to(torch.complex128)

    def forward(x: torch.Tensor) -> torch.Tensor:
        return mask * torch.fft.fft2(maps * x, norm="ortho")

    def adjoint(k: torch.Tensor) -> torch.Tensor:
        return (maps.conj() * torch.fft.ifft2(mask * k, norm="ortho")).sum(0, keepdim=True)

    k = forward(image) + mask * 0.02 * noise
    return PatchProblem(
        regularizer=regularizer, rhs=adjoint(k), gram=lambda x: adjoint(forward(x)),
        eigenvalues=torch.full((1, *SIZE), 0.5, dtype=torch.float64), is_exact=False,
        misfit=lambda x: 0.5 * float((forward(x) - k).norm()) ** 2, lipschitz=1.0,
    )  # fmt: skip


def inpainting(regularizer: PatchRegularizer, photograph: torch.Tensor) -> PatchProblem:
    """A real image of which two thirds of the pixels are missing."""
    generator = torch.Generator().manual_seed(3)
    known = (torch.rand(SIZE, generator=generator) < 0.35).double()
    y = known * photograph[100:124, 230:256]
    return PatchProblem(
        regularizer=regularizer, rhs=y[None], gram=lambda x: known * x,
        eigenvalues=torch.full((1, *SIZE), float(known.mean()), dtype=torch.float64),
        is_exact=False, misfit=lambda x: 0.5 * float((known * x - y).norm()) ** 2, lipschitz=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("state", [masked_fourier, multi_coil, inpainting])
@pytest.mark.parametrize(
    ("name", "beta", "base_scale"),
    [("ncpr_sigma25", 0.02, 2e-3), ("cpr_sigma25", 0.4, 3e-4)],
    ids=["ncpr", "cpr"],
)
def test_inverse_problems(
    published_model,
    photograph,
    state: Callable[[PatchRegularizer, torch.Tensor], PatchProblem],
    name,
    beta,
    base_scale,
):
    regularizer = published_model(name, beta=beta, base_scale=base_scale)
    problem = state(regularizer, photograph)
    palm = assert_never_rises(problem, 60)
    ipalm = solve_patches(problem, method="ipalm", iterations=60, tolerance=0, check_every=60)
    assert ipalm.objective[-1] <= palm[-1] + 1e-3
    if problem.is_nonnegative:
        assert float(ipalm.image.min()) == 0
