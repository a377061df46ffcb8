"""Whole runs of the benchmarks on small problems, and what is written of them."""

import json
from pathlib import Path

import pytest

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, find_benchmark
from lowfield_recon.evaluation.benchmark.client import WorkerFailedError, WorkerProcess
from lowfield_recon.evaluation.benchmark.optimum import Optimum, OptimumCache
from lowfield_recon.evaluation.benchmark.problems import (
    BenchmarkCase,
    build_problem,
    find_size,
    write_problem,
)
from lowfield_recon.evaluation.benchmark.summary import markdown_report
from lowfield_recon.evaluation.benchmark.tools import TOOLS, Tool

OPTIONS = BenchmarkOptions(
    size="small",
    threads=(1,),
    tools=("ours", "sigpy", "bart"),
    cases=("cg-sense/64x64x4",),
    repeats=2,
    budget=300,
)


@pytest.fixture(scope="module")
def solvers_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tool, "is_installed", lambda tool: tool.name != "bart")
        outcome = find_benchmark("solvers").run(
            OPTIONS, folder, lambda done, total, what: steps.append((done, total, what))
        )
    return outcome, json.loads(outcome.json_path.read_text()), steps


def test_time_memory_and_quality_are_reported(solvers_run):
    _, report, _ = solvers_run
    assert [run["tool"] for run in report["runs"]] == ["ours", "sigpy"]
    for run in report["runs"]:
        assert run["status"] == "ok"
        cell = run["timing"]["to_gap"]["0.001"]
        assert cell["repeats"] == 2
        assert 0 < cell["wall_seconds_quartiles"][0] <= cell["wall_seconds"]
        assert 0 <= cell["gap"] <= 1e-3
        assert run["objective"]["gap_by_iterations"][str(cell["iterations"])] <= 1e-3
        assert run["timing"]["peak_memory_mib"] >= run["timing"]["baseline_memory_mib"] > 50
        assert 0 < run["metrics"]["nrmse"] < 1


def test_conjugate_gradients_need_the_same_iterations_everywhere(solvers_run):
    _, report, _ = solvers_run
    counts = {run["timing"]["to_gap"]["0.001"]["iterations"] for run in report["runs"]}
    assert len(counts) == 1


def test_the_optima_agree(solvers_run):
    _, report, _ = solvers_run
    objective = report["runs"][0]["objective"]
    assert objective["agreement_of_double_precision_solvers"] < 1e-6
    assert set(objective["optimum_from"]) >= {"reference", "ours"}


def test_fields_of_the_protocol_are_there(solvers_run):
    _, report, _ = solvers_run
    assert {"schema", "environment", "command"} <= set(report)
    assert report["environment"]["packages"]["sigpy"] is not None
    run = report["runs"][0]
    fields = {"problem", "tool", "version", "command", "settings", "timing", "objective"}
    assert fields | {"metrics", "status", "notes"} <= set(run)
    assert all(len(run["problem"]["hashes"][name]) == 64 for name in ("data", "maps", "mask"))


def test_a_missing_tool_is_named_with_how_to_get_it(solvers_run):
    outcome, report, _ = solvers_run
    assert report["not_installed"] == {"bart": TOOLS["bart"].install}
    assert "Not installed: bart (apt install bart" in outcome.table


def test_the_table_is_made_from_the_json(solvers_run):
    outcome, report, _ = solvers_run
    assert outcome.table == markdown_report(report) == outcome.markdown_path.read_text()
    times = {r["tool"]: r["timing"]["to_gap"]["0.001"]["wall_seconds"] for r in report["runs"]}
    first = outcome.table.splitlines()[2]
    assert f"{times['sigpy'] / times['ours']:.2f}" in first


def test_steps_are_told_in_order(solvers_run):
    _, _, steps = solvers_run
    assert [done for done, _, _ in steps] == list(range(len(steps)))
    assert {total for _, total, _ in steps} == {len(steps)}


def test_optima_are_kept_for_the_next_run(solvers_run, monkeypatch):
    outcome, report, _ = solvers_run
    monkeypatch.setattr(
        "lowfield_recon.evaluation.benchmark.optimum._solve_all",
        lambda *_: pytest.fail("solved again"),
    )
    cache = OptimumCache(outcome.json_path.with_name("benchmark_optima.json"))
    (key,) = json.loads(cache.path.read_text())
    known = cache.get(key, OPTIONS.budget / 20)
    assert known is not None
    assert known.value == pytest.approx(report["runs"][0]["objective"]["optimum"], rel=1e-6)
    assert cache.get(key, 1e6) is None


def test_a_damaged_cache_is_written_anew(tmp_path: Path):
    cache = OptimumCache(tmp_path / "optima.json")
    cache.path.write_text("{ not json")
    assert cache.get("key", 0) is None
    cache.put("key", Optimum(values={"reference": 2.0, "ours": 2.5}, seconds=1))
    known = cache.get("key", 1)
    assert known is not None
    assert known.value == 2.0
    assert known.agreement == pytest.approx(0.25)


def test_a_lower_value_of_a_tool_becomes_the_optimum():
    optimum = Optimum(values={"reference": 2.0, "ours": 2.0}, seconds=1)
    optimum.note("sigpy", 2.1)
    assert optimum.value == 2.0
    optimum.note("sigpy", 1.9)
    assert optimum.value == 1.9
    assert optimum.agreement == 0


def test_a_tool_that_fails_says_why_in_one_line(tmp_path: Path):
    case = BenchmarkCase("cg-sense", find_size("64x64x4"))
    with WorkerProcess("sigpy", tmp_path) as worker:
        worker.load(case, tmp_path)
        with pytest.raises(WorkerFailedError, match=r"sigpy: its process ended with 1.*kspace.npy"):
            worker.solve(3)


def test_a_worker_leaves_no_files(tmp_path: Path):
    case = BenchmarkCase("cg-sense", find_size("64x64x4"))
    problem = build_problem(case.size)
    (tmp_path / "data").mkdir()
    write_problem(problem, tmp_path / "data")
    with WorkerProcess("sigpy", tmp_path) as worker:
        worker.load(case, tmp_path / "data")
        worker.solve(2, keep_image=True)
        assert worker.image().shape == case.size.image_shape
        assert worker.memory()["peak_mib"] > worker.memory()["baseline_mib"] > 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "options",
    [
        BenchmarkOptions(size="small", threads=(0,)),
        BenchmarkOptions(size="small", repeats=0),
        BenchmarkOptions(size="small", budget=0),
        BenchmarkOptions(size="small", tools=("sigpi",)),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(options, tmp_path: Path):
    with pytest.raises(UsageError):
        find_benchmark("solvers").run(options, tmp_path)
    assert not list(tmp_path.iterdir())


def test_agreement_without_peers_is_an_error(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Tool, "is_installed", lambda tool: tool.name == "ours")
    with pytest.raises(DataError, match="no tool beside ours"):
        find_benchmark("agreement").run(BenchmarkOptions(size="small"), tmp_path)
