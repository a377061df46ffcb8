"""Checks 6 and 6b: the closed-form low-pass against conjugate gradients and a dense solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.solvers.convolutional_model import low_pass_response


def _low(image: torch.Tensor, beta: float) -> torch.Tensor:
    size = (image.shape[-2], image.shape[-1])
    return torch.fft.ifft2(low_pass_response(beta, size) * torch.fft.fft2(image))


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


@pytest.mark.parametrize("beta", [0.1, 2.127, 20.0])
def test_it_is_what_conjugate_gradients_converge_to(real_slice, beta):
    from mrpro.algorithms.optimizers import cg
    from mrpro.operators import FiniteDifferenceOp, IdentityOp

    differences = FiniteDifferenceOp(dim=(-2, -1), mode="forward", pad_mode="circular")
    smoothing = IdentityOp() + torch.tensor(beta, dtype=torch.float64) * differences.gram
    noise = torch.randn(33, 28, generator=torch.Generator().manual_seed(0), dtype=torch.complex128)
    for image in (real_slice[40:90, 30:83], noise):
        (expected,) = cg(smoothing, image, max_iterations=400, tolerance=1e-10)
        assert _differ(expected, _low(image, beta)) <= 1e-7


@pytest.mark.parametrize("size", [(9, 12), (7, 5)])
@pytest.mark.parametrize("beta", [0.0, 0.5, 20.0])
def test_it_is_a_dense_tikhonov_solve(size, beta):
    n_y, n_x = size
    rows, columns = (np.roll(np.eye(n), 1, axis=1) - np.eye(n) for n in size)
    differences = np.vstack([np.kron(rows, np.eye(n_x)), np.kron(np.eye(n_y), columns)])
    matrix = np.eye(n_y * n_x) + beta * differences.T @ differences
    image = torch.randn(*size, generator=torch.Generator().manual_seed(1), dtype=torch.complex128)
    expected = np.linalg.solve(matrix, image.numpy().ravel()).reshape(size)
    assert _differ(torch.from_numpy(expected), _low(image, beta)) <= 1e-12


def test_the_mean_is_kept(real_slice):
    for beta in (0.1, 3.0, 1e4):
        assert complex(_low(real_slice, beta).mean()) == pytest.approx(
            complex(real_slice.mean()), rel=1e-12
        )


def test_no_weight_keeps_everything_and_leaves_no_data(real_slice):
    """With beta = 0 the low-pass is the adjoint image and ``y - A x_low`` vanishes on the mask."""
    mask = torch.zeros(126, 128, dtype=torch.bool)
    mask[23:103, 30:99] = True
    y = centred_fft(real_slice, (-2, -1)) * mask
    x0 = torch.fft.ifft2(torch.fft.fft2(real_slice) * torch.fft.ifftshift(mask))
    low = _low(x0, 0.0)
    assert _differ(x0, low) <= 1e-14
    left = y - centred_fft(low, (-2, -1)) * mask
    assert float(torch.linalg.vector_norm(left) / torch.linalg.vector_norm(y)) <= 1e-14
    assert bool((low_pass_response(0.0, (5, 6)) == 1).all())
