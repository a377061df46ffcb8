"""Coil maps against the true sensitivities of a phantom, and on real multi-coil brains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import estimate_coil_maps, undersampling_mask

METHODS = ("espirit", "walsh", "inati")


def phantom(shape: tuple[int, int, int], n_coils: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Object `(z, y, x)` and smooth normalised sensitivities `(coils, z, y, x)`."""
    z, y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in shape), indexing="ij"
    )
    radius = (z**2 + y**2 + x**2).sqrt()
    image = (radius < 0.8) * (1 + 0.4 * torch.sin(9 * x) * torch.cos(7 * y))
    angles = 2 * torch.pi * torch.arange(n_coils) / n_coils
    maps = torch.stack(
        [
            torch.exp(1j * (a.cos() * x + a.sin() * y + 0.5 * z))
            / (0.6 + (y - 1.3 * a.sin()) ** 2 + (x - 1.3 * a.cos()) ** 2 + 0.3 * z**2)
            for a in angles
        ]
    )
    return image, maps / torch.linalg.vector_norm(maps, dim=0)


def agreement(found: torch.Tensor, true: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """|<c_found, c_true>| in every voxel of the object: 1 where they agree up to a phase."""
    return (found.conj() * true).sum(dim=0).abs()[image > 0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("shape", "acceleration", "smallest"),
    [((1, 64, 64), 1, 0.99), ((1, 63, 80), 3, 0.99), ((20, 32, 24), 1, 0.98)],
)
def test_maps_of_a_phantom(
    method: str, shape: tuple[int, int, int], acceleration: int, smallest: float
) -> None:
    image, true = phantom(shape, 6)
    dims = tuple(d for d, n in zip((-3, -2, -1), shape, strict=True) if n > 1)
    mask = undersampling_mask(
        shape, acceleration=acceleration, calibration_lines=20, kind="regular"
    )
    k = centred_fft((image * true)[None].to(torch.complex64), dims) * mask
    found = estimate_coil_maps(k, method)
    assert found.shape == k.shape
    assert found.dtype == torch.complex64
    close = agreement(found[0], true, image)
    assert float(close.mean()) > 0.995
    assert float(close.quantile(0.02)) > smallest
    norm = found.abs().square().sum(dim=1)
    assert float((norm[norm > 0] - 1).abs().max()) < 1e-5
    assert float((norm[0][image > 0] > 0.5).float().mean()) > 0.99


@pytest.mark.parametrize("method", METHODS)
def test_scale_of_the_data_does_not_matter(method: str) -> None:
    image, true = phantom((1, 48, 48), 4)
    k = centred_fft((image * true)[None].to(torch.complex64), (-2, -1))
    tiny = estimate_coil_maps(1e-9 * k, method)
    assert float((tiny - estimate_coil_maps(k, method)).abs().max()) < 1e-2


@pytest.mark.parametrize("method", METHODS)
def test_slices_are_worked_through_one_by_one(method: str) -> None:
    image, true = phantom((1, 40, 40), 3)
    k = centred_fft((image * true)[None].to(torch.complex64), (-2, -1))
    stack = torch.cat([k, 1j * k.flip(1)])
    found = estimate_coil_maps(stack, method)
    for i in range(2):
        single = estimate_coil_maps(stack[i : i + 1], method)[0]
        torch.testing.assert_close(found[i], single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["walsh", "inati"])
def test_tiles_give_the_same_as_the_whole(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from lowfield_recon.prepare import coil_maps

    image, true = phantom((12, 30, 16), 3)
    k = centred_fft((image * true)[None].to(torch.complex64), (-3, -2, -1))
    whole = estimate_coil_maps(k, method)
    monkeypatch.setattr(coil_maps, "_TILE_BYTES", 40_000)
    tiled = estimate_coil_maps(k, method)
    inside = image > 0
    torch.testing.assert_close(tiled[0][:, inside], whole[0][:, inside], atol=1e-4, rtol=0)


def test_noise_outside_gets_no_map_from_espirit() -> None:
    image, true = phantom((1, 96, 96), 4)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 4, 1, 96, 96, dtype=torch.complex64, generator=generator)
    k = centred_fft((image * true)[None].to(torch.complex64), (-2, -1)) + 0.05 * noise
    norm = estimate_coil_maps(k, "espirit")[0].abs().square().sum(dim=0)[0]
    assert float(norm[0, :8].max()) == 0.0
    assert float(norm[48, 48]) == pytest.approx(1.0)


def test_single_coil_gets_ones() -> None:
    k = torch.randn(2, 1, 1, 8, 8, dtype=torch.complex64)
    assert torch.equal(estimate_coil_maps(k), torch.ones_like(k))


def test_centre_not_sampled() -> None:
    mask = undersampling_mask((1, 64, 64), acceleration=4, calibration_lines=0, kind="regular")
    k = torch.randn(1, 4, 1, 64, 64, dtype=torch.complex64) * mask
    with pytest.raises(DataError, match="fully sampled centre of k-space is 1 samples wide"):
        estimate_coil_maps(k)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "esprit"}, "Did you mean 'espirit'"),
        ({"calibration_width": 0}, "calibration_width >= 1"),
        ({"eigenvalue_threshold": 1.5}, "from 0 to 1"),
    ],
)
def test_wrong_settings(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        estimate_coil_maps(torch.randn(1, 2, 1, 16, 16, dtype=torch.complex64), **settings)


def test_mask_that_does_not_fit() -> None:
    k = torch.randn(1, 2, 1, 16, 16, dtype=torch.complex64)
    with pytest.raises(DataError, match="does not fit"):
        estimate_coil_maps(k, mask=torch.ones(1, 1, 1, 15, 1).bool())


def test_warnings_of_sigpy_do_not_leak() -> None:
    """In a fresh process, where sigpy and numba are imported for the first time, with -W error."""
    code = (
        "import torch; from lowfield_recon.prepare import estimate_coil_maps; "
        "g = torch.Generator().manual_seed(0); "
        "k = torch.randn(1, 2, 1, 16, 16, dtype=torch.complex64, generator=g); "
        "import warnings; warnings.simplefilter('error'); k[:, 0] = 0; "
        "print(bool(torch.isfinite(estimate_coil_maps(k).abs()).all()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.shared_data
@pytest.mark.parametrize("method", METHODS)
def test_real_four_coil_brain(shared_data: Path, method: str) -> None:
    """The maps must explain the coil images: little is left after projecting on them."""
    images = io.loadmat(shared_data / "gpunufft_demo" / "img_brain_4ch.mat")["img"]
    coil_images = torch.from_numpy(images).permute(2, 0, 1)[None, :, None].to(torch.complex64)
    maps = estimate_coil_maps(centred_fft(coil_images, (-2, -1)), method)
    combined = (maps.conj() * coil_images).sum(dim=1, keepdim=True)
    left = torch.linalg.vector_norm(maps * combined - coil_images)
    noise = 1.14e-5 * coil_images.numel() ** 0.5  # three of four directions hold noise alone
    assert float(left) < 1.15 * noise * (3 / 4) ** 0.5


@pytest.mark.shared_data
def test_real_eight_coil_poisson_disc(shared_data: Path) -> None:
    """The calibration square is found in a pattern whose lines are not complete."""
    ksp = np.load(shared_data / "sigpy_tutorial_brain8ch" / "cartesian_ksp.npy")
    k = torch.from_numpy(ksp)[None, :, None]
    maps = estimate_coil_maps(k)
    block = torch.zeros_like(k)
    block[..., 103:127, 78:102] = k[..., 103:127, 78:102]
    low = centred_ifft(block, (-2, -1))
    combined = (maps.conj() * low).sum(dim=1, keepdim=True)
    left = torch.linalg.vector_norm(maps * combined - low) / torch.linalg.vector_norm(low)
    assert float(left) < 0.1


def test_maps_of_a_large_volume_follow_the_true_ones() -> None:
    n = 64
    axis = torch.linspace(-1, 1, n)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    image = (z**2 + y**2 + x**2 < 0.6).to(torch.complex64)
    true = torch.stack([torch.exp(-((y - a) ** 2) - (x - b) ** 2 + 0.5j * a * z) for a, b in (
        (1, 0), (-1, 0), (0, 1), (0, -1))])  # fmt: skip
    true = true / torch.linalg.vector_norm(true, dim=0, keepdim=True)
    maps = estimate_coil_maps(centred_fft(image * true, (-3, -2, -1))[None], "espirit")[0]
    inside = z**2 + y**2 + x**2 < 0.5
    agreement = (maps.conj() * true).sum(0).abs()[inside]
    assert float(agreement.mean()) > 0.995
    assert float(agreement.quantile(0.01)) > 0.98
