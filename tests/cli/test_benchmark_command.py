"""`lowfield-recon benchmark` as a user runs it."""

import json

import pytest


def test_list_names_benchmarks_and_tools(run):
    done = run("benchmark", "--list")
    assert done.code == 0
    assert "solvers: " in done.out
    assert "agreement: " in done.out
    assert "sigpy: 0." in done.out


def test_agreement_writes_json_and_table(run, tmp_path):
    folder = tmp_path / "new" / "folder"
    done = run(
        "benchmark", "agreement", "--size", "small", "--tools", "sigpy", "--cases", "64x64x4",
        "-o", folder,
    )  # fmt: skip
    assert done.code == 0
    assert "| sigpy 0." in done.out
    report = json.loads((folder / "benchmark_agreement.json").read_text())
    assert report["has_passed"]
    assert [entry["tool"] for entry in report["runs"]] == ["ours", "sigpy"]
    assert report["runs"][1]["difference_to_ours"] < 1e-3
    assert (folder / "benchmark_agreement.md").read_text().startswith("| size")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["solver"], 2, "Did you mean 'solvers'?"),
        (["solvers", "--threads", "0"], 2, "--threads 0: expected numbers"),
        (["solvers", "--threads", "two"], 2, "--threads two: expected numbers"),
        (["solvers", "--tools", "brat"], 2, "Did you mean 'bart'?"),
        (["solvers", "--cases", "tvv"], 2, "Did you mean 'tv'?"),
        (["solvers", "--size", "huge"], 2, "'huge'"),
        (["solvers", "--budget", "0"], 2, "budget"),
    ],
)
def test_wrong_words_end_in_one_line(run, tmp_path, words, code, said):
    done = run("benchmark", *words, "-o", tmp_path)
    assert done.code == code
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_output_that_is_a_file_is_refused(run, tmp_path):
    (tmp_path / "taken").write_text("x")
    done = run("benchmark", "agreement", "-o", tmp_path / "taken")
    assert done.code == 1
    assert "is a file" in done.err
