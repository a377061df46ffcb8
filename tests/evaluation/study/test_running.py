"""A study from its YAML to its tables: right numbers, failures shown, the same bytes every time."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import parquet
from skimage import data
from skimage.metrics import structural_similarity
from skimage.transform import resize

from lowfield_recon.errors import DataError, LowfieldReconError, UsageError
from lowfield_recon.evaluation.study import running
from lowfield_recon.evaluation.study.loading import load_study
from lowfield_recon.evaluation.study.running import run_study
from lowfield_recon.reconstructors.adjoint import Adjoint
from lowfield_recon.reconstructors.base import Outcome
from lowfield_recon.reconstructors.tv import TotalVariation

STUDY = """\
title: Small
question: Which one?
methods:
  - {name: tv, reference: true, settings: {iterations: 6}}
  - {name: zero, method: adjoint, label: zero-filled}
images:
  - {domain: photo, images: ["photo*.npy"]}
  - {domain: other, axis: anatomy, images: ["other*.npy"]}
shifts: {noise: [0.3], anatomy: null}
seeds: [0, 1]
hypotheses: [{method: zero, condition: noise=0.3, metric: ssim}]
bootstrap: {resamples: 200}
"""


@pytest.fixture(scope="module", autouse=True)
def same_code() -> Iterator[None]:
    """Hash the code once: it does not change while these tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "study_code", cache(running.study_code))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a study and small images of six and of two subjects."""
    folder = tmp_path_factory.mktemp("study")
    sources = [data.camera(), data.coins(), data.page(), data.moon(), data.clock(), data.text()]
    for index, source in enumerate(sources):
        image = resize(source / 255, (40, 36 + 4 * (index % 2)), anti_aliasing=True)
        np.save(folder / f"photo{index}.npy", image.astype(np.float32))
    for index in range(2):
        image = resize(data.brick()[index * 100 :][:200, :200] / 255, (32, 32), anti_aliasing=True)
        np.save(folder / f"other{index}.npy", image.astype(np.float32))
    (folder / "s.yaml").write_text(STUDY)
    return folder


def changed(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Write the study with some of its words changed."""
    text = STUDY
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"changed{abs(hash(pairs))}.yaml"
    path.write_text(text)
    return path


def tree(out: Path) -> dict[str, bytes]:
    """Return what a study wrote, without its state and its times."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and ".study" not in path.parts and path.name != "timing.json"
    }


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished study."""
    out = tmp_path_factory.mktemp("done") / "out"
    run_study(load_study(folder / "s.yaml"), out)
    return out


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "rows.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_method_stands_with_every_image_condition_and_seed(done: Path):
    rows = rows_of(done)
    assert len(rows) == 2 * 2 * (6 + 6 + 2)
    keys = {(row["method"], row["condition"], row["image"], row["seed"]) for row in rows}
    assert len(keys) == len(rows)
    assert {row["failure"] for row in rows} == {""}
    for row in rows:
        same = [
            other["problem_sha256"] for other in rows
            if all(other[name] == row[name] for name in ("condition", "image", "seed"))
        ]  # fmt: skip
        assert same == [row["problem_sha256"]] * 2
    assert len({row["problem_sha256"] for row in rows}) == len(rows) // 2
    assert {len(row["settings_sha256"]) for row in rows} == {64}


def test_parquet_and_csv_hold_the_same(done: Path):
    table = parquet.read_table(done / "rows.parquet")
    rows = rows_of(done)
    assert table.column_names == list(rows[0])
    for name in ("ssim", "psnr_db", "input_snr_db"):
        assert table[name].to_pylist() == [float(row[name]) for row in rows]
    assert table["failure"].to_pylist() == [None] * len(rows)
    assert table["seed"].to_pylist() == [int(row["seed"]) for row in rows]


def test_a_row_holds_the_scores_of_the_image_that_the_method_gives(folder: Path, done: Path):
    setup = load_study(folder / "s.yaml")
    case = next(c for c in setup.cases if c.condition == "noise=0.3" and c.seed == 1)
    problem = case.build()
    image = Adjoint().reconstruct(problem).image[0, 0, 0].abs().double().numpy()
    reference = problem.reference[0, 0, 0].abs().double().numpy()
    (row,) = [
        row for row in rows_of(done)
        if (row["method"], row["condition"], row["image"], row["seed"])
        == ("zero", "noise=0.3", case.image, "1")
    ]  # fmt: skip
    expected = structural_similarity(image, reference, data_range=reference.max())
    assert float(row["ssim"]) == pytest.approx(expected, abs=1e-6)
    expected = np.linalg.norm(image - reference) / np.linalg.norm(reference)
    assert float(row["nrmse"]) == pytest.approx(expected, rel=1e-6)
    (clean,) = problem.operator(problem.reference)
    power = clean[problem.data != 0].abs().square().mean()
    expected = 10 * np.log10(float(power) / problem.noise_std**2)
    assert float(row["input_snr_db"]) == pytest.approx(expected, rel=1e-5)


def test_the_record_agrees_with_the_rows(done: Path):
    record = json.loads((done / "study.json").read_text())
    assert record["schema"] == "lowfield-recon study, version 1"
    rows = rows_of(done)

    def mean_of(method: str, condition: str) -> float:
        values: dict[str, list[float]] = {}
        for row in rows:
            if (row["method"], row["condition"]) == (method, condition):
                values.setdefault(row["subject"], []).append(float(row["ssim"]))
        return float(np.mean([np.mean(found) for found in values.values()]))

    for entry in record["levels"]:
        if entry["metric"] == "ssim":
            expected = mean_of(entry["method"], entry["condition"])
            assert entry["mean"] == pytest.approx(expected, rel=1e-6)
    (did,) = [
        entry for entry in record["difference_in_differences"]
        if entry["metric"] == "ssim" and entry["condition"] == "noise=0.3"
    ]  # fmt: skip
    expected = (
        mean_of("zero", "noise=0.3") - mean_of("zero", "in distribution")
        - mean_of("tv", "noise=0.3") + mean_of("tv", "in distribution")
    )  # fmt: skip
    assert did["mean"] == pytest.approx(expected, rel=1e-5)
    assert did["is_primary"]
    assert did["p"] == did["p_holm"]
    assert record["verdict"][0]["axis"] == "noise"
    assert {entry["seed"] for entry in record["pairs"]} == {0, 1}
    assert [entry["is_paired"] for entry in record["conditions"]] == [True, True, False]
    assert record["notes"]


def test_panels_hold_reference_and_images(done: Path):
    record = json.loads((done / "study.json").read_text())
    assert {entry["condition"] for entry in record["panels"]} == {
        "in distribution", "noise=0.3", "anatomy=other",
    }  # fmt: skip
    for entry in record["panels"]:
        with np.load(done / "panels" / entry["file"]) as arrays:
            assert set(arrays.files) == {"reference", "image:tv", "image:zero"}
            assert arrays["reference"].dtype == np.float32
            assert entry["data_range"] == pytest.approx(float(arrays["reference"].max()))
    assert "Small" in (done / "report.html").read_text()


def test_a_second_run_computes_nothing_and_gives_the_same_bytes(folder: Path, done: Path):
    before = tree(done)
    setup = load_study(folder / "s.yaml")
    outcome = run_study(setup, done)
    assert outcome.n_known == outcome.n_rows == 56
    assert tree(done) == before


def test_another_run_with_two_workers_gives_the_same_bytes(
    folder: Path, done: Path, tmp_path: Path
):
    run_study(load_study(folder / "s.yaml"), tmp_path / "two", workers=2)
    assert tree(tmp_path / "two") == tree(done)


def test_a_new_level_computes_only_what_is_new(folder: Path, done: Path, tmp_path: Path):
    out = tmp_path / "out"
    run_study(load_study(folder / "s.yaml"), out)
    setup = load_study(changed(folder, ("noise: [0.3]", "noise: [0.3, 0.2]")))
    outcome = run_study(setup, out)
    assert (outcome.n_known, outcome.n_rows) == (56, 56 + 24)
    outcome = run_study(setup, out, is_fresh=True)
    assert outcome.n_known == 0


def test_a_method_that_fails_on_an_image_is_counted_and_shown(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    solve = TotalVariation.solve

    def refuse_small_noise(self, problem, progress):
        if problem.shape[-1] == 36 and float(problem.data.abs().max()) > 0:
            raise ZeroDivisionError("no luck\nwith this one")
        return solve(self, problem, progress)

    monkeypatch.setattr(TotalVariation, "solve", refuse_small_noise)
    outcome = run_study(load_study(folder / "s.yaml"), tmp_path / "out")
    assert (outcome.n_rows, outcome.n_failed) == (56, 3 * 2 * 2)
    failed = [row for row in rows_of(tmp_path / "out") if row["failure"]]
    assert {row["failure"] for row in failed} == {
        "unexpected ZeroDivisionError: no luck with this one"
    }
    assert {(row["method"], row["ssim"]) for row in failed} == {("tv", "")}
    record = outcome.record
    assert len(record["failures"]) == 12
    level = next(
        entry for entry in record["levels"]
        if (entry["method"], entry["condition"], entry["metric"]) == ("tv", "noise=0.3", "ssim")
    )  # fmt: skip
    assert (level["n_failed"], level["n_rows"], level["n_subjects"]) == (6, 6, 3)
    did = record["difference_in_differences"][0]
    assert (did["method"], did["n_subjects"]) == ("zero", 3)
    assert any("12 rows hold a failure" in note for note in record["notes"])
    # A failure is a result: it is not tried again, and what follows from it stays.
    before = tree(tmp_path / "out")
    assert run_study(load_study(folder / "s.yaml"), tmp_path / "out").n_known == 56
    assert tree(tmp_path / "out") == before


def test_a_lack_of_memory_is_shown_but_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def too_large(self, problem, progress):
        raise MemoryError("too much")

    with monkeypatch.context() as patch:
        patch.setattr(TotalVariation, "solve", too_large)
        assert run_study(load_study(folder / "s.yaml"), tmp_path / "out").n_failed == 28
    outcome = run_study(load_study(folder / "s.yaml"), tmp_path / "out")
    assert (outcome.n_failed, outcome.n_known) == (0, 28)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda image: image[..., :-4], "expected that of the reference"),
        (lambda image: image * float("nan"), "NaN or infinite"),
    ],
)
def test_an_image_that_cannot_be_scored_is_a_failure(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil, text
):
    solve = Adjoint.solve

    def spoilt(self, problem, progress):
        outcome = solve(self, problem, progress)
        return Outcome(spoil(outcome.image), outcome.diagnostics, outcome.resolved)

    monkeypatch.setattr(Adjoint, "solve", spoilt)
    record = run_study(load_study(folder / "s.yaml"), tmp_path / "out").record
    assert {entry["method"] for entry in record["failures"]} == {"zero"}
    assert all(text in entry["failure"] for entry in record["failures"])
    ranks = {entry["method"]: entry["rank"] for entry in record["ranks"]}
    assert ranks == {"tv": 1.0, "zero": None}


def test_no_method_sees_the_reference(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = []
    solve = Adjoint.solve

    def look(self, problem, progress):
        seen.append(problem.reference)
        return solve(self, problem, progress)

    monkeypatch.setattr(Adjoint, "solve", look)
    run_study(load_study(folder / "s.yaml"), tmp_path / "out")
    assert seen == [None] * 28


def test_a_method_is_not_asked_for_what_it_skips(folder: Path, tmp_path: Path):
    skipping = changed(
        folder, ("label: zero-filled", "label: zero-filled, skips: [noise]"),
        ("hypotheses: [{method: zero, condition: noise=0.3, metric: ssim}]", "hypotheses: []"),
    )  # fmt: skip
    record = run_study(load_study(skipping), tmp_path / "out").record
    asked = {(entry["method"], entry["condition"]) for entry in record["levels"]}
    assert ("zero", "noise=0.3") not in asked
    assert ("zero", "anatomy=other") in asked
    assert any("not asked for noise" in note for note in record["notes"])
    assert {e["condition"] for e in record["difference_in_differences"]} == {"anatomy=other"}


def test_a_search_with_the_truth_is_no_worse_than_the_rule(folder: Path, tmp_path: Path):
    search = (
        "name: zero, method: adjoint, label: zero-filled",
        "name: zero, method: tv, settings: {iterations: 6}, search: regularization_weight",
    )
    path = changed(folder, search, ("seeds: [0, 1]", "seeds: [0]"), (", anatomy: null", ""))
    setup = load_study(path)
    few = dataclasses.replace(setup, cases=setup.cases[:2], panels=None)
    run_study(few, tmp_path / "out")
    found = {(r["method"], r["image"]): float(r["psnr_db"]) for r in rows_of(tmp_path / "out")}
    for image in {image for _, image in found}:
        assert found["zero", image] >= found["tv", image]


def test_one_set_of_weights_for_each_seed(folder: Path, tmp_path: Path):
    arms = (
        "name: zero, method: adjoint, label: zero-filled",
        "name: zero, method: cdl-lambda, settings: {iterations: 2}, "
        "weights: [cdl-lambda_set, cdl-lambda_v3]",
    )
    setup = load_study(changed(folder, arms, (", anatomy: null", "")))
    few = dataclasses.replace(setup, cases=setup.cases[:2])
    record = run_study(few, tmp_path / "out").record
    rows = [row for row in rows_of(tmp_path / "out") if row["method"] == "zero"]
    assert len({row["weights_sha256"] for row in rows}) == 2
    assert {row["failure"] for row in rows} == {""}
    (described,) = [entry for entry in record["methods"] if entry["name"] == "zero"]
    assert described["weights"] == ["cdl-lambda_set", "cdl-lambda_v3"]
    assert described["parameters"] > 1000
    with np.load(tmp_path / "out" / "panels" / record["panels"][0]["file"]) as arrays:
        assert "lambda:zero" in arrays.files
        assert arrays["lambda:zero"].shape == arrays["reference"].shape


def test_checks_and_uncertainty_of_what_is_chosen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    extra = (
        "seeds: [0, 1]",
        "seeds: [0, 1]\nchecks: {conditions: [noise=0.3], steps: 3, images: 2}\n"
        "uncertainty: {conditions: [noise=0.3, anatomy=other], methods: [zero], draws: 12}",
    )
    path = changed(folder, extra)
    record = run_study(load_study(path), tmp_path / "out").record
    assert len(record["checks"]) == 2 * 2
    for entry in record["checks"]:
        assert entry["condition"] == "noise=0.3"
        assert entry["failure"] is None
        assert 0 <= entry["null_space_fraction"] <= 1
        if entry["method"] == "zero":
            # Zero-filling leaves the unseen part empty, and F^H has the norm 1 whatever the data.
            assert entry["null_space_fraction"] == pytest.approx(0, abs=1e-6)
            assert entry["invented"] == pytest.approx(1, rel=1e-3)
            assert entry["instability"] == pytest.approx(1, rel=1e-3)
    assert {entry["method"] for entry in record["checks"]} == {"tv", "zero"}
    assert [entry["condition"] for entry in record["uncertainty"]] == ["noise=0.3", "anatomy=other"]
    for entry in record["uncertainty"]:
        assert set(entry["coverage"]) == {"0.5", "0.8", "0.9", "0.95"}
        # Zero-filling has no bias but that of the window: without it intervals hold what they say.
        assert entry["coverage_without_bias"]["0.9"] == pytest.approx(0.9, abs=0.06)
    panel = next(entry for entry in record["panels"] if entry["condition"] == "noise=0.3")
    with np.load(tmp_path / "out" / "panels" / panel["file"]) as arrays:
        assert {name for name in arrays.files if name.startswith("std:")} == {"std:zero"}
    again = run_study(load_study(path), tmp_path / "out")
    assert again.n_known == 56 + 4 + 2

    def fail(self, problem, progress):
        raise ValueError("never")

    monkeypatch.setattr(Adjoint, "solve", fail)
    record = run_study(load_study(path), tmp_path / "failing").record
    failed = [entry for entry in record["uncertainty"] if entry["failure"]]
    assert len(failed) == 2
    assert failed[0]["coverage"] == {}


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (("method: adjoint", "method: adjont"), "Did you mean 'adjoint'"),
        (("iterations: 6", "iteration: 6"), "setting 'iteration' is not known"),
        (("reference: true, ", ""), "s.yaml, line 3: 0 methods have 'reference: true'"),
        (("noise: [0.3]", "nois: [0.3]"), "line 9: axis 'nois'"),
        (("noise: [0.3]", "noise: [-1]"), "line 9: noise=-1"),
        (("anatomy: null", "anatomy: [knee]"), "there are no images of 'knee'"),
        (("other*.npy", "missing.npy"), "missing.npy"),
        (("metric: ssim", "metric: sim"), "there is no 'sim'"),
        (("condition: noise=0.3", "condition: noise=0.4"), "Did you mean 'noise=0.3'"),
        (("hypotheses: [", "hypotheses: [" + "{method: zero, condition: noise=0.3, metric: ssim}, "
          * 4), "5 are named"),
        (("question:", "questions:"), "line 2: 'questions' is no setting here"),
        (("seeds: [0, 1]", "seeds: []"), "line 10: 'seeds'"),
        (("name: zero, method: adjoint", "name: tv"), "two are called 'tv'"),
        (("label: zero-filled", "weights: [a, b, c]"), "3 weights for 2 seeds"),
        (("label: zero-filled", "weights: no.safetensors"), "line 5: no.safetensors: no such file"),
        (("label: zero-filled", "skips: [nose]"), "there is no 'nose'"),
        (("label: zero-filled", "search: iterations"), "'iterations' is no setting with a number"),
        (("seeds: [0, 1]", "seeds: [0, 1]\nmetrics: [ssim, psnr]"), "metric 'psnr' is not known"),
        (("seeds: [0, 1]", "seeds: [0, 1]\ncombined: [noise=0.3]"), "is there twice"),
        (("seeds: [0, 1]", "seeds: [0, 1]\npanels: {conditions: [x]}"), "panels: there is no 'x'"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_study_is_one_line(folder: Path, pair: tuple[str, str], text: str):
    path = folder / "wrong" / "s.yaml"
    path.parent.mkdir(exist_ok=True)
    for image in folder.glob("*.npy"):
        target = path.parent / image.name
        if not target.exists():
            target.symlink_to(image)
    assert pair[0] in STUDY
    path.write_text(STUDY.replace(*pair))
    with pytest.raises(LowfieldReconError) as caught:
        load_study(path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_constant_image_is_refused_before_anything_is_computed(tmp_path: Path):
    np.save(tmp_path / "photo0.npy", np.ones((32, 32), dtype=np.float32))
    np.save(tmp_path / "other0.npy", np.eye(32, dtype=np.float32))
    (tmp_path / "s.yaml").write_text(STUDY.replace("noise: [0.3]", "phase: [0]"))
    text = (tmp_path / "s.yaml").read_text().replace("noise=0.3", "phase=0")
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(DataError, match=r"image 'photo0.*every pixel of the reference is 1"):
        run_study(load_study(tmp_path / "s.yaml"), tmp_path / "out")
    assert not (tmp_path / "out" / "rows.csv").exists()


def test_two_studies_cannot_write_into_one_folder(folder: Path, tmp_path: Path):
    from lowfield_recon.evaluation.study.row_store import open_row_store

    (tmp_path / "out" / ".study").mkdir(parents=True)
    setup = load_study(folder / "s.yaml")
    with (
        open_row_store(tmp_path / "out" / ".study"),
        pytest.raises(DataError, match="another study is writing"),
    ):
        run_study(setup, tmp_path / "out")


def test_a_damaged_store_is_one_line(folder: Path, tmp_path: Path):
    state = tmp_path / "out" / ".study"
    state.mkdir(parents=True)
    (state / "results.jsonl").write_text("[1]\n")
    with pytest.raises(DataError, match=r"results\.jsonl, line 1: is nothing that a study wrote"):
        run_study(load_study(folder / "s.yaml"), tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        run_study(load_study(folder / "s.yaml"), tmp_path / "file")


def test_no_reference_method_is_a_mistake_of_use(folder: Path):
    setup = load_study(folder / "s.yaml")
    with pytest.raises(UsageError, match="there is no 'ours'"):
        dataclasses.replace(setup, reference_method="ours")


# One run in a process with a single thread loads all packages; every other run is a fork of it.
DRIVER = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path

import torch
from lowfield_recon.cli.app import main
from lowfield_recon.evaluation.study import running

running.study_code = lambda: "the same"
torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)
os.fsync = lambda descriptor: None  # a killed process loses nothing that the kernel has
base, words = Path(sys.argv[1]), sys.argv[2:]

def start(out):
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(main([*words, "-o", str(out)]))
    return child

def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".study" not in path.parts and path.name != "timing.json"
    }

def n_results(folder):
    path = folder / ".study" / "results.jsonl"
    return path.read_bytes().count(b"\\n") if path.is_file() else 0

assert main([*words, "-o", str(base / "whole")]) == 0
expected = tree(base / "whole")
generator = random.Random(3)
rounds = []
for number in range(6):
    out = base / f"stopped{number}"
    child = start(out)
    row = generator.randrange(1, 50)
    while n_results(out) < row and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    time.sleep(generator.uniform(0, 0.02))
    os.kill(child, signal.SIGINT if number % 2 else signal.SIGKILL)
    stopped = finish(child)
    n_left = n_results(out)
    code = finish(start(out))
    rounds.append({
        "stopped": stopped, "n_left": n_left, "code": code, "is_same": tree(out) == expected,
    })
    shutil.rmtree(out)
print(json.dumps({"n_expected": n_results(base / "whole"), "rounds": rounds}))
"""


def test_a_study_that_is_stopped_at_any_moment_goes_on_to_the_same_bytes(
    folder: Path, tmp_path: Path
):
    words = [str(tmp_path), "study", str(folder / "s.yaml")]
    finished = subprocess.run(
        [sys.executable, "-c", DRIVER, *words], capture_output=True, text=True, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout.splitlines()[-1])
    assert report["n_expected"] == 56
    assert all(entry["code"] == 0 and entry["is_same"] for entry in report["rounds"]), report
    # The moments must matter: the runs were stopped amid their rows, in either way.
    amid = [entry for entry in report["rounds"] if 0 < entry["n_left"] < 56]
    assert [entry["stopped"] for entry in amid].count(-9) >= 2, report
    assert [entry["stopped"] for entry in amid].count(130) >= 2, report


def test_torch_keeps_its_threads(folder: Path, tmp_path: Path):
    before = torch.get_num_threads()
    setup = load_study(folder / "s.yaml")
    run_study(dataclasses.replace(setup, cases=setup.cases[:1]), tmp_path / "out")
    assert torch.get_num_threads() == before
