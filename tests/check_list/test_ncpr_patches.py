"""Checks 4 to 7 of NCPR and CPR: Fourier form against explicit patches, adjoints, spectrum of h."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.solvers.patch_subspace import PatchSubspace

MODELS = pytest.mark.parametrize(
    "name", ["ncpr_sigma25", "cpr_sigma25", "ncpr_sigma5", "cpr_sigma5"]
)
SIDE = 13
RANK = 48
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def patch_indices(size: tuple[int, int]) -> torch.Tensor:
    """Return which pixels the circular patch around each pixel holds, `(pixels, 169)`."""
    ny, nx = size
    row, column = torch.arange(ny * nx) // nx, torch.arange(ny * nx) % nx
    offset = torch.arange(SIDE * SIDE)
    dy, dx = offset // SIDE - SIDE // 2, offset % SIDE - SIDE // 2
    return (row[:, None] + dy) % ny * nx + (column[:, None] + dx) % nx


def explicit_patches(x: torch.Tensor) -> torch.Tensor:
    """Return P_k x for every k as rows, `(pixels, 169)`, of an image `(y, x)`."""
    return x.flatten()[patch_indices((x.shape[0], x.shape[1]))]


def put_back(rows: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return ``sum_k P_k^T p_k`` of patches p_k in rows."""
    total = rows.new_zeros(size[0] * size[1])
    return total.index_add(0, patch_indices(size).flatten(), rows.flatten()).reshape(size)


def draw(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def draw_complex(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.complex(draw(*shape, dtype=dtype, seed=seed), draw(*shape, dtype=dtype, seed=99))


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@MODELS
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("size", [(16, 21), (17, 18), (13, 13)], ids=str)
def test_analysis_is_that_of_explicit_patches(published_model, name, dtype, size):
    regularizer = published_model(name, dtype)
    x = draw(*size, dtype=dtype)
    rows = explicit_patches(x.double())
    U, C = regularizer.basis.double().flatten(1), regularizer.factors.double()
    z = PatchSubspace(regularizer.basis, size).analyse(x[None])
    assert z.shape == (RANK, 1, 1, x.numel())
    assert relative(z[:, 0, 0].double(), U @ rows.mT) <= TOLERANCE[dtype]
    # D^T P_k x, the force on the coefficients, with the dictionary written out.
    atoms = regularizer.dictionary.double().flatten(1)
    forces = C.mT @ z[:, 0, 0].double()
    assert relative(forces, atoms @ rows.mT) <= TOLERANCE[dtype]


@MODELS
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("size", [(16, 21), (17, 18)], ids=str)
def test_synthesis_and_quadratic_are_those_of_explicit_patches(published_model, name, dtype, size):
    regularizer = published_model(name, dtype)
    subspace = PatchSubspace(regularizer.basis, size)
    U, n = regularizer.basis.double().flatten(1), size[0] * size[1]
    a = draw(200, n, dtype=dtype, seed=1)
    w = regularizer.factors @ a
    atoms = regularizer.dictionary.double().flatten(1)
    expected = put_back(a.double().mT @ atoms, size)
    found = subspace.synthesise(w[:, None, None], is_complex=False)[0]
    assert relative(found.double(), expected) <= TOLERANCE[dtype]
    x = draw(*size, dtype=dtype)
    projected = put_back(explicit_patches(x.double()) @ U.mT @ U, size)
    both = subspace.synthesise(subspace.analyse(x[None]), is_complex=False)[0]
    assert relative(both.double(), projected) <= TOLERANCE[dtype]
    filtered = torch.fft.ifft2(subspace.response * torch.fft.fft2(x)).real
    assert relative(filtered.double(), projected) <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", ["ncpr_sigma25", "cpr_sigma25"])
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_groups_hold_the_pixels_of_a_block_and_both_parts(published_model, name, is_complex):
    regularizer = published_model(name)
    block, size = regularizer.potential.block, (14, 18)
    x = draw_complex(2, *size) if is_complex else draw(2, *size)
    z = PatchSubspace(regularizer.basis, size, block=block).analyse(x)
    parts = (x.real, x.imag) if is_complex else (x,)
    assert z.shape == (RANK, 2, len(parts) * block**2, 14 * 18 // block**2)
    U = regularizer.basis.flatten(1)
    for plane in range(2):
        maps = [(U @ explicit_patches(p[plane]).mT).reshape(RANK, *size) for p in parts]
        for group in (0, 1, 18 // block, z.shape[-1] - 1):
            row, column = divmod(group, 18 // block)
            members = torch.stack([
                m[:, block * row + dy, block * column + dx]
                for m in maps for dy in range(block) for dx in range(block)
            ], 1)  # fmt: skip
            found = z[:, plane, :, group].sort(1).values
            assert torch.allclose(found, members.sort(1).values, rtol=0, atol=1e-12)


@MODELS
def test_mrpro_dictionary_operators_agree(published_model, name):
    from mrpro.operators import ConvAnalysisDictionaryOp, ConvSynthesisDictionaryOp

    regularizer, size = published_model(name), (20, 17)
    subspace = PatchSubspace(regularizer.basis, size)
    D = regularizer.dictionary
    x, a = draw_complex(1, *size), draw_complex(200, *size, seed=1)

    def ours(image: torch.Tensor) -> torch.Tensor:
        z = subspace.analyse(image)
        forces = torch.einsum("rk,rmg->kmg", regularizer.factors, z[:, 0])
        return torch.complex(forces[:, 0], forces[:, 1]).reshape(200, *size)

    def back(codes: torch.Tensor) -> torch.Tensor:
        parts = torch.stack((codes.real, codes.imag), 1).flatten(2)
        w = torch.einsum("rk,kmg->rmg", regularizer.factors, parts)[:, None]
        return subspace.synthesise(w, is_complex=True)

    analysis = ConvAnalysisDictionaryOp(D, pad_mode="circular")
    (forces,) = analysis(x)
    assert relative(ours(x), forces[:, 0]) <= 1e-12
    (image,) = analysis.adjoint(a[:, None])
    assert relative(back(a), image) <= 1e-12
    flipped = ConvSynthesisDictionaryOp(D.flip(-1, -2), pad_mode="circular")
    assert relative(back(a), flipped(a[:, None])[0]) <= 1e-12
    unflipped = ConvSynthesisDictionaryOp(D, pad_mode="circular")
    assert relative(back(a), unflipped(a[:, None])[0]) >= 0.1


@MODELS
@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "complex"])
def test_adjoints(published_model, name, is_complex):
    regularizer = published_model(name)
    size = (18, 14)
    subspace = PatchSubspace(regularizer.basis, size, block=regularizer.potential.block)
    x = draw_complex(2, *size) if is_complex else draw(2, *size)
    U, C = regularizer.basis.flatten(1), regularizer.factors
    z = subspace.analyse(x)
    a = draw(200, *z.shape[1:], seed=3)
    w = torch.einsum("rk,kpmg->rpmg", C, a)
    pairs = [
        # <P x, p> = <x, P^T p>
        (explicit_patches(x[0].real), p := draw(252, 169, seed=4), x[0].real, put_back(p, size)),
        # <U P x, w> = <x, P^T U^T w>
        (z, w, x, subspace.synthesise(w, is_complex=is_complex)),
        # <C^T z, a> = <z, C a>
        (torch.einsum("rk,rpmg->kpmg", C, z), a, z, w),
        # <U p, u> = <p, U^T u>
        (U @ p.mT, u := draw(RANK, 252, seed=5), p.mT, U.mT @ u),
    ]
    for left, right, before, after in pairs:
        one = (left * right).sum()
        two = (before.conj() * after).sum().real
        assert abs(float(one - two)) <= 1e-12 * float(left.norm() * right.norm())
        assert abs(float(one)) > 1e-6 * float(left.norm() * right.norm())


@MODELS
@pytest.mark.parametrize("size", [(32, 32), (33, 26), (64, 47)], ids=str)
def test_spectrum_of_the_quadratic(published_model, name, size):
    basis = published_model(name).basis
    subspace = PatchSubspace(basis, size)
    h = subspace.response
    assert h.shape == size
    assert float(h.min()) >= -1e-12
    assert abs(float(h[0, 0])) <= 1e-12
    assert float(h.max()) <= SIDE**2
    assert abs(float(h.mean()) - RANK) <= 1e-11
    constant = torch.full((1, *size), 3.0, dtype=torch.float64)
    assert float(subspace.analyse(constant).abs().max()) <= 1e-12
    # The kernel h_P of all differences within a patch, wrapped around the image.
    kernel = torch.zeros(size, dtype=torch.float64)
    U = basis.flatten(1)
    P = U.mT @ U
    place = torch.arange(SIDE * SIDE)
    dy = (place[:, None] // SIDE - place // SIDE) % size[0]
    dx = (place[:, None] % SIDE - place % SIDE) % size[1]
    kernel.index_put_((dy, dx), P, accumulate=True)
    assert abs(float(kernel[0, 0]) - RANK) <= 1e-11
    transform = torch.fft.fft2(kernel)
    assert float((transform - h).abs().max()) <= 1e-11


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("ncpr_sigma25", 64, 82.62), ("cpr_sigma25", 64, 143.7), ("ncpr_sigma5", 64, 89.1),
        ("cpr_sigma5", 64, 150.6), ("ncpr_sigma25", 32, 82.55), ("ncpr_sigma25", 160, 82.98),
        ("cpr_sigma25", 32, 140.6),
    ],
)  # fmt: skip
def test_largest_eigenvalue_is_the_published_one(published_model, name, side, expected):
    h = PatchSubspace(published_model(name).basis, (side, side)).response
    last_digit = 10.0 ** -len(str(expected).split(".")[1])
    assert abs(float(h.max()) - expected) <= 0.51 * last_digit
