"""Killed at any moment and run again, the result is that of a run that nobody disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# One run in a process with a single thread loads all packages; every other run is a fork of it.
DRIVER = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
import torch
from lowfield_recon.cli.app import main
import lowfield_recon.pipeline.steps

torch.set_num_threads(1)
os.fsync = lambda descriptor: None  # a killed process loses nothing that the kernel has
base, seed, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def start(out):
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os._exit(main([*words, "-o", str(out)]))
    return child

def finish(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("run.json", "hashes.json", "made.json", "lock")
    }

assert main([*words, "-o", str(base / "warm")]) == 0
begin = time.perf_counter()
assert finish(start(base / "whole")) == 0
seconds = time.perf_counter() - begin
expected = tree(base / "whole")
generator = random.Random(seed)
rounds = []
for number in range(20):
    out = base / f"killed{number}"
    delay = generator.uniform(0.02, 0.95) * seconds
    child = start(out)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    was_killed = finish(child) == -signal.SIGKILL
    left = tree(out) if out.exists() else {}
    code = finish(start(out))
    found = tree(out)
    rounds.append({
        "delay": delay,
        "was_killed": was_killed,
        "n_left": len(left),
        "code": code,
        "is_same": found == expected,
        "odd": sorted(set(found) ^ set(expected))[:4],
    })
    shutil.rmtree(out)
print(json.dumps({"seconds": seconds, "n_expected": len(expected), "rounds": rounds}))
"""

PIPELINE = """\
name: killed
description: photographs and a scan through the real steps
parameters:
  task: {type: words, default: [inpaint]}
  method: {type: words, default: [adjoint, tv]}
steps:
  - name: degraded
    uses: degrade
    for_each: [task]
    with: {image: "sample:camera.png", task: "${task}", crop: 32}
    save_as: degraded/${task}.npy
  - name: restored
    uses: restore
    for_each: [task, method]
    with:
      image: ${degraded.image}
      degradation: ${degraded.degradation}
      method: ${method}
    save_as: ${task}-${method}.png
  - name: score
    uses: score
    for_each: [task, method]
    with: {image: "${restored.image}", reference: "${degraded.reference}"}
  - name: scan
    uses: simulate
    with: {image: "sample:camera.png", fov_mm: [200, 200], matrix: [48, 48], recipe: {snr: 20}}
    save_as: scan.h5
  - name: image
    uses: reconstruct
    for_each: [method]
    with: {scan: "${scan.scan}", method: "${method}"}
    save_as: ${method}.nii.gz
  - name: table
    uses: table
    with: {rows: "${score.scores}", columns: {PSNR: psnr_db}}
    save_as: table.csv
"""


def test_a_run_killed_at_20_random_moments_and_repeated_is_byte_identical(tmp_path: Path) -> None:
    (tmp_path / "killed.yaml").write_text(PIPELINE)
    words = [str(tmp_path), "1", "run", str(tmp_path / "killed.yaml")]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *words], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    rounds = report["rounds"]
    assert len(rounds) == 20
    bad = [entry for entry in rounds if entry["code"] != 0 or not entry["is_same"]]
    assert bad == [], report
    # The moments must matter: most runs were cut, some after part of the results was there.
    assert sum(entry["was_killed"] for entry in rounds) >= 10, report
    assert any(0 < entry["n_left"] < report["n_expected"] for entry in rounds), report
