"""A small patch prior with random numbers, and patches extracted by index arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from lowfield_recon.solvers.patch_potentials import make_potential
from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer


@pytest.fixture(scope="session")
def small_prior() -> Callable[..., PatchRegularizer]:
    """Return what draws a prior of 14 atoms of 5x3 pixels, six dimensions free."""

    def draw(
        potential: str = "power",
        dtype: torch.dtype = torch.float64,
        *,
        beta: float = 0.7,
        scale: float = 0.05,
    ) -> PatchRegularizer:
        generator = torch.Generator().manual_seed(3)
        free = torch.randn(15, 6, generator=generator, dtype=torch.float64)
        free[:, 0] = 1.0
        basis = torch.linalg.qr(free, mode="complete")[0][:, 6:].mT.reshape(9, 5, 3)
        factors = torch.randn(9, 14, generator=generator, dtype=torch.float64)
        factors *= math.sqrt(0.99 / beta) / torch.linalg.matrix_norm(factors, ord=2)
        scales = torch.exp(0.4 * torch.randn(14, generator=generator, dtype=torch.float64))
        return PatchRegularizer(
            basis=basis.contiguous(), factors=factors, scales=scale * scales, beta=beta,
            potential=make_potential(potential, order=1.8, block=2),
        ).to(dtype)  # fmt: skip

    return draw


@pytest.fixture(scope="session")
def patch_matrix() -> Callable[[tuple[int, int], tuple[int, int]], torch.Tensor]:
    """Return what makes the matrix of all circular patches, `(pixels, patch, pixels)`."""

    def make(size: tuple[int, int], patch: tuple[int, int]) -> torch.Tensor:
        (ny, nx), (ky, kx) = size, patch
        pixel, offset = torch.arange(ny * nx), torch.arange(ky * kx)
        dy, dx = offset // kx - ky // 2, offset % kx - kx // 2
        row = (pixel[:, None] // nx + dy) % ny
        column = (pixel[:, None] % nx + dx) % nx
        return torch.nn.functional.one_hot(row * nx + column, ny * nx).double()

    return make


@pytest.fixture(scope="session")
def stated() -> Callable[..., PatchProblem]:
    """Return what states a problem with A = F^H diag(gain) F, gain `(planes or 1, y, x)`."""

    def state(
        y: torch.Tensor,
        regularizer: PatchRegularizer,
        gain: torch.Tensor | None = None,
        *,
        is_exact: bool = True,
        is_nonnegative: bool = False,
    ) -> PatchProblem:
        real = y.real.dtype
        kept = torch.ones(1, *y.shape[-2:], dtype=real) if gain is None else gain.to(real)

        def forward(x: torch.Tensor) -> torch.Tensor:
            image = torch.fft.ifft2(kept * torch.fft.fft2(x))
            return image if x.is_complex() else image.real

        return PatchProblem(
            regularizer=regularizer,
            rhs=forward(y),
            gram=lambda x: forward(forward(x)),
            eigenvalues=kept.square() if is_exact else kept.square().mean().expand(kept.shape),
            is_exact=is_exact,
            misfit=lambda x: 0.5 * float((forward(x) - y).abs().square().sum(dtype=torch.float64)),
            lipschitz=float(kept.square().max()),
            is_nonnegative=is_nonnegative,
        )

    return state


@pytest.fixture(scope="session")
def mirrored_gain() -> Callable[..., torch.Tensor]:
    """Return what draws eigenvalues of a real symmetric A, zero for a part of the frequencies."""

    def draw(size: tuple[int, int], *, kept: float = 0.6, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        values = torch.rand(size, generator=generator, dtype=torch.float64)
        values = torch.where(values < kept, 0.3 + values, 0.0)
        values[0, 0] = 1.0
        mirrored = values.flip(-2, -1).roll((1, 1), (-2, -1))
        return torch.maximum(values, mirrored)[None]

    return draw
