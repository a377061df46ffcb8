"""The parent's side of a worker process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.objective import ComplexArray
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class WorkerFailedError(DataError):
    """A tool's process ended early or could not do what it was asked."""


class WorkerProcess:
    """One tool with one number of threads, in a process of its own.

    Parameters
    ----------
    tool
        Name of the tool; `"reference"` for the solvers in double precision.
    folder
        Where its files may be; the folder `load` is told of is read only.
    threads
        Number of threads.
    exact_steps
        Step sizes from the known operator norm.
    is_timed
        False for solving in double precision only.
    """

    def __init__(
        self,
        tool: str,
        folder: Path,
        *,
        threads: int = 1,
        exact_steps: bool = True,
        is_timed: bool = True,
    ) -> None:
        self.tool = tool
        self._is_loading = False
        self._settings = {"threads": threads, "exact_steps": exact_steps, "is_timed": is_timed}
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed by `close`
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{tool}-", dir=folder))
        environment = os.environ | {name: str(threads) for name in _THREAD_VARIABLES}
        environment |= {"CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(self._scratch)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lowfield_recon.evaluation.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )

    def __enter__(self) -> WorkerProcess:
        """Return itself."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End the process."""
        self.close()

    def load(self, case: BenchmarkCase, folder: Path) -> None:
        """Begin to import the tool and to bring in the data; the next request waits for it.

        Parameters
        ----------
        case
            The case.
        folder
            Where its problem was written.

        Raises
        ------
        WorkerFailedError
            If the process has ended.
        """
        self.wait_until_ready()
        names = {"tool": self.tool, "method": case.method, "size": case.size.name}
        self._send({"op": "load", **names, "folder": str(folder), **self._settings})
        self._is_loading = True

    def wait_until_ready(self) -> None:
        """Wait until the tool holds the data.

        Raises
        ------
        WorkerFailedError
            If it cannot.
        """
        if self._is_loading:
            self._receive()
            self._is_loading = False

    def solve(self, iterations: int, *, keep_image: bool = False) -> dict[str, float]:
        """Run the solver once.

        Parameters
        ----------
        iterations
            Number of iterations.
        keep_image
            Whether `image` will be asked for.

        Returns
        -------
            `seconds`, `cpu_seconds`, and `overhead_seconds` to subtract.

        Raises
        ------
        WorkerFailedError
            If the tool fails.
        """
        image = str(self._image_path) if keep_image else None
        return self._ask({"op": "solve", "iterations": iterations, "image": image})

    def image(self) -> ComplexArray:
        """Return the image of the last run that kept it, `(z, y, x)`."""
        image: ComplexArray = np.load(self._image_path, allow_pickle=False)
        return image

    def trace(self, at: list[int], visit: Callable[[int, ComplexArray], bool]) -> None:
        """Run the solver and look at its image after some iterations.

        Parameters
        ----------
        at
            Iterations to look at, ascending.
        visit
            Called as `visit(iteration, image)`; False ends the run.

        Raises
        ------
        WorkerFailedError
            If the tool fails.
        """
        answer = self._ask({"op": "trace", "at": at, "image": str(self._image_path)})
        while answer["iteration"] is not None:
            goes_on = visit(answer["iteration"], self.image())
            answer = self._ask({"op": "go" if goes_on else "stop"})

    def reference(self, seconds: float) -> ComplexArray:
        """Solve in double precision for about `seconds`.

        Parameters
        ----------
        seconds
            Time after which it stops [s].

        Returns
        -------
            Image, complex128 `(z, y, x)`.

        Raises
        ------
        WorkerFailedError
            If it fails.
        """
        self._ask({"op": "reference", "seconds": seconds, "image": str(self._image_path)})
        return self.image()

    def memory(self) -> dict[str, float]:
        """Return `baseline_mib`, before the first run, and `peak_mib`."""
        return self._ask({"op": "memory"})

    def close(self) -> None:
        """End the process and remove its files."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def _image_path(self) -> Path:
        return self._scratch / "image.npy"

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.wait_until_ready()
        self._send(request)
        return self._receive()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self) -> WorkerFailedError:
        """Say the last line that the process wrote before it ended."""
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        killed = " (killed; perhaps not enough memory)" if code == -9 else ""
        return WorkerFailedError(f"{self.tool}: its process ended with {code}{killed}: {said}")
