"""Checks 7, 8, 9b, 9c, 11 and 13 as far as they concern the solver alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon import InverseProblem, reconstruct
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.solvers.convolutional_model import filter_spectra, synthesise
from lowfield_recon.solvers.sparse_coding import sparse_codes_admm, sparse_codes_fista

TOLERANCE = {torch.complex128: 1e-12, torch.complex64: 1e-5}
PRECISE = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["complex128", "complex64"])
SOLVERS = pytest.mark.parametrize("solve", [sparse_codes_fista, sparse_codes_admm])
PENALTIES = pytest.mark.parametrize("penalty", ["components", "modulus"])
SIZE = (30, 27)


@pytest.fixture
def problem(learned_kernels, sparse_coding, real_slice):
    """Return what states the coding of a piece of a real slice, with random weights."""
    generator = torch.Generator().manual_seed(4)
    weights = 0.02 + 0.1 * torch.rand(16, 1, *SIZE, generator=generator, dtype=torch.float64)
    mask = (torch.rand(*SIZE, generator=generator) < 0.6).double()
    image = (real_slice - real_slice.mean())[40:70, 50:77][None]

    def state(penalty="modulus", dtype=torch.complex128):
        return sparse_coding(image.to(dtype), learned_kernels, weights, mask, penalty)

    return state


def _with_kernels(problem, kernels, **changes):
    spectra = filter_spectra(kernels.to(problem.weights.dtype), SIZE)
    return dataclasses.replace(problem, spectra=spectra, **changes)


def _image(problem, solve, iterations=64) -> torch.Tensor:
    return synthesise(problem.spectra, solve(problem, iterations=iterations).codes)


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


@SOLVERS
@PRECISE
def test_filters_permuted_with_their_weights_give_the_same_image(
    problem, learned_kernels, solve, dtype
):
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    given = problem(dtype=dtype)
    moved = _with_kernels(given, learned_kernels[order], weights=given.weights[order])
    left = _with_kernels(given, learned_kernels[order])
    expected = _image(given, solve)
    assert _differ(expected, _image(moved, solve)) <= TOLERANCE[dtype]
    assert _differ(expected, _image(left, solve)) >= 1e-2


@SOLVERS
@PRECISE
@PENALTIES
def test_signs_of_the_filters_change_no_bit_of_the_image(
    problem, learned_kernels, solve, dtype, penalty
):
    signs = torch.where(torch.arange(16) % 3 == 0, -1.0, 1.0).double()
    given = problem(penalty, dtype)
    turned = _with_kernels(given, learned_kernels * signs[:, None, None])
    assert torch.equal(_image(given, solve), _image(turned, solve))
    codes, turned_codes = (solve(p, iterations=20).codes for p in (given, turned))
    assert torch.equal(codes * signs.to(codes.real.dtype)[:, None, None, None], turned_codes)


@SOLVERS
@PENALTIES
def test_a_dictionary_twice_has_the_same_optimum(problem, learned_kernels, solve, penalty):
    """The constant doubles, so that the step is halved by itself."""
    given = problem(penalty)
    both = _with_kernels(
        given, learned_kernels.repeat(2, 1, 1), weights=given.weights.repeat(2, 1, 1, 1)
    )
    assert float(both.lipschitz()) == pytest.approx(2 * float(given.lipschitz()), rel=1e-12)
    a, b = _image(given, solve, 150), _image(both, solve, 150)
    assert _differ(a, b) <= 1e-4


def _with_zeros(given, learned_kernels):
    more = torch.cat([learned_kernels, torch.zeros(3, 9, 9)])
    weights = torch.cat([given.weights, 3 * given.weights[[0, 5, 7]]])
    return _with_kernels(given, more, weights=weights)


@PRECISE
@PENALTIES
def test_filters_of_zeros_change_no_bit(problem, learned_kernels, dtype, penalty):
    given = problem(penalty, dtype)
    padded = _with_zeros(given, learned_kernels)
    expected, found = (sparse_codes_fista(p, iterations=64).codes for p in (given, padded))
    assert torch.equal(found[:16], expected)
    assert not found[16:].any()


def test_filters_of_zeros_leave_the_optimum_of_admm(problem, learned_kernels):
    given = problem()
    padded = _with_zeros(given, learned_kernels)
    expected, found = (sparse_codes_admm(p, iterations=500).codes for p in (given, padded))
    a, b = synthesise(given.spectra, expected), synthesise(padded.spectra, found)
    assert _differ(a, b) <= 1e-4
    assert not found[16:].any()


@SOLVERS
@PRECISE
@PENALTIES
def test_a_quarter_turn_of_the_phase_is_one_of_the_image(problem, solve, dtype, penalty):
    given = problem(penalty, dtype)
    turned = dataclasses.replace(given, rhs=1j * given.rhs)
    assert _differ(1j * _image(given, solve), _image(turned, solve)) <= TOLERANCE[dtype]


@SOLVERS
@PRECISE
def test_any_phase_passes_through_with_the_modulus_only(problem, solve, dtype):
    def change(penalty: str) -> float:
        given = problem(penalty, dtype)
        phase = torch.exp(torch.tensor(0.7j, dtype=torch.complex128)).to(dtype)
        turned = dataclasses.replace(given, rhs=phase * given.rhs)
        return _differ(phase * _image(given, solve), _image(turned, solve))

    assert change("modulus") <= TOLERANCE[dtype]
    assert change("components") >= 1e-2


@SOLVERS
@PRECISE
@PENALTIES
def test_data_and_weights_times_three_are_the_image_times_three(problem, solve, dtype, penalty):
    given = problem(penalty, dtype)
    larger = dataclasses.replace(given, rhs=3 * given.rhs, weights=3 * given.weights)
    assert _differ(3 * _image(given, solve), _image(larger, solve)) <= TOLERANCE[dtype]


@SOLVERS
@PRECISE
def test_two_runs_of_the_solver_are_bit_identical(problem, solve, dtype):
    given = problem(dtype=dtype)
    first = solve(given, iterations=30).codes
    torch.rand(7)
    assert torch.equal(first, solve(given, iterations=30).codes)


def test_two_reconstructions_are_bit_identical_and_draw_no_random_number(real_slice):
    mask = torch.zeros(1, 1, 1, 126, 128, dtype=torch.bool)
    mask[..., 30:97, 25:101] = True
    k = (centred_fft(real_slice, (-2, -1)) * mask).to(torch.complex64)
    problem = InverseProblem(data=k, operator=kspace_operator(mask=mask))
    state = torch.get_rng_state()
    first = reconstruct(problem, "cdl", iterations=6).image
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, reconstruct(problem, "cdl", iterations=6).image)
