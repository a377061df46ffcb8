"""What the page does in a browser, with keys, on small screens and in the dark."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess

import pytest

from lowfield_recon.evaluation.study_report import write_study_report
from lowfield_recon.evaluation.study_report.content import SCHEMA

pytestmark = pytest.mark.browser

WIDE = "document.documentElement.scrollWidth"


def _text(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).textContent")


def _count(browser, selector):
    return browser.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def _set(browser, identifier, value, event="change"):
    browser.run(
        f"{{ const e = document.getElementById({json.dumps(identifier)});"
        f"e.value = {json.dumps(value)};"
        f"e.dispatchEvent(new Event({json.dumps(event)}, {{bubbles: true}})); }}"
    )


def _hash(browser):
    return browser.run("location.hash")


def _focused(browser):
    return browser.run("document.activeElement.id")


def test_the_page_works_from_one_dump_without_a_debugger(made, tmp_path):
    done = subprocess.run(
        [shutil.which("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu",
         "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}", "--dump-dom",
         f"file://{made.page}#method=modl&image=1&view=difference"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    assert 'data-ready="yes"' in done.stdout
    assert "Error of MODL" in re.findall(r'id="stage".*?</div>', done.stdout, re.DOTALL)[0]


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("fragment", ["", "#axis=noise&view=swipe&metric=nrmse&show=change"])
def test_it_opens_without_complaint_or_request_and_never_scrolls_sideways(
    browser, made, width, fragment
):
    browser.open(made.page, fragment, width=width)
    assert browser.run(WIDE) == width
    browser.run("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    assert browser.run(WIDE) == width
    assert browser.complaints() == []
    assert len(browser.requests()) == 1
    assert browser.run("document.title") == made.study["title"]


def test_an_empty_study_opens_too(browser, tmp_path):
    browser.open(write_study_report({"schema": SCHEMA}, tmp_path, tmp_path / "r.html"))
    assert browser.complaints() == []


def test_figures_hold_a_mark_for_every_number(browser, made):
    browser.open(made.page, "#axis=noise")
    on_axis = {c["name"] for c in made.study["conditions"] if c["axis"] in ("", "noise")}
    for figure, section in (("levels", "levels"), ("degradation", "degradation")):
        n = sum(
            e["metric"] == "ssim" and e["condition"] in on_axis for e in made.study[section]
        )  # fmt: skip
        assert _count(browser, f"#{figure} .mark") == n > 0
        assert _count(browser, f"#{figure} .bar") == n
    n = sum(
        e["metric"] == "ssim" and e["condition"] in on_axis
        for e in made.study["difference_in_differences"]
    )
    assert _count(browser, "#forest .mark") == n == 12
    n = sum(e["metric"] == "ssim" and e["condition"] == "noise=0.3" for e in made.study["pairs"])
    assert _count(browser, "#scatter .mark") == n == 59


def test_marks_stand_where_their_numbers_say(browser, made):
    browser.open(made.page, "#axis=noise&metric=psnr_db")
    found = browser.run(
        "[...document.querySelectorAll('#levels [data-series=\"1\"] .mark')].map((m) =>"
        "m.getAttribute('transform').match(/,([^)]*)/)[1]).map(Number)"
    )
    ticks = browser.run(
        "[...document.querySelectorAll('#levels svg text[text-anchor=end].soft')].filter((t) =>"
        "/^[0-9.]+$/.test(t.textContent))"
        ".map((t) => [Number(t.textContent), t.getAttribute('y') - 4])"
    )
    (low, y_low), (high, y_high) = ticks[0], ticks[-1]
    names = ["in distribution", "noise=0.06", "noise=0.12", "noise=0.3"]
    means = {
        e["condition"]: e["mean"]
        for e in made.study["levels"]
        if (e["method"], e["metric"]) == ("modl", "psnr_db")
    }
    assert len(found) == len(names)
    for y, name in zip(found, names, strict=True):
        read = low + (y - y_low) / (y_high - y_low) * (high - low)
        assert read == pytest.approx(means[name], abs=0.02)


def test_levels_of_the_training_are_shaded(browser, made):
    browser.open(made.page)
    assert _count(browser, "#levels .trained") == 1
    shaded, dots = (
        browser.run(
            f"[...document.querySelectorAll('#levels .facet')[0].querySelectorAll(\"{shape}\")]"
            ".map((m) => { const b = m.getBoundingClientRect(); return [b.x, b.right]; })"
        )
        for shape in (".trained", "[data-series='2'] .mark")
    )
    inside = [shaded[0][0] <= low and high <= shaded[0][1] for low, high in dots]
    assert inside == [False, True, True, False]


def test_metric_shift_and_methods_are_chosen_for_all_figures_and_tables(browser, made):
    browser.open(made.page)
    _set(browser, "pick-metric", "psnr_db")
    _set(browser, "pick-axis", "noise+window")
    assert _hash(browser) == "#metric=psnr_db&axis=noise%2Bwindow"
    assert _text(browser, "#choice-status") == (
        "Figures show PSNR; shift: Noise level + Resolution window; 5 of 5 methods."
    )
    assert _count(browser, "#levels svg") == 1
    assert _count(browser, "#levels-table tbody tr:not([hidden])") == 10
    assert _text(browser, "#levels-table [role=status]") == "Shows 10 of 160 rows."
    assert _count(browser, "#ranks [data-only-metric]:not([hidden])") == 1
    browser.run("document.getElementById('method-1').click()")
    assert _count(browser, "#levels .series") == 4
    assert _count(browser, "#scatter .mark") == 4 * 12
    assert _hash(browser).endswith("&off=modl")
    _set(browser, "pick-metric", "blur_effect")
    assert _count(browser, "#ranks [data-only-metric]:not([hidden])") == 0
    assert browser.complaints() == []


def test_a_figure_is_read_with_the_arrow_keys(browser, made):
    browser.open(made.page, "#axis=noise")
    browser.run("document.querySelector('#levels svg').focus()")
    browser.press("ArrowRight")
    readout = "#levels .readout"
    entries = {
        (e["method"], e["condition"]): e["mean"]
        for e in made.study["levels"]
        if e["metric"] == "ssim"
    }
    first = _text(browser, readout)
    assert first.startswith("CDL-LAMBDA, In distribution: SSIM ")
    assert f"{entries['cdl-lambda', 'in distribution']:.4f}" in first
    browser.press("ArrowRight", "ArrowDown")
    assert f"MODL, Noise level 0.06: SSIM {entries['modl', 'noise=0.06']:.4f}" in _text(
        browser, readout
    )
    assert _count(browser, "#levels .series.active") == 1
    browser.press("End")
    assert "Noise level 0.3" in _text(browser, readout)
    browser.press("Escape")
    assert _count(browser, "#levels svg[data-active]") == 0
    assert browser.run(f"document.querySelector('{readout}').getAttribute('aria-live')") == "polite"


def test_the_table_of_marks_holds_what_the_scatter_plot_shows(browser, made):
    browser.open(made.page, "#axis=noise&scatter=noise%3D0.12")
    browser.run("document.getElementById('scatter-values').open = true")
    browser.wait(0.1)
    rows = browser.run(
        "[...document.querySelectorAll('#scatter-values tbody tr')].map((r) =>"
        "[...r.cells].map((c) => c.textContent))"
    )
    wanted = [
        e for e in made.study["pairs"]
        if (e["metric"], e["condition"]) == ("ssim", "noise=0.12")
    ]  # fmt: skip
    assert len(rows) == len(wanted)
    shown = {tuple(row[:3]): float(row[4]) for row in rows}
    labels = {m["name"]: m["label"] for m in made.study["methods"]}
    for entry in wanted:
        value = shown[labels[entry["method"]], entry["image"], str(entry["seed"])]
        assert value == pytest.approx(entry["shifted"], abs=5.1e-5)


def test_tables_are_sorted_by_numbers_both_ways(browser, made):
    browser.open(made.page, "#axis=noise")
    means = (
        "[...document.querySelectorAll('#levels-table tbody tr:not([hidden])')]"
        ".map((r) => Number(r.cells[3].dataset.value))"
    )
    head = "document.querySelectorAll('#levels-table thead th')[3]"
    browser.run(f"{head}.querySelector('button').focus()")
    browser.press("Enter")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    upwards = browser.run(means)
    assert upwards == sorted(upwards)
    assert len(upwards) == 20
    browser.press(" ")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "descending"
    assert browser.run(means) == upwards[::-1]


def test_a_table_is_filtered_by_itself(browser, made):
    browser.open(made.page)
    _set(browser, "pick-levels-table-method", "modl")
    _set(browser, "pick-levels-table-metric", "")
    rows = "#levels-table tbody tr:not([hidden])"
    assert _count(browser, rows) == 8 * 4
    assert browser.run(
        f"[...document.querySelectorAll('{rows}')].every((r) => r.cells[0].textContent === 'MODL')"
    )
    assert _count(browser, "#degradation-table tbody tr:not([hidden])") == 5 * 7


def test_the_sliders_move_with_keys_keep_the_focus_and_tell_what_is_shown(browser, made):
    browser.open(made.page, "#shift=noise%3D0.3")
    browser.run("document.getElementById('pick-method').focus()")
    browser.press("ArrowRight")
    assert _focused(browser) == "pick-method"
    slider = "document.getElementById('pick-method').getAttribute('aria-valuetext')"
    assert browser.run(slider) == "MODL (2 of 5)"
    (score,) = [
        e["shifted"] for e in made.study["pairs"]
        if (e["method"], e["condition"], e["metric"], e["image"], e["seed"])
        == ("modl", "noise=0.3", "ssim", "sub-00 slice 0", 0)
    ]  # fmt: skip
    status = _text(browser, "#viewer-status")
    assert status.startswith(
        f"Noise level 0.3, sub-00 slice 0, seed 0: MODL; SSIM {score:.4f}; PSNR"
    )
    browser.run("document.getElementById('pick-image').focus()")
    browser.press("ArrowRight")
    assert "sub-00 slice 1" in _text(browser, "#viewer-status")
    assert _hash(browser) == "#shift=noise%3D0.3&image=1&method=modl"
    shown = browser.run("[...document.querySelectorAll('#stage img')].map((i) => i.src)")
    stored = browser.run("['i3-r', 'i3-1', 'e3-1'].map((k) => document.getElementById(k).src)")
    assert shown == stored


def test_two_methods_are_compared_as_errors_and_by_swiping(browser, made):
    # Without smooth scrolling the image stays where it was found until it is pressed.
    browser.open(
        made.page, "#method=modl&with=method%3Acdl-lambda&view=difference",
        media=(("prefers-reduced-motion", "reduce"),),
    )  # fmt: skip
    captions = "[...document.querySelectorAll('#stage figcaption')].map((c) => c.textContent)"
    assert browser.run(captions) == ["Error of CDL-LAMBDA", "Error of MODL"]
    browser.run("document.getElementById('view-difference').focus()")
    browser.press("ArrowRight")
    assert browser.run(captions) == ["Left: CDL-LAMBDA. Right: MODL."]
    browser.run("document.getElementById('pick-swipe').focus()")
    browser.press("ArrowRight", "ArrowRight")
    clip = "document.querySelectorAll('.pair img')[1].style.clipPath"
    assert browser.run(clip) == "inset(0px 0px 0px 52%)"
    box = browser.run(
        "(() => { const p = document.querySelector('.pair'); p.scrollIntoView({block: 'center',"
        "behavior: 'instant'}); const b = p.getBoundingClientRect();"
        "return [b.x, b.y, b.width]; })()"
    )
    x, y = box[0] + 0.25 * box[2], box[1] + 20
    for kind in ("mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert browser.run(clip) == "inset(0px 0px 0px 25%)"
    assert browser.run("document.getElementById('pick-swipe').value") == "25"
    assert browser.complaints() == []


def test_a_failure_is_shown_in_the_place_of_the_image(browser, made):
    browser.open(made.page, "#shift=noise%3D0.3&image=1&method=tv")
    told = made.study["failures"][0]["failure"]
    assert _text(browser, "#stage .absent") == f"Failed: {told}"
    assert _text(browser, "#viewer-status").endswith(f"failed: {told}")


def test_the_same_object_is_shown_under_the_other_condition(browser, made):
    browser.open(made.page, "#image=1")
    _set(browser, "pick-shift", "noise=0.3")
    assert _text(browser, "#viewer-status").startswith("Noise level 0.3, sub-00 slice 1")


def test_an_address_with_nonsense_shows_the_page_as_it_is_first_seen(browser, made):
    browser.open(made.page)
    first = browser.run("document.querySelector('main').textContent")
    browser.open(made.page, "#metric=<b>&axis=x&image=-1&view=&swipe=900&method=y&off=z&a=b=c")
    assert browser.run("document.querySelector('main').textContent") == first
    assert browser.complaints() == []


def test_a_changed_address_and_a_link_inside_the_page_are_followed(browser, made):
    browser.open(made.page)
    browser.run("location.hash = 'metric=nrmse&method=tv'")
    browser.wait(0.1)
    assert browser.run("document.getElementById('pick-metric').value") == "nrmse"
    assert "TV" in _text(browser, "#viewer-status")
    browser.run("location.hash = 'images'")
    browser.wait(0.1)
    assert browser.run("document.getElementById('pick-metric').value") == "nrmse"


def test_tab_reaches_the_skip_link_first_and_every_control_shows_its_focus(browser, made):
    browser.open(made.page)
    browser.press("Tab")
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left >= 0")
    seen = set()
    for _ in range(60):
        browser.press("Tab")
        seen.add(_focused(browser))
        style = "getComputedStyle(document.activeElement)"
        assert browser.run(f"{style}.outlineStyle") != "none", browser.run(
            "document.activeElement.outerHTML.slice(0, 80)"
        )
    assert {"pick-metric", "pick-axis", "method-0", "method-4"} <= seen


def test_screen_readers_hear_names_of_all_controls_and_figures(browser, made):
    browser.open(made.page, "#view=swipe")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    named = {
        "combobox", "slider", "checkbox", "radio", "button", "table", "application", "link",
        "image", "region", "form", "navigation",
    }  # fmt: skip
    roles = []
    for node in nodes:
        role = node.get("role", {}).get("value")
        if node.get("ignored") or role not in named:
            continue
        roles.append(role)
        assert node.get("name", {}).get("value", "").strip(), node
    assert {"combobox", "slider", "checkbox", "radio", "button", "table", "application"} <= set(
        roles
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_stand_out_from_the_page(browser, made, scheme):
    browser.open(made.page, media=(("prefers-color-scheme", scheme),))
    colours = browser.run(
        "(() => { const s = getComputedStyle(document.documentElement); const out = {};"
        "for (const n of ['ink', 'soft', 'page', 'fill', 'accent', 'good', 'bad', 's0', 's1', 's2',"
        "'s3', 's4', 's5', 's6', 's7']) out[n] = s.getPropertyValue('--' + n).trim();"
        "return out; })()"
    )

    def luminance(name):
        channels = [int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    assert (luminance("page") < 0.1) == (scheme == "dark")
    for ink in ("ink", "soft", "accent", "good", "bad"):
        for ground in ("page", "fill"):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    for number in range(8):
        assert contrast(f"s{number}", "page") >= 3


def test_motion_is_left_out_for_those_who_ask(browser, made):
    for wish, behaviour in (("no-preference", "smooth"), ("reduce", "auto")):
        browser.open(made.page, media=(("prefers-reduced-motion", wish),))
        style = "getComputedStyle(document.documentElement).scrollBehavior"
        assert browser.run(style) == behaviour
        moving = browser.run(
            "getComputedStyle(document.querySelector('.series')).transitionDuration"
        )
        assert (moving == "0s") == (wish == "reduce")


def test_it_prints_on_white_with_whole_tables_and_no_controls(browser, made):
    browser.open(made.page, media=(("prefers-color-scheme", "dark"),), medium="print")
    style = "getComputedStyle({}).{}"
    body = style.format("document.body", "backgroundColor")
    assert browser.run(body) == "rgb(255, 255, 255)"
    region = style.format("document.querySelector('.table .scroll')", "maxHeight")
    assert browser.run(region) == "none"
    for gone in ("nav", "#viewer-choice", ".table details"):
        assert browser.run(style.format(f"document.querySelector('{gone}')", "display")) == "none"
    paper = base64.b64decode(browser.send("Page.printToPDF")["data"])
    assert paper.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) > 3


def test_a_phone_turned_on_its_side_gets_wider_figures(browser, made):
    browser.open(made.page, "#axis=noise", width=390)
    width = "document.querySelector('#levels svg').viewBox.baseVal.width"
    upright = browser.run(width)
    browser.send(
        "Emulation.setDeviceMetricsOverride",
        width=844,
        height=390,
        deviceScaleFactor=1,
        mobile=True,
    )
    browser.wait(0.3)
    assert upright <= 390
    assert browser.run(width) > 1.5 * upright
    assert browser.complaints() == []
