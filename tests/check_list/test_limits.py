"""Checks 5a, 5b and 5c: what one step, a huge weight and a vanishing weight must give."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon import InverseProblem, load_dictionary, reconstruct
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.solvers.convolutional_model import analyse, low_pass_response, synthesise
from lowfield_recon.solvers.sparse_coding import sparse_codes_admm, sparse_codes_fista

SOLVERS = pytest.mark.parametrize("solve", [sparse_codes_fista, sparse_codes_admm])
PENALTIES = pytest.mark.parametrize("penalty", ["components", "modulus"])


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


@PENALTIES
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.complex128, 1e-14), (torch.complex64, 1e-6)]
)
def test_one_step_with_a_single_tap_is_the_soft_threshold(
    sparse_coding, real_slice, penalty, dtype, tolerance
):
    image = real_slice[None].to(dtype)
    generator = torch.Generator().manual_seed(0)
    weights = 0.3 * torch.rand(1, 1, *image.shape[-2:], generator=generator, dtype=torch.float64)
    problem = sparse_coding(
        image, torch.ones(1, 1, 1, dtype=torch.float64), weights, penalty=penalty
    )
    codes = sparse_codes_fista(problem, iterations=1).codes[0]
    w = weights[0].to(dtype.to_real())
    if penalty == "components":
        a, b = image.real, image.imag
        expected = torch.complex(
            a.sign() * (a.abs() - w).clamp(min=0), b.sign() * (b.abs() - w).clamp(min=0)
        )
    else:
        expected = torch.polar((image.abs() - w).clamp(min=0), image.angle())
    assert 0.05 < float((expected != 0).double().mean()) < 0.95
    assert _differ(expected, codes) <= tolerance


@SOLVERS
@PENALTIES
def test_weights_above_the_largest_gradient_give_exact_zeros(
    learned_kernels, sparse_coding, real_slice, solve, penalty
):
    image = (real_slice - real_slice.mean())[30:62, 40:69][None]
    mask = (torch.rand(32, 29, generator=torch.Generator().manual_seed(1)) < 0.6).double()

    def codes(factor: float) -> torch.Tensor:
        weights = torch.full((16, 1, 32, 29), factor * largest, dtype=torch.float64)
        return solve(
            sparse_coding(image, learned_kernels, weights, mask, penalty), iterations=300
        ).codes

    start = sparse_coding(image, learned_kernels, torch.ones(16, 1, 1, 1), mask)
    gradient = analyse(start.spectra, torch.fft.ifft2(start.rhs))
    parts = torch.view_as_real(gradient) if penalty == "components" else gradient
    largest = float(parts.abs().max())
    assert not codes(1 + 1e-9).any()
    assert codes(0.9).any()


def test_without_codes_the_image_is_the_low_pass(real_slice):
    mask = torch.zeros(1, 1, 1, 126, 128, dtype=torch.bool)
    mask[..., 30:97, 25:101] = True
    k = centred_fft(real_slice, (-2, -1)) * mask
    problem = InverseProblem(data=k, operator=kspace_operator(mask=mask), noise_std=0.01)
    (x0,) = problem.operator.adjoint(k)
    spectrum = torch.fft.fft2(x0)
    gradient = load_dictionary("brain_K16_k9_lam2_beta0.5").kernels.double().abs().sum((1, 2))
    above = float(gradient.max() * x0.abs().max()) * 2
    found = reconstruct(
        problem, "cdl", dictionary="brain_K16_k9_lam2_beta0.5", beta=2.0,
        regularization_weight=above, tolerance=0.0, iterations=3,
    )  # fmt: skip
    low = torch.fft.ifft2(low_pass_response(2.0, (126, 128)) * spectrum)
    assert found.diagnostics["fraction_of_nonzero_codes"] == 0
    assert _differ(low, found.image) <= 1e-12


@SOLVERS
@PENALTIES
def test_a_vanishing_weight_gives_back_the_data(
    random_kernels, sparse_coding, real_slice, solve, penalty
):
    """Everything is sampled and the filters have no common zero."""
    image = real_slice[60:74, 50:65][None]
    weights = torch.full((4, 1, 14, 15), 1e-8, dtype=torch.float64)
    problem = sparse_coding(image, random_kernels(4, 3), weights, penalty=penalty)
    assert float(problem.spectra.power.min()) > 0.05
    found = synthesise(problem.spectra, solve(problem, iterations=1000).codes)
    assert _differ(image, found) <= 1e-4
