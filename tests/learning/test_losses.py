"""Losses of training against scikit-image and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from skimage.metrics import structural_similarity as skimage_similarity

from lowfield_recon.learning.losses import (
    LossSettings,
    image_loss,
    peak_signal_to_noise,
    structural_similarity,
)


def _images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 24, 20, generator=generator, dtype=torch.complex128)
    noise = torch.randn(2, 24, 20, generator=generator, dtype=torch.complex128)
    return target + 0.2 * noise, target


def test_similarity_and_peak_ratio_are_those_of_scikit_image() -> None:
    image, target = _images()
    for x, t, similarity, ratio in zip(
        image.abs().numpy(), target.abs().numpy(),
        structural_similarity(image, target), peak_signal_to_noise(image, target), strict=True,
    ):  # fmt: skip
        _, local = skimage_similarity(t, x, data_range=t.max(), full=True)
        # scikit-image pads; where its windows lie inside the image both are the same.
        assert float(similarity) == pytest.approx(float(np.mean(local[3:-3, 3:-3])), abs=1e-12)
        expected = peak_signal_noise_ratio(t, x, data_range=t.max())
        assert float(ratio) == pytest.approx(expected, abs=1e-10)


def test_kinds_of_loss() -> None:
    image, target = _images()
    noise = torch.tensor([0.1, 0.5], dtype=torch.float64)
    errors = (image - target).abs().square().mean(dim=(1, 2)).tolist()
    losses = {
        kind: float(image_loss(image, target, noise, LossSettings(kind=kind)))
        for kind in ("mean-square", "noise-relative", "logarithmic")
    }
    relative = [e / s**2 for e, s in zip(errors, (0.1, 0.5), strict=True)]
    assert losses["mean-square"] == pytest.approx(sum(errors) / 2)
    assert losses["noise-relative"] == pytest.approx(sum(relative) / 2)
    assert losses["logarithmic"] == pytest.approx(sum(0.5 * math.log(r) for r in relative) / 2)
    weighted = image_loss(image, target, noise, LossSettings(ssim_weight=2.0))
    similarity = structural_similarity(image, target).mean()
    assert float(weighted) == pytest.approx(losses["mean-square"] + 2 * (1 - float(similarity)))


def test_the_gradient_is_finite_where_the_image_is_zero() -> None:
    image = torch.zeros(1, 8, 8, dtype=torch.complex64, requires_grad=True)
    target = torch.ones(1, 8, 8, dtype=torch.complex64)
    settings = LossSettings(kind="logarithmic", ssim_weight=1.0)
    image_loss(image, target, torch.ones(1), settings).backward()
    assert image.grad is not None
    assert torch.isfinite(torch.view_as_real(image.grad)).all()
