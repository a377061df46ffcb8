"""Axes and conditions: names, what is set, what counts as the reference, and what is refused."""

from __future__ import annotations

import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.shifts.axes import AXES, IMAGE_AXES
from lowfield_recon.evaluation.shifts.conditions import (
    axis_conditions,
    compose,
    condition_from,
    reference_condition,
)
from lowfield_recon.evaluation.shifts.settings import ScanSettings, settings_from
from lowfield_recon.learning.example_settings import ExampleSettings

SCAN_AXES = [name for name in AXES if name not in IMAGE_AXES]


@pytest.mark.parametrize("name", SCAN_AXES)
def test_every_axis_has_its_reference_among_its_levels_and_is_paired(name) -> None:
    axis = AXES[name]
    assert axis.reference in axis.levels
    conditions = axis_conditions(name)
    assert len(conditions) == len(axis.levels) - 1
    for condition in conditions:
        assert condition.axis == name
        assert condition.is_paired
        assert not condition.is_reference
        assert getattr(condition.settings, axis.setting) == condition.level
        assert condition.unit == axis.unit
    assert compose({name: axis.reference}).is_reference


@pytest.mark.parametrize("name", IMAGE_AXES)
def test_axes_of_other_images_are_not_paired_and_name_a_domain(name) -> None:
    (condition,) = axis_conditions(name, ["knee 3 T"])
    assert not condition.is_paired
    assert (condition.domain, condition.level) == ("knee 3 T", "knee 3 T")
    assert condition.name == f"{name}=knee 3 T"
    assert condition.settings == reference_condition().settings
    with pytest.raises(UsageError, match="its levels are domains of images; name them"):
        axis_conditions(name)


def test_only_the_named_settings_and_their_companions_differ() -> None:
    base = ScanSettings().model_dump()
    for name in SCAN_AXES:
        for condition in axis_conditions(name):
            changed = {k for k, v in condition.settings.model_dump().items() if v != base[k]}
            companions = {companion.replace("-", "_") for companion, _ in AXES[name].companions}
            assert changed == {name.replace("-", "_")} | companions


def test_a_companion_is_left_alone_where_it_is_named_or_the_reference_has_it() -> None:
    assert compose({"mask": "regular"}).settings.acceleration == 2
    assert compose({"mask": "regular", "acceleration": 4}).settings.acceleration == 4
    # masks of no lines left out are all the same, so that R = 1 cannot be meant
    assert compose({"mask": "regular", "acceleration": 1}) == compose({"mask": "regular"})
    base = ScanSettings(acceleration=3)
    assert compose({"mask": "regular"}, base=base).settings.acceleration == 3


def test_composition_has_one_name_whatever_the_order() -> None:
    a = compose({"window": 0.5, "noise": 0.12})
    b = condition_from("noise=0.12 + window=0.5")
    assert a == b
    assert a.name == "noise=0.12+window=0.5"
    assert (a.axis, a.level, a.numeric_level) == ("noise+window", "0.12+0.5", None)
    assert (a.settings.noise, a.settings.window) == (0.12, 0.5)
    both = compose({"noise": 0.2, "anatomy": "knee"})
    assert both.name == "noise=0.2+anatomy=knee"
    assert (both.is_paired, both.domain, both.settings.noise) == (False, "knee", 0.2)


def test_names_give_the_conditions_back() -> None:
    for name in SCAN_AXES:
        for condition in axis_conditions(name):
            assert condition_from(condition.name) == condition
    reference = reference_condition()
    assert condition_from(reference.name) == reference
    assert (reference.name, reference.axis, reference.level) == ("in distribution", "", "")


def test_the_reference_moves_with_its_settings() -> None:
    base = ScanSettings(noise=0.2)
    assert compose({"noise": 0.2}, base=base).is_reference
    shifted = compose({"noise": 0.1}, base=base)
    assert (shifted.name, shifted.settings.noise) == ("noise=0.1", 0.1)
    assert [c.level for c in axis_conditions("noise", base=base)] == [0.03, 0.05, 0.1, 0.35, 0.5]


def test_trained_ranges_are_those_of_the_training() -> None:
    examples = ExampleSettings()
    assert AXES["window"].trained == examples.window
    assert AXES["noise"].trained == pytest.approx((1 / examples.snr[1], 1 / examples.snr[0]))
    assert AXES["noise"].is_trained(0.1) is True
    assert AXES["noise"].is_trained(0.35) is False
    assert AXES["motion"].is_trained(1.0) is None
    assert AXES["mask"].is_trained("random") is None


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ({"windw": 0.5}, "axis 'windw': there is none. Did you mean 'window'"),
        ({"window": 1.5}, "window=1.5: input should be less than or equal to 1"),
        ({"window": "half"}, "window=half: input should be a valid number"),
        ({"coils": 2.5}, "coils=2.5: input should be a valid integer"),
        ({"mask": "radial"}, "mask=radial: input should be 'random', 'regular'"),
        ({"noise": -1}, "noise=-1: input should be greater than or equal to 0"),
        ({"noise": float("nan")}, "noise=nan: input should be"),
        ({"anatomy": "a", "natural-images": "b"}, "each of these asks for other images"),
        ({"anatomy": ""}, "expected the name of a domain"),
        ({"anatomy": "a+b"}, "expected the name of a domain"),
    ],
)
def test_wrong_levels_are_named(levels, text) -> None:
    with pytest.raises(UsageError) as caught:
        compose(levels)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["noise", "noise=", "=3", "noise=1+noise=2", "", "noise=1+"])
def test_what_is_no_condition_is_refused(text) -> None:
    with pytest.raises(UsageError, match="expected axes and levels, each axis once"):
        condition_from(text)


def test_settings_of_the_reference_are_checked() -> None:
    assert settings_from({"noise": 0.05}) == ScanSettings(noise=0.05)
    with pytest.raises(UsageError, match=r"reference\.windo: is no setting. Did you mean 'window'"):
        settings_from({"windo": 0.5})
