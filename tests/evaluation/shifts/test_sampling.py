"""Levels as recipes: units, and what stands at its neutral value."""

from __future__ import annotations

import math

import pytest
import torch

from lowfield_recon.evaluation.shifts.records import StudyImage
from lowfield_recon.evaluation.shifts.sampling import recipe_of, sampled
from lowfield_recon.evaluation.shifts.settings import ScanSettings
from lowfield_recon.simulation.recipe import Recipe, check_recipe


def image(n_y: int = 40, n_x: int = 50) -> StudyImage:
    return StudyImage(name="a", subject="a", domain="b", pixels=torch.ones(1, 1, 1, n_y, n_x))


def test_units_are_turned_into_those_of_the_scan() -> None:
    settings = ScanSettings(
        off_resonance=3.0, motion=2.0, rotation=5.0, interference=0.2, spikes=0.01, bias_field=0.4
    )
    recipe = recipe_of(settings, image(), 0.25, 7)
    check_recipe(recipe)
    # a point at x appears at x + f n dwell
    assert recipe.off_resonance_hz * 50 * recipe.dwell_time_s == pytest.approx(3.0)
    assert recipe.motion_m == pytest.approx(2e-3)
    assert recipe.motion_rad == pytest.approx(5 * math.pi / 180)
    columns = [f * 50 * recipe.dwell_time_s for f in recipe.interference_hz]
    assert columns == pytest.approx([8.5, -15.5])
    assert (recipe.noise_std, recipe.seed, recipe.spike_fraction) == (0.25, 7, 0.01)
    assert (recipe.interference_amplitude, recipe.bias_field) == (0.2, 0.4)


def test_the_reference_is_a_window_with_a_phase_and_nothing_else() -> None:
    recipe = recipe_of(ScanSettings(), image(), 0.1, 0)
    differing = {
        name
        for name, value in recipe.model_dump().items()
        if value != Recipe.model_fields[name].default
    }
    assert differing <= {
        "phase_rad", "window", "noise_std", "calibration_lines", "spike_amplitude",
        "interference_amplitude", "object_threshold",
    }  # fmt: skip
    assert recipe.mask == "full"
    assert recipe.interference_hz == ()


@pytest.mark.parametrize("acceleration", [1.5, 2, 4, 12])
def test_a_third_of_the_measured_lines_is_the_centre(acceleration) -> None:
    settings = ScanSettings(acceleration=acceleration, window=0.75)
    recipe = recipe_of(settings, image(), 0.1, 0)
    assert recipe.calibration_lines == max(2, int(30 / acceleration / 3))
    assert recipe.acceleration == acceleration


def test_an_ellipse_keeps_what_lies_within_its_axes() -> None:
    settings = ScanSettings(window=0.5, window_shape="ellipse")
    part = recipe_of(settings, image(), 0.1, 0).window[1]
    assert part == pytest.approx(0.5 * math.sqrt(4 / math.pi))
    ones = torch.ones(1, 1, 1, 40, 50)
    kept, mask = sampled(ones, torch.ones(1, 1, 1, 40, 1, dtype=torch.bool), settings)
    assert torch.equal(kept != 0, mask)
    half_y, half_x = 0.5 * round(part * 40), 0.5 * round(part * 50)
    for y in range(40):
        for x in range(50):
            inside = ((y - 20) / half_y) ** 2 + ((x - 25) / half_x) ** 2 <= 1
            assert bool(mask[0, 0, 0, y, x]) == inside
