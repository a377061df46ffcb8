"""Check 3: the Fourier-domain iteration against mrpro's generic one, the image included."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.solvers.convolutional_model import (
    filter_spectra,
    low_pass_response,
    synthesise,
)
from lowfield_recon.solvers.sparse_coding import (
    SparseCodingProblem,
    extrapolation,
    sparse_codes_fista,
)

TOLERANCE = {torch.complex128: 1e-12, torch.complex64: 5e-5}
BETA = 0.7


def _data(size, n_planes, dtype):
    """Draw centred k-space `(planes, y, x)` with a random mask of its own for each plane."""
    generator = torch.Generator().manual_seed(sum(size))
    mask = torch.rand(n_planes, *size, generator=generator) < 0.6
    y = torch.randn(n_planes, *size, generator=generator, dtype=torch.complex128) * mask
    y[:, size[0] // 2, size[1] // 2] = 20.0
    mask[:, size[0] // 2, size[1] // 2] = True
    return y.to(dtype), mask


def _mrpro(y, mask, kernels, weights, penalty, stepsize):
    """Do all of it with mrpro: conjugate gradients for the low-pass, then 64 steps of `pgd`."""
    from mrpro.algorithms.optimizers import cg, pgd
    from mrpro.operators import (
        CartesianMaskingOp,
        ConvSynthesisDictionaryOp,
        FastFourierOp,
        FiniteDifferenceOp,
        IdentityOp,
    )
    from mrpro.operators.functionals import L1Norm, L1NormViewAsReal, L2NormSquared

    sampling = CartesianMaskingOp(mask) @ FastFourierOp(dim=(-2, -1))
    differences = FiniteDifferenceOp(dim=(-2, -1), mode="forward", pad_mode="circular")
    smoothing = IdentityOp() + BETA * differences.gram
    (x0,) = sampling.adjoint(y)
    # Conjugate gradients in single precision would not come near enough.
    (low,) = cg(smoothing, x0.to(torch.complex128), max_iterations=300, tolerance=1e-12)
    low = low.to(y.dtype)
    (known,) = sampling(low)
    dictionary = ConvSynthesisDictionaryOp(kernels.flip(-1, -2), pad_mode="circular")
    norm = L1NormViewAsReal if penalty == "components" else L1Norm
    (codes,) = pgd(
        0.5 * L2NormSquared(target=y - known) @ (sampling @ dictionary),
        norm(weight=weights),
        torch.zeros(*weights.shape, dtype=y.dtype),
        stepsize=stepsize,
        max_iterations=64,
        convergent_iterates_variant=True,
    )
    return low + dictionary(codes)[0], codes


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


@pytest.mark.parametrize(
    ("size", "penalty", "dtype"),
    [
        ((25, 21), "components", torch.complex128),
        ((24, 20), "modulus", torch.complex128),
        ((24, 20), "components", torch.complex64),
        ((17, 21), "modulus", torch.complex64),
    ],
)
def test_64_iterations_equal_mrpro_pgd(random_kernels, size, penalty, dtype):
    y, mask = _data(size, 2, dtype)
    kernels = random_kernels(4, 7).to(dtype.to_real())
    generator = torch.Generator().manual_seed(5)
    weights = 0.1 + 0.5 * torch.rand(4, 2, *size, generator=generator, dtype=dtype.to_real())
    response = low_pass_response(BETA, size).to(dtype.to_real())
    x0 = torch.fft.fft2(centred_ifft(y, (-2, -1)))
    problem = SparseCodingProblem(
        spectra=filter_spectra(kernels, size),
        rhs=(1 - response) * x0,
        energy=0.0,
        weights=weights,
        eigenvalues=torch.fft.ifftshift(mask, dim=(-2, -1)).to(dtype.to_real()),
        penalty=penalty,
    )
    # mrpro knows one step for the whole batch.
    step = 1 / float(torch.as_tensor(problem.lipschitz()).max())
    codes = sparse_codes_fista(problem, iterations=64, momentum="delayed", step=step).codes
    image = torch.fft.ifft2(response * x0) + synthesise(problem.spectra, codes)
    expected_image, expected = _mrpro(y, mask, kernels, weights, penalty, step)
    assert 0.02 < float((expected != 0).double().mean()) < 0.9
    assert _differ(expected, codes) <= TOLERANCE[dtype]
    assert _differ(expected_image, image) <= TOLERANCE[dtype]
    if dtype == torch.complex128:
        assert torch.equal(codes != 0, expected != 0)


@pytest.mark.parametrize(
    ("rule", "first"),
    [
        ("delayed", (0, 0, 1 / 5, 2 / 6, 3 / 7)),
        ("chambolle-dossal", (0, 1 / 5, 2 / 6, 3 / 7)),
        ("nesterov", (0, 1 / 4, 2 / 5)),
        ("none", (0, 0, 0)),
    ],
)
def test_the_momentum_rules_begin_as_published(rule, first):
    found = [extrapolation(rule, n) for n in range(1, len(first) + 1)]
    assert found == pytest.approx(first, abs=0)
