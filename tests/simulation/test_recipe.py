"""Recipes: what they accept, and that every contradiction is named in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowfield_recon.configuration import load_configuration
from lowfield_recon.errors import UsageError
from lowfield_recon.simulation.recipe import Recipe, check_recipe, recipe_from, window_zyx


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"sn": 3}, "'sn' is no setting. Did you mean 'snr'"),
        ({"snr": -1}, "'snr': input should be greater than 0, got -1"),
        ({"snr": 3, "noise_std": 1}, "defined by snr and noise_std; keep one"),
        ({"snr": 3, "variance_factor": 1}, "defined by snr and variance_factor; keep one"),
        ({"noise_samples": 100}, "noise_samples needs noise"),
        ({"noise_samples": 100, "noise_std": 0}, "noise_samples needs noise"),
        ({"mask": "random"}, "mask 'random' needs an acceleration"),
        ({"acceleration": 2}, "acceleration without a mask"),
        ({"mask": "randm", "acceleration": 2}, "'mask': input should be"),
        ({"window": 0}, "window: expected parts above 0"),
        ({"window": (1, 1.5, 1)}, "window: expected parts above 0"),
        ({"matrix": (1, 0, 4)}, "matrix: expected sizes of at least 1"),
        ({"interference_hz": (3e4,)}, "within the bandwidth, up to 25000 Hz"),
        ({"interference_hz": (float("nan"),)}, "within the bandwidth"),
        ({"motion_shots": 1}, "'motion_shots': input should be greater than or equal to 2, got 1"),
        ({"motion_rad": 1.0}, "'motion_rad': input should be less than or equal to 0.75"),
        ({"gain": 0}, "'gain': input should be greater than 0, got 0"),
        ({"spike_fraction": 2}, "'spike_fraction': input should be less than or equal to 1"),
    ],
)
def test_contradictions_are_named(values: dict, text: str) -> None:
    with pytest.raises(UsageError, match=r"^recipe: ") as caught:
        recipe_from(values)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_recipe_is_complete_and_noise_free() -> None:
    recipe = recipe_from({})
    check_recipe(recipe)
    assert (recipe.n_coils, recipe.mask, window_zyx(recipe)) == (1, "full", (1.0, 1.0, 1.0))
    assert recipe.snr is recipe.noise_std is recipe.variance_factor is None


def test_a_recipe_comes_from_yaml_with_the_line_of_its_errors(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("n_coils: 4\nwindow: [1, 0.5, 0.25]\nsnr: 20\n")
    recipe = load_configuration(file, Recipe)
    assert recipe == Recipe(n_coils=4, window=(1, 0.5, 0.25), snr=20)
    file.write_text("n_coils: 4\nnoise_stdd: 1\n")
    with pytest.raises(UsageError, match=r"line 2: 'noise_stdd' is no setting here. Did you mean"):
        load_configuration(file, Recipe)
