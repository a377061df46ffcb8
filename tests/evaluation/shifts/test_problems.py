"""Problems: the reference is the identity, each shift is what it says, and nothing else changes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.shifts import (
    AXES,
    IMAGE_AXES,
    Condition,
    ScanSettings,
    StudyImage,
    assumptions,
    axis_conditions,
    compose,
    lesion_weight,
    make_problem,
    reference_condition,
)
from lowfield_recon.evaluation.shifts.objects import with_contrast
from lowfield_recon.simulation.motion import moved

SCAN_AXES = [name for name in AXES if name not in IMAGE_AXES]
N_Y, N_X = 48, 44


def object_image(seed: int = 0, name: str = "a, slice 1", domain: str = "brain") -> StudyImage:
    y, x = np.meshgrid(np.arange(N_Y) - N_Y // 2, np.arange(N_X) - N_X // 2, indexing="ij")
    inside = torch.from_numpy((np.hypot(y / 1.1, x) < 0.4 * N_X).astype(np.float32))
    generator = torch.Generator().manual_seed(seed)
    pixels = inside * (0.3 + 0.7 * torch.rand(N_Y, N_X, generator=generator))
    return StudyImage(
        name=name, subject="a", domain=domain, pixels=pixels[None, None, None] / pixels.max()
    )


def fft(image: np.ndarray) -> np.ndarray:
    shifted = np.fft.ifftshift(image, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


def mean_of(image: torch.Tensor) -> float:
    modulus = image.abs()
    return float(modulus[modulus > 0.1 * modulus.max()].mean())


def noise_of(condition: Condition, image: StudyImage) -> torch.Tensor:
    """Return the noise: what is left when the same scan without any is taken off."""
    quiet = compose({**dict(condition.levels), "noise": 0.0})
    noisy, silent = (make_problem(image, c, seed=3) for c in (condition, quiet))
    assert silent.noise_std == 0
    return noisy.data - silent.data


@pytest.mark.parametrize("name", SCAN_AXES)
def test_the_level_of_the_reference_changes_no_bit(name) -> None:
    image = object_image()
    reference = make_problem(image, reference_condition(), seed=5)
    same = make_problem(image, compose({name: AXES[name].reference}), seed=5)
    assert torch.equal(same.data, reference.data)
    assert torch.equal(same.reference, reference.reference)
    assert same.noise_std == reference.noise_std


@pytest.mark.parametrize("name", SCAN_AXES)
def test_every_level_gives_other_data_the_same_each_time(name) -> None:
    image = object_image()
    reference = make_problem(image, reference_condition(), seed=5)
    seen = [reference.data]
    base = ScanSettings(spike_amplitude=0.3)
    levels = (0.01, 0.1) if name == "spikes" else None  # of 650 samples, 1e-4 would hit none
    for condition in axis_conditions(name, levels, base=base):
        first, second = (make_problem(image, condition, seed=5) for _ in range(2))
        assert torch.equal(first.data, second.data)
        assert torch.equal(first.reference, second.reference)
        for other in seen:
            assert first.data.shape != other.shape or not torch.equal(first.data, other)
        seen.append(first.data)


def test_the_reference_is_a_noisy_window_of_an_object_with_a_phase() -> None:
    image, settings = object_image(), ScanSettings()
    problem = make_problem(image, reference_condition(), seed=0)
    data, truth = problem.data[0, 0, 0].numpy(), problem.reference[0, 0, 0].numpy()
    np.testing.assert_allclose(np.abs(truth), image.pixels[0, 0, 0].numpy(), atol=1e-6)
    kept = data != 0
    assert kept.sum() == round(0.6 * N_Y) * round(0.6 * N_X)
    assert problem.noise_std == pytest.approx(settings.noise * mean_of(image.pixels), rel=1e-5)
    error = (data - fft(truth))[kept]
    # 754 samples: their mean square has a relative deviation of 3.6 %
    assert np.mean(np.abs(error) ** 2) == pytest.approx(problem.noise_std**2, rel=0.15)
    angle = np.angle(truth[np.abs(truth) > 0])
    assert np.ptp(np.unwrap(np.sort(angle))) > 0.5


@pytest.mark.parametrize("level", [0.03, 0.5, 2.0])
def test_the_noise_is_as_stated(level) -> None:
    big = StudyImage(name="a", subject="a", domain="b", pixels=torch.ones(1, 1, 1, 128, 128))
    condition = compose({"noise": level, "window": 1.0})
    noise = noise_of(condition, big)
    # 16384 samples: the mean square has a relative deviation of 0.8 %
    assert float(noise.abs().square().mean()) == pytest.approx(level**2, rel=0.04)
    assert float(noise.real.square().mean()) == pytest.approx(level**2 / 2, rel=0.06)


@pytest.mark.parametrize(
    "name", [n for n in SCAN_AXES if n not in ("noise", "coils", "coil-distance", "gain")]
)
def test_no_shift_changes_the_noise_of_a_sample(name) -> None:
    image = object_image()
    plain = noise_of(compose({"window": 1.0}), image)
    condition = axis_conditions(name)[-1]
    if name != "window":
        condition = compose({**dict(condition.levels), "window": 1.0})
    noise = noise_of(condition, image)
    kept = (noise != 0).expand_as(plain)
    assert kept.any()
    torch.testing.assert_close(noise[kept], plain[kept], atol=3e-5, rtol=0)


def test_shifts_of_the_object_are_of_one_object_with_one_phase() -> None:
    image = object_image()
    turns = []
    for levels in ({}, {"contrast": 2.5}, {"lesion": 1.5}, {"bias-field": 0.7}, {"inversion": 1.0}):
        truth = make_problem(image, compose(levels), seed=1).reference
        inside = image.pixels > 0
        turns.append(truth[inside] / truth[inside].abs())
    for turn in turns[1:]:
        torch.testing.assert_close(turn, turns[0], atol=1e-5, rtol=0)


def test_larger_phases_are_the_same_phase_larger() -> None:
    image = object_image()
    inside = image.pixels > 0
    still, small, large = (
        make_problem(image, compose({"phase": a}), seed=1).reference[inside]
        for a in (0.0, 0.2, 0.8)
    )
    turn = still / still.abs()
    torch.testing.assert_close(turn, turn[:1].expand_as(turn), atol=1e-5, rtol=0)
    angles = [(x * still.conj()).angle() for x in (small, large)]
    assert 0.1 < float(angles[0].abs().max()) <= 0.2 + 1e-5
    torch.testing.assert_close(angles[1], 4 * angles[0], atol=1e-4, rtol=0)


def test_contrast_and_lesion_stand_in_this_order() -> None:
    image = object_image()
    problem = make_problem(
        image, compose({"lesion": 0.8, "contrast": 2.5, "bias-field": 0.7}), seed=1
    )
    weight = lesion_weight(image, compose({"lesion": 0.8}), seed=1)
    new = with_contrast(image.pixels, exponent=2.5, inversion=0.0)
    shaded = make_problem(image, compose({"bias-field": 0.7}), seed=1).reference.abs()
    shading = torch.where(image.pixels > 0, shaded / image.pixels.clamp(min=1e-6), shaded)
    expected = shading * (new + 0.8 * mean_of(new) * weight)
    torch.testing.assert_close(problem.reference.abs(), expected, atol=1e-5, rtol=0)


def test_the_gain_scales_everything() -> None:
    image = object_image()
    one, many = (make_problem(image, compose({"gain": g}), seed=2) for g in (1.0, 4.0))
    assert torch.equal(many.data, 4 * one.data)
    assert torch.equal(many.reference, 4 * one.reference)
    assert many.noise_std == 4 * one.noise_std


@pytest.mark.parametrize("levels", [{"motion": 3.0}, {"rotation": 5.0}])
def test_motion_leaves_the_reference_and_moves_lines_of_other_shots(levels) -> None:
    image = object_image()
    still = make_problem(image, compose({"noise": 0.0}), seed=2)
    problem = make_problem(image, compose({"noise": 0.0, **levels}), seed=2)
    assert torch.equal(problem.reference, still.reference)
    changed = ((problem.data - still.data).abs().amax(dim=-1) > 1e-6).flatten()
    rows = still.data.any(dim=-1).flatten().nonzero().flatten()
    shots = rows.reshape(-1)[:: math.ceil(len(rows) / 8)]
    assert len(shots) == 8
    assert not changed[N_Y // 2]
    assert int(changed.sum()) > 0.7 * len(rows)
    # each changed line is the spectrum of a rigidly moved object: its energy is that of the line
    # of a shift, and for a translation exactly the line's own
    if "motion" in levels:
        torch.testing.assert_close(problem.data.abs(), still.data.abs(), atol=1e-5, rtol=0)


def test_a_translation_is_in_pixels() -> None:
    """The largest of 8 shots' shifts, from the phase of its line, is at most the level."""
    image = object_image()
    still = make_problem(image, compose({"noise": 0.0}), seed=2)
    problem = make_problem(image, compose({"noise": 0.0, "motion": 2.0}), seed=2)
    line = still.data[0, 0, 0].any(dim=-1).nonzero().flatten()[0]
    candidates = [
        torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(
            moved(still.reference[0, 0, 0], translation_m=(dy, dx), rotation_rad=0.0,
                  voxel_size_m=(1.0, 1.0))), norm="ortho"))[line]
        for dy in np.arange(-2, 2.01, 0.1) for dx in np.arange(-2, 2.01, 0.1)
    ]  # fmt: skip
    kept = still.data[0, 0, 0, line] != 0
    found = problem.data[0, 0, 0, line]
    errors = torch.stack([(c - found)[kept].abs().square().sum() for c in candidates])
    assert float(errors.min() / found.abs().square().sum()) < 0.02


def test_an_off_resonant_object_is_displaced_by_at_most_the_level() -> None:
    image = object_image()
    shifted = make_problem(image, compose({"noise": 0, "window": 1, "off-resonance": 3.0}), seed=2)
    plain = make_problem(image, compose({"noise": 0.0, "window": 1.0}), seed=2)
    assert torch.equal(shifted.reference, plain.reference)
    lines = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(shifted.data[0, 0, 0]))))
    assert not np.allclose(lines * math.sqrt(N_X * N_Y), image.pixels[0, 0, 0], atol=0.2)
    columns = np.nonzero((lines > 0.2 * lines.max()).any(axis=0))[0]
    own = np.nonzero(image.pixels[0, 0, 0].any(dim=0).numpy())[0]
    assert columns.min() >= own.min() - 4
    assert columns.max() <= own.max() + 4


def test_an_ellipse_has_the_area_of_the_rectangle() -> None:
    image = object_image()
    sizes = {}
    for shape in ("rectangle", "ellipse"):
        problem = make_problem(image, compose({"window-shape": shape}), seed=0)
        kept = problem.data[0, 0, 0] != 0
        sizes[shape] = int(kept.sum())
    assert sizes["ellipse"] == pytest.approx(sizes["rectangle"], rel=0.05)
    assert kept[N_Y // 2].sum() > round(0.6 * N_X)
    (forward,) = problem.operator(problem.reference)
    assert torch.equal(forward != 0, problem.data != 0)


@pytest.mark.parametrize("kind", ["random", "regular", "poisson-disc", "fastmri-equispaced"])
@pytest.mark.parametrize("factor", [2, 4])
def test_masks_take_their_part_of_the_lines_in_the_window(kind, factor) -> None:
    image = object_image()
    problem = make_problem(image, compose({"mask": kind, "acceleration": factor}), seed=0)
    kept = problem.data[0, 0, 0] != 0
    lines = int(kept.any(dim=1).sum())
    within = round(0.6 * N_Y)
    if kind in ("random", "poisson-disc"):
        assert lines == round(within / factor)
    assert within / factor - 3 <= lines <= within / factor + 4
    assert bool((kept.sum(dim=1)[kept.any(dim=1)] == round(0.6 * N_X)).all())
    assert kept[N_Y // 2, N_X // 2]


def test_several_coils_share_the_object_and_their_maps_are_known() -> None:
    image = object_image()
    problem = make_problem(image, compose({"coils": 4, "noise": 0.0}), seed=0)
    single = make_problem(image, compose({"noise": 0.0}), seed=0)
    assert problem.data.shape[1] == 4
    assert torch.equal(problem.reference, single.reference)
    (expected,) = problem.operator(problem.reference)
    torch.testing.assert_close(problem.data, expected, atol=1e-5, rtol=0)


def test_interference_and_spikes_are_added_at_samples_only() -> None:
    image = object_image()
    base = make_problem(image, reference_condition(), seed=0)
    for levels in ({"interference": 0.3}, {"spikes": 0.05}):
        problem = make_problem(image, compose(levels), seed=0)
        assert torch.equal(problem.reference, base.reference)
        added = problem.data - base.data
        assert not added[base.data == 0].any()
        if "spikes" in levels:
            assert 0 < int((added.abs() > 1e-6).sum()) < 0.1 * int((base.data != 0).sum())
        else:
            power = float(added[base.data != 0].abs().square().mean())
            expected = 2 * (0.3 * mean_of(image.pixels)) ** 2
            # 29 independent lines: their power has a relative deviation of about 20 %
            assert power == pytest.approx(expected, rel=0.7)


def test_images_and_seeds_have_noise_of_their_own_and_methods_cannot_matter() -> None:
    conditions = compose({"noise": 0.2})
    one, other = object_image(), object_image(name="a, slice 2")
    noises = [
        make_problem(image, conditions, seed=seed).data
        for image, seed in ((one, 0), (other, 0), (one, 1))
    ]
    assert not torch.equal(noises[0], noises[1])
    assert not torch.equal(noises[0], noises[2])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    again = make_problem(one, conditions, seed=0).data
    assert torch.equal(again, noises[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_randomness_of_an_image_does_not_hang_on_its_pixels() -> None:
    one = object_image()
    brighter = StudyImage(
        name=one.name, subject=one.subject, domain=one.domain, pixels=0.5 * one.pixels
    )
    noise = [noise_of(reference_condition(), image) for image in (one, brighter)]
    torch.testing.assert_close(noise[1], 0.5 * noise[0], atol=1e-6, rtol=0)
    assert one.identity != brighter.identity


def test_what_does_not_fit_is_refused() -> None:
    image = object_image()
    with pytest.raises(UsageError, match="expected images of 'knee', got a, slice 1 of 'brain'"):
        make_problem(image, compose({"anatomy": "knee"}), seed=0)
    with pytest.raises(UsageError, match="seed: expected a number of at least 0"):
        make_problem(image, reference_condition(), seed=-1)
    assert assumptions(image, reference_condition()) == ()


@pytest.mark.parametrize(
    ("pixels", "noise", "text"),
    [
        (torch.zeros(1, 1, 1, 8, 8), None, "is zero everywhere"),
        (torch.ones(1, 8, 8), None, "expected pixels"),
        (torch.ones(1, 1, 1, 8, 8, dtype=torch.float64), None, "expected float32 or complex64"),
        (torch.full((1, 1, 1, 8, 8), float("nan")), None, "NaN or infinite"),
        (torch.ones(1, 1, 1, 8, 8), 0.0, "the noise of a recorded scan is 0.0"),
    ],
)
def test_images_that_cannot_be_scanned_are_refused(pixels, noise, text) -> None:
    with pytest.raises(DataError, match=text):
        StudyImage(name="a", subject="a", domain="b", pixels=pixels, noise_std=noise)
