"""Every mistake in a pipeline is found before anything runs, and names its line."""

from __future__ import annotations

import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.pipeline.compiling import compile_pipeline
from lowfield_recon.pipeline.running import check_methods

MISTAKES = [
    # what to replace, by what, line, words of the message
    ("description:", "descripton:", 2, "'descripton' is no setting here. Did you mean 'descrip"),
    ("uses: count", "uses: cuont", 14, "no step 'cuont'. Did you mean 'count'?"),
    ("times: \"${times}\"}", "tmies: 3}", 11, "'tmies' is no setting here. Did you mean 'times'?"),
    ("times: \"${times}\"}", "times: 0}", 11, "'times': input should be greater than or equal"),
    ("with: {text: \"${long.text}\"}", "with: {}", 16, "'text' is missing"),
    ("with: {text: \"${text}\", ", "with: {text: \"${txet}\", ", 11, "Did you mean 'text'?"),
    ("${long.text}", "${long.txt}", 16, "no such output. Did you mean 'text'?"),
    ("${long.text}", "${together.text}", 16, "step 'together' comes later"),
    ("${long.text}", "${length.count}", 16, "step 'length' needs its own result (a cycle)"),
    ("uses: repeat\n    for_each: [text, times]", "uses: repeat\n    for_each: [texts]", 10,
     "'texts' is no parameter with several values"),
    ("for_each: [text, times]\n    with: {text: \"${text}\"", "for_each: [times]\n    with: {text:"
     " \"${text}\"", 11, "'text' takes one file"),
    ("${text.stem}/${times}.txt", "out.txt", 12, "would both be saved as out.txt"),
    ("${text.stem}/${times}.txt", "../${text.stem}.txt", 12, "name inside the output folder"),
    ("${text.stem}/", "${long.text}/", 12, "expected a parameter"),
    ("${text.stem}/", "${text.size}/", 12, "these are name and stem"),
    ("${text.stem}/", "${text}/", 12, "${text.stem} is its name"),
    ("default: \".\"", "default: nowhere.txt", 4, "/nowhere.txt: no such file"),
    ("default: [2]", "default: [two]", 5, "parameter 'times': expected a number, got 'two'"),
    ("type: numbers", "type: nmubers", 5, "'parameters.times.type'"),
    ("separator: \"${separator}\"", "separator: \"${text}\"", 19, "takes no file"),
    ("parts: \"${length.count}\"", "parts: \"${separator}\"", 19, "'parts' takes a file"),
    ("parts: \"${length.count}\"", "parts: missing.txt", 19, "missing.txt: no such file"),
    ("name: length", "name: long", 13, "names another step or parameter too"),
    ("name: length", "name: text", 13, "names another step or parameter too"),
    ("name: length", "name: Two Words", 13, "pattern"),
    ("    save_as: together.txt", "    save_as: together.txt\n    save_as: b", 21, "given twice"),
    ("    uses: join\n", "", 17, "'steps.2.uses' is missing"),
    ("steps:", "stpes:", 7, "'stpes' is no setting here. Did you mean 'steps'?"),
    ("uses: join", "uses: [join", None, "is not valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), MISTAKES, ids=lambda v: str(v)[:30])
def test_a_mistake_names_its_line(bench, chain, old, new, line, words):
    assert old in chain
    path = bench.write(chain.replace(old, new, 1), a="x", b="yy")
    with pytest.raises(UsageError) as caught:
        compile_pipeline(path, step_types=bench.types())
    message = str(caught.value)
    assert words in message
    assert message.startswith("chain.yaml, line " + ("" if line is None else f"{line}: "))
    assert bench.calls == []


def test_kinds_of_files_must_fit(bench, chain):
    first = """\
  - name: first
    uses: count
    for_each: [text, times]
    with: {text: "${long.text}"}
"""
    text = chain.replace("${long.text}", "${first.count}")
    text = text.replace("  - name: length", first + "  - name: length")
    with pytest.raises(UsageError, match=r"line 20: 'text' takes text, but \$\{first.count\} is"):
        compile_pipeline(bench.write(text, a="x"), step_types=bench.types())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"tmies": "3"}, "line 3: tmies=3: there is no parameter 'tmies'. Did you mean 'times'?"),
        ({"times": "a"}, "line 5: parameter 'times': expected a number"),
        ({"times": "2,2.5"}, "line 11: 'times': input should be a valid integer"),
        ({"text": "gone/*.txt"}, "line 4: parameter 'text': gone/*.txt: holds no file"),
    ],
)
def test_values_that_do_not_fit_name_the_parameter(bench, chain, given, words):
    path = bench.write(chain, a="x")
    with pytest.raises(UsageError) as caught:
        compile_pipeline(path, given, step_types=bench.types())
    assert str(caught.value).startswith(f"chain.yaml, {words}")


def test_a_missing_parameter_says_how_to_give_it(bench, chain):
    path = bench.write(chain.replace(', default: "."', ""), a="x")
    with pytest.raises(UsageError, match=r"line 4: parameter 'text' is missing; give it as text="):
        compile_pipeline(path, step_types=bench.types())


REAL = """\
name: real
description: real steps
parameters:
  method: {type: words, default: [tv]}
steps:
  - name: image
    uses: reconstruct
    for_each: [method]
    with:
      scan: "sample:brain_0055t_t2w.h5"
      method: ${method}
      settings: {iterations: 3}
    save_as: ${method}.nii.gz
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[tv]", "[tvv]", "real.yaml, line 11: method 'tvv' is not known. Did you mean 'tv'?"),
        ("iterations", "iteratons", "real.yaml, line 11: tv: setting 'iteratons' is not known."),
        ("iterations: 3", "iterations: 0", "real.yaml, line 11: tv: iterations = 0"),
        (".nii.gz", ".bmp", "real.yaml, line 13: tv.bmp: there is no writer for '.bmp'."),
    ],
)
def test_methods_and_endings_are_checked_before_anything_runs(tmp_path, old, new, message):
    path = tmp_path / "real.yaml"
    path.write_text(REAL.replace(old, new, 1))
    pipeline = compile_pipeline(path)
    with pytest.raises(UsageError) as caught:
        check_methods(pipeline)
    assert str(caught.value).startswith(message)


def test_a_step_meets_the_units_with_its_own_values(bench, chain):
    path = bench.write(chain, a="x", b="yy")
    units = compile_pipeline(path, {"times": "2,3"}, step_types=bench.types()).units
    assert [unit.label for unit in units[:2]] == ["long text=a.txt times=2.0", 
                                                  "long text=a.txt times=3.0"]  # fmt: skip
    for index in range(4):
        (link,) = units[4 + index].links()
        assert units[link.unit].bindings == units[4 + index].bindings
    assert [link.unit for link in units[8].links()] == [4, 5, 6, 7]
