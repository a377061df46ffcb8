"""Images of a study: domains, subjects, slices, sizes, recorded scans, and every refusal."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.shifts import (
    DEFAULT_SETS,
    ImageSetSettings,
    compose,
    load_study_images,
    make_problem,
    reference_condition,
)
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "heads"
    folder.mkdir()
    for k in range(4):
        voxels = np.zeros((50, 5, 41), np.float32)
        voxels[8:-8, :, 6:-6] = rng.random((34, 5, 29)) + 1 + k
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"h{k}_T1.nii.gz")
    Image.fromarray(rng.integers(0, 255, (60, 70), dtype=np.uint8)).save(tmp_path / "photo.png")
    return tmp_path


def heads_set(**given) -> ImageSetSettings:
    return ImageSetSettings(domain="brain", images=("heads",), **given)


def test_slices_of_subjects_are_read_scaled_and_cut(heads) -> None:
    images = load_study_images([heads_set(slices=3)], folder=heads)
    assert [image.name for image in images.images[:3]] == [f"h0_T1, slice {i}" for i in (1, 2, 3)]
    assert [image.subject for image in images.images] == [
        f"h{k}_T1" for k in range(4) for _ in "abc"
    ]
    volume = nibabel.load(heads / "heads" / "h2_T1.nii.gz").get_fdata(dtype=np.float32)
    found = {image.name: image.pixels for image in images.images}["h2_T1, slice 2"]
    assert tuple(found.shape) == (1, 1, 1, 40, 48)
    expected = volume[1:49, 2, 0:40].T  # NIfTI counts x first
    np.testing.assert_allclose(found[0, 0, 0].numpy(), expected / expected.max(), rtol=1e-6)
    assert not any(image.is_recorded for image in images.images)
    assert images.of(reference_condition()) == images.images
    (source,) = images.sources
    assert source["n_images"] == 12
    assert sorted(source["files"]) == [f"h{k}_T1.nii.gz" for k in range(4)]


def test_subjects_are_chosen_by_name_or_number_the_same_each_time(heads) -> None:
    pattern = "(?P<subject>h[0-9])_"
    named = load_study_images(
        [heads_set(subjects=("h3", "h1"), subject_pattern=pattern)], folder=heads
    )
    assert [image.subject for image in named.images] == ["h1", "h3"]
    some = [
        {i.subject for i in load_study_images([heads_set(subjects=n)], folder=heads).images}
        for n in (1, 2, 3, 2)
    ]
    assert some[0] < some[1] < some[2]
    assert some[3] == some[1]


def test_domains_belong_to_axes_and_conditions_find_their_images(heads) -> None:
    photo = ImageSetSettings(domain="photo", axis="natural-images", images=("photo.png",))
    images = load_study_images([photo, heads_set()], folder=heads)
    assert images.reference_domain == "brain"
    assert {i.domain for i in images.of(compose({"noise": 0.2}))} == {"brain"}
    (condition,) = images.conditions()
    assert condition.name == "natural-images=photo"
    (image,) = images.of(condition)
    assert make_problem(image, condition, seed=0).shape == (1, 1, 1, 60, 68)
    with pytest.raises(UsageError, match=r"no images of 'phota'\. Did you mean 'photo'"):
        images.of(compose({"natural-images": "phota"}))


def test_a_matrix_cuts_fine_detail_and_a_crop_the_edges(heads) -> None:
    (plain,) = load_study_images([heads_set(subjects=("h0_T1",))], folder=heads).images
    (coarse,) = load_study_images([heads_set(subjects=("h0_T1",), matrix=24)], folder=heads).images
    (cut,) = load_study_images([heads_set(subjects=("h0_T1",), crop=24)], folder=heads).images
    assert tuple(coarse.pixels.shape) == tuple(cut.pixels.shape) == (1, 1, 1, 24, 24)
    assert bool((cut.pixels > 0).all())
    assert not bool((coarse.pixels[..., 0, :] > 0.2).any())
    inner = plain.pixels[..., 8:32, 12:36]
    torch.testing.assert_close(cut.pixels, inner / inner.max())


def test_the_default_is_what_ships() -> None:
    images = load_study_images()
    (brain,) = images.of(reference_condition())
    assert (brain.domain, tuple(brain.pixels.shape)) == ("brain T2", (1, 1, 1, 128, 128))
    low_field = images.of(compose({"field-strength": "brain 0.055 T"}))
    assert len(low_field) == 6
    assert {image.subject for image in low_field} == {"patient_6a"}
    assert all(image.is_recorded for image in low_field)
    assert [source["domain"] for source in images.sources] == [s.domain for s in DEFAULT_SETS]


def test_a_recorded_scan_keeps_its_samples_and_noise() -> None:
    entry = ImageSetSettings(domain="low field", images=("brain_0055t_t1w.h5",), matrix=96)
    (image,) = load_study_images([entry]).images
    scan = load_scan(sample_path("brain_0055t_t1w.h5")).problems()[2]
    own = scan.data[..., 98 - 48 : 98 + 48, 64 - 48 : 64 + 48]
    found = centred_fft(image.pixels, (-2, -1))
    scale = float(own.abs().max() / found.abs().max())
    torch.testing.assert_close(scale * found, own, atol=2e-5, rtol=0)
    assert image.noise_std * scale == pytest.approx(scan.noise_std, rel=1e-5)
    assert float(image.pixels.abs().max()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"images": ("nowhere.nii.gz",)}, "nowhere.nii.gz"),
        ({"subjects": ("h9_T1",)}, "brain: 'h9_T1' is no subject"),
        ({"subjects": 9}, "subjects: expected 1 to 4, which there are, got 9"),
        ({"subject_pattern": "(?P<subject>x)"}, "finds no subject"),
        ({"subject_pattern": "("}, "is no expression"),
        ({"images": ("brain_0055t_t2w.h5",), "crop": 64}, "give matrix in place of crop"),
        (
            {"images": ("brain_0055t_t2w.h5",), "subject_pattern": "(?P<subject>x)"},
            "finds no subject",
        ),
    ],
)
def test_what_cannot_be_read_is_named(heads, entry, text) -> None:
    given = {"domain": "brain", "images": ("heads",), **entry}
    with pytest.raises((DataError, UsageError)) as caught:
        load_study_images([ImageSetSettings(**given)], folder=heads)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_incomplete_scan_is_refused(heads) -> None:
    from lowfield_recon.simulation import Recipe
    from lowfield_recon.simulation.scan_file import simulate_scan

    recipe = Recipe(noise_std=0.01, mask="regular", acceleration=2, noise_samples=64)
    simulate_scan(heads / "photo.png", heads / "half.h5", recipe)
    with pytest.raises(DataError, match="of its samples are zero; expected a complete scan"):
        load_study_images([ImageSetSettings(domain="a", images=("half.h5",))], folder=heads)


def test_scans_of_several_coils_become_images(heads) -> None:
    from lowfield_recon.simulation import Recipe
    from lowfield_recon.simulation.scan_file import simulate_scan

    simulate_scan(heads / "photo.png", heads / "coils.h5", Recipe(n_coils=3))
    entry = ImageSetSettings(domain="a", images=("coils.h5",))
    (image,) = load_study_images([entry], folder=heads).images
    pixels = np.asarray(Image.open(heads / "photo.png"), dtype=np.float32)[:, 1:69]
    np.testing.assert_allclose(image.pixels[0, 0, 0], pixels / pixels.max(), atol=1e-4)
    assert not image.is_recorded


def test_domains_must_be_clear(heads) -> None:
    with pytest.raises(UsageError, match="domain 'brain' is there twice"):
        load_study_images([heads_set(), heads_set(axis="anatomy")], folder=heads)
    other = ImageSetSettings(domain="photo", images=("photo.png",))
    with pytest.raises(UsageError, match=r"2 domains without an axis \(brain, photo\)"):
        load_study_images([heads_set(), other], folder=heads)
    with pytest.raises(UsageError, match="0 domains without an axis"):
        load_study_images([heads_set(axis="anatomy")], folder=heads)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"domain": "a+b", "images": ("x",)}, r"without '\+' and '='"),
        ({"domain": "a", "images": ()}, "at least 1 item"),
        ({"domain": "a", "images": ("x",), "axis": "noise"}, "'noise' is none of images"),
        ({"domain": "a", "images": ("x",), "slice": 2}, "Extra inputs"),
    ],
)
def test_settings_are_checked(given, text) -> None:
    with pytest.raises(ValidationError, match=text):
        ImageSetSettings(**given)


@pytest.mark.shared_data
def test_real_heads_and_a_knee_are_scanned(shared_data, tmp_path) -> None:
    from lowfield_recon.scan.convert import convert_to_ismrmrd

    knee = tmp_path / "knee.h5"
    raw = shared_data / "larsonlab_edu" / "coronal_fatsat_2D_knee.mat"
    convert_to_ismrmrd(raw, knee, axes="y x", key="kdata", field_strength_t=3.0)
    files = str(shared_data / "brain_t1_jlf" / "ilist1[02].nii.gz")
    heads = ImageSetSettings(domain="brain T1", images=(files,), matrix=96)
    other = ImageSetSettings(domain="knee", axis="anatomy", images=(str(knee),), matrix=96)
    images = load_study_images([heads, other])
    assert len({image.subject for image in images.of(reference_condition())}) == 2
    (condition,) = images.conditions()
    (image,) = images.of(condition)
    assert image.is_recorded
    problem = make_problem(image, condition, seed=0)
    # The knee was recorded with little noise: the level of the reference is reached by adding it.
    modulus = image.pixels.abs()
    mean = float(modulus[modulus > 0.1 * modulus.max()].mean())
    assert problem.noise_std == pytest.approx(0.1 * mean, rel=1e-4)
    assert problem.noise_std > 1.25 * image.noise_std
