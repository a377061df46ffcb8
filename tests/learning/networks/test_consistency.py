"""Data consistency in networks: proximal steps and projections against dense linear algebra."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lowfield_recon.learning.measured import Measured
from lowfield_recon.learning.networks.consistency import projection, proximal_step

SIZE = (6, 5)
N = SIZE[0] * SIZE[1]


def _randn(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.complex128)


def _dense(coils: int) -> tuple[Measured, torch.Tensor, torch.Tensor]:
    """Return one plane, the dense matrix of A and the data."""
    fourier = torch.fft.fft2(torch.eye(N, dtype=torch.complex128).reshape(N, *SIZE), norm="ortho")
    generator = torch.Generator().manual_seed(5)
    mask = (torch.rand(SIZE, generator=generator) < 0.5).double()
    maps = torch.ones(1, *SIZE, dtype=torch.complex128) if coils == 1 else _randn(coils, *SIZE)
    maps = maps / maps.abs().square().sum(0).sqrt()
    f = fourier.reshape(N, N).T
    a = torch.cat([mask.flatten()[:, None] * f * s.flatten()[None] for s in maps])
    y = a @ _randn(N, seed=2)

    def gram(image: torch.Tensor) -> torch.Tensor:
        sampled = mask * torch.fft.fft2(maps * image[:, None])
        return (maps.conj() * torch.fft.ifft2(sampled)).sum(1)

    measured = Measured(
        adjoint=(a.mH @ y).reshape(1, *SIZE), gram=gram,
        pixel_noise=torch.ones(1, dtype=torch.float64),
        eigenvalues=mask[None] if coils == 1 else None,
    )  # fmt: skip
    return measured, a, y


@pytest.mark.parametrize("coils", [1, 3])
def test_the_proximal_step_is_that_of_a_dense_solve(coils: int) -> None:
    measured, a, y = _dense(coils)
    z, w = _randn(1, *SIZE, seed=9), 0.3
    system = a.mH @ a + w * torch.eye(N, dtype=torch.float64)
    expected = torch.linalg.solve(system, a.mH @ y + w * z.flatten()).reshape(1, *SIZE)
    found = proximal_step(measured, z, torch.tensor(w, dtype=torch.float64))
    assert float((found - expected).norm() / expected.norm()) < (1e-14 if coils == 1 else 2e-5)


@pytest.mark.parametrize("coils", [1, 3])
def test_its_derivative_is_that_of_the_dense_solution(coils: int) -> None:
    measured, a, y = _dense(coils)
    target = _randn(1, *SIZE, seed=4)
    gradients = []
    for is_dense in (False, True):
        z = _randn(1, *SIZE, seed=9).requires_grad_()
        w = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
        if is_dense:
            system = a.mH @ a + w * torch.eye(N, dtype=torch.float64)
            x = torch.linalg.solve(system, a.mH @ y + w * z.flatten()).reshape(1, *SIZE)
        else:
            x = proximal_step(measured, z, w)
        (x - target).abs().square().sum().backward()
        assert z.grad is not None
        assert w.grad is not None
        gradients.append((z.grad, w.grad))
    for found, expected in zip(*gradients, strict=True):
        assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_the_form_of_the_published_network() -> None:
    measured, _, y = _dense(1)
    z, w = _randn(1, *SIZE, seed=9), 2.03
    k = torch.fft.fft2(proximal_step(measured, z, torch.tensor(w)), norm="ortho").flatten()
    of_network = torch.fft.fft2(z, norm="ortho").flatten()
    inside = measured.eigenvalues.flatten() > 0  # type: ignore[union-attr]
    expected = torch.where(inside, w / (1 + w) * of_network + y / (1 + w), of_network)
    assert torch.allclose(k, expected)


@pytest.mark.parametrize("coils", [1, 3])
def test_the_projection_is_the_nearest_image_that_fits(coils: int) -> None:
    measured, a, y = _dense(coils)
    z = _randn(1, *SIZE, seed=9)
    expected = z.flatten() + torch.linalg.pinv(a) @ (y - a @ z.flatten())
    found = projection(measured, z).flatten()
    # A few steps of conjugate gradients see what the data see well, not what they hardly see.
    misfit = torch.linalg.vector_norm(a @ found - y) / torch.linalg.vector_norm(a @ z.flatten() - y)
    assert float(misfit) < (1e-13 if coils == 1 else 0.05)
    if coils == 1:
        assert torch.allclose(found, expected)
        assert torch.allclose(projection(measured, found.reshape(1, *SIZE)).flatten(), found)


def test_planes_do_not_depend_on_each_other() -> None:
    one, _, _ = _dense(3)
    images = _randn(2, *SIZE, seed=9)
    noise = torch.ones(2, dtype=torch.float64)
    two = replace(one, adjoint=torch.cat([one.adjoint, 3 * one.adjoint]), pixel_noise=noise)
    w = torch.tensor([0.3, 0.1], dtype=torch.float64)
    together = proximal_step(two, images, w)
    second = replace(one, adjoint=3 * one.adjoint)
    assert torch.allclose(together[:1], proximal_step(one, images[:1], w[:1]))
    assert torch.allclose(together[1:], proximal_step(second, images[1:], w[1:]))
