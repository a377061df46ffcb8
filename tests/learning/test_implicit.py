"""Implicit differentiation against a long unroll, differences and a closed form."""

from __future__ import annotations

import logging

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.implicit import implicit_detail
from lowfield_recon.learning.unrolling import unrolled_detail
from lowfield_recon.solvers.convolutional_model import FilterSpectra, filter_spectra

PENALTIES = ("modulus", "components")
TIGHT = {"iterations": 20000, "tolerance": 1e-10}


def _case(shape=(8, 9), n=3, planes=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    kernels = torch.randn(n, 5, 5, generator=g, dtype=torch.float64)
    kernels /= kernels.flatten(1).norm(dim=1)[:, None, None]
    mask = (torch.rand(planes, *shape, generator=g) < 0.6).double()
    rhs = torch.randn(planes, *shape, generator=g, dtype=torch.complex128) * mask
    weights = 0.1 + 0.3 * torch.rand(n, planes, *shape, generator=g, dtype=torch.float64)
    target = torch.randn(planes, *shape, generator=g, dtype=torch.complex128)
    return filter_spectra(kernels, shape), rhs * rhs[0].numel() ** 0.5, weights, mask, target


def _gradients(function, rhs, weights, target):
    rhs, weights = rhs.clone().requires_grad_(), weights.clone().requires_grad_()
    spectrum = function(rhs, weights)
    (torch.fft.ifft2(spectrum) - target).abs().square().sum().backward()
    return spectrum.detach(), rhs.grad, weights.grad


def _difference(a, b):
    assert float(b.norm()) > 0
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("penalty", PENALTIES)
def test_it_is_the_limit_of_the_unroll(penalty):
    spectra, rhs, weights, mask, target = _case()
    unrolled = _gradients(
        lambda b, w: unrolled_detail(
            spectra, b, w, eigenvalues=mask, iterations=300, solver="admm", penalty=penalty
        ),
        rhs, weights, target,
    )  # fmt: skip
    implicit = _gradients(
        lambda b, w: implicit_detail(spectra, b, w, eigenvalues=mask, penalty=penalty, **TIGHT),
        rhs, weights, target,
    )  # fmt: skip
    for a, b in zip(implicit, unrolled, strict=True):
        assert _difference(a, b) <= 1e-3


@pytest.mark.parametrize("penalty", PENALTIES)
def test_it_agrees_with_central_differences(penalty):
    spectra, rhs, weights, mask, target = _case(planes=1)

    def run(b, w):
        return implicit_detail(
            spectra, b, w, eigenvalues=mask, damping=1e-10, penalty=penalty, **TIGHT
        )

    _, of_rhs, of_weights = _gradients(run, rhs, weights, target)
    g = torch.Generator().manual_seed(7)
    # Data change where they are sampled: elsewhere b = A^H y is zero.
    u = torch.randn(rhs.shape, generator=g, dtype=torch.complex128) * mask
    v = torch.randn(weights.shape, generator=g, dtype=torch.float64)

    def loss(t: float, s: float) -> float:
        image = torch.fft.ifft2(run(rhs + t * u, weights + s * v))
        return float((image - target).abs().square().sum())

    errors = []
    for step in (1e-5, 1e-6):
        along_rhs = (loss(step, 0) - loss(-step, 0)) / (2 * step)
        along_weights = (loss(0, step) - loss(0, -step)) / (2 * step)
        errors.append((
            abs(along_rhs / float((of_rhs.conj() * u).real.sum()) - 1),
            abs(along_weights / float((of_weights * v).sum()) - 1),
        ))  # fmt: skip
    assert min(e[0] for e in errors) <= 1e-3
    assert min(e[1] for e in errors) <= 1e-3


@pytest.mark.parametrize("penalty", PENALTIES)
def test_one_delta_filter_has_a_closed_form(penalty):
    g = torch.Generator().manual_seed(2)
    y = torch.randn(1, 6, 7, generator=g, dtype=torch.complex128)
    weights = 0.5 * torch.rand(1, 1, 6, 7, generator=g, dtype=torch.float64)
    target = torch.randn(1, 6, 7, generator=g, dtype=torch.complex128)
    spectra = filter_spectra(torch.ones(1, 1, 1, dtype=torch.float64), (6, 7))

    def closed_form(b, w):
        u = torch.fft.ifft2(b)
        if penalty == "modulus":
            s = torch.where(u.abs() > w[0], u * (1 - w[0] / u.abs()), 0)
        else:
            s = torch.complex(*(p.sign() * (p.abs() - w[0]).clamp(min=0) for p in (u.real, u.imag)))
        return torch.fft.fft2(s)

    expected = _gradients(closed_form, torch.fft.fft2(y), weights, target)
    result = _gradients(
        lambda b, w: implicit_detail(
            spectra, b, w, eigenvalues=torch.ones(6, 7), damping=1e-10, penalty=penalty, **TIGHT
        ),
        torch.fft.fft2(y), weights, target,
    )  # fmt: skip
    for a, b in zip(result, expected, strict=True):
        assert _difference(a, b) <= 1e-8


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_batch_and_chunks_do_not_matter(penalty, monkeypatch):
    spectra, rhs, weights, mask, target = _case(n=5)

    def run(plane):
        return _gradients(
            lambda b, w: implicit_detail(
                spectra, b, w, eigenvalues=mask[plane], penalty=penalty, **TIGHT
            ),
            rhs[plane], weights[:, plane], target[plane],
        )  # fmt: skip

    whole = run(slice(0, 2))
    monkeypatch.setattr(FilterSpectra, "chunk", lambda self, n_planes=1: 2)
    for p in range(2):
        x, of_rhs, of_weights = run(slice(p, p + 1))
        assert _difference(whole[0][p : p + 1], x) <= 1e-9
        assert _difference(whole[1][p : p + 1], of_rhs) <= 1e-6
        assert _difference(whole[2][:, p : p + 1], of_weights) <= 1e-6


def test_weights_above_all_data_have_no_gradient(caplog):
    spectra, rhs, weights, mask, target = _case()
    x, of_rhs, of_weights = _gradients(
        lambda b, w: implicit_detail(spectra, b, w, eigenvalues=mask, iterations=50),
        rhs, weights + 100, target,
    )  # fmt: skip
    assert not caplog.text
    assert not x.any() and not of_rhs.any() and not of_weights.any()


def test_single_precision_gives_single_precision():
    spectra, rhs, weights, mask, target = _case()
    single = FilterSpectra(
        values=spectra.values.to(torch.complex64), power=spectra.power.to(torch.float32)
    )
    result = _gradients(
        lambda b, w: implicit_detail(single, b, w, eigenvalues=mask, tolerance=1e-6),
        rhs.to(torch.complex64), weights.float(), target.to(torch.complex64),
    )  # fmt: skip
    assert [t.dtype for t in result] == [torch.complex64, torch.complex64, torch.float32]
    expected = _gradients(
        lambda b, w: implicit_detail(spectra, b, w, eigenvalues=mask, **TIGHT), rhs, weights, target
    )
    for a, b in zip(result, expected, strict=True):
        assert _difference(a, b) <= 1e-3


def test_codes_that_have_not_converged_are_told(caplog):
    spectra, rhs, weights, mask, _ = _case()
    with caplog.at_level(logging.WARNING, "lowfield_recon"):
        implicit_detail(spectra, rhs, weights, eigenvalues=mask, iterations=3)
    assert "residual" in caplog.text and "after 3 iterations" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "lowfield_recon"):
        implicit_detail(spectra, rhs, weights, eigenvalues=mask, **TIGHT)
    assert not caplog.text


def test_sizes_that_do_not_fit_are_told():
    spectra, rhs, weights, mask, _ = _case()
    with pytest.raises(UsageError, match=r"expected \(planes, y, x\)"):
        implicit_detail(spectra, rhs[0], weights, eigenvalues=mask)
