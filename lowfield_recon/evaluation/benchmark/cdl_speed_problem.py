"""The sparse coding that `benchmark cdl` times: a noisy window of the k-space of an image."""

from __future__ import annotations

import torch

from lowfield_recon.dictionaries import load_dictionary
from lowfield_recon.errors import DataError
from lowfield_recon.learning.image_set import load_images
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.solvers.convolutional_model import filter_spectra, low_pass_response
from lowfield_recon.solvers.sparse_coding import SparseCodingProblem

NOISE_FRACTIONS = (0.03, 0.06, 0.12)
"""Standard deviation of the complex noise of one sample over the largest modulus of the image."""

_WINDOW = 0.7
_BETA = 1.0
_WEIGHT_PER_NOISE = 1.3
_SEED = 0


def benchmark_image(sources: tuple[str, ...], size: int) -> tuple[torch.Tensor, str]:
    """Return a real image on a square grid, cut or padded with zeros.

    Parameters
    ----------
    sources
        Files, folders or patterns, whose first subject's middle slice is taken; empty for the
        four-coil scan that ships, its coils combined by root of the sum of squares.
    size
        Rows and columns.

    Returns
    -------
        Magnitude `(size, size)`, float32, its maximum 1, and what it is in words.

    Raises
    ------
    DataError
        If the image is zero.
    """
    if sources:
        images = load_images(sources)
        subject = images.subjects[0]
        slices = images.images[subject]
        image, what = slices[len(slices) // 2].abs(), f"{subject}, slice {len(slices) // 2}"
    else:
        kspace = load_scan(sample_path("brain_4coil_t2w.h5")).problems()[0].data
        coils = centred_ifft(kspace, (-2, -1)).flatten(end_dim=-3)
        image, what = torch.linalg.vector_norm(coils, dim=0), "brain_4coil_t2w.h5"
    placed = crop_center(crop_center(_padded(image.float(), size), size, -2), size, -1)
    largest = float(placed.max())
    if largest <= 0:
        raise DataError(f"{what}: the image is zero; choose another with --images.")
    return placed / largest, what


def coding_problem(
    image: torch.Tensor, kernels: torch.Tensor, *, noise: float, planes: int = 1
) -> SparseCodingProblem:
    """State the sparse coding of the high-pass of an image from a noisy window of its k-space.

    Parameters
    ----------
    image
        Real `(y, x)`, its maximum 1.
    kernels
        Filters `(K, ky, kx)`.
    noise
        Standard deviation of the complex noise of one sample.
    planes
        Number of slices: the same image with noise of its own each.

    Returns
    -------
        The problem with one weight, 1.3 standard deviations of the noise of one pixel.
    """
    n_y, n_x = image.shape
    mask = torch.zeros(n_y, n_x)
    h_y, h_x = (int(n * _WINDOW) // 2 for n in (n_y, n_x))
    mask[n_y // 2 - h_y : n_y // 2 + h_y, n_x // 2 - h_x : n_x // 2 + h_x] = 1
    mask = torch.fft.ifftshift(mask)
    draws = torch.randn(
        planes, n_y, n_x, dtype=torch.complex64, generator=torch.Generator().manual_seed(_SEED)
    )
    y = (torch.fft.fft2(image.to(torch.complex64), norm="ortho") + noise * draws) * mask
    symbol = (1 / low_pass_response(_BETA, (n_y, n_x)) - 1).float()
    left = y - mask * y / (mask + symbol).clamp(min=torch.finfo(torch.float32).eps)
    weight = _WEIGHT_PER_NOISE * noise * float(mask.mean()) ** 0.5
    return SparseCodingProblem(
        spectra=filter_spectra(kernels.float(), (n_y, n_x)),
        rhs=left * (n_y * n_x) ** 0.5,
        energy=0.5 * float(left.abs().square().double().sum()),
        weights=torch.full((kernels.shape[0], 1, 1, 1), weight),
        eigenvalues=mask[None],
    )


def bank_kernels(n_filters: int, kernel: int) -> torch.Tensor:
    """Return learnt filters of the bank that ships.

    Parameters
    ----------
    n_filters
        16, 32, 64 or 128.
    kernel
        9 or 11.

    Returns
    -------
        `(K, ky, kx)`.
    """
    return load_dictionary(f"brain_K{n_filters}_k{kernel}_lam2_beta0.5").kernels


def _padded(image: torch.Tensor, size: int) -> torch.Tensor:
    """Add zeros round an image that is smaller than the grid."""
    short = [max(size - n, 0) for n in image.shape]
    (top, left), (bottom, right) = ([s // 2 for s in short], [s - s // 2 for s in short])
    return torch.nn.functional.pad(image, (left, right, top, bottom))
