"""The page of a study needs nothing else, says everything in tables, and believes no text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.study_report import write_study_report
from lowfield_recon.evaluation.study_report.content import SCHEMA, read_study
from lowfield_recon.evaluation.study_report.page import read_panels, render_study

VOID = {"meta", "img", "br", "link", "input", "hr"}


class _Reader(HTMLParser):
    """Collects tags, texts and tables, and checks that tags are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += data
            if self.open[-1:] in (["td"], ["th"]):
                self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page(made):
    text = made.page.read_text(encoding="utf-8")
    return SimpleNamespace(text=text, reader=_Reader(text), study=made.study)


def test_nothing_is_loaded_from_elsewhere(page):
    tags = page.reader.tags
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert attributes.get("href", "#").startswith("#")
    code = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page.text)
    assert set(re.findall(r"https?://[^\s\"'<]+", code)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in code
    assert "@import" not in code


def test_the_policy_allows_this_script_and_this_style_and_nothing_else(page):
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.reader.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    for rule, text in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert not any("style" in attributes for _, attributes in page.reader.tags)
    assert not any(
        name.startswith("on") for _, attributes in page.reader.tags for name in attributes
    )


def test_scripts_never_read_texts_as_code():
    folder = resources.files("lowfield_recon.evaluation.study_report") / "assets"
    scripts = [entry.read_text() for entry in folder.iterdir() if entry.name.endswith(".js")]
    assert len(scripts) == 7
    unsafe = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(")
    assert not any(unsafe.search(script) for script in scripts)
    assert not any(re.search(r"localStorage|cookie|fetch\(|XMLHttp", script) for script in scripts)


def test_texts_of_the_study_stay_texts(page):
    hostile = page.study["methods"][-1]["label"]
    assert "<script>document" not in page.text
    assert hostile in page.reader.text
    assert page.study["title"] in page.reader.text
    assert page.study["failures"][0]["failure"] in page.reader.text
    assert sum(tag == "script" for tag, _ in page.reader.tags) == 2
    stored = json.loads(page.reader.scripts[0])
    assert stored["methods"][-1]["label"] == hostile


@pytest.mark.parametrize(
    ("section", "columns"),
    [
        ("levels", {"mean": 3, "median": 5, "trimmed_mean": 6, "n_rows": 7, "n_failed": 9}),
        ("degradation", {"mean": 3, "n_subjects": 5}),
        ("difference_in_differences", {"mean": 3, "p": 5, "p_holm": 6}),
    ],
)
def test_every_number_of_the_figures_stands_in_a_table(page, section, columns):
    methods = {m["name"]: m["label"] for m in page.study["methods"]}
    conditions = {c["name"]: c["title"] for c in page.study["conditions"]}
    metrics = {m["name"]: m["title"] for m in page.study["metrics"]}
    found = Counter(tuple(row) for row in page.reader.rows)
    at = {(*row[:3], len(row)): row for row in found}
    width = {"levels": 10, "degradation": 6, "difference_in_differences": 8}[section]
    for entry in page.study[section]:
        key = methods[entry["method"]], conditions[entry["condition"]], metrics[entry["metric"]]
        row = at[*key, width]
        for name, column in columns.items():
            shown = float(row[column].replace("−", "-"))
            assert shown == pytest.approx(entry[name], abs=0.0051 if "psnr" in str(key) else 0.006)
        low, high = (float(v.replace("−", "-")) for v in row[4].split(" to "))
        assert low < high
        assert low == pytest.approx(entry["low"], abs=0.006)


def test_failures_are_counted_and_told(page):
    assert "1 reconstruction has failed: TV (1)." in page.reader.text
    row = ["TV", "Noise level 0.3", "sub-00 slice 1", "0", page.study["failures"][0]["failure"]]
    assert row in page.reader.rows


def test_the_verdict_is_told_in_words_and_counted(page):
    for entry in page.study["verdict"]:
        assert entry["sentence"] in page.reader.text
    supports = [entry["supports"] for entry in page.study["verdict"]]
    told = (
        f"{supports.count(True)} of {len(supports)} findings support it, {supports.count(False)} "
        f"speak against it, {supports.count(None)} are undecided."
    )
    assert told in page.reader.text


def test_screen_readers_find_landmarks_headings_captions_and_texts_for_images(page):
    tags = page.reader.tags
    names = [tag for tag, _ in tags]
    for landmark in ("main", "header", "nav", "h1"):
        assert names.count(landmark) == 1
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert names.count("table") == names.count("caption") > 8
    assert all(a.get("scope") for tag, a in tags if tag == "th")
    assert all(a["alt"] for tag, a in tags if tag == "img")
    identifiers = Counter(a["id"] for _, a in tags if "id" in a)
    assert max(identifiers.values()) == 1
    for _, attributes in tags:
        for name in ("aria-labelledby", "href"):
            if name in attributes:
                assert attributes[name].removeprefix("#") in identifiers
    assert dict(tags)["html"] == {"lang": "en"}


def test_every_image_error_and_map_is_there_once(page):
    alts = [a["alt"] for tag, a in page.reader.tags if tag == "img"]
    n_images = sum(len(panel["methods"]) for panel in page.study["panels"])
    assert sum(alt.startswith("Image by ") for alt in alts) == n_images
    assert sum(alt.startswith("Error of ") for alt in alts) == n_images
    assert sum(alt.startswith("Reference, ") for alt in alts) == 4
    assert sum(alt.startswith("Sparsity-level map ") for alt in alts) == 4
    assert sum(alt.startswith("Standard deviation ") for alt in alts) == 4


def test_the_same_study_gives_the_same_bytes(made, tmp_path):
    again = write_study_report(made.study, made.panels, tmp_path / "report.html")
    assert again.read_bytes() == made.page.read_bytes()


def test_a_study_as_json_holds_it_gives_the_same_page(made, tmp_path):
    stored = json.loads(json.dumps(made.study, allow_nan=False))
    again = write_study_report(stored, made.panels, tmp_path / "report.html")
    assert again.read_bytes() == made.page.read_bytes()


def test_an_empty_study_has_a_page(tmp_path):
    page = write_study_report({"schema": SCHEMA}, tmp_path, tmp_path / "r.html").read_text()
    text = _Reader(page).text
    for said in ("states no verdict", "gave an image every time", "kept no images", "none."):
        assert said in text
    assert 'id="checks"' not in page
    assert 'href="#uncertainty"' not in page


def test_numbers_that_are_not_finite_are_dashes(made, tmp_path):
    study = json.loads(json.dumps(made.study))
    for section in ("levels", "degradation", "difference_in_differences"):
        study[section][0] |= {"mean": float("nan"), "low": None, "high": float("inf")}
    study["pairs"][0]["reference"] = float("inf")
    page = write_study_report(study, made.panels, tmp_path / "r.html").read_text()
    assert not re.search(r"\b(nan|NaN|inf|Infinity|None|null %)\b", _Reader(page).text)
    row = next(r for r in _Reader(page).rows if len(r) == 10 and r[0] == "CDL-LAMBDA")
    assert row[3:5] == ["–", "–"]


def test_panels_that_are_missing_or_too_many_are_named(made, tmp_path):
    content = read_study(made.study)
    shown, missing = read_panels(content, made.panels, max_pixels=30_000)
    assert (len(shown), len(missing)) == (1, 1)
    assert missing[0].startswith("3 of 4 images, which would make this page too large")
    assert f"Not shown: {missing[0]}." in _Reader(render_study(content, shown, missing)).text
    shown, missing = read_panels(content, tmp_path, max_pixels=10**9)
    assert shown == []
    assert len(missing) == 4
    assert "Not shown: reference-0.npz: the file is missing." in _Reader(
        render_study(content, shown, missing)
    ).text  # fmt: skip


def test_results_of_something_else_leave_no_file(tmp_path):
    with pytest.raises(DataError, match="expected results with the schema"):
        write_study_report({"schema": "other"}, tmp_path, tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_thousands_of_rows_are_written_in_seconds(tmp_path):
    methods = [{"name": f"m{i}"} for i in range(12)]
    conditions = [{"name": f"c{i}", "axis": f"a{i // 4}", "title": f"C{i}"} for i in range(40)]
    metrics = [{"name": f"q{i}"} for i in range(6)]
    rows = [
        {"method": m["name"], "condition": c["name"], "metric": q["name"], "mean": 0.5,
         "low": 0.4, "high": 0.6, "rank": 1}
        for m in methods for c in conditions for q in metrics
    ]  # fmt: skip
    pairs = [
        {**row, "image": f"i{i}", "seed": 0, "reference": 1 / (i + 3), "shifted": 0.5}
        for row in rows for i in range(20)
    ]  # fmt: skip
    study = {
        "schema": SCHEMA, "methods": methods, "conditions": conditions, "metrics": metrics,
        "levels": rows, "degradation": rows, "difference_in_differences": rows, "ranks": rows,
        "pairs": pairs,
    }  # fmt: skip
    size = write_study_report(study, tmp_path, tmp_path / "r.html").stat().st_size
    assert size < 6e6


def test_the_arrays_of_a_panel_are_the_pictures_of_the_page(made, page):
    with np.load(made.panels / "noise-0.npz") as stored:
        arrays = {key: stored[key].astype(np.float64) for key in stored.files}
    error = arrays["image:modl"] - arrays["reference"]
    content = read_study(made.study)
    shown, _ = read_panels(content, made.panels, max_pixels=10**9)
    assert np.allclose(shown[2].errors["modl"], error, atol=1e-12)
    pictures = {
        a["id"]: np.asarray(Image.open(io.BytesIO(base64.b64decode(a["src"].split(",")[1]))))
        for tag, a in page.reader.tags
        if tag == "img" and "id" in a
    }
    for key, name in (("i2-r", "reference"), ("i2-1", "image:modl")):
        assert np.array_equal(pictures[key], np.rint(np.clip(arrays[name] / 0.9, 0, 1) * 255))
    brighter, darker = error > 0.3 * np.abs(error).max(), error < -0.3 * np.abs(error).max()
    middle = 32
    assert (pictures["e2-1"][brighter] > middle).all()
    assert (pictures["e2-1"][darker] < middle).all()
