"""Degraded photographs are what their description says, and can be restored from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.pipeline.degrading import (
    Degradation,
    degrade,
    degrade_file,
    degraded_problem,
    middle,
)
from lowfield_recon.pipeline.restoration import gaussian_kernel


@pytest.fixture
def photograph() -> torch.Tensor:
    return torch.rand(1, 1, 1, 48, 64, generator=torch.Generator().manual_seed(3))


def test_noise_has_the_stated_deviation(photograph):
    flat = torch.full((1, 1, 1, 256, 256), 0.5)
    image, mask = degrade(flat, Degradation(task="denoise", noise_std=0.1))
    assert mask is None
    assert float((image - flat).std()) == pytest.approx(0.1, rel=0.02)


def test_inpainting_keeps_the_stated_part(photograph):
    image, mask = degrade(photograph, Degradation(task="inpaint", kept_fraction=0.3, noise_std=0.0))
    assert int(mask.sum()) == round(0.3 * 48 * 64)
    assert torch.equal(image, photograph * mask)


def test_super_resolution_starts_from_means_of_blocks(photograph):
    image, _ = degrade(photograph, Degradation(task="super-resolve", factor=4, noise_std=0.0))
    expected = photograph[0, 0, 0].numpy().reshape(12, 4, 16, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(image[0, 0, 0], expected, atol=1e-5)


def test_blur_is_the_circular_convolution_with_the_kernel(photograph):
    image, _ = degrade(photograph, Degradation(task="deblur", kernel="gaussian:1.2", noise_std=0.0))
    kernel = gaussian_kernel(1.2).double().numpy()
    expected = convolve(photograph[0, 0, 0].double().numpy(), kernel, mode="wrap")
    np.testing.assert_allclose(image[0, 0, 0], expected, atol=1e-5)


def test_the_seed_decides(photograph):
    one, same, other = (
        degrade(photograph, Degradation(task="inpaint", seed=seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_middle_is_kept():
    image = torch.arange(9 * 20.0).reshape(1, 1, 1, 9, 20)
    kept = middle(image, crop=6, multiple=2)
    assert torch.equal(kept, image[..., 1:7, 7:13])
    with pytest.raises(DataError, match="too few"):
        middle(image, crop=None, multiple=10)


def test_a_mixture_is_blurred_then_decimated_then_masked(photograph):
    colours = photograph * torch.tensor([1.0, 0.5, 0.25]).reshape(1, 3, 1, 1, 1)
    how = Degradation(
        task="mixed", kernel="gaussian:1.2", factor=2, noise_std=0.0, kept_fraction=0.6,
        per_channel=True,
    )  # fmt: skip
    image, mask = degrade(colours, how)
    assert mask.shape == image.shape == (1, 3, 1, 24, 32)
    assert int(mask.sum()) == round(0.6 * 3 * 24 * 32)
    assert not torch.equal(mask[:, 0], mask[:, 1])
    kernel = gaussian_kernel(1.2).double().numpy()
    for channel in range(3):
        plane = colours[0, channel, 0].double().numpy()
        small = convolve(plane, kernel, mode="wrap")[::2, ::2]
        expected = np.where(mask[0, channel, 0], small, 0)
        np.testing.assert_allclose(image[0, channel, 0], expected, atol=1e-5)


def test_each_part_of_a_mixture_can_be_left_out(photograph):
    image, mask = degrade(photograph, Degradation(task="mixed", kept_fraction=1.0, noise_std=0.0))
    blurred, _ = degrade(photograph, Degradation(task="deblur", noise_std=0.0))
    assert mask is None
    assert torch.equal(image, blurred[..., ::2, ::2])
    bare = {"task": "mixed", "kernel": None, "noise_std": 0.0}
    image, mask = degrade(photograph, Degradation(factor=1, **bare))
    assert torch.equal(image, photograph * mask)
    image, _ = degrade(photograph, Degradation(kept_fraction=1.0, **bare))
    small, _ = degrade(photograph, Degradation(task="super-resolve", noise_std=0.0))
    assert torch.equal(image, small)
    with pytest.raises(UsageError, match="needs --kernel, --factor or --mask"):
        degrade(photograph, Degradation(factor=1, kept_fraction=1.0, **bare))


@pytest.mark.parametrize("per_channel", [False, True])
def test_the_description_of_a_mixture_states_the_same_problem(tmp_path: Path, per_channel):
    colours = torch.rand(3, 34, 41, generator=torch.Generator().manual_seed(4))
    np.save(tmp_path / "photograph.npy", colours.numpy())
    how = Degradation(task="mixed", noise_std=0.0, factor=3, per_channel=per_channel)
    out = tmp_path / "degraded.npy"
    truth, description = degrade_file(tmp_path / "photograph.npy", out, how)
    problem = degraded_problem(out, description)
    x = torch.from_numpy(np.load(truth))[None, :, None]
    assert x.shape == problem.shape == (1, 3, 1, 33, 39)
    (predicted,) = problem.operator(x)
    torch.testing.assert_close(predicted, problem.data, atol=1e-6, rtol=0)
    zeros = (problem.data == 0).float().mean()
    assert float(zeros) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("task", ["inpaint", "denoise", "deblur", "super-resolve"])
def test_the_description_states_the_same_problem(photograph, tmp_path: Path, task):
    np.save(tmp_path / "photograph.npy", photograph[0, 0, 0].numpy())
    degradation = Degradation(task=task, noise_std=0.0)
    out = tmp_path / "degraded.npy"
    truth, description = degrade_file(tmp_path / "photograph.npy", out, degradation, crop=32)
    problem = degraded_problem(out, description)
    x = torch.from_numpy(np.load(truth))[None, None, None]
    assert x.shape[-2:] == (32, 32)
    (predicted,) = problem.operator(x)
    torch.testing.assert_close(predicted, problem.data, atol=1e-6, rtol=0)
    assert problem.noise_std == 0.0


def test_another_mask_is_refused(photograph, tmp_path: Path):
    np.save(tmp_path / "photograph.npy", photograph[0, 0, 0].numpy())
    out = tmp_path / "degraded.npy"
    _, description = degrade_file(tmp_path / "photograph.npy", out, Degradation(task="inpaint"))
    (tmp_path / "degraded-mask.png").write_bytes(b"other")
    with pytest.raises(DataError, match="is not the mask that was used"):
        degraded_problem(out, description)
    description.write_text(json.dumps({"task": "denoise"}))
    with pytest.raises(DataError, match="is not what 'degrade' writes"):
        degraded_problem(out, description)
