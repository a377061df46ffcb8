"""A second run does only what changed, and damaged or missing results are made again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.pipeline.cache import locked
from lowfield_recon.pipeline.compiling import compile_pipeline
from lowfield_recon.pipeline.running import inspect


def _statuses(reports) -> list[str]:
    return [report.status for report in reports.values()]


def test_the_result_is_what_the_steps_make(bench, chain, tmp_path):
    reports = bench.run(bench.write(chain, a="x", b="yy"), tmp_path / "out", times="2,3")
    assert _statuses(reports) == ["made"] * 9
    assert (tmp_path / "out" / "together.txt").read_text() == "2+3+4+6"
    assert (tmp_path / "out" / "b" / "3.0.txt").read_text() == "yyyyyy"
    assert not (tmp_path / "out" / "count.txt").exists()
    assert reports["long text=a.txt times=2.0"].notes == ("repeated",)


def test_a_second_run_calls_no_step(bench, chain, tmp_path, tree):
    path = bench.write(chain, a="x", b="yy")
    bench.run(path, tmp_path / "out")
    before = tree(tmp_path / "out")
    assert set(_statuses(bench.run(path, tmp_path / "out"))) == {"cached"}
    assert bench.calls == []
    assert tree(tmp_path / "out") == before


def test_one_changed_setting_reruns_what_depends_on_it(bench, chain, tmp_path):
    path = bench.write(chain, a="x", b="yy")
    bench.run(path, tmp_path / "out")
    bench.run(path, tmp_path / "out", separator="/")
    assert bench.calls == ["join"]
    assert (tmp_path / "out" / "together.txt").read_text() == "2/4"
    bench.run(path, tmp_path / "out", times="2,3")
    assert sorted(bench.calls) == ["count xxx", "count yyyyyy", "join", "repeat x 3", "repeat yy 3"]


def test_one_changed_input_reruns_what_depends_on_it(bench, chain, tmp_path):
    path = bench.write(chain, a="x", b="yy")
    bench.run(path, tmp_path / "out")
    bench.write(chain, b="zz")
    bench.run(path, tmp_path / "out")
    # The length of the text is the same, so that the last step has nothing new to join.
    assert bench.calls == ["repeat zz 2", "count zzzz"]
    assert (tmp_path / "out" / "b" / "2.0.txt").read_text() == "zzzz"


def test_a_new_version_of_a_step_reruns_it(bench, chain, tmp_path):
    path = bench.write(chain, a="x")
    bench.run(path, tmp_path / "out")
    types = bench.types()
    types["count"] = replace(types["count"], version=2)
    bench.run(path, tmp_path / "out", types=types)
    assert bench.calls == ["count xx"]


def test_a_default_of_a_setting_belongs_to_the_key(bench, chain, tmp_path):
    path = bench.write(chain.replace(', separator: "${separator}"', ""), a="x")
    bench.run(path, tmp_path / "out")
    bench.run(bench.write(chain, a="x"), tmp_path / "out")
    assert bench.calls == []  # "+" is the default


@pytest.mark.parametrize("damage", ["changed", "removed", "no record", "record is no JSON"])
def test_damaged_results_are_made_again(bench, chain, tmp_path, tree, damage):
    path = bench.write(chain, a="x")
    bench.run(path, tmp_path / "out")
    before = tree(tmp_path / "out")
    (entry,) = [
        folder for folder in (tmp_path / "out" / ".cache").iterdir()
        if (folder / "files" / "count.txt").exists()
    ]  # fmt: skip
    if damage == "changed":
        (entry / "files" / "count.txt").write_text("9")
    elif damage == "removed":
        (entry / "files" / "count.txt").unlink()
    elif damage == "no record":
        (entry / "entry.json").unlink()
    else:
        (entry / "entry.json").write_text('["')
    pipeline = compile_pipeline(path, step_types=bench.types())
    reports = {report.label: report for report in inspect(pipeline, tmp_path / "out" / ".cache")}
    assert reports["length text=a.txt times=2.0"].why == "its cached result is damaged"
    assert _statuses(bench.run(path, tmp_path / "out")) == ["cached", "made", "cached"]
    assert tree(tmp_path / "out") == before


def test_saved_results_that_were_touched_are_put_back(bench, chain, tmp_path, tree):
    path = bench.write(chain, a="x", b="yy")
    bench.run(path, tmp_path / "out")
    before = tree(tmp_path / "out")
    (tmp_path / "out" / "together.txt").write_text("edited")
    (tmp_path / "out" / "a" / "2.0.txt").unlink()
    bench.run(path, tmp_path / "out")
    assert bench.calls == []
    assert tree(tmp_path / "out") == before


def test_one_failure_leaves_the_others(bench, chain, tmp_path):
    reports = bench.run(bench.write(chain, a="x", b="bad", c="yyy"), tmp_path / "out")
    assert reports["long text=b.txt times=2.0"].status == "failed"
    assert reports["long text=b.txt times=2.0"].why == "the text is bad"
    assert reports["long text=b.txt times=2.0"].place == "chain.yaml, line 8"
    assert reports["length text=b.txt times=2.0"].status == "skipped"
    assert reports["together"].why == "without 1 of its inputs, which failed"
    assert (tmp_path / "out" / "together.txt").read_text() == "2+6"
    assert not (tmp_path / "out" / "b").exists()
    assert list((tmp_path / "out" / ".cache").glob(".tmp-*")) == []


def test_a_failure_is_tried_again(bench, chain, tmp_path):
    path = bench.write(chain, a="x", b="bad")
    bench.run(path, tmp_path / "out")
    bench.write(chain, b="good")
    reports = bench.run(path, tmp_path / "out")
    assert "failed" not in _statuses(reports)
    assert (tmp_path / "out" / "together.txt").read_text() == "2+8"


def test_what_a_dry_run_says_and_that_it_writes_nothing(bench, chain, tmp_path, tree):
    path, out = bench.write(chain, a="x"), tmp_path / "out"
    pipeline = compile_pipeline(path, step_types=bench.types())
    reports = inspect(pipeline, out / ".cache")
    assert [report.status for report in reports] == ["to run"] * 3
    assert reports[0].why == "not made before"
    assert "needs the new result of 'long" in reports[1].why
    assert not out.exists()
    bench.run(path, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    pipeline = compile_pipeline(path, {"separator": "/"}, step_types=bench.types())
    reports = inspect(pipeline, out / ".cache")
    assert [report.status for report in reports] == ["cached", "cached", "to run"]
    assert reports[2].why == "changed: setting separator"
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_two_runs_do_not_share_a_cache_at_once(bench, chain, tmp_path):
    with locked(tmp_path / "out" / ".cache"), pytest.raises(DataError, match="another run works"):
        bench.run(bench.write(chain, a="x"), tmp_path / "out")
    bench.run(bench.write(chain, a="x"), tmp_path / "out")


def test_what_a_killed_run_left_is_removed(bench, chain, tmp_path):
    out = tmp_path / "out"
    (out / ".cache" / ".tmp-0123456789ab" / "files").mkdir(parents=True)
    bench.run(bench.write(chain, a="x"), out)
    names = {path.name for path in out.iterdir()}
    assert names == {".cache", "a", "together.txt"}
    assert list((out / ".cache").glob(".tmp-*")) == []


def test_only_the_log_knows_the_time(bench, chain, tmp_path):
    bench.run(bench.write(chain, a="x"), tmp_path / "out")
    log = json.loads((tmp_path / "out" / ".cache" / "run.json").read_text())
    assert set(log) == {"pipeline", "parameters", "began", "seconds", "units"}
    assert [unit["status"] for unit in log["units"]] == ["made"] * 3
    for path in (tmp_path / "out" / ".cache").glob("*/entry.json"):
        assert "seconds" not in path.read_text()


def test_a_cache_elsewhere_is_used(bench, chain, tmp_path, tree):
    path = bench.write(chain, a="x")
    bench.run(path, tmp_path / "one")
    (tmp_path / "one" / ".cache").rename(tmp_path / "shared")
    pipeline = compile_pipeline(path, step_types=bench.types())
    assert {report.status for report in inspect(pipeline, Path(tmp_path / "shared"))} == {"cached"}
