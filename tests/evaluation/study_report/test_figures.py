"""Figures for print hold the study's numbers and are the same bytes each time."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.study_report import write_study_figures
from lowfield_recon.evaluation.study_report.content import read_study
from lowfield_recon.evaluation.study_report.figure_curves import draw_curves
from lowfield_recon.evaluation.study_report.figure_forest import draw_calibration, draw_forest
from lowfield_recon.evaluation.study_report.figure_images import (
    draw_panel,
    draw_ranks,
    draw_scatter,
)
from lowfield_recon.evaluation.study_report.pictures import read_panel


@pytest.fixture(scope="module")
def content(made):
    return read_study(made.study)


@pytest.fixture(scope="module")
def small(made):
    """One metric, two shifts and one panel, so that files are soon written."""
    study = json.loads(json.dumps(made.study))
    for section in ("levels", "degradation", "difference_in_differences", "ranks", "pairs"):
        study[section] = [e for e in study[section] if e["metric"] == "ssim"]
    study["metrics"] = [m for m in study["metrics"] if m["name"] == "ssim"]
    kept = {"in distribution", "noise=0.3", "window=0.25"}
    study["conditions"] = [c for c in study["conditions"] if c["name"] in kept]
    for section in ("levels", "degradation", "difference_in_differences", "ranks", "pairs"):
        study[section] = [e for e in study[section] if e["condition"] in kept]
    study["panels"] = [*study["panels"][:1], {**study["panels"][1], "file": "missing.npz"}]
    return study


def test_every_figure_is_written_as_pdf_and_png_the_same_each_time(made, small, tmp_path):
    names = ["levels-ssim", "change-ssim", "differences-ssim", "scatter-ssim", "ranks-ssim",
             "calibration", "images-001"]  # fmt: skip
    first = write_study_figures(small, made.panels, tmp_path / "a" / "b")
    assert [p.name for p in first] == [f"{n}.{kind}" for n in names for kind in ("pdf", "png")]
    fewer = {**small, "levels": [], "degradation": [], "pairs": []}
    for other in write_study_figures(fewer, made.panels, tmp_path / "c"):
        assert other.read_bytes() == (tmp_path / "a" / "b" / other.name).read_bytes()
    for one in first:
        if one.suffix == ".png":
            shown = np.asarray(Image.open(one).convert("L"))
            assert min(shown.shape) > 150
            assert shown.min() < 60
        else:
            assert one.read_bytes().startswith(b"%PDF")


def test_curves_run_through_the_means_and_bars_end_at_the_intervals(content, made):
    figure = draw_curves(content, "psnr_db", "levels")
    (plot,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "Noise level"]
    bars = dict(zip(("CDL-LAMBDA", "MODL"), plot.containers, strict=False))
    wanted = [
        e for name in ("in distribution", "noise=0.06", "noise=0.12", "noise=0.3")
        for e in made.study["levels"]
        if (e["method"], e["metric"], e["condition"]) == ("modl", "psnr_db", name)
    ]  # fmt: skip
    line, _, (ends,) = bars["MODL"]
    assert np.allclose(line.get_ydata(), [e["mean"] for e in wanted])
    reached = [segment[:, 1] for segment in ends.get_segments()]
    assert np.allclose(reached, [(e["low"], e["high"]) for e in wanted])
    assert [t.get_text() for t in plot.get_xticklabels()] == ["reference", "0.06", "0.12", "0.3"]
    assert plot.get_ylabel() == "PSNR [dB]"


def test_changes_start_without_the_reference_condition(content):
    figure = draw_curves(content, "ssim", "degradation")
    (plot,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "Noise level"]
    assert [t.get_text() for t in plot.get_xticklabels()] == ["0.06", "0.12", "0.3"]


def test_differences_are_filled_where_the_interval_leaves_out_zero(content, made):
    figure = draw_forest(content, "ssim")
    marks = [line for line in figure.axes[0].lines if line.get_gid()]
    last = {"noise=0.3", "window=0.75", "anatomy=knee", "noise+window=0.3 + 0.25"}
    wanted = [
        e for e in made.study["difference_in_differences"]
        if e["metric"] == "ssim" and e["condition"] in last
    ]  # fmt: skip
    assert len(marks) == len(wanted) == 16
    by_mean = {round(e["mean"], 9): e for e in wanted}
    for mark in marks:
        entry = by_mean[round(float(mark.get_xdata()[0]), 9)]
        is_clear = entry["low"] > 0 or entry["high"] < 0
        assert (mark.get_markerfacecolor() != "white") == is_clear
        assert (mark.get_marker() == "D") == entry["is_primary"]


def test_scatter_plots_hold_every_pair_of_the_last_levels(content, made):
    figure = draw_scatter(content, "nrmse")
    last = {"noise=0.3", "window=0.75", "noise+window=0.3 + 0.25"}
    wanted = {
        (round(e["reference"], 9), round(e["shifted"], 9)) for e in made.study["pairs"]
        if e["metric"] == "nrmse" and e["condition"] in last
    }  # fmt: skip
    shown = {
        (round(x, 9), round(y, 9))
        for axes in figure.axes for line in axes.lines if line.get_linestyle() == "None"
        for x, y in line.get_xydata()
    }  # fmt: skip
    assert shown == wanted


def test_rank_tables_hold_every_rank(content, made):
    figure = draw_ranks(content, "ssim")
    (image,) = figure.axes[0].images
    ranks = {
        (e["condition"], e["method"]): e["rank"]
        for e in made.study["ranks"]
        if e["metric"] == "ssim"
    }
    table = [[ranks[c, m] for m in content.names("methods")] for c in content.names("conditions")]
    assert np.array_equal(image.get_array(), table)
    assert [t.get_text() for t in figure.axes[0].texts] == [str(r) for row in table for r in row]


def test_calibration_averages_over_images(content, made):
    figure = draw_calibration(content)
    line = figure.axes[0].lines[1]
    (entry,) = [
        e for e in made.study["uncertainty"]
        if (e["method"], e["condition"]) == ("cdl-lambda", "in distribution")
    ]  # fmt: skip
    assert np.allclose(line.get_xdata(), [0.5, 0.9, 0.95])
    assert np.allclose(line.get_ydata(), [entry["coverage"][s] for s in ("0.5", "0.9", "0.95")])


def test_panels_show_images_errors_and_maps_on_shared_scales(content, made):
    panel = read_panel(made.study["panels"][2], made.panels)
    figure = draw_panel(content, panel)
    shown = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(shown) == 1 + 5 + 5 + 1
    limits = {image.get_clim() for image in shown}
    assert limits == {
        (0, 0.9), (-panel.error_limit, panel.error_limit), (0, panel.map_limit),
    }  # fmt: skip
    assert np.array_equal(shown[0].get_array(), panel.reference)


def test_a_study_without_numbers_has_no_figures(tmp_path, made):
    bare = {**made.study, "levels": [], "degradation": [], "difference_in_differences": [],
            "ranks": [], "pairs": [], "uncertainty": [], "panels": []}  # fmt: skip
    assert write_study_figures(bare, made.panels, tmp_path) == ()
    with pytest.raises(DataError, match="expected results with the schema"):
        write_study_figures({}, made.panels, tmp_path)
