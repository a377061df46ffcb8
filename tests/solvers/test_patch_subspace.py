"""Analysis and synthesis in the subspace: layout, chunks, planes, precision."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers import patch_subspace
from lowfield_recon.solvers.patch_subspace import PatchSubspace


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("size", "block"), [((8, 6), 1), ((8, 6), 2), ((9, 7), 1), ((5, 3), 1), ((6, 11), 1)], ids=str
)
def test_every_coefficient_is_a_patch_against_a_row(small_prior, patch_matrix, size, block):
    basis, (ny, nx) = small_prior().basis, size
    x = draw(2, ny, nx, dtype=torch.complex128)
    z = PatchSubspace(basis, size, block=block).analyse(x)
    assert z.shape == (9, 2, 2 * block**2, ny * nx // block**2)
    patches = patch_matrix(size, (5, 3))
    for part, values in enumerate((x.real, x.imag)):
        maps = torch.einsum("ru,kuv,bv->rbk", basis.flatten(1), patches, values.flatten(1))
        maps = maps.reshape(9, 2, ny, nx)
        for dy in range(block):
            for dx in range(block):
                member = part * block**2 + dy * block + dx
                expected = maps[:, :, dy::block, dx::block].flatten(2)
                assert torch.allclose(z[:, :, member], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("block", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_synthesis_is_the_adjoint(small_prior, block, dtype):
    subspace = PatchSubspace(small_prior().basis, (8, 6), block=block)
    x = draw(3, 8, 6, dtype=dtype)
    z = subspace.analyse(x)
    w = draw(*z.shape, seed=1)
    back = subspace.synthesise(w, is_complex=x.is_complex())
    assert back.dtype == dtype
    assert float((z * w).sum()) == pytest.approx(float((x.conj() * back).sum().real), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_chunks_change_nothing(small_prior, monkeypatch, dtype):
    x = draw(2, 8, 6, dtype=dtype)
    whole = PatchSubspace(small_prior().basis, (8, 6), block=2)
    z = whole.analyse(x)
    image = whole.synthesise(z, is_complex=x.is_complex())
    monkeypatch.setattr(patch_subspace, "_CHUNK_VALUES", 4 * 8 * 6)
    pieces = PatchSubspace(small_prior().basis, (8, 6), block=2)
    assert torch.allclose(pieces.analyse(x), z, rtol=0, atol=1e-14)
    again = pieces.synthesise(z, is_complex=x.is_complex())
    assert torch.allclose(again, image, rtol=0, atol=1e-13)


def test_synthesis_leaves_its_argument_alone(small_prior):
    subspace = PatchSubspace(small_prior().basis, (8, 6))
    z = subspace.analyse(draw(2, 8, 6))
    kept = z.clone()
    subspace.synthesise(z, is_complex=False)
    assert torch.equal(z, kept)


@pytest.mark.parametrize("size", [(8, 6), (9, 7), (8, 7), (5, 3)], ids=str)
def test_the_response_is_that_of_analysis_and_synthesis(small_prior, size):
    subspace = PatchSubspace(small_prior().basis, size)
    x = draw(1, *size, dtype=torch.complex128)
    expected = subspace.synthesise(subspace.analyse(x), is_complex=True)
    found = torch.fft.ifft2(subspace.response * torch.fft.fft2(x))
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)
    padded = torch.zeros(9, *size, dtype=torch.float64)
    padded[:, :5, :3] = small_prior().basis
    direct = torch.fft.fft2(padded).abs().square().sum(0)
    assert torch.allclose(subspace.response, direct, rtol=0, atol=1e-13)


def test_single_precision_is_near_double(small_prior):
    x = draw(1, 9, 7)
    double = PatchSubspace(small_prior().basis, (9, 7)).analyse(x)
    single = PatchSubspace(small_prior("power", torch.float32).basis, (9, 7)).analyse(x.float())
    assert single.dtype == torch.float32
    assert float((single - double).abs().max()) <= 1e-6
