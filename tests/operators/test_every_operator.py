"""Shape, linearity, adjointness, Gram, norm and gradient of every operator of the package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import pytest
import torch
from mrpro.operators import LinearOperator

import lowfield_recon.operators as operators
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
    operator_norm,
)
from lowfield_recon.operators.cartesian import CartesianGramOp
from lowfield_recon.operators.framelet import FrameletOp
from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.operators.wavelet import ShiftInvariantWaveletOp, WaveletOp

Case = tuple[LinearOperator, tuple[int, ...], tuple[int, ...]]


def _random(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _mask(shape: tuple[int, ...]) -> torch.Tensor:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[(0,) * len(shape)] = True
    return mask


def _real_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.complex128 else torch.float32


def _radial(n: int, spokes: int) -> torch.Tensor:
    angle = torch.arange(spokes) * (torch.pi / spokes)
    radius = torch.arange(n) - n // 2
    k = torch.stack(
        (
            torch.zeros(spokes, n),
            angle.sin()[:, None] * radius,
            angle.cos()[:, None] * radius,
        ),
        dim=-1,
    )
    return k[None, None]


CASES: dict[str, Callable[[torch.dtype], Case]] = {
    "cartesian one coil": lambda t: (
        kspace_operator(mask=_mask((1, 1, 1, 7, 1))), (1, 1, 1, 7, 8), (1, 1, 1, 7, 8)),
    "cartesian coils, lines": lambda t: (
        kspace_operator(mask=_mask((1, 1, 1, 8, 1)), coil_maps=_random((1, 3, 1, 8, 5), t, 2)),
        (1, 1, 1, 8, 5), (1, 3, 1, 8, 5)),
    "cartesian coils, points": lambda t: (
        kspace_operator(mask=_mask((2, 1, 1, 6, 7)), coil_maps=_random((2, 3, 1, 6, 7), t, 2)),
        (2, 1, 1, 6, 7), (2, 3, 1, 6, 7)),
    "cartesian coils, mask per coil": lambda t: (
        kspace_operator(mask=_mask((1, 2, 1, 6, 1)), coil_maps=_random((1, 2, 1, 6, 4), t, 2)),
        (1, 1, 1, 6, 4), (1, 2, 1, 6, 4)),
    "cartesian coils, readout undersampled": lambda t: (
        kspace_operator(mask=_mask((1, 1, 1, 1, 8)), coil_maps=_random((1, 2, 1, 6, 8), t, 2)),
        (1, 1, 1, 6, 8), (1, 2, 1, 6, 8)),
    "cartesian volume": lambda t: (
        kspace_operator(mask=_mask((1, 1, 4, 5, 1)), coil_maps=_random((1, 2, 4, 5, 6), t, 2)),
        (1, 1, 4, 5, 6), (1, 2, 4, 5, 6)),
    "cartesian full, coils": lambda t: (
        kspace_operator(coil_maps=_random((1, 2, 1, 4, 6), t, 2)), 
        (1, 1, 1, 4, 6), (1, 2, 1, 4, 6)),
    "identity": lambda t: (identity_operator(), (1, 2, 1, 4, 5), (1, 2, 1, 4, 5)),
    "mask": lambda t: (mask_operator(_mask((1, 1, 1, 4, 5))), (1, 3, 1, 4, 5), (1, 3, 1, 4, 5)),
    "blur": lambda t: (
        blur_operator(_random((3, 4), _real_dtype(t), 3), image_shape=(6, 7)),
        (1, 1, 1, 6, 7), (1, 1, 1, 6, 7)),
    "downsample": lambda t: (
        downsample_operator((2, 3), image_shape=(6, 7)), (1, 1, 1, 6, 7), (1, 1, 1, 3, 3)),
    "super-resolution": lambda t: (
        downsample_operator(2, image_shape=(6, 8))
        @ blur_operator(_random((3, 3), _real_dtype(t), 3), image_shape=(6, 8)),
        (1, 1, 1, 6, 8), (1, 1, 1, 3, 4)),
    "masked blur": lambda t: (
        mask_operator(_mask((1, 1, 1, 6, 8)))
        @ blur_operator(_random((3, 3), _real_dtype(t), 3), image_shape=(6, 8)),
        (1, 1, 1, 6, 8), (1, 1, 1, 6, 8)),
    "masked mask": lambda t: (
        mask_operator(_mask((1, 1, 1, 6, 8))) @ mask_operator(_mask((1, 1, 1, 6, 1))),
        (1, 1, 1, 6, 8), (1, 1, 1, 6, 8)),
    "blurred scan": lambda t: (
        kspace_operator(mask=_mask((1, 1, 1, 6, 1)))
        @ blur_operator(_random((3, 3), _real_dtype(t), 3), image_shape=(6, 8)),
        (1, 1, 1, 6, 8), (1, 1, 1, 6, 8)),
    "gradient": lambda t: (GradientOp((-2, -1)), (1, 2, 1, 5, 6), (2, 1, 2, 1, 5, 6)),
    "gradient along frames and channels": lambda t: (
        GradientOp((-5, -4, -1)), (3, 2, 1, 4, 5), (3, 3, 2, 1, 4, 5)),
    "gradient that ends at the border": lambda t: (
        GradientOp((-4, -2, -1), periodic=False), (1, 3, 1, 5, 6), (3, 1, 3, 1, 5, 6)),
    "wavelet": lambda t: (
        WaveletOp((1, 1, 1, 8, 12), "db2", 2), (1, 1, 1, 8, 12), (1, 1, 1, 8, 12)),
    "wavelet volume": lambda t: (
        WaveletOp((1, 1, 4, 8, 6), "haar", 1), (1, 1, 4, 8, 6), (1, 1, 4, 8, 6)),
    "shift-invariant wavelet": lambda t: (
        ShiftInvariantWaveletOp((1, 1, 1, 7, 9), "db2", 2), (1, 1, 1, 7, 9), (7, 1, 1, 1, 7, 9)),
    "framelet details": lambda t: (FrameletOp(), (1, 2, 1, 5, 6), (8, 1, 2, 1, 5, 6)),
    "framelet, two levels": lambda t: (
        FrameletOp(2, is_complete=True), (1, 1, 1, 7, 8), (17, 1, 1, 1, 7, 8)),
    "gram": lambda t: (
        CartesianGramOp(_mask((1, 1, 1, 6, 5)), _random((1, 2, 1, 6, 5), t, 2)),
        (1, 1, 1, 6, 5), (1, 1, 1, 6, 5)),
}  # fmt: skip
NON_CARTESIAN: dict[str, Callable[[torch.dtype], Case]] = {
    "radial coils": lambda t: (
        kspace_operator(
            trajectory=_radial(12, 5),
            coil_maps=_random((1, 2, 1, 12, 12), torch.complex64, 2).to(t),
        ), (1, 1, 1, 12, 12), (1, 2, 1, 5, 12)),
    "radial one coil": lambda t: (
        kspace_operator(trajectory=_radial(12, 5), image_shape=(1, 12, 12)),
        (1, 1, 1, 12, 12), (1, 1, 1, 5, 12)),
}  # fmt: skip
EPSILON = {torch.complex64: 1e-5, torch.complex128: 1e-12}
ALL = [(name, dtype) for name in CASES for dtype in EPSILON] + [
    # The gridding kernel of the non-uniform transform limits single precision.
    (name, torch.complex64)
    for name in NON_CARTESIAN
]


def _case(name: str, dtype: torch.dtype) -> tuple[Case, float]:
    if name in CASES:
        return CASES[name](dtype), EPSILON[dtype]
    return NON_CARTESIAN[name](dtype), 1e-4


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.vdot(a.flatten(), b.flatten())


@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_the_adjoint_satisfies_the_dot_product_identity(name: str, dtype: torch.dtype) -> None:
    (operator, domain, range_), epsilon = _case(name, dtype)
    x, y = _random(domain, dtype, 4), _random(range_, dtype, 5)
    (forward,), (adjoint,) = operator(x), operator.adjoint(y)
    assert forward.shape == range_
    assert adjoint.shape == domain
    assert forward.dtype == adjoint.dtype == dtype
    scale = torch.linalg.vector_norm(forward) * torch.linalg.vector_norm(y)
    assert abs(_dot(y, forward) - _dot(adjoint, x)) <= epsilon * scale


@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_it_is_linear(name: str, dtype: torch.dtype) -> None:
    (operator, domain, _), epsilon = _case(name, dtype)
    x, v = _random(domain, dtype, 4), _random(domain, dtype, 6)
    (together,) = operator((1 + 2j) * x - v)
    (ax,), (av,) = operator(x), operator(v)
    error = torch.linalg.vector_norm(together - ((1 + 2j) * ax - av))
    assert error <= 10 * epsilon * torch.linalg.vector_norm(together)


@pytest.mark.parametrize(("name", "dtype"), ALL)
def test_the_gram_is_adjoint_times_forward(name: str, dtype: torch.dtype) -> None:
    (operator, domain, _), epsilon = _case(name, dtype)
    x = _random(domain, dtype, 4)
    (gram,) = operator.gram(x)
    (expected,) = operator.adjoint(*operator(x))
    error = torch.linalg.vector_norm(gram - expected)
    assert error <= 10 * epsilon * torch.linalg.vector_norm(expected)


@pytest.mark.parametrize("name", [*CASES, *NON_CARTESIAN])
def test_the_norm_agrees_with_a_dense_singular_value_decomposition(name: str) -> None:
    dtype = torch.complex128 if name in CASES else torch.complex64
    (operator, domain, _), epsilon = _case(name, dtype)
    n = torch.Size(domain).numel()
    basis = torch.eye(n, dtype=dtype).reshape(n, *domain)
    columns = [operator(column)[0].flatten() for column in basis]
    exact = float(torch.linalg.matrix_norm(torch.stack(columns, dim=1), ord=2))
    norm = operator_norm(operator, domain, dtype=dtype)
    if norm.kind == "exact":
        # float32 symbols limit what is stored, not what is computed.
        assert norm.value == pytest.approx(exact, rel=max(epsilon, 1e-6))
    elif norm.kind == "upper bound":
        assert norm.value >= exact * (1 - 1e-6)
    else:
        assert norm.value == pytest.approx(exact, rel=1e-2)
        assert norm.value >= exact * (1 - 1e-3)


@pytest.mark.parametrize("name", list(CASES))
def test_gradients_flow_through_forward_and_adjoint(name: str) -> None:
    operator, domain, range_ = CASES[name](torch.complex128)
    x = _random(domain, torch.complex128, 4).requires_grad_()
    y = _random(range_, torch.complex128, 5)
    (forward,) = operator(x)
    (gradient,) = torch.autograd.grad(0.5 * (forward - y).abs().square().sum(), x)
    (expected,) = operator.adjoint(forward.detach() - y)
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-10)
    v = y.clone().requires_grad_()
    (back,) = operator.adjoint(v)
    (gradient,) = torch.autograd.grad((back * back.conj()).real.sum(), v)
    (expected,) = operator(2 * back.detach())
    assert torch.allclose(gradient, expected, rtol=1e-10, atol=1e-10)


def test_every_operator_class_of_the_package_has_a_case() -> None:
    found: set[type] = set()
    for module in pkgutil.iter_modules(operators.__path__):
        loaded = importlib.import_module(f"lowfield_recon.operators.{module.name}")
        found |= {
            value
            for value in vars(loaded).values()
            if isinstance(value, type)
            and issubclass(value, LinearOperator)
            and value.__module__.startswith("lowfield_recon")
        }
    covered: set[type] = set()
    for make in (*CASES.values(), *NON_CARTESIAN.values()):
        operator = make(torch.complex64)[0]
        covered |= {type(part) for part in operator.modules()}
    assert found <= covered, f"no case for {found - covered}"
