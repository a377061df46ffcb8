"""Contrast curves and lesions of objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lowfield_recon.evaluation.shifts.objects import lesion_of, with_contrast, with_lesion


def head(seed: int = 0, n: int = 48) -> torch.Tensor:
    """A disc of random tissue on a dark background, with a phase."""
    y, x = np.meshgrid(np.arange(n) - n // 2, np.arange(n) - n // 2, indexing="ij")
    inside = torch.from_numpy((np.hypot(y, x) < 0.4 * n).astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    modulus = inside * (0.2 + 0.8 * torch.rand(n, n, generator=generator))
    angle = 2 * math.pi * torch.rand(n, n, generator=generator)
    return torch.polar(modulus, angle)[None, None, None]


def inside_of(image: torch.Tensor) -> torch.Tensor:
    return image.abs() > 0.1 * image.abs().max()


@pytest.mark.parametrize(("exponent", "inversion"), [(0.4, 0.0), (2.5, 0.0), (1, 0.5), (0.6, 1.0)])
def test_a_contrast_keeps_phase_background_and_mean(exponent, inversion) -> None:
    image = head()
    new = with_contrast(image, exponent=exponent, inversion=inversion)
    inside = inside_of(image)
    assert float(new[inside].abs().mean()) == pytest.approx(float(image[inside].abs().mean()))
    assert not new[~inside].any()
    turned = new[inside] * image[inside].conj()
    assert float(turned.angle().abs().max()) < 1e-5
    assert not torch.allclose(new, image, atol=0.05)


def test_an_exponent_is_a_power_law() -> None:
    image = head()
    new = with_contrast(image, exponent=2.5, inversion=0.0)
    inside = inside_of(image)
    slope = np.polyfit(image[inside].abs().log().numpy(), new[inside].abs().log().numpy(), 1)[0]
    assert slope == pytest.approx(2.5, rel=1e-4)


def test_an_inversion_turns_the_order_of_tissues_round() -> None:
    image = head()
    inside = inside_of(image)
    order = np.argsort(image[inside].abs().numpy())
    new = with_contrast(image, exponent=1.0, inversion=1.0)[inside].abs().numpy()[order]
    bright = np.sort(image[inside].abs().numpy()) > 0.26 * np.quantile(image[inside].abs(), 0.99)
    assert (np.diff(new[bright]) <= 1e-6).all()
    assert new[bright][0] > 3 * new[bright][-1]


def test_neutral_values_return_the_same_tensor() -> None:
    image = head()
    assert with_contrast(image, exponent=1.0, inversion=0.0) is image
    assert with_lesion(image, torch.ones(1, 1, 1, 48, 48), 0.0) is image


def test_real_images_with_signs_keep_them() -> None:
    image = head().real.float()
    new = with_contrast(image, exponent=0.5, inversion=0.0)
    assert new.dtype == torch.float32
    assert torch.equal(new.sign(), image.sign())


@pytest.mark.parametrize("seed", range(12))
def test_a_lesion_lies_inside_the_object_with_a_smooth_edge(seed) -> None:
    image = head(n=128)
    weight = lesion_of(image, 0.08, torch.Generator().manual_seed(seed))[0, 0, 0]
    inside = inside_of(image)[0, 0, 0]
    assert not weight[~inside].any()
    assert float(weight.max()) == 1
    area = int((weight > 0).sum())
    # half axes: 0.06 n to 0.10 n, and 0.6 to 1 times that; a pixel's width of the edge is allowed
    assert math.pi * 0.6 * (0.06 * 128 - 1) ** 2 < area < math.pi * (0.1 * 128 + 1) ** 2
    for dim in (0, 1):
        assert float(weight.diff(dim=dim).abs().max()) < 0.75


def test_lesions_differ_in_place_and_come_back_with_their_seed() -> None:
    image = head()
    weights = [lesion_of(image, 0.08, torch.Generator().manual_seed(s)) for s in (0, 1, 0)]
    assert torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_a_small_object_gets_its_lesion_at_its_deepest_point() -> None:
    image = torch.zeros(1, 1, 1, 32, 32)
    image[..., 10:15, 20:25] = 1
    weight = lesion_of(image, 0.2, torch.Generator().manual_seed(0))[0, 0, 0].numpy()
    y, x = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    centre = (weight * y).sum() / weight.sum(), (weight * x).sum() / weight.sum()
    assert centre == pytest.approx((12, 22), abs=1e-3)


@pytest.mark.parametrize("amount", [0.8, -0.6, -3.0])
def test_a_lesion_adds_what_is_stated_and_never_turns_the_phase(amount) -> None:
    image = head()
    weight = lesion_of(image, 0.08, torch.Generator().manual_seed(0))
    new = with_lesion(image, weight, amount)
    mean = float(image[inside_of(image)].abs().mean())
    expected = (image.abs() + amount * mean * weight).clamp(min=0)
    torch.testing.assert_close(new.abs(), expected, atol=1e-6, rtol=0)
    both = (new != 0) & (image != 0)
    assert float((new[both] * image[both].conj()).angle().abs().max()) < 1e-5
    assert torch.equal(new[weight == 0].abs() > 0, image[weight == 0].abs() > 0)
