"""The check list of the CDL-Lambda specification (its section 11), one file per group.

| checks | file |
|---|---|
| 1, conventions | test_conventions.py |
| 2, 2b | test_lipschitz.py |
| 3 | test_against_mrpro.py |
| 4, 4b, 15 | test_optimum.py |
| 5a, 5b, 5c | test_limits.py |
| 6, 6b | test_low_pass.py |
| 7, 7b, 8, 9b, 9c, 11, 13: the part of the solver | test_symmetries.py |
| 12b | test_filter_noise.py |
| 12 | ../simulation/test_noise.py |

What needs a network or a gradient stands with the networks and the unrolling.

The check list of the NCPR specification (its section 9):

| checks | file |
|---|---|
| 4, 5, 6, 7 | test_ncpr_patches.py |
| 8, 9 | test_ncpr_potentials.py |
| 10 | test_ncpr_descent.py |
| 12a, 12b, 12c | test_ncpr_symmetries.py |
| 13, 14, 15 | test_ncpr_limits.py |
| 16 | test_ncpr_regression.py |
| 1, 2, 3, 11, 17 | ../learning/test_patch_*.py, test_published_patch.py |

The check list of the NGR and DIP specification (its section 13):

| checks | file |
|---|---|
| 1, 3 to 16, 18, 33 | test_ngr_dip.py |
| 10, 23, 26 to 29, 31 to 34 | test_ngr_dip_methods.py |
| 2, 19 | ../operators/test_every_operator.py, test_gradient.py |
| 20, 21, 22 | ../learning/networks/test_skip_network.py |
| 24, 30 | ../learning/untrained/test_gradient_fields.py, test_guided_input.py |
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon import load_dictionary, load_scan
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.resources import sample_path
from lowfield_recon.solvers.convolutional_model import filter_spectra
from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.sparse_coding import Penalty, SparseCodingProblem


@pytest.fixture(scope="session")
def learned_kernels() -> torch.Tensor:
    """Sixteen learned filters of 9×9, float64."""
    return load_dictionary("brain_K16_k9_lam2_beta0.5").kernels.double()


@pytest.fixture(scope="session")
def real_slice() -> torch.Tensor:
    """One slice of a scan at 0.055 T, complex128 `(126, 128)`, largest modulus 1."""
    scan = load_scan(sample_path("brain_0055t_t2w.h5")).problems()[1]
    (image,) = scan.operator.adjoint(scan.data)
    image = image[0, 0, 0].to(torch.complex128)
    return image / image.abs().max()


@pytest.fixture(scope="session")
def random_kernels() -> Callable[..., torch.Tensor]:
    """Return what draws unit-norm filters, float64 `(K, n, n)`."""

    def draw(n_filters: int, size: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        d = torch.randn(n_filters, size, size, generator=generator, dtype=torch.float64)
        return d / d.flatten(1).norm(dim=1)[:, None, None]

    return draw


@pytest.fixture(scope="session")
def sparse_coding() -> Callable[..., SparseCodingProblem]:
    """Return what states the sparse coding of an image `(planes, y, x)` through a mask."""

    def state(
        image: torch.Tensor,
        kernels: torch.Tensor,
        weights: torch.Tensor,
        mask: torch.Tensor | None = None,
        penalty: Penalty = "modulus",
    ) -> SparseCodingProblem:
        size = (image.shape[-2], image.shape[-1])
        kept = torch.ones(size, dtype=torch.float64) if mask is None else mask
        kept = kept.to(image.real.dtype)
        rhs = kept * torch.fft.fft2(image)
        return SparseCodingProblem(
            spectra=filter_spectra(kernels.to(image.real.dtype), size),
            rhs=rhs,
            energy=0.5 * float(rhs.abs().square().sum()) / (size[0] * size[1]),
            weights=weights.to(image.real.dtype),
            eigenvalues=kept,
            penalty=penalty,
        )

    return state


@pytest.fixture(scope="session")
def published_model() -> Callable[..., PatchRegularizer]:
    """Return what makes the regulariser of weights that ship, float64 unless told."""

    def make(
        name: str,
        dtype: torch.dtype = torch.float64,
        *,
        beta: float | None = None,
        base_scale: float | None = None,
    ) -> PatchRegularizer:
        prior = load_patch_prior(name, method=name.split("_")[0])
        return prior.regularizer(beta=beta, base_scale=base_scale, dtype=dtype)

    return make


@pytest.fixture(scope="session")
def photograph() -> torch.Tensor:
    """A photograph, float64 `(512, 512)`, from 0 to 1."""
    with Image.open(sample_path("camera.png")) as image:
        return torch.from_numpy(np.asarray(image.convert("L"), dtype=np.float64) / 255)


@pytest.fixture(scope="session")
def patch_denoising() -> Callable[..., PatchProblem]:
    """Return what states the denoising of images `(planes, y, x)`."""

    def state(noisy: torch.Tensor, regularizer: PatchRegularizer) -> PatchProblem:
        return PatchProblem(
            regularizer=regularizer,
            rhs=noisy,
            gram=lambda x: x,
            eigenvalues=torch.ones(1, *noisy.shape[-2:], dtype=noisy.real.dtype),
            is_exact=True,
            misfit=lambda x: 0.5 * float((x - noisy).abs().square().sum(dtype=torch.float64)),
            lipschitz=1.0,
        )

    return state
