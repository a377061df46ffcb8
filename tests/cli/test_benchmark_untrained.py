"""`lowfield-recon benchmark untrained` and `untrained-quality` as a user calls them."""

from __future__ import annotations

import pytest


def test_both_are_listed_and_their_options_explained(run):
    listed = run("benchmark", "--list").out
    assert "untrained: ngr beside its published scheme" in listed
    assert "untrained-quality: PSNR and SSIM of dip, ngr and mg-spair" in listed
    told = run("benchmark", "--help").out
    for option in ("--seeds", "--run-budget", "--workers"):
        assert option in told


def test_options_reach_the_benchmark(run, tmp_path, monkeypatch):
    from lowfield_recon.evaluation.benchmark import BenchmarkOutcome
    from lowfield_recon.evaluation.benchmark.untrained import quality

    given = []

    def stand_in(options, folder, progress=None):
        given.append(options)
        return BenchmarkOutcome(table="t", json_path=folder / "j", markdown_path=folder / "m")

    monkeypatch.setattr(quality, "run", stand_in)
    done = run(
        "benchmark", "untrained-quality", "--seeds", "0,2,2", "--run-budget", "1.5", "--workers",
        "2", "--tasks", "text,mixed", "--tools", "ngr", "-o", tmp_path,
    )  # fmt: skip
    assert done.code == 0
    (options,) = given
    assert (options.seeds, options.run_budget, options.workers) == ((0, 2), 1.5, 2)
    assert (options.tasks, options.tools) == (("text", "mixed"), ("ngr",))
    assert run("benchmark", "untrained-quality", "-o", tmp_path).code == 0
    assert (given[1].seeds, given[1].run_budget, given[1].workers) == ((0,), None, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seeds", "a"), "--seeds a: expected numbers from 0 on"),
        (("--run-budget", "0"), "--run-budget 0: expected a number of seconds above 0"),
        (("--run-budget", "nan"), "--run-budget nan: expected a number of seconds above 0"),
        (("--tasks", "inpaint"), "--tasks 'inpaint'"),
        (("--tools", "dipp"), "tool 'dipp' is not known here"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_wrong_words_are_one_line(run, tmp_path, words, said):
    done = run("benchmark", "untrained-quality", *words, "-o", tmp_path)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
