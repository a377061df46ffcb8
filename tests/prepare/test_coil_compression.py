"""Coil compression against numpy's SVD, and what it must keep: energy, white noise, images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import (
    CoilCompression,
    compress_coil_maps,
    compress_coils,
    compression_matrices,
)


def coil_images(n_coils: int = 12, n_y: int = 40, n_x: int = 48) -> torch.Tensor:
    """Object times coils that sit along x, so that each sees a part of the readout."""
    y, x = np.meshgrid(np.linspace(-1, 1, n_y), np.linspace(-1, 1, n_x), indexing="ij")
    object_ = 1.0 * (x**2 + y**2 < 0.8) * (1 + 0.3 * np.sin(9 * x) * np.cos(7 * y))
    centres = np.linspace(-1.2, 1.2, n_coils // 2)
    maps = [
        np.exp(-4 * (x - a) ** 2 - 0.7 * (y - b) ** 2 + 1j * (2 * b * y + a * x))
        for a in centres
        for b in (-1.2, 1.2)
    ]
    return torch.from_numpy(object_ * np.stack(maps)).to(torch.complex64)[None, :, None]


def coil_kspace() -> torch.Tensor:
    return centred_fft(coil_images(), (-2, -1))


def test_matrix_is_that_of_numpys_svd() -> None:
    k = coil_kspace()
    A = compression_matrices(k, CoilCompression(virtual_coils=4)).numpy()
    U = np.linalg.svd(k[0].reshape(12, -1).numpy(), full_matrices=False)[0][:, :4]
    np.testing.assert_allclose(A.conj().T @ A, U @ U.conj().T, atol=1e-4)


@pytest.mark.parametrize("method", ["svd", "geometric"])
def test_rows_are_orthonormal_so_noise_stays_white(method: str) -> None:
    A = compression_matrices(coil_kspace(), CoilCompression(method=method, virtual_coils=5))
    eye = torch.eye(5, dtype=A.dtype).expand(*A.shape[:-2], 5, 5)
    torch.testing.assert_close(A @ A.mH, eye, atol=1e-5, rtol=0)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 12, 1, 400, 48, dtype=torch.complex64, generator=generator)
    n = compress_coils(noise, A).movedim(1, 0).reshape(5, -1)
    covariance = n @ n.mH / n.shape[1]
    assert (covariance - torch.eye(5)).abs().max() < 0.03


def test_energy_fraction_is_reached_by_the_fewest_coils() -> None:
    k = coil_kspace()
    s2 = np.linalg.svd(k[0].reshape(12, -1).numpy(), compute_uv=False) ** 2
    for energy in (0.5, 0.9, 0.99, 1.0):
        n = compression_matrices(k, CoilCompression(energy=energy)).shape[0]
        kept = np.cumsum(s2) / s2.sum()
        assert kept[n - 1] >= energy - 1e-6
        assert n == 1 or kept[n - 2] < energy
    assert compression_matrices(k, CoilCompression()).shape[0] == int((kept < 0.95).sum()) + 1


def test_geometric_keeps_more_energy_than_one_matrix() -> None:
    k = coil_kspace()
    lost = {}
    for method in ("svd", "geometric"):
        A = compression_matrices(k, CoilCompression(method=method, virtual_coils=4))
        lost[method] = 1 - float((compress_coils(k, A).norm() / k.norm()) ** 2)
    assert lost["geometric"] < 0.2 * lost["svd"]
    assert lost["svd"] > 0.01


def test_aligned_matrices_are_smooth_along_the_readout() -> None:
    """Where there is an object, neighbours hardly differ: without alignment they jump by about 1.

    So that virtual coil images are as smooth as the object and have no steps.
    """
    A = compression_matrices(coil_kspace(), CoilCompression(method="geometric", virtual_coils=4))
    inside = A[4:-4]
    step = (inside[1:] - inside[:-1]).norm(dim=(-2, -1)) / 2
    assert float(step.max()) < 0.25


def test_maps_are_compressed_as_the_samples_are() -> None:
    images = coil_images()
    for method in ("svd", "geometric"):
        A = compression_matrices(
            centred_fft(images, (-2, -1)), CoilCompression(method=method, virtual_coils=6)
        )
        virtual = centred_ifft(compress_coils(centred_fft(images, (-2, -1)), A), (-2, -1))
        torch.testing.assert_close(virtual, compress_coil_maps(images, A), atol=1e-5, rtol=1e-4)


def test_all_coils_lose_nothing() -> None:
    k = coil_kspace()
    for method in ("svd", "geometric"):
        A = compression_matrices(k, CoilCompression(method=method, virtual_coils=99))
        assert A.shape[-2:] == (12, 12)
        kept, all_ = (x.to(torch.complex128).norm() for x in (compress_coils(k, A), k))
        assert float(kept) == pytest.approx(float(all_), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "svdd"}, "Did you mean 'svd'"),
        ({"virtual_coils": 0}, "at least 1 virtual coil"),
        ({"energy": 1.5}, "above 0 and at most 1"),
        ({"virtual_coils": 2, "energy": 0.9}, "got both"),
    ],
)
def test_choices_that_make_no_sense(options: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CoilCompression(**options)


def test_matrices_that_do_not_fit() -> None:
    A = compression_matrices(coil_kspace(), CoilCompression(method="geometric", virtual_coils=2))
    with pytest.raises(DataError, match="does not fit 12 coils and 40 positions"):
        compress_coil_maps(torch.ones(1, 12, 1, 4, 40, dtype=torch.complex64), A)
    with pytest.raises(DataError, match="expected complex"):
        compression_matrices(torch.ones(2, 1, 4, 4), CoilCompression())
