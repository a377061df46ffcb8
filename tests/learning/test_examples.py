"""Examples against dense algebra, stated noise and the independence of every sample."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.example_records import simulate_example, stack_examples
from lowfield_recon.learning.examples import (
    ExampleSettings,
    ImageSet,
    draw_batch,
    draw_example,
    load_images,
    validation_batches,
)
from lowfield_recon.operators import kspace_operator
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.simulation import Recipe
from lowfield_recon.simulation.coils import loop_coil_maps

PLAIN = {"gamma": (1, 1), "scale": (1, 1), "phase_rad": 0, "global_phase": False, "fade": 0}
AS_STORED = PLAIN | {"flips": False, "rotations": False}


def images_of(*sizes, seed=0):
    """One subject of one slice for each size: noise on an ellipse, zero outside."""
    g = torch.Generator().manual_seed(seed)
    images = {}
    for i, (n_y, n_x) in enumerate(sizes):
        y, x = torch.linspace(-1, 1, n_y)[:, None], torch.linspace(-1, 1, n_x)
        slices = (((y / 0.9) ** 2 + (x / 0.7) ** 2) < 1) * (1 + torch.rand(n_y, n_x, generator=g))
        images[f"s{i}"] = (slices,)
    return ImageSet(images=images)


HEADS = images_of((70, 60), (64, 80))


def same(a, b):
    names = ("target", "adjoint", "eigenvalues", "noise_std", "energy")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


@pytest.mark.parametrize("shape", [(24, 32), (25, 31)])
@pytest.mark.parametrize("window", [(1, 0.5, 0.7), (1, 1, 0.3), 1.0])
def test_one_coil_is_diagonal_in_the_plain_transform(shape, window):
    x = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    e = simulate_example(x, Recipe(window=window, phase_rad=2))
    expected = e.eigenvalues * torch.fft.fft2(e.target)
    assert torch.allclose(torch.fft.fft2(e.adjoint), expected, atol=1e-4)
    assert set(e.eigenvalues.unique().tolist()) <= {0.0, 1.0}
    assert e.normal is None


def test_adjoint_and_energy_are_those_of_the_operator():
    x = torch.randn(20, 26, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    for n_coils in (1, 3):
        recipe = Recipe(window=(1, 0.5, 0.7), n_coils=n_coils)
        e = simulate_example(x, recipe)
        mask = torch.zeros(20, 26, dtype=torch.bool)
        mask[5:15, 4:22] = True
        maps = loop_coil_maps((1, 20, 26), (1e-3, 1e-3, 1e-3), n_coils=n_coils)
        A = kspace_operator(mask=mask[None, None, None], coil_maps=None if n_coils == 1 else maps)
        (y,) = A(x[None, None, None])
        (back,) = A.H(y)
        assert torch.allclose(e.adjoint, back[0, 0, 0], atol=1e-5)
        assert e.energy == pytest.approx(0.5 * float(y.abs().square().sum()), rel=1e-5)


def dense(function, shape):
    """Matrix of a linear function from spectrum to spectrum."""
    n = shape[0] * shape[1]
    columns = [function(unit.reshape(1, *shape)).flatten() for unit in torch.eye(n) + 0j]
    return torch.stack(columns, dim=1)


def test_several_coils_in_spectra():
    shape = (10, 12)
    x = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    e = simulate_example(x, Recipe(window=(1, 0.6, 0.5), n_coils=4))
    seen = e.normal(torch.fft.fft2(e.target)[None])[0]
    assert torch.allclose(torch.fft.fft2(e.adjoint), seen, atol=1e-4)
    matrix = dense(e.normal, shape)
    assert torch.allclose(matrix, matrix.mH, atol=1e-5)  # in spectra as in images
    assert torch.allclose(matrix.diagonal().real, e.eigenvalues.flatten(), atol=1e-5)
    values = torch.linalg.eigvalsh(matrix)
    assert float(values[0]) > -1e-5
    batch = stack_examples([e])
    assert float(values[-1]) <= batch.norm_squared * (1 + 1e-5)
    assert batch.norm_squared == pytest.approx(1, rel=1e-5)


def test_each_plane_of_a_batch_has_its_own_coils_and_window():
    settings = ExampleSettings(crop=(16, 24), coils=(3,), snr=(1e6, 1e6))
    batch = draw_batch(HEADS, settings, seed=1, step=2, size=3)
    seen = batch.normal(torch.fft.fft2(batch.target))
    difference = torch.fft.fft2(batch.adjoint) - seen
    assert float(difference.norm() / seen.norm()) < 1e-4
    assert len({tuple(plane.flatten().tolist()) for plane in batch.normal.sampled}) == 3


def test_noise_has_the_stated_variance():
    settings = ExampleSettings(crop=(48, 48), window=(1, 1), p_square=1)
    examples = [draw_example(HEADS, settings, seed=0, step=0, index=i) for i in range(30)]
    parts = [torch.view_as_real((e.adjoint - e.target) / e.noise_std) for e in examples]
    noise = torch.stack(parts)
    assert float(noise.square().mean()) == pytest.approx(0.5, rel=0.02)
    real, imaginary = noise.unbind(-1)
    assert float((real * imaginary).mean()) == pytest.approx(0, abs=0.01)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    one, other = noise[0].flatten(), noise[1].flatten()
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.06


def test_noise_follows_the_object():
    settings = ExampleSettings(crop=(32, 32), snr=(8, 8))
    e = draw_example(HEADS, settings, seed=0, step=0, index=0)
    modulus = e.target.abs()
    mean = float(modulus[modulus > 0.1 * modulus.max()].mean())
    assert e.noise_std == pytest.approx(mean / 8, rel=1e-5)
    published = draw_example(
        HEADS, ExampleSettings.published(crop=(32, 32)), seed=0, step=0, index=0
    )
    v = published.noise_std**2 / float(published.target.abs().square().mean())
    assert 0.075 <= v <= 0.30
    assert v == pytest.approx(published.recipe.variance_factor, rel=1e-4)


def test_a_sample_depends_on_its_numbers_only():
    settings = ExampleSettings(crop=(32, 32), coils=(1, 2))
    whole = draw_batch(HEADS, settings, seed=5, step=9, size=4)
    half = draw_batch(HEADS, settings, seed=5, step=9, size=2)
    assert torch.equal(whole.adjoint[:2], half.adjoint)
    with ThreadPoolExecutor(3) as pool:
        order = [3, 0, 2, 1]
        drawn = list(
            pool.map(lambda i: draw_example(HEADS, settings, seed=5, step=9, index=i), order)
        )
    assert all(torch.equal(whole.adjoint[i], e.adjoint) for i, e in zip(order, drawn, strict=True))
    assert same(whole, draw_batch(HEADS, settings, seed=5, step=9, size=4))
    for seed, step in ((6, 9), (5, 8), (9, 5), (5, 0)):
        other = draw_batch(HEADS, settings, seed=seed, step=step, size=4)
        assert not torch.equal(whole.noise_std, other.noise_std)


def test_global_random_numbers_are_untouched_and_unused():
    settings = ExampleSettings(crop=(32, 32), coils=(2,))
    torch.manual_seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    first = draw_batch(HEADS, settings, seed=0, step=0, size=2)
    validation_batches(HEADS, settings, seed=0, snrs=[5], windows=[0.5])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]
    torch.manual_seed(1)
    assert same(first, draw_batch(HEADS, settings, seed=0, step=0, size=2))


def test_draws_cover_their_ranges():
    settings = ExampleSettings(crop=(20, 20), snr=(4, 40), window=(0.4, 1), p_square=0.25)
    examples = [
        draw_example(HEADS, settings, seed=3, step=t, index=i) for t in range(100) for i in (0, 1)
    ]
    recipes = [e.recipe for e in examples]
    snr = np.log([r.snr for r in recipes])
    parts = np.array([r.window[1:] for r in recipes])
    for values, low, high in ((snr, np.log(4), np.log(40)), (parts, 0.4, 1)):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
        assert np.mean(values) == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    assert np.mean(parts[:, 0] == parts[:, 1]) == pytest.approx(0.25, abs=0.1)
    phases = np.array([r.phase_rad for r in recipes])
    assert 0 <= phases.min() < 0.3
    assert 2.7 < phases.max() <= 3
    widths = [int(e.eigenvalues[0].sum()) for e in examples]
    assert widths == [round(r.window[2] * 20) for r in recipes]
    assert len({r.seed for r in recipes}) == 200


def test_number_of_coils_is_one_per_step():
    settings = ExampleSettings(crop=(16, 16), coils=(1, 2))
    batches = [draw_batch(HEADS, settings, seed=0, step=t, size=2) for t in range(12)]
    counts = {1 if b.normal is None else b.normal.maps.shape[1] for b in batches}
    assert counts == {1, 2}


@pytest.mark.parametrize("turned", [False, True])
def test_all_eight_orientations_and_no_other(turned):
    image = torch.arange(1.0, 20 * 20 + 1).reshape(20, 20)
    known = [torch.rot90(m, k) for m in (image, image.flip(0)) for k in range(4)]
    images = ImageSet(images={"a": (image,)})
    settings = ExampleSettings(crop=(20, 20), **PLAIN, rotations=turned, flips=turned)
    seen = set()
    for i in range(60):
        target = draw_example(images, settings, seed=0, step=0, index=i).target
        assert bool((target.imag == 0).all())
        seen.add([torch.equal(target.real, k) for k in known].index(True))
    assert seen == (set(range(8)) if turned else {0})


def test_crops_show_the_object():
    image = torch.zeros(120, 100)
    image[100:110, 5:9] = 1
    images = ImageSet(images={"a": (image,)})
    settings = ExampleSettings(crop=(20, 30))
    starts = set()
    for i in range(30):
        e = draw_example(images, settings, seed=0, step=0, index=i)
        assert e.target.shape == (20, 30)
        assert float(e.target.abs().max()) > 0
        starts.add(tuple(e.target.abs().nonzero()[0].tolist()))
    assert len(starts) > 5


def test_crops_come_from_everywhere():
    image = torch.arange(1.0, 80 * 60 + 1).reshape(80, 60) + 1e4  # a value tells its place
    images = ImageSet(images={"a": (image,)})
    settings = ExampleSettings(crop=(20, 30), **AS_STORED)
    starts = set()
    for i in range(40):
        corner = draw_example(images, settings, seed=0, step=0, index=i).target[0, 0].real
        starts.add(divmod(round(float(corner)) - 10001, 60))
    rows, columns = zip(*starts, strict=True)
    assert min(rows) == 0
    assert max(rows) == 60
    assert min(columns) == 0
    assert max(columns) == 30
    assert len(starts) > 25


def test_crop_that_fits_in_one_orientation_only_is_not_turned():
    images = ImageSet(images={"a": (torch.rand(40, 20),)})
    settings = ExampleSettings(crop=(32, 16))
    assert draw_batch(images, settings, seed=0, step=0, size=8).target.shape == (8, 32, 16)
    settings = ExampleSettings(crop=(32, 24))
    with pytest.raises(DataError, match="a: a slice of 40 x 20 pixels is smaller than the crop"):
        draw_batch(images, settings, seed=0, step=0, size=8)


def test_contrast_scale_and_phase():
    g = torch.Generator().manual_seed(4)
    image = torch.polar(torch.rand(16, 16, generator=g) + 0.1, torch.rand(16, 16, generator=g))
    images = ImageSet(images={"a": (image,)})
    settings = ExampleSettings(
        crop=(16, 16), gamma=(2, 2), scale=(3, 3), phase_rad=0, fade=0, flips=False, rotations=False
    )
    target = draw_example(images, settings, seed=0, step=0, index=0).target
    largest = image.abs().max()
    expected = 3 * image * image.abs() / largest
    assert torch.allclose(target.abs(), expected.abs(), rtol=1e-5)
    turn = target / expected
    assert torch.allclose(turn, turn[0, 0].expand(16, 16), rtol=1e-4)  # one constant phase
    assert abs(float(turn[0, 0].angle())) > 0.1


def test_smooth_phase_has_the_drawn_size():
    images = ImageSet(images={"a": (torch.ones(32, 32),)})
    settings = ExampleSettings(crop=(32, 32), **PLAIN | {"phase_rad": 2.0}, snr=(10, 10))
    e = draw_example(images, settings, seed=1, step=0, index=0)
    assert float(e.target.angle().abs().max()) == pytest.approx(e.recipe.phase_rad, rel=1e-4)
    assert torch.allclose(e.target.abs(), torch.ones(32, 32))


def test_cut_edges_fade_and_others_do_not():
    images = ImageSet(images={"a": (torch.ones(64, 24),)})
    settings = ExampleSettings(crop=(32, 24), **AS_STORED | {"fade": 4})
    for i in range(5):
        rows = draw_example(images, settings, seed=0, step=0, index=i).target.abs()[:, 12]
        ramp = torch.sin(torch.pi / 8 * (torch.arange(4) + 0.5)).square()
        assert torch.allclose(rows[4:-4], torch.ones(24))
        top, bottom = torch.allclose(rows[:4], ramp), torch.allclose(rows[-4:], ramp.flip(0))
        assert top or bool((rows[:4] == 1).all())
        assert bottom or bool((rows[-4:] == 1).all())
        assert top or bottom
    whole = ImageSet(images={"a": (torch.ones(32, 24),)})
    e = draw_example(whole, settings, seed=0, step=0, index=0)
    assert bool((e.target.abs() == 1).all())


def test_reduction_cuts_the_kspace_of_a_larger_piece():
    image = torch.rand(48, 48, generator=torch.Generator().manual_seed(5))
    images = ImageSet(images={"a": (image,)})
    settings = ExampleSettings(crop=(24, 24), reduction=(2, 2), **AS_STORED)
    target = draw_example(images, settings, seed=0, step=0, index=0).target.numpy()
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image.numpy())))[12:36, 12:36] / 4
    expected = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(k)))
    assert np.allclose(target, expected, atol=1e-5)
    larger = ExampleSettings(crop=(32, 32), reduction=(2, 2), **AS_STORED)
    assert draw_example(images, larger, seed=0, step=0, index=0).target.shape == (32, 32)


def test_validation_shows_whole_central_slices():
    stored = tuple(torch.full((33, 40), float(i + 1)) for i in range(5))
    images = ImageSet(images={"b": stored, "a": (torch.ones(36, 31),)})
    settings = ExampleSettings(**PLAIN | {"phase_rad": 1.0})
    batches = validation_batches(images, settings, seed=2, snrs=[5, 50], windows=[0.5, 1])
    names = ["window 0.5, snr 5", "window 0.5, snr 50", "window 1, snr 5", "window 1, snr 50"]
    assert [b.name for b in batches] == names
    for batch, snr, part in zip(batches, [5, 50, 5, 50], [0.5, 0.5, 1, 1], strict=True):
        assert batch.target.shape == (2, 32, 30)
        assert torch.allclose(batch.target[0].abs(), torch.ones(32, 30))
        assert torch.allclose(batch.target[1].abs(), torch.full((32, 30), 3.0))
        assert torch.allclose(batch.noise_std, torch.tensor([1.0, 3.0]) / snr)
        assert batch.eigenvalues.sum(dim=(1, 2)).tolist() == [32 * part * 30 * part] * 2
    noises = [(b.adjoint - b.target)[i] / b.noise_std[i] for b in batches[2:] for i in (0, 1)]
    gram = torch.stack(noises).flatten(1)
    correlation = (gram @ gram.mH).abs() / gram[0].numel()
    assert float((correlation - torch.diag(correlation.diagonal())).max()) < 0.15
    again = validation_batches(images, settings, seed=2, snrs=[5, 50], windows=[0.5, 1])
    assert all(same(a, b) for a, b in zip(batches, again, strict=True))
    assert not same(batches[0], validation_batches(images, settings, seed=3)[0])


def test_validation_crops_about_the_centre():
    image = torch.rand(37, 45)
    images = ImageSet(images={"a": (image,), "b": (torch.ones(40, 44),)})
    (batch,) = validation_batches(
        images, ExampleSettings(**PLAIN), seed=0, snrs=[5], windows=[0.5], multiple=4
    )
    expected = crop_center(crop_center(image, 36, 0), 44, 1)
    assert torch.equal(batch.target[0].real, expected)
    several = validation_batches(
        images, ExampleSettings(), seed=0, snrs=[5], windows=[0.5], n_coils=3, n_subjects=1
    )
    assert several[0].normal.maps.shape == (1, 3, 36, 44)
    with pytest.raises(UsageError, match="at least one subject"):
        validation_batches(images, ExampleSettings(), seed=0, n_subjects=0)


def test_batch_moves_whole():
    batch = draw_batch(HEADS, ExampleSettings(crop=(16, 16), coils=(2,)), seed=0, step=0, size=2)
    moved = batch.to("meta")
    for name in ("target", "adjoint", "eigenvalues", "noise_std", "energy"):
        assert getattr(moved, name).is_meta
    assert moved.normal.maps.is_meta
    assert moved.normal.sampled.is_meta
    assert moved.norm_squared == batch.norm_squared


def test_published_recipe():
    settings = ExampleSettings.published(crop=(320, 320))
    assert [round(320 * part) for part in settings.window] == [82, 240]
    assert settings.p_square == 0
    assert settings.variance_factor == (0.075, 0.30)
    assert not settings.flips
    square = ExampleSettings.published(square=True)
    assert [round(320 * part) for part in square.window] == [120, 200]
    assert square.p_square == 1
    assert square.rotations
    again = ExampleSettings.model_validate(square.model_dump(mode="json"))
    assert again == square


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": (8, 96)}, "at least 16 pixels"),
        ({"snr": (40, 4)}, "low, high"),
        ({"snr": None}, "snr or variance_factor"),
        ({"variance_factor": (0.1, 0.2)}, "snr or variance_factor"),
        ({"window": (0.5, 1.1)}, "parts of k-space"),
        ({"window": (0, 1)}, "positive"),
        ({"gamma": (1, float("nan"))}, "positive"),
        ({"scale": (1, float("inf"))}, "positive"),
        ({"coils": ()}, "numbers of coils"),
        ({"coils": (0,)}, "numbers of coils"),
        ({"coil_distance": (1.0, 1.2)}, "1.05 to 10"),
        ({"reduction": (0.5, 1)}, "at least 1"),
        ({"fade": 60}, "half the crop"),
        ({"windows": (0.5, 1)}, "Extra inputs"),
        ({"p_square": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        ExampleSettings(**values)


def test_numbers_below_zero_and_empty_batches_are_refused():
    with pytest.raises(UsageError, match="start at 0"):
        draw_batch(HEADS, ExampleSettings(crop=(16, 16)), seed=-1, step=0, size=1)
    with pytest.raises(UsageError, match="at least 1 example"):
        draw_batch(HEADS, ExampleSettings(crop=(16, 16)), seed=0, step=0, size=0)


@pytest.mark.shared_data
def test_real_heads(shared_data):
    images = load_images([shared_data / "brain_t1_jlf" / "ilist1*.nii.gz"])
    assert len(images.subjects) == 9
    assert {tuple(s.shape) for slices in images.images.values() for s in slices} == {(182, 217)}
    assert all(10 <= len(slices) <= 12 for slices in images.images.values())
    batch = draw_batch(images, ExampleSettings(window=(1, 1)), seed=0, step=0, size=8)
    assert batch.target.shape == (8, 96, 96)
    noise = (batch.adjoint - batch.target) / batch.noise_std[:, None, None]
    assert float(noise.abs().square().mean()) == pytest.approx(1, rel=0.02)
    validation = validation_batches(images, ExampleSettings(), seed=0, n_subjects=2)
    assert [b.target.shape for b in validation] == [(2, 182, 216)] * 6
