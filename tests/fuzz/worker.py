"""A long-lived process that makes damaged files, gives them to commands, and tells what came of it.

It reads one JSON object per line, `{"number": N, "folder": PATH}`, and answers each with one, see
`attempt`. Its parent watches the time, as a worker that hangs cannot.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any

import ismrmrd  # noqa: F401 - its import resets the warning filters, so it must come first
import numpy as np
import torch
from damage import Case, make

from lowfield_recon.cli.app import main
from lowfield_recon.evaluation.benchmark.memory import forget_peak, peak_mib

_MORE_BYTES = 6 << 30
"""Address space for commands: far more than they may use, less than would harm the machine."""


def words_for(case: Case, inputs: Path, out: Path) -> list[str]:
    """The command that the input is given to."""
    target = str(inputs / case.target)
    turn = case.number // 3
    if case.sample.kind == "plan":
        return ["demo", "--plan", target, "-o", str(out)]
    if case.sample.kind == "pipeline":
        return ["run", target, "--dry-run", "-o", str(out)]
    if case.sample.kind == "image":
        reference = str(inputs / case.target)
        return ["score", target, reference, *(["--json"] if turn % 2 else [])]
    if turn % 3 == 0:
        return ["info", target, *case.sample.words, *(["--json"] if turn % 2 else [])]
    return ["reconstruct", target, "-o", str(out / "image.npy"), "--method", "adjoint",
            *case.sample.words]  # fmt: skip


def attempt(number: int, folder: Path) -> dict[str, Any]:
    """Make one input, run its command, and look at what it left."""
    inputs, out = folder / "in", folder / "out"
    inputs.mkdir()
    out.mkdir()
    case = make(number, inputs)
    words = words_for(case, inputs, out)
    before = _contents(inputs)
    forget_peak()
    code, unexpected = _run(words, folder)
    return {
        "what": f"{case.sample.name}, {case.damage}",
        "words": words,
        "code": code,
        "unexpected": unexpected,
        "stdout": (folder / "stdout").read_text(errors="replace"),
        "stderr": (folder / "stderr").read_text(errors="replace"),
        "peak_mib": peak_mib(),
        "left": sorted(path.name for path in out.iterdir()),
        "is_input_changed": before != _contents(inputs),
        "image": _describe(out / "image.npy"),
    }


def _run(words: list[str], folder: Path) -> tuple[int | None, str | None]:
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    try:
        return main(words), None
    except BaseException:  # noqa: BLE001 - whatever it is, it is what is looked for
        return None, traceback.format_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _describe(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    image = np.load(path)
    return {"shape": image.shape, "is_finite": bool(np.isfinite(image).all())}


def serve() -> None:
    """Answer requests until there are no more."""
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + _MORE_BYTES, size + _MORE_BYTES))
    while line := sys.stdin.readline():
        request = json.loads(line)
        answers.write(json.dumps(attempt(request["number"], Path(request["folder"]))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
