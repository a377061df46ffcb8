"""Check 1 and the conventions: true convolution, its true adjoint, and how mrpro differs."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.operators.gradient import GradientOp
from lowfield_recon.solvers.convolutional_model import analyse, filter_spectra, synthesise

TOLERANCE = {torch.complex128: 1e-12, torch.complex64: 1e-6}
PRECISE = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["complex128", "complex64"])


def _random(*shape: int, seed: int, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


def _adjoint_gap(forward, adjoint, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return ``|<A x, y> - <x, A^H y>| / (||A x|| ||y||)``."""
    image = forward(x)
    left = torch.vdot(image.flatten(), y.flatten())
    right = torch.vdot(x.flatten(), adjoint(y).flatten())
    norm = torch.linalg.vector_norm
    return float((left - right).abs() / (norm(image) * norm(y)))


@PRECISE
@pytest.mark.parametrize("size", [(14, 11), (16, 16), (5, 9)])
def test_analysis_is_the_adjoint_of_synthesis(random_kernels, size, dtype):
    spectra = filter_spectra(random_kernels(5, 7).to(dtype.to_real()), size)
    s, x = _random(5, 2, *size, seed=1, dtype=dtype), _random(2, *size, seed=2, dtype=dtype)
    gap = _adjoint_gap(
        lambda codes: synthesise(spectra, codes), lambda image: analyse(spectra, image), s, x
    )
    assert gap <= TOLERANCE[dtype]


@PRECISE
@pytest.mark.parametrize("size", [(14, 11), (16, 16)])
def test_sampling_and_its_product_with_the_dictionary_have_their_adjoints(
    random_kernels, size, dtype
):
    mask = torch.rand(1, 1, 1, *size, generator=torch.Generator().manual_seed(3)) < 0.5
    operator = kspace_operator(mask=mask)
    spectra = filter_spectra(random_kernels(3, 5).to(dtype.to_real()), size)

    def forward(codes: torch.Tensor) -> torch.Tensor:
        (y,) = operator(synthesise(spectra, codes)[None, None])
        return y

    def adjoint(y: torch.Tensor) -> torch.Tensor:
        (x,) = operator.adjoint(y)
        return analyse(spectra, x[0, 0])

    x, y = (
        _random(1, 1, 1, *size, seed=4, dtype=dtype),
        _random(1, 1, 1, *size, seed=5, dtype=dtype),
    )
    alone = _adjoint_gap(lambda v: operator(v)[0], lambda v: operator.adjoint(v)[0], x, y)
    assert alone <= TOLERANCE[dtype]
    s = _random(3, 1, *size, seed=6, dtype=dtype)
    assert _adjoint_gap(forward, adjoint, s, y) <= TOLERANCE[dtype]


@PRECISE
def test_the_differences_have_their_adjoint(dtype):
    gradient: LinearOperator = GradientOp((-2, -1))
    x = _random(1, 1, 1, 13, 10, seed=1, dtype=dtype)
    y = _random(2, 1, 1, 1, 13, 10, seed=2, dtype=dtype)
    gap = _adjoint_gap(lambda v: gradient(v)[0], lambda v: gradient.adjoint(v)[0], x, y)
    assert gap <= TOLERANCE[dtype]


@pytest.mark.parametrize("shape", [(12, 15), (9, 9), (16, 16)])
@pytest.mark.parametrize("size", [5, 11, 17])
def test_the_filters_convolve_circularly(random_kernels, shape, size):
    kernels = random_kernels(3, size)
    s = _random(3, 2, *shape, seed=1)
    expected = torch.zeros(2, *shape, dtype=torch.complex128)
    half = size // 2
    for k in range(3):
        for i in range(size):
            for j in range(size):
                expected += kernels[k, i, j] * s[k].roll((i - half, j - half), (-2, -1))
    assert _differ(expected, synthesise(filter_spectra(kernels, shape), s)) <= 1e-12


def test_a_single_code_places_its_filter_around_itself(random_kernels):
    kernels = random_kernels(2, 5)
    s = torch.zeros(2, 1, 12, 13, dtype=torch.complex128)
    s[1, 0, 6, 7] = 2j
    x = synthesise(filter_spectra(kernels, (12, 13)), s)
    expected = torch.zeros_like(x)
    expected[0, 4:9, 5:10] = 2j * kernels[1]
    assert _differ(expected, x) <= 1e-12


@pytest.mark.parametrize("size", [(16, 14), (9, 13)])
def test_mrpro_correlates_and_so_needs_the_flipped_filters(random_kernels, size):
    from mrpro.operators import ConvSynthesisDictionaryOp

    kernels = random_kernels(4, 7)
    spectra = filter_spectra(kernels, size)
    s, x = _random(4, 2, *size, seed=1), _random(2, *size, seed=2)
    ours = synthesise(spectra, s)
    (flipped,) = ConvSynthesisDictionaryOp(kernels.flip(-1, -2), pad_mode="circular")(s)
    (unflipped,) = ConvSynthesisDictionaryOp(kernels, pad_mode="circular")(s)
    assert _differ(ours, flipped) <= 1e-12
    assert _differ(ours, unflipped) >= 0.5
    theirs = ConvSynthesisDictionaryOp(kernels.flip(-1, -2), pad_mode="circular").adjoint(x)[0]
    assert _differ(analyse(spectra, x), theirs) <= 1e-12


def test_mrpros_analysis_is_the_adjoint_of_the_other_orientation(random_kernels):
    from mrpro.operators import ConvAnalysisDictionaryOp

    kernels = random_kernels(4, 7)
    x = _random(2, 15, 12, seed=2)
    ours = analyse(filter_spectra(kernels, (15, 12)), x)
    (same,) = ConvAnalysisDictionaryOp(kernels, pad_mode="circular")(x)
    (other,) = ConvAnalysisDictionaryOp(kernels.flip(-1, -2), pad_mode="circular")(x)
    assert _differ(ours, same) <= 1e-12
    assert _differ(ours, other) >= 0.5


def test_the_frequency_domain_data_are_those_of_the_centred_operator():
    """Centred k-space becomes plain spectra by a shift of both domains, odd sizes included."""
    for size in [(12, 10), (11, 13), (7, 8)]:
        x = _random(1, *size, seed=1)
        k = centred_fft(x, (-2, -1))
        spectrum = torch.fft.ifftshift(k, dim=(-2, -1)) * (size[0] * size[1]) ** 0.5
        for axis, n in ((-2, size[0]), (-1, size[1])):
            w = torch.fft.fftfreq(n, dtype=torch.float64) * (n // 2)
            shape = (n, 1) if axis == -2 else (1, n)
            spectrum = spectrum * torch.exp(-2j * torch.pi * w).reshape(shape)
        assert _differ(torch.fft.fft2(x), spectrum) <= 1e-12
        assert _differ(x, centred_ifft(k, (-2, -1))) <= 1e-12
