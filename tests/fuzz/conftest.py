"""Processes that try damaged files, as the fuzzer's tests need them."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the helpers import each other, and pytest imports them alone

TIME_LIMIT_S = 20.0
START_LIMIT_S = 120.0


class Worker:
    """One process of `worker.py`; it is started anew when it hangs or dies."""

    def __init__(self, folder: Path, program: Path, start_limit_s: float) -> None:
        self.folder, self.program, self.start_limit_s = folder, program, start_limit_s
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(self.program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        self.limit_s = self.start_limit_s

    def attempt(self, number: int) -> dict[str, Any]:
        """Try one number; a worker that ends or takes too long is an answer too."""
        place = self.folder / str(number)
        place.mkdir()
        request = json.dumps({"number": number, "folder": str(place)}) + "\n"
        self.process.stdin.write(request.encode())
        self.process.stdin.flush()
        is_ready = bool(select.select([self.process.stdout], [], [], self.limit_s)[0])
        line = self.process.stdout.readline() if is_ready else b""
        if line:
            self.limit_s = TIME_LIMIT_S
            shutil.rmtree(place)
            return {"number": number, **json.loads(line)}
        if not is_ready:
            fate = f"hung for {self.limit_s:g} s"
        else:
            self.log.seek(0)
            said = self.log.read().decode(errors="replace").strip().splitlines()[-1:]
            fate = f"the process ended with {self.process.wait()}: {said}"
        self.close()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._start()
        return {"number": number, "fate": fate}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()


def _try_all(
    numbers: range,
    folder: Path,
    n_workers: int,
    program: Path,
    start_limit_s: float = START_LIMIT_S,
) -> list[dict[str, Any]]:
    def one_share(part: int) -> list[dict[str, Any]]:
        worker = Worker(folder, program, start_limit_s)
        try:
            return [worker.attempt(number) for number in numbers[part::n_workers]]
        finally:
            worker.close()

    with ThreadPoolExecutor(n_workers) as pool:
        return [answer for share in pool.map(one_share, range(n_workers)) for answer in share]


@pytest.fixture
def try_all(tmp_path: Path):
    """Return a function that tries damaged inputs by number and returns what came of each."""

    def run(
        numbers: range,
        *,
        n_workers: int = 2,
        program: Path = HERE / "worker.py",
        start_limit_s: float = START_LIMIT_S,
    ) -> list[dict[str, Any]]:
        return _try_all(numbers, tmp_path, n_workers, program, start_limit_s)

    return run
