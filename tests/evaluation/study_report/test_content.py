"""A study's results are checked before they are shown, and shown in a reader's order."""

from __future__ import annotations

import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.study_report.content import SCHEMA, read_study

CONDITION = {"name": "in distribution", "axis": "", "is_reference": True}


def _study(**sections: object) -> dict:
    return {"schema": SCHEMA, "title": "A", **sections}


def _level(metric: str, mean: float | None) -> dict:
    return {"method": "tv", "condition": "in distribution", "metric": metric, "mean": mean}


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ([], "got 'list'"),
        ({"title": "A"}, "got None"),
        ({"schema": "lowfield-recon study, version 9"}, "version 9"),
        (_study(levels={"a": 1}), "expected a list of levels, got dict"),
        (_study(methods=[{"name": "tv"}, {"label": "b"}]), "entry 2 of methods lacks 'name'"),
        (_study(methods=["tv"]), "entry 1 of methods lacks 'name'"),
        (
            _study(
                methods=[{"name": "tv"}], metrics=[{"name": "ssim"}], levels=[_level("ssim", 1)]
            ),
            "levels name the condition 'in distribution'; its conditions lack it",
        ),
    ],
)
def test_what_is_no_study_is_refused_in_one_line(study, said):
    with pytest.raises(DataError) as raised:
        read_study(study)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_absent_sections_are_empty():
    content = read_study(_study(levels=None))
    assert set(map(len, content.sections.values())) == {0}
    assert content.axes == ()
    assert content.seconds is None


def test_a_name_stands_in_for_a_label_that_is_absent():
    content = read_study(
        _study(methods=[{"name": "tv"}, {"name": "b", "label": "B!"}], conditions=[CONDITION])
    )
    assert content.label("methods", "tv") == "tv"
    assert content.label("methods", "b") == "B!"
    assert content.label("methods", "unknown") == "unknown"


def test_levels_are_sorted_by_their_numbers_with_the_reference_where_it_belongs():
    shifts = [
        {"name": f"n{v}", "axis": "noise", "numeric_level": v, "is_reference": False}
        for v in (0.3, 0.03, 0.12)
    ]
    kinds = [{"name": k, "axis": "kind", "numeric_level": None} for k in ("b", "a")]
    conditions = [CONDITION, *shifts, *kinds]
    first = read_study(_study(conditions=conditions))
    assert [a.name for a in first.axes] == ["noise", "kind"]
    assert first.axes[0].conditions == (0, 2, 3, 1)
    assert first.axes[1].conditions == (0, 4, 5)
    among = read_study(
        _study(conditions=conditions, axes=[{"name": "noise", "reference_level": 0.06}])
    )
    assert among.axes[0].conditions == (2, 0, 3, 1)


def test_combined_shifts_are_called_by_both_titles():
    axes = [{"name": "noise", "title": "Noise", "unit": "%"}, {"name": "window", "title": "Window"}]
    pair = {"name": "x", "axis": "noise+window"}
    alone = {"name": "y", "axis": "noise"}
    content = read_study(_study(conditions=[CONDITION, pair, alone], axes=axes))
    assert [(a.title, a.unit) for a in content.axes] == [("Noise + Window", ""), ("Noise", "%")]
    assert content.axis_of("x") == "noise+window"
    assert content.axis_of("in distribution") == ""


def test_four_digits_of_the_largest_mean_are_shown():
    means = {"psnr_db": 33.2, "ssim": 0.71, "nrmse": 0.0123, "big": 12345.0, "none": None, "0": 0.0}
    content = read_study(
        _study(
            methods=[{"name": "tv"}],
            conditions=[CONDITION],
            metrics=[{"name": name} for name in means],
            levels=[_level(name, mean) for name, mean in means.items()],
        )
    )
    assert content.digits == {"psnr_db": 2, "ssim": 4, "nrmse": 5, "big": 0, "none": 3, "0": 3}


def test_levels_of_the_training_are_known_where_the_study_says_so():
    shifts = [
        {"name": f"n{v}", "axis": "noise", "numeric_level": v} for v in (0.03, 0.25, 0.3)
    ]  # fmt: skip
    axis = {"name": "noise", "reference_level": 0.1, "trained": [0.025, 0.25]}
    told = read_study(_study(conditions=[CONDITION, *shifts], axes=[axis]))
    assert told.axes[0].conditions == (1, 0, 2, 3)
    assert told.axes[0].trained == (1, 0, 2)
    untold = read_study(_study(conditions=[CONDITION, *shifts], axes=[{"name": "noise"}]))
    assert untold.axes[0].trained == ()
