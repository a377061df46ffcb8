"""Unrolled sparse coding against the solvers, plain automatic differentiation and differences."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.compact_codes import pack, shrink_to_compact, unpack_positions
from lowfield_recon.learning.unrolling import unrolled_detail
from lowfield_recon.solvers.convolutional_model import FilterSpectra, filter_spectra, weighted_sum
from lowfield_recon.solvers.sparse_coding import (
    SparseCodingProblem,
    shrink,
    sparse_codes_admm,
    sparse_codes_fista,
)

PENALTIES = ("modulus", "components")
SOLVERS = ("fista", "admm")


@dataclass(frozen=True)
class _Case:
    spectra: FilterSpectra
    rhs: torch.Tensor
    weights: torch.Tensor
    eigenvalues: torch.Tensor
    target: torch.Tensor


def _case(shape=(12, 15), n=4, planes=2, size=5, seed=0, dtype=torch.float64) -> _Case:
    g = torch.Generator().manual_seed(seed)
    kernels = torch.randn(n, size, size, generator=g, dtype=torch.float64)
    kernels /= kernels.flatten(1).norm(dim=1)[:, None, None]
    # A mask and a gain of its own for each plane: their steps must differ.
    gain = torch.linspace(1, 0.4, planes, dtype=torch.float64)[:, None, None]
    mask = (torch.rand(planes, *shape, generator=g) < 0.6).double() * gain
    rhs = torch.randn(planes, *shape, generator=g, dtype=torch.complex128) * mask
    weights = 0.05 + 0.35 * torch.rand(n, planes, *shape, generator=g, dtype=torch.float64)
    target = torch.randn(planes, *shape, generator=g, dtype=torch.complex128)
    return _Case(
        spectra=filter_spectra(kernels.to(dtype), shape),
        rhs=(rhs * (shape[0] * shape[1]) ** 0.5).to(dtype.to_complex()),
        weights=weights.to(dtype),
        eigenvalues=mask.to(dtype),
        target=target.to(dtype.to_complex()),
    )


def _soft(u: torch.Tensor, t: torch.Tensor, penalty: str) -> torch.Tensor:
    if penalty == "modulus":
        size = u.abs().square().clamp(min=1e-300).sqrt()
        return torch.where(size > t, u * (1 - t / size), 0)
    parts = (part.sign() * (part.abs() - t).clamp(min=0) for part in (u.real, u.imag))
    return torch.complex(*parts)


def _delayed(n: int) -> float:
    """Weights 0, 0, 1/5, 2/6, 3/7, ... with which iteration n = 0, 1, ... begins."""
    return 0.0 if n < 2 else (n - 2) / (n + 2)


def _plain_fista(case, rhs, weights, penalty, iterations, tracked=None, restart=False, normal=None):
    """The definition, written with dense codes for automatic differentiation."""
    d, first = case.spectra.values, iterations - (iterations if tracked is None else tracked)
    if normal is None:
        bound = (case.eigenvalues * case.spectra.power).amax(dim=(-2, -1), keepdim=True)
    else:
        bound = case.spectra.power.max()
    normal = normal or case.eigenvalues.mul
    s = previous = torch.zeros(weights.shape, dtype=rhs.dtype)
    for n in range(iterations):
        if n == first:
            s, previous = s.detach(), previous.detach()
        z = s + _delayed(n - first if restart and n >= first else n) * (s - previous)
        image = (d * torch.fft.fft2(z)).sum(dim=0)
        u = z + torch.fft.ifft2(d.conj() * (rhs - normal(image))) / bound
        previous, s = s, _soft(u, weights / bound, penalty)
    return (d * torch.fft.fft2(s)).sum(dim=0)


def _plain_admm(case, rhs, weights, penalty, iterations, tracked=None):
    d, g = case.spectra.values, case.eigenvalues
    first = iterations - (iterations if tracked is None else tracked)
    rho = weights.detach().mean(dim=(-2, -1), keepdim=True)
    rho = rho / rho.mean(dim=0) * case.spectra.power.mean() / 20
    inverse = 1 / (1 + g * (d.abs().square() / rho).sum(dim=0))
    a = v = torch.zeros(weights.shape, dtype=rhs.dtype)
    for n in range(iterations):
        if n == first:
            a, v = a.detach(), v.detach()
        image = (d * torch.fft.fft2(2 * v - a)).sum(dim=0)
        s = 2 * v - a + torch.fft.ifft2(d.conj() * (inverse * (rhs - g * image))) / rho
        a = a + 1.8 * (s - v)
        v = _soft(a, weights / rho, penalty)
    return (d * torch.fft.fft2(v)).sum(dim=0)


def _plain(case, solver, penalty, iterations, **options):
    function = _plain_fista if solver == "fista" else _plain_admm
    return lambda rhs, weights: function(case, rhs, weights, penalty, iterations, **options)


def _ours(case, solver, penalty, iterations, **options):
    return lambda rhs, weights: unrolled_detail(
        case.spectra, rhs, weights, eigenvalues=case.eigenvalues, iterations=iterations,
        solver=solver, penalty=penalty, **options,
    )  # fmt: skip


def _gradients(case: _Case, function):
    """Return the result and the gradients of an image-domain loss."""
    rhs = case.rhs.clone().requires_grad_()
    weights = case.weights.clone().requires_grad_()
    spectrum = function(rhs, weights)
    (torch.fft.ifft2(spectrum) - case.target).abs().square().sum().backward()
    return spectrum.detach(), rhs.grad, weights.grad


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    assert float(b.norm()) > 0
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("momentum", ["delayed", "nesterov", "chambolle-dossal", "none"])
def test_it_is_the_fista_of_the_solvers_plane_by_plane(penalty, momentum):
    case = _case()
    options = {"momentum": momentum}
    x = _ours(case, "fista", penalty, 25, **options)(case.rhs, case.weights)
    for p in range(2):
        codes = sparse_codes_fista(_problem(case, p, penalty), iterations=25, **options).codes
        assert _difference(x[p : p + 1], weighted_sum(case.spectra, codes)) <= 1e-12


@pytest.mark.parametrize("penalty", PENALTIES)
def test_it_is_the_admm_of_the_solvers_plane_by_plane(penalty):
    case = _case()
    x = _ours(case, "admm", penalty, 25)(case.rhs, case.weights)
    for p in range(2):
        codes = sparse_codes_admm(_problem(case, p, penalty), iterations=25).codes
        assert _difference(x[p : p + 1], weighted_sum(case.spectra, codes)) <= 1e-12


def _problem(case: _Case, p: int, penalty: str) -> SparseCodingProblem:
    plane = slice(p, p + 1)
    return SparseCodingProblem(
        spectra=case.spectra, rhs=case.rhs[plane], energy=0.0, weights=case.weights[:, plane],
        eigenvalues=case.eigenvalues[plane], penalty=penalty,
    )  # fmt: skip


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    ("solver", "options"),
    [
        ("fista", {}),
        ("fista", {"tracked": 6}),
        ("fista", {"tracked": 6, "restart": True}),
        ("fista", {"tracked": 1}),
        ("admm", {}),
        ("admm", {"tracked": 6}),
        ("admm", {"tracked": 1}),
    ],
)
@pytest.mark.parametrize("shape", [(12, 15), (9, 8)])
def test_gradients_are_those_of_automatic_differentiation(penalty, solver, options, shape):
    case = _case(shape)
    expected = _gradients(case, _plain(case, solver, penalty, 20, **options))
    ours = {"restart_momentum" if key == "restart" else key: v for key, v in options.items()}
    result = _gradients(case, _ours(case, solver, penalty, 20, **ours))
    for a, b in zip(result, expected, strict=True):
        assert _difference(a, b) <= 1e-10


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradients_with_a_normal_operator_that_mixes_frequencies(penalty):
    case = _case()
    g = torch.Generator().manual_seed(5)
    maps = torch.randn(3, 1, 12, 15, generator=g, dtype=torch.complex128)
    maps /= maps.abs().square().sum(dim=0).sqrt()
    mask = (torch.rand(12, 15, generator=g) < 0.5).double()

    def normal(spectrum: torch.Tensor) -> torch.Tensor:
        seen = torch.fft.ifft2(mask * torch.fft.fft2(maps * torch.fft.ifft2(spectrum)))
        return torch.fft.fft2((maps.conj() * seen).sum(dim=0))

    expected = _gradients(case, _plain(case, "fista", penalty, 20, normal=normal))
    result = _gradients(
        case,
        lambda rhs, weights: unrolled_detail(
            case.spectra, rhs, weights, normal=normal, norm_squared=1.0, iterations=20,
            penalty=penalty,
        ),
    )  # fmt: skip
    for a, b in zip(result, expected, strict=True):
        assert _difference(a, b) <= 1e-10


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_gradients_are_those_of_central_differences(penalty, solver):
    case = _case()
    function = _ours(case, solver, penalty, 15)
    if solver == "admm":
        # rho is a constant of the differentiation: directions that keep its means.
        project = lambda v: v - v.mean(dim=(-2, -1), keepdim=True)  # noqa: E731
    else:
        project = torch.clone
    _, of_rhs, of_weights = _gradients(case, function)
    g = torch.Generator().manual_seed(7)
    u = torch.randn(case.rhs.shape, generator=g, dtype=torch.complex128)
    v = project(torch.randn(case.weights.shape, generator=g, dtype=torch.float64))

    def loss(t: float, s: float) -> float:
        image = torch.fft.ifft2(function(case.rhs + t * u, case.weights + s * v))
        return float((image - case.target).abs().square().sum())

    errors = []
    for step in (1e-6, 3e-7, 1e-7):  # another step where one crosses a kink
        along_rhs = (loss(step, 0) - loss(-step, 0)) / (2 * step)
        along_weights = (loss(0, step) - loss(0, -step)) / (2 * step)
        errors.append((
            abs(along_rhs / float((of_rhs.conj() * u).real.sum()) - 1),
            abs(along_weights / float((of_weights * v).sum()) - 1),
        ))  # fmt: skip
    assert min(e[0] for e in errors) <= 1e-6
    assert min(e[1] for e in errors) <= 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
def test_truncation_leaves_the_result_and_the_whole_unroll_alone(solver):
    case = _case()
    whole = _gradients(case, _ours(case, solver, "modulus", 20))
    truncated = _gradients(case, _ours(case, solver, "modulus", 20, tracked=5))
    everything = _gradients(case, _ours(case, solver, "modulus", 20, tracked=20))
    assert torch.equal(truncated[0], whole[0])
    assert _difference(truncated[2], whole[2]) > 0.05
    for a, b in zip(everything, whole, strict=True):
        assert torch.equal(a, b)
    nothing = _gradients(case, _ours(case, solver, "modulus", 20, tracked=0))
    assert not nothing[1].any() and not nothing[2].any()


def test_a_restarted_momentum_changes_the_result():
    case = _case()
    carried = _ours(case, "fista", "modulus", 20, tracked=8)(case.rhs, case.weights)
    anew = _ours(case, "fista", "modulus", 20, tracked=8, restart_momentum=True)
    assert _difference(anew(case.rhs, case.weights), carried) > 1e-3


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_equals_its_planes(penalty, solver):
    case = _case(planes=3)
    batch = _gradients(case, _ours(case, solver, penalty, 12))
    for p in range(3):
        plane = slice(p, p + 1)
        one = _Case(
            spectra=case.spectra, rhs=case.rhs[plane], weights=case.weights[:, plane],
            eigenvalues=case.eigenvalues[plane], target=case.target[plane],
        )  # fmt: skip
        x, of_rhs, of_weights = _gradients(one, _ours(one, solver, penalty, 12))
        assert _difference(batch[0][plane], x) <= 1e-12
        assert _difference(batch[1][plane], of_rhs) <= 1e-12
        assert _difference(batch[2][:, plane], of_weights) <= 1e-12


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_chunks_of_filters_do_not_matter(penalty, solver, monkeypatch):
    case = _case(n=7)
    expected = _gradients(case, _ours(case, solver, penalty, 12))
    monkeypatch.setattr(FilterSpectra, "chunk", lambda self, n_planes=1: 6)
    for a, b in zip(_gradients(case, _ours(case, solver, penalty, 12)), expected, strict=True):
        assert _difference(a, b) <= 1e-12


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_single_precision_follows_double(penalty, solver):
    single = _case(dtype=torch.float32)
    x = _gradients(single, _ours(single, solver, penalty, 20))
    assert [t.dtype for t in x] == [torch.complex64, torch.complex64, torch.float32]
    case = _case()
    expected = _gradients(case, _ours(case, solver, penalty, 20))
    for a, b in zip(x, expected, strict=True):
        assert _difference(a.to(b.dtype), b) <= 5e-5


def _kept_bytes(function) -> int:
    sizes = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        function()
    return sum(sizes)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("penalty", "at_most"), [("modulus", 12), ("components", 10)])
def test_only_the_support_is_kept(solver, penalty, at_most):
    case = _case((32, 32), n=6, planes=1, dtype=torch.float32)
    weights = (4 * case.weights).requires_grad_()
    rhs = case.rhs.clone().requires_grad_()

    def kept(tracked: int) -> int:
        run = _ours(case, solver, penalty, 20, tracked=tracked)
        return _kept_bytes(lambda: run(rhs, weights)) - 4 * weights.numel()

    one = kept(1)
    problem = _problem(_Case(case.spectra, case.rhs, weights.detach(), case.eigenvalues, rhs),
                       0, penalty)  # fmt: skip
    if solver == "fista":
        codes = sparse_codes_fista(problem, iterations=20, momentum="delayed").codes
    else:
        codes = sparse_codes_admm(problem, iterations=20).codes
    n_codes = int((codes != 0).sum())
    assert 0 < n_codes < 0.2 * codes.numel()
    assert 0 < one <= at_most * n_codes
    assert kept(20) < 0.4 * 20 * 8 * codes.numel()  # of 8 bytes for every code of each iteration
    assert kept(0) == 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_is_kept_without_a_gradient(solver, monkeypatch):
    case = _case()
    weights = case.weights.clone().requires_grad_()
    run = _ours(case, solver, "modulus", 5)
    packed = []

    def note(codes, size):
        packed.append(size)
        return pack(codes, size)

    monkeypatch.setattr("lowfield_recon.learning.unrolled_iterations.pack", note)
    with torch.no_grad():
        assert run(case.rhs, weights).grad_fn is None
    assert not run(case.rhs, case.weights).requires_grad
    assert not packed
    assert run(case.rhs, weights).requires_grad
    assert sum(packed) == 5 * weights.numel()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_dense_codes_are_packed_as_a_mask(penalty):
    u = torch.randn(3, 2, 4, 5, dtype=torch.complex128)
    for level in (0.0, 0.3, 2.5):
        threshold = torch.full((3, 2, 4, 5), level, dtype=torch.float64)
        codes = shrink_to_compact(u, threshold, penalty)
        flat = shrink(u, threshold, penalty)
        flat = flat.view(-1) if penalty == "modulus" else torch.view_as_real(flat).view(-1)
        assert torch.allclose(flat[codes.positions], codes.values, rtol=0, atol=1e-14)
        assert torch.equal((flat != 0).nonzero().squeeze(1), codes.positions)
        packed, _ = pack(codes, flat.numel())
        dense = codes.positions.numel() > 0.25 * flat.numel()
        assert packed.dtype == (torch.bool if dense else torch.int32)
        assert torch.equal(unpack_positions(packed), codes.positions)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_not_a_number_does_not_vanish(penalty, solver):
    case = _case()
    rhs = case.rhs.clone()
    rhs[0, 3, 3] = torch.nan
    x = _ours(case, solver, penalty, 3)(rhs, case.weights)
    assert x[0].isnan().any()
    assert not x[1].isnan().any()
    weights = case.weights.clone()
    weights[:, 1, 4, 4] = torch.nan
    assert _ours(case, solver, penalty, 3)(case.rhs, weights)[1].isnan().any()


def test_a_broadcast_weight_gets_the_sum_of_gradients():
    case = _case()
    level = torch.full((4, 1, 1, 1), 0.2, dtype=torch.float64, requires_grad=True)
    full = level.detach().expand(4, 2, 12, 15).clone().requires_grad_()
    run = _ours(case, "fista", "modulus", 10)
    for weights in (level, full):
        run(case.rhs, weights).abs().square().sum().backward()
    assert _difference(level.grad.flatten(), full.grad.sum(dim=(1, 2, 3))) <= 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eigenvalues": None}, "either eigenvalues or normal"),
        ({"normal": torch.clone}, "either eigenvalues or normal"),
        ({"eigenvalues": None, "normal": torch.clone}, "norm_squared"),
        ({"solver": "admm", "restart_momentum": True}, "no momentum"),
        (
            {"solver": "admm", "eigenvalues": None, "normal": torch.clone, "norm_squared": 1.0},
            "ADMM needs",
        ),
        ({"iterations": -1}, "must not be negative"),
        ({"tracked": -1}, "must not be negative"),
    ],
)
def test_wrong_use_is_told(options, message):
    case = _case()
    arguments = {"eigenvalues": case.eigenvalues, "iterations": 3, **options}
    with pytest.raises(UsageError, match=message):
        unrolled_detail(case.spectra, case.rhs, case.weights, **arguments)
    with pytest.raises(UsageError, match=r"expected \(planes, y, x\)"):
        unrolled_detail(
            case.spectra, case.rhs[..., 1:], case.weights, eigenvalues=torch.ones(()), iterations=1
        )
