"""Damaged files of every format: one line and exit code 1 or 2, or a right image; nothing else."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

N_FILES = 27 * 28
MOST_MIB = 2048
LARGEST_PIXELS = 1 << 24


def faults(answer: dict) -> list[str]:
    """What is wrong with how a command took a damaged file; empty where all is well."""
    if "fate" in answer:
        return [answer["fate"]]
    found = []
    lines = answer["stderr"].splitlines()
    errors = [line for line in lines if not line.startswith("warning: ")]
    if answer["unexpected"] is not None:
        return [f"an error that nobody foresaw:\n{answer['unexpected']}"]
    if answer["peak_mib"] > MOST_MIB:
        found.append(f"took {answer['peak_mib']:.0f} MiB")
    if answer["is_input_changed"]:
        found.append("changed its input")
    if answer["code"] == 0:
        found += [f"exit 0, but said: {errors}"] if errors else []
        found += _faults_of_success(answer)
    elif answer["code"] in (1, 2):
        if len(errors) != 1 or not errors[0].startswith("error: "):
            found.append(f"expected one line of error, got {errors}")
        if "not enough memory" in answer["stderr"] or "Traceback" in answer["stderr"]:
            found.append(f"said {answer['stderr']!r}")
        if answer["left"]:
            found.append(f"left {answer['left']}")
    else:
        found.append(f"exit code {answer['code']}")
    return found


def _faults_of_success(answer: dict) -> list[str]:
    command, image = answer["words"][0], answer["image"]
    if command == "reconstruct":
        if image is None or answer["left"] != ["image.npy", "image.npy.json"]:
            return [f"wrote {answer['left']}"]
        n_pixels = math.prod(image["shape"])
        is_sane = image["is_finite"] and 0 < n_pixels < LARGEST_PIXELS and len(image["shape"]) <= 6
        return [] if is_sane else [f"wrote an image {image}"]
    needed = {"score": "psnr", "info": "coils", "run": "image"}[command]
    return [] if needed in answer["stdout"].lower() else [f"printed {answer['stdout']!r}"]


def report(answers: list[dict]) -> str:
    """The faulty cases, and how to make each again."""
    return "\n".join(
        f"{fault}\n  number {answer['number']} ({answer.get('what', '?')}), "
        f"lowfield-recon {' '.join(answer.get('words', []))}\n"
        f"  again: python tests/fuzz/damage.py {answer['number']} FOLDER"
        for answer in answers
        for fault in faults(answer)
    )


def test_damaged_files_end_in_one_line_or_a_right_image(try_all):
    answers = try_all(range(N_FILES))
    text = report(answers)
    assert not text, text
    assert len(answers) == N_FILES >= 500
    codes = [answer["code"] for answer in answers]
    assert codes.count(1) > N_FILES / 3  # most damage is seen
    assert codes.count(0) > N_FILES / 20  # and some does not matter
    kinds = {answer["what"] for answer in answers}
    assert len({kind.split(", ")[0] for kind in kinds}) >= 26  # formats and layouts
    assert len({kind.split(", ")[1] for kind in kinds}) >= 20  # ways of damage


SOUND = {
    "number": 1, "code": 1, "unexpected": None, "stdout": "", "stderr": "error: a.h5: is bad.\n",
    "peak_mib": 900.0, "left": [], "is_input_changed": False, "image": None, "words": ["info"],
}  # fmt: skip
IMAGE = {"words": ["reconstruct"], "code": 0, "stderr": "", "left": ["image.npy", "image.npy.json"]}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"stderr": "warning: x\nerror: y\n"}, None),
        ({"stderr": "error: x\nmore\n"}, "expected one line"),
        ({"stderr": ""}, "expected one line"),
        ({"stderr": "error: unexpected KeyError: Traceback\n"}, "said"),
        ({"code": -11}, "exit code -11"),
        ({"peak_mib": 2100.0}, "took 2100 MiB"),
        ({"left": [".tmp-1.npy"]}, "left"),
        ({"is_input_changed": True}, "changed its input"),
        ({"code": 0, "stderr": "", "stdout": ""}, "printed ''"),
        ({**IMAGE, "image": {"shape": [1, 8, 8], "is_finite": True}}, None),
        ({**IMAGE, "image": {"shape": [1, 8, 8], "is_finite": False}}, "wrote an image"),
        ({**IMAGE, "image": {"shape": [1, 0, 8], "is_finite": True}}, "wrote an image"),
        ({**IMAGE, "image": {"shape": [9999, 9999], "is_finite": True}}, "wrote an image"),
        ({**IMAGE, "left": ["image.npy"]}, "wrote ['image.npy']"),
    ],
)
def test_the_verdict(change, fault):
    found = faults({**SOUND, **change})
    assert (found == []) if fault is None else any(fault in text for text in found)


FAULTY_WORKER = """
import os, sys, time
from pathlib import Path

sys.path.insert(0, {here!r})
import worker
import lowfield_recon.scan
from lowfield_recon.errors import DataError

def broken(path, **options):
    number = int(Path(path).parent.parent.name)
    if number == 0:
        raise KeyError("nobody foresaw this")
    if number == 1:
        (Path(path).parent.parent / "out" / ".tmp-left").write_text("half")
        raise DataError("a.h5: is bad.")
    if number == 2:
        Path(path).write_bytes(b"")
        raise DataError("a.h5: is bad.")
    if number == 3:
        os._exit(3)
    time.sleep(60)

lowfield_recon.scan.load_scan = broken
worker.serve()
"""


def test_a_broken_reader_is_found(try_all, tmp_path):
    program = tmp_path / "faulty_worker.py"
    program.write_text(FAULTY_WORKER.format(here=str(Path(__file__).parent)))
    found = {answer["number"]: faults(answer) for answer in
             try_all(range(4), n_workers=1, program=program)}  # fmt: skip
    assert "nobody foresaw" in found[0][0]
    assert found[1] == ["left ['.tmp-left']"]
    assert found[2] == ["changed its input"]
    assert found[3] == ["the process ended with 3: []"]


def test_a_worker_that_hangs_is_ended(try_all, tmp_path):
    program = tmp_path / "hanging_worker.py"
    program.write_text("import time\ntime.sleep(60)\n")
    (answer,) = try_all(range(1), n_workers=1, program=program, start_limit_s=0.2)
    assert faults(answer) == ["hung for 0.2 s"]
