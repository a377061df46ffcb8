"""The MRI forward operator against sigpy and against explicit sums, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sigpy
import sigpy.mri
import torch
from mrpro.data import KTrajectory

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators import capabilities, kspace_operator
from lowfield_recon.operators.circulant import circulant_gram
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.solvers import cg
from lowfield_recon.solvers.functionals import Apply


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(1, 8, 6), (1, 7, 9), (4, 5, 6), (1, 10, 13)])
def test_the_fourier_transform_is_centred_and_orthonormal_like_sigpys(
    size: tuple[int, ...],
) -> None:
    x = _random(1, 1, *size)
    expected = sigpy.fft(x.numpy(), axes=(-3, -2, -1), norm="ortho", center=True)
    kspace = centred_fft(x, (-3, -2, -1))
    assert np.allclose(kspace.numpy(), expected, atol=1e-12)
    assert torch.allclose(centred_ifft(kspace, (-3, -2, -1)), x, atol=1e-12)


def test_forward_equals_sigpys_sense_operator() -> None:
    maps, x = _random(1, 4, 1, 8, 10), _random(1, 1, 1, 8, 10, seed=1)
    mask = torch.rand(1, 1, 1, 8, 1, generator=torch.Generator().manual_seed(2)) < 0.5
    reference = sigpy.mri.linop.Sense(
        maps[0, :, 0].numpy(), weights=mask[0, 0, 0].double().expand(8, 10).numpy()
    )
    (y,) = kspace_operator(mask=mask, coil_maps=maps)(x)
    assert np.allclose(y[0, :, 0].numpy(), reference(x[0, 0, 0].numpy()), atol=1e-12)


def test_a_batch_of_slices_equals_its_slices() -> None:
    maps, x = _random(3, 2, 1, 6, 8), _random(3, 1, 1, 6, 8, seed=1)
    mask = torch.rand(3, 1, 1, 6, 1, generator=torch.Generator().manual_seed(2)) < 0.6
    together = kspace_operator(mask=mask, coil_maps=maps)
    for i in range(3):
        single = kspace_operator(mask=mask[i : i + 1], coil_maps=maps[i : i + 1])
        one = x[i : i + 1]
        assert torch.allclose(together(x)[0][i : i + 1], single(one)[0], atol=1e-12)
        assert torch.allclose(together.gram(x)[0][i : i + 1], single.gram(one)[0], atol=1e-12)


def test_the_non_uniform_transform_equals_the_sum_that_defines_it() -> None:
    generator = torch.Generator().manual_seed(3)
    n = 10
    k = (torch.rand(1, 1, 7, 5, 3, generator=generator) - 0.5) * n
    k[..., 0] = 0
    x = _random(1, 1, 1, n, n, seed=4, dtype=torch.complex64)
    (y,) = kspace_operator(trajectory=k, image_shape=(1, n, n))(x)
    r = torch.arange(n) - n // 2
    phase = k[..., 1, None, None] * r[:, None] + k[..., 2, None, None] * r
    expected = (x[0, 0, 0] * torch.exp(-2j * math.pi * phase / n)).sum((-2, -1)) / n
    assert torch.allclose(y[0, 0], expected[0], atol=1e-4)


def test_a_cartesian_trajectory_gives_the_cartesian_operator() -> None:
    ky, kx = torch.meshgrid(torch.arange(8.0) - 4, torch.arange(6.0) - 3, indexing="ij")
    k = torch.stack((torch.zeros_like(ky), ky, kx), dim=-1)[None, None]
    maps, x = (
        _random(1, 2, 1, 8, 6, dtype=torch.complex64),
        _random(1, 1, 1, 8, 6, seed=5, dtype=torch.complex64),
    )
    (y,) = kspace_operator(trajectory=k, coil_maps=maps)(x)
    (expected,) = kspace_operator(coil_maps=maps)(x)
    assert torch.allclose(y, expected, atol=1e-4)


def test_an_mrpro_trajectory_is_taken_as_it_is() -> None:
    k = (torch.rand(1, 1, 4, 6, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 6
    k[..., 0] = 0
    kz, ky, kx = (part[:, None] for part in k.unbind(-1))
    x = _random(1, 1, 1, 6, 6, dtype=torch.complex64)
    (y,) = kspace_operator(trajectory=KTrajectory(kz=kz, ky=ky, kx=kx), image_shape=(1, 6, 6))(x)
    (expected,) = kspace_operator(trajectory=k, image_shape=(1, 6, 6))(x)
    assert torch.allclose(y, expected)


def test_the_gram_of_one_coil_is_diagonal_in_fourier_space() -> None:
    mask = torch.rand(1, 1, 1, 6, 7, generator=torch.Generator().manual_seed(2)) < 0.5
    A = kspace_operator(mask=mask)
    x = _random(1, 1, 1, 6, 7)
    eigenvalues = capabilities(A).gram_fourier
    assert eigenvalues is not None
    expected = torch.fft.ifft2(torch.fft.fft2(x) * eigenvalues)
    assert torch.allclose(A.gram(x)[0], expected, atol=1e-12)


def test_the_circulant_is_the_diagonal_of_the_gram_in_fourier_space() -> None:
    size = (6, 7)
    maps = _random(1, 3, 1, *size)
    mask = torch.rand(1, 1, 1, 6, 1, generator=torch.Generator().manual_seed(2)) < 0.6
    A = kspace_operator(mask=mask, coil_maps=maps)
    circulant = circulant_gram(A, (1, 1, 1, *size))
    assert circulant is not None
    n = size[0] * size[1]
    waves = torch.fft.ifft2(torch.eye(n, dtype=maps.dtype).reshape(n, *size), norm="ortho")
    diagonal = [
        torch.vdot(w.flatten(), A.gram(w[None, None, None])[0].flatten()).real for w in waves
    ]
    assert torch.allclose(circulant[0, 0, 0], torch.stack(diagonal).reshape(size), rtol=1e-6)


def test_the_circulant_of_a_trajectory_speeds_conjugate_gradients_up() -> None:
    n, spokes = 32, 24
    angle = torch.arange(spokes) * (math.pi / spokes)
    radius = torch.arange(n) - n / 2
    ky, kx = angle.sin()[:, None] * radius, angle.cos()[:, None] * radius
    k = torch.stack((torch.zeros_like(ky), ky, kx), dim=-1)[None, None]
    A = kspace_operator(trajectory=k, image_shape=(1, n, n))
    gram = A.gram
    eigenvalues = circulant_gram(A, (1, 1, 1, n, n))
    assert eigenvalues is not None
    b = _random(1, 1, 1, n, n, dtype=torch.complex64)

    def steps(preconditioner: Apply | None) -> int:
        return cg(
            lambda x: gram(x)[0] + 0.1 * x,
            b,
            preconditioner=preconditioner,
            tolerance=1e-4,
            iterations=500,
        ).iterations

    plain = steps(None)
    circulant = steps(lambda r: torch.fft.ifft2(torch.fft.fft2(r) / (eigenvalues + 0.1)))
    assert circulant < 0.9 * plain


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"mask": torch.zeros(1, 1, 1, 4, 1)}, DataError, "keeps no sample"),
        ({"mask": torch.full((1, 1, 1, 4, 1), 0.5)}, DataError, "only zeros and ones"),
        ({"mask": torch.ones(4)}, DataError, "at least four axes"),
        (
            {"mask": torch.ones(1, 1, 1, 5, 1), "coil_maps": _random(1, 2, 1, 4, 4)},
            DataError,
            r"mask.*coil maps.*\(1, 2, 1, 4, 4\).*\(1, 1, 1, 5, 1\)",
        ),
        ({"coil_maps": torch.ones(1, 2, 1, 4, 4)}, DataError, "complex"),
        ({"coil_maps": _random(1, 0, 1, 4, 4)}, DataError, "no coil"),
        ({"coil_maps": _random(1, 2, 1, 4, 4) * float("nan")}, DataError, "NaN"),
        ({"coil_maps": _random(1, 2, 1, 4, 4), "image_shape": (1, 4, 5)}, DataError, "image size"),
        ({"trajectory": torch.zeros(1, 1, 2, 2, 3)}, UsageError, "image_shape"),
        (
            {"trajectory": torch.zeros(1, 1, 2, 2, 3), "mask": torch.ones(1, 1, 1, 4, 1)},
            UsageError,
            "both mask and trajectory",
        ),
        (
            {"trajectory": torch.zeros(1, 1, 2, 2), "image_shape": (1, 4, 4)},
            DataError,
            "kz, ky, kx",
        ),
        (
            {"trajectory": torch.full((1, 1, 2, 2, 3), 9.0), "image_shape": (1, 4, 4)},
            DataError,
            "cycles per field of view",
        ),
    ],
)
def test_it_says_what_does_not_fit(
    arguments: dict[str, torch.Tensor], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        kspace_operator(**arguments)
    assert "\n" not in str(raised.value)
