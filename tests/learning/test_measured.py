"""What networks look at: one unit for every operator, scale, and nothing of the truth."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon.learning.example_records import (
    Batch,
    CoilNormal,
    simulate_example,
    stack_examples,
)
from lowfield_recon.learning.measured import Measured, channels, from_channels
from lowfield_recon.simulation import Recipe


def _batch(n_coils: int) -> Batch:
    recipe = Recipe(seed=3, window=(1.0, 0.6, 0.8), snr=12.0, n_coils=n_coils, phase_rad=1.0)
    images = (torch.ones(16, 12), torch.rand(16, 12, generator=torch.Generator().manual_seed(1)))
    return stack_examples([simulate_example(image, recipe) for image in images])


@pytest.mark.parametrize("n_coils", [1, 3])
def test_an_operator_of_another_norm_gives_the_same_images(n_coils) -> None:
    plain = _batch(n_coils)
    normal = plain.normal and CoilNormal(maps=2 * plain.normal.maps, sampled=plain.normal.sampled)
    doubled = dataclasses.replace(
        plain, adjoint=4 * plain.adjoint, eigenvalues=4 * plain.eigenvalues,
        noise_std=2 * plain.noise_std, normal=normal, norm_squared=4 * plain.norm_squared,
    )  # fmt: skip
    a, b = Measured.of_batch(plain), Measured.of_batch(doubled)
    assert torch.allclose(a.adjoint, b.adjoint)
    assert torch.allclose(a.pixel_noise, b.pixel_noise)
    assert torch.allclose(a.gram(a.adjoint), b.gram(a.adjoint), atol=1e-5)


def test_the_k_space_of_coils_gives_the_adjoint() -> None:
    from lowfield_recon.operators.fourier import centred_ifft

    measured = Measured.of_batch(_batch(3))
    assert measured.coils is not None
    images = centred_ifft(measured.coils.kspace, (-2, -1))
    combined = (measured.coils.maps.conj() * images).sum(1)
    assert torch.allclose(combined, measured.adjoint, atol=1e-5)
    outside = measured.coils.kspace * ~measured.coils.mask[:, None]
    assert not outside.any()
    assert Measured.of_batch(_batch(1)).coils is None


def test_the_noise_of_a_pixel_is_what_it_is_in_many_scans() -> None:
    values = []
    for seed in range(40):
        recipe = Recipe(seed=seed, window=(1.0, 0.6, 0.8), snr=2.0)
        batch = stack_examples([simulate_example(torch.ones(16, 12), recipe)])
        quiet = recipe.model_copy(update={"snr": None})
        signal = stack_examples([simulate_example(torch.ones(16, 12), quiet)])
        assert float(signal.noise_std) == 0
        values.append((batch.adjoint - signal.adjoint).abs().square().mean())
    measured = Measured.of_batch(batch)
    assert float(torch.stack(values).mean().sqrt() / measured.pixel_noise) == pytest.approx(
        1.0, rel=0.03
    )


def test_the_scale_is_a_high_quantile_of_each_plane() -> None:
    measured = Measured.of_batch(_batch(1))
    modulus = measured.adjoint.abs().flatten(1)
    assert torch.allclose(
        measured.scale(), torch.quantile(modulus, 0.995, dim=1, interpolation="higher"), rtol=1e-6
    )
    scaled = measured.divided_by(measured.scale())
    assert torch.allclose(scaled.scale(), torch.ones(2))
    assert torch.allclose(scaled.pixel_noise * measured.scale(), measured.pixel_noise)
    coupled = dataclasses.replace(measured, are_separate=False).scale()
    assert coupled[0] == coupled[1] == measured.scale().max()


def test_channels_and_back() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 4, dtype=torch.complex64, generator=generator)
    assert torch.equal(from_channels(channels(image)), image)
