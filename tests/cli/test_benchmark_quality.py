"""`lowfield-recon benchmark cdl-quality` and `dictionary-swap` as a user calls them."""

import pytest


def test_both_are_listed_and_their_options_explained(run):
    listed = run("benchmark", "--list").out
    assert "cdl-quality: " in listed
    assert "dictionary-swap: " in listed
    told = run("benchmark", "--help").out
    assert all(word in told for word in ("--images", "--slices", "--weights", "--dictionaries"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["cdl-quality", "--weights", "no-such-weights"], 2, "weights 'no-such-weights'"),
        (["dictionary-swap", "--weights", "gone.safetensors"], 2, "gone.safetensors"),
        (["cdl-qualty"], 2, "Did you mean 'cdl-quality'?"),
    ],
)
def test_wrong_words_end_in_one_line(run, tmp_path, words, code, said):
    done = run("benchmark", *words, "-o", tmp_path)
    assert done.code == code
    assert said in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_options_reach_the_benchmark(run, tmp_path, monkeypatch):
    from lowfield_recon.evaluation.benchmark import BenchmarkOutcome, cdl_quality

    seen = []

    def remember(options, folder, progress):
        seen.append(options)
        paths = {"json_path": folder / "a.json", "markdown_path": folder / "a.md"}
        return BenchmarkOutcome(table="the table", **paths)

    monkeypatch.setattr(cdl_quality, "run", remember)
    done = run(
        "benchmark", "cdl-quality", "--images", "heads", "--images", "a b.nii.gz", "--slices", "3",
        "--weights", "one,two", "--dictionaries", "brain_*", "-o", tmp_path,
    )  # fmt: skip
    assert done.code == 0
    assert "the table" in done.out
    (options,) = seen
    assert options.images == ("heads", "a b.nii.gz")
    assert (options.slices, options.weights) == (3, ("one", "two"))
    assert options.dictionaries == ("brain_*",)
