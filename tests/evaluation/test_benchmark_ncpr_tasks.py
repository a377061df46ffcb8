"""The tasks of the published tables, against independent forward models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark.published_tasks import (
    TASKS,
    choose_tasks,
    normal_equations,
)
from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.operators import operator_norm


def image(*size: int) -> torch.Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(4))


def fourier(x: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x), norm="ortho"))


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (50, 47), (32, 35)])
def test_super_resolution_is_a_valid_convolution_at_every_fourth_pixel(size):
    x = image(*size)
    position = np.arange(16) - 7.5
    row = np.exp(-(position**2) / 8)
    kernel = np.outer(row, row) / row.sum() ** 2
    expected = scipy.signal.convolve2d(x.double().numpy(), kernel, mode="valid")[::4, ::4]
    task = TASKS["super-resolve"]
    problem = task.problem(x)
    (clean,) = problem.operator(problem.reference)
    ny, nx = expected.shape
    assert np.abs(clean[0, 0, 0, :ny, :nx].numpy() - expected).max() <= 1e-6
    for data in (clean, problem.data):  # what would wrap around is no data
        assert not data[..., ny:, :].any()
        assert not data[..., :, nx:].any()
    noise = (problem.data - clean)[0, 0, 0, :ny, :nx]
    assert float(noise.std()) == pytest.approx(0.01, rel=0.3)
    assert operator_norm(problem.operator, problem.shape).value == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("name", "sigma"), [("denoise-sigma25", 25), ("denoise-sigma5", 5)])
def test_denoising_has_the_noise_of_the_published_recipe(name, sigma):
    x = image(160, 160)
    problem = TASKS[name].problem(x, seed=0)
    torch.manual_seed(0)
    expected = x + sigma / 255 * torch.randn(160, 160)
    assert torch.allclose(problem.data[0, 0, 0], expected)
    assert problem.image_domain == "real"
    assert problem.noise_std == pytest.approx(sigma / 255)


def test_mri_leaves_columns_out_and_has_its_noise():
    x = image(640, 368)
    for name, acceleration, centre in (("mri-8x", 8, 15), ("mri-16x", 16, 7)):
        task = TASKS[name]
        problem = task.problem(x)
        data = problem.data[0, 0, 0].numpy()
        columns = np.abs(data).max(axis=0) > 0
        assert columns.mean() == pytest.approx(1 / acceleration, rel=0.3)
        assert columns[184 - centre // 2 : 184 + centre // 2].all()
        residual = (data - fourier(x.double().numpy()))[:, columns]
        for part in (residual.real, residual.imag):
            assert part.std() == pytest.approx(2e-3, rel=0.02)
        assert problem.noise_std == pytest.approx(2e-3 * math.sqrt(2))
        assert problem.image_domain == "nonnegative"


@pytest.mark.parametrize("name", ["mri-8x", "super-resolve", "denoise-sigma25"])
def test_normal_equations_are_those_of_the_dense_matrix(name):
    size = (32, 34)
    problem = TASKS[name].problem(image(*size))
    rhs, gram = normal_equations(problem)
    unit = torch.eye(math.prod(size)).reshape(-1, 1, 1, 1, *size)
    (columns,) = problem.operator(unit)
    matrix = columns.flatten(1).mT
    y = problem.data.flatten()
    assert torch.allclose(rhs.flatten(), (matrix.mH @ y).real, atol=2e-5)
    x = image(*size)
    assert torch.allclose(
        gram(x).flatten(), (matrix.mH @ matrix @ x.flatten().to(y)).real, atol=2e-5
    )
    assert gram(x).dtype == torch.float32


def test_the_seed_decides():
    x = image(64, 64)
    for task in TASKS.values():
        a, b, c = (task.problem(x, seed).data for seed in (0, 0, 1))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_scores_count_the_published_pixels():
    reference = torch.zeros(1, 1, 1, 400, 360)
    error = reference.clone()
    error[..., 40:360, 20:340] = 0.1
    assert TASKS["mri-8x"].score(error, reference) == pytest.approx(20)
    assert TASKS["super-resolve"].scored(reference).shape[-2:] == (320, 280)
    assert TASKS["super-resolve"].scored(reference[..., :64, :64]).shape[-2:] == (32, 32)
    assert TASKS["denoise-sigma5"].scored(reference) is reference
    assert TASKS["denoise-sigma5"].score(-0.1 + reference, reference) == pytest.approx(20)
    assert TASKS["denoise-sigma5"].score(reference, reference) == math.inf


def test_tasks_by_name():
    assert [t.name for t in choose_tasks(())] == list(TASKS)
    assert [t.name for t in choose_tasks(("mri-16x", "denoise"), (5,))] == [
        "mri-16x", "denoise-sigma5",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="super-resolve"):
        choose_tasks(("super-resolv",))
    with pytest.raises(UsageError, match="for 5 and 25"):
        choose_tasks((), (15,))
    for task in TASKS.values():
        for method in ("ncpr", "cpr"):
            assert (
                patch_preset(method, task.preset).weights == f"{method}_sigma{task.weights_sigma}"
            )


def test_an_image_too_small_for_super_resolution_is_refused():
    with pytest.raises(DataError, match="at least 32 x 32"):
        TASKS["super-resolve"].problem(image(31, 64))
