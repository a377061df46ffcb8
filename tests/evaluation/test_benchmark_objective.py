"""The shared objective, against PyWavelets, sigpy's Fourier transform and written-out sums."""

import numpy as np
import pytest
import pywt
import sigpy

from lowfield_recon.evaluation.benchmark.objective import (
    Problem,
    forward,
    nrmse,
    objective,
    relative_difference,
    wavelet_levels,
)
from lowfield_recon.evaluation.benchmark.reflection import reflect, reflected

SHAPES = [(1, 16, 32), (16, 16, 16), (1, 15, 18)]


def random(shape, seed=0):
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return parts[0] + 1j * parts[1]


def problem_of(shape, n_coils=3):
    mask = np.random.default_rng(1).random((*shape[:2], 1)) < 0.4
    return Problem(
        kspace=random((n_coils, *shape), 2) * mask,
        coil_maps=random((n_coils, *shape), 3),
        mask=mask,
        reference=random(shape, 4),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_is_the_centred_orthonormal_transform(shape):
    problem, image = problem_of(shape), random(shape)
    expected = sigpy.fft(problem.coil_maps * image, axes=(-3, -2, -1)) * problem.mask
    np.testing.assert_allclose(
        forward(image, problem.coil_maps, problem.mask), expected, atol=1e-12
    )


def test_cg_sense_value():
    problem, image = problem_of(SHAPES[0]), random(SHAPES[0])
    residual = forward(image, problem.coil_maps, problem.mask) - problem.kspace
    expected = 0.5 * np.sum(np.abs(residual) ** 2) + 0.35 * np.sum(np.abs(image) ** 2)
    assert objective("cg-sense", problem, image, 0.7) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_value(shape):
    problem, image = problem_of(shape), random(shape)
    expected = 0.0
    for index in np.ndindex(shape):
        steps = 0.0
        for axis in range(3):
            ahead = list(index)
            ahead[axis] = (ahead[axis] + 1) % shape[axis]
            steps += abs(image[tuple(ahead)] - image[index]) ** 2
        expected += np.sqrt(steps)
    penalty = objective("tv", problem, image, 1.0) - objective("tv", problem, image, 0.0)
    assert penalty == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", [(1, 32, 64), (16, 32, 16)])
def test_wavelet_value_is_that_of_pywavelets(shape):
    problem, image = problem_of(shape), random(shape)
    levels = wavelet_levels(shape)
    bands = pywt.wavedecn(image.squeeze(), "haar", mode="periodization", level=levels)
    expected = sum(np.abs(band).sum() for level in bands[1:] for band in level.values())
    penalty = objective("wavelet", problem, image, 1.0) - objective("wavelet", problem, image, 0.0)
    assert penalty == pytest.approx(expected, rel=1e-10)


def test_an_image_that_is_not_finite_is_infinitely_bad():
    problem = problem_of(SHAPES[0])
    image = random(SHAPES[0])
    image[0, 3, 3] = np.nan
    assert objective("tv", problem, image, 1.0) == np.inf


def test_errors_of_images():
    truth = random((4, 5))
    assert nrmse(1.1 * truth * np.exp(0.3j), truth) == pytest.approx(0.1)
    assert relative_difference(truth * 1j, truth) == pytest.approx(np.sqrt(2))


@pytest.mark.parametrize("shape", SHAPES)
def test_reflection_turns_backward_into_forward_differences(shape):
    problem, image = problem_of(shape), random(shape)
    mirrored = reflect(image)
    backward = [np.roll(mirrored, 1, axis) - mirrored for axis in range(3)]
    backward_tv = np.sqrt(np.sum(np.abs(backward) ** 2, axis=0)).sum()
    penalty = objective("tv", problem, image, 1.0) - objective("tv", problem, image, 0.0)
    assert backward_tv == pytest.approx(penalty, rel=1e-10)
    np.testing.assert_array_equal(reflect(mirrored), image)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reflected_problem_has_the_same_data_term(shape):
    problem, image = problem_of(shape), random(shape)
    value = objective("cg-sense", reflected(problem), reflect(image), 0.5)
    assert value == pytest.approx(objective("cg-sense", problem, image, 0.5), rel=1e-12)
