"""Convolutional dictionary reconstruction: symmetries, limits, agreement of its two solvers."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon import Dictionary, InverseProblem, load_dictionary, load_scan, reconstruct
from lowfield_recon.errors import LowfieldReconError
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.resources import sample_path


@pytest.fixture(scope="module")
def problem() -> InverseProblem:
    """A central window of the k-space of one slice at 0.055 T."""
    full = load_scan(sample_path("brain_0055t_t2w.h5")).problems()[1]
    mask = torch.zeros(full.data.shape, dtype=torch.bool)
    mask[..., 23:103, 24:104] = True
    return InverseProblem(
        data=full.data * mask,
        operator=kspace_operator(mask=mask),
        noise_std=full.noise_std,
    )


@pytest.fixture(scope="module")
def kernels() -> torch.Tensor:
    return load_dictionary("cosine_k7_K48").kernels


def _cdl(problem: InverseProblem, kernels: torch.Tensor, **settings) -> torch.Tensor:
    dictionary = Dictionary(kernels=kernels)
    settings = {"iterations": 20, "tolerance": 0.0, **settings}
    return reconstruct(problem, "cdl", dictionary=dictionary, **settings).image


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


def test_the_order_of_the_filters_does_not_matter(problem, kernels):
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    assert _differ(_cdl(problem, kernels), _cdl(problem, kernels[order])) <= 1e-5


def test_the_sign_of_a_filter_does_not_matter(problem, kernels):
    signs = torch.where(torch.arange(48) % 3 == 0, -1.0, 1.0)[:, None, None]
    assert _differ(_cdl(problem, kernels), _cdl(problem, kernels * signs)) <= 1e-6


@pytest.mark.parametrize("penalty", ["modulus", "components"])
def test_scale_of_the_data_is_scale_of_the_image(problem, kernels, penalty):
    three = dataclasses.replace(problem, data=3 * problem.data, noise_std=3 * problem.noise_std)
    x = _cdl(problem, kernels, penalty=penalty)
    assert _differ(3 * x, _cdl(three, kernels, penalty=penalty)) <= 1e-5


def test_a_global_phase_passes_through_with_the_modulus_only(problem, kernels):
    phase = torch.exp(torch.tensor(0.7j))
    turned = dataclasses.replace(problem, data=phase * problem.data)
    assert _differ(phase * _cdl(problem, kernels), _cdl(turned, kernels)) <= 1e-5
    published = _cdl(problem, kernels, penalty="components")
    assert _differ(phase * published, _cdl(turned, kernels, penalty="components")) > 1e-3


def test_a_larger_weight_keeps_fewer_codes(problem):
    found = [
        reconstruct(problem, "cdl", regularization_weight=w).diagnostics[
            "fraction_of_nonzero_codes"
        ]
        for w in (0.2, 1.0, 1e9)
    ]
    assert 0.5 > found[0] > found[1] > found[2] == 0


def test_two_dictionaries_give_two_images(problem):
    a = reconstruct(problem, "cdl", dictionary="cosine_k7_K48")
    b = reconstruct(problem, "cdl", dictionary="cosine_k11_K64")
    assert a.settings["dictionary"] == "cosine_k7_K48"
    assert 1e-3 < _differ(a.image, b.image) < 0.3
    assert a.diagnostics["dictionary_sha256"] != b.diagnostics["dictionary_sha256"]


def test_coils_of_equal_maps_give_what_one_coil_gives(problem):
    """The general solver for any operator against the Fourier one, both converged."""
    mask = problem.data != 0
    maps = torch.full((1, 2, *problem.shape[-3:]), 0.5**0.5, dtype=torch.complex64)
    double = InverseProblem(
        data=problem.data * 0.5**0.5 * torch.ones(1, 2, 1, 1, 1),
        operator=kspace_operator(mask=mask, coil_maps=maps),
        noise_std=problem.noise_std,
    )
    settings = {"regularization_weight": 1.0, "tolerance": 0.0}
    one = reconstruct(problem, "cdl", iterations=120, **settings).image
    two = reconstruct(double, "cdl", iterations=250, **settings).image
    (a,), (b,) = problem.operator(one), problem.operator(two)
    assert _differ(a, b) <= 2e-3


def test_the_image_does_not_depend_on_the_reference(problem, kernels):
    seen = dataclasses.replace(problem, reference=torch.randn(problem.shape) + 0j)
    assert torch.equal(_cdl(problem, kernels), _cdl(seen, kernels))


@pytest.mark.parametrize("task", ["mask", "blur", "super-resolution"])
def test_photographs_come_nearer_to_the_original(task):
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij")
    truth = 0.5 + 0.3 * torch.sin(y / 5) * torch.cos(x / 4) + 0.2 * (x > 24)
    truth = truth[None, None, None]
    kernel = torch.ones(5, 5) / 25
    if task == "mask":
        keep = torch.rand(truth.shape, generator=torch.Generator().manual_seed(0)) < 0.6
        operator = mask_operator(keep)
    elif task == "blur":
        operator = blur_operator(kernel, image_shape=truth.shape)
    else:
        blur = blur_operator(torch.ones(3, 3) / 9, image_shape=truth.shape)
        operator = downsample_operator(2, image_shape=truth.shape) @ blur
    (data,) = operator(truth)
    data = data + 0.01 * torch.randn(data.shape, generator=torch.Generator().manual_seed(1))
    if task == "mask":
        data = data * keep
    stated = InverseProblem(data=data, operator=operator, noise_std=0.01, image_domain="real")
    found = reconstruct(stated, "cdl", beta=0.1, iterations=150).image
    (back,) = operator.adjoint(data)
    assert found.dtype == torch.float32
    assert _differ(truth, found) < 0.6 * _differ(truth, back)


@pytest.mark.parametrize(("dictionary", "words"), [(3, "expected a name"), ("none", "none")])
def test_a_wrong_dictionary_is_refused(problem, dictionary, words):
    with pytest.raises(LowfieldReconError, match=words):
        reconstruct(problem, "cdl", dictionary=dictionary)
