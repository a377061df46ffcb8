"""The published optima by name."""

from __future__ import annotations

import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.patch_presets import PRESETS, patch_preset, patch_preset_names
from lowfield_recon.learning.patch_prior import load_patch_prior

TASKS = {
    "denoise-sigma25", "denoise-sigma5", "super-resolve-x4", "mri-8x-pd", "mri-8x-pdfs",
    "mri-16x-pd", "mri-16x-pdfs",
}  # fmt: skip
OURS = {"mri-multicoil-4x"}


@pytest.mark.parametrize("method", ["ncpr", "cpr"])
def test_every_task_has_a_preset_whose_weights_ship(method):
    assert set(patch_preset_names(method)) == TASKS | OURS
    assert len(PRESETS) == 2 * len(TASKS | OURS)
    for task in TASKS | OURS:
        preset = patch_preset(method, task)
        prior = load_patch_prior(preset.weights, method=method)
        made = prior.regularizer(beta=preset.beta, base_scale=preset.base_scale)
        assert made.beta > 0
        level = "5/255" if task == "denoise-sigma5" else "25/255"
        assert prior.card["summary"].endswith(f" {level}")


def test_the_numbers_are_the_published_ones():
    preset = patch_preset("ncpr", "super-resolve-x4")
    assert (preset.beta, preset.base_scale) == (2.58673e-3, 9.29068e-4)
    preset = patch_preset("cpr", "mri-16x-pdfs")
    assert (preset.beta, preset.base_scale) == (0.440958, 2.5e-4)
    preset = patch_preset("cpr", "denoise-sigma25")
    assert (preset.weights, preset.beta, preset.base_scale) == ("cpr_sigma25", None, None)


@pytest.mark.parametrize("method", ["ncpr", "cpr"])
def test_what_was_tuned_here_is_told_from_what_is_published(method):
    for preset in PRESETS:
        assert preset.origin == ("tuned here" if preset.task in OURS else "published optimum")
    ours = patch_preset(method, "mri-multicoil-4x")
    assert "lowfield-recon tune" in ours.source
    assert "github.com" in patch_preset(method, "mri-8x-pd").source
    for task in TASKS - {"denoise-sigma25", "denoise-sigma5"}:
        published = patch_preset(method, task)
        assert (ours.beta, ours.base_scale) != (published.beta, published.base_scale)


def test_mistyped_names_are_answered():
    with pytest.raises(UsageError, match="Did you mean 'mri-8x-pd'"):
        patch_preset("ncpr", "mri-8-pd")
    with pytest.raises(UsageError, match="'tv' has no presets"):
        patch_preset("tv", "mri-8x-pd")
