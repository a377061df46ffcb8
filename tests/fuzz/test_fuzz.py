"""Damaged files of every format: one line and exit code 1 or 2, or a right image; nothing else."""

from __future__ import annotations

import math

N_FILES = 624
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
    needed = "psnr" if command == "score" else "coils"
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
