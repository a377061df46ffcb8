"""BART as a program: files in and out, the reflected problem for its backward differences."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.memory import peak_mib
from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase
from lowfield_recon.evaluation.benchmark.reflection import reflect, reflected
from lowfield_recon.evaluation.benchmark.tools import Observer, Prepared

N_AXES = 16
_POLL_SECONDS = 0.001


def bart_version() -> str:
    """Return what `bart version` says, e.g. `v0.8.00`.

    Returns
    -------
        The version, or `"unknown"`.
    """
    program = shutil.which("bart") or "bart"
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command
    return done.stdout.strip() or "unknown"


def write_cfl(path: Path, array: ComplexArray) -> None:
    """Write an array `(coils, z, y, x)` or `(z, y, x)` as BART's `.cfl` and `.hdr`.

    Parameters
    ----------
    path
        Name without ending.
    array
        Numbers to write, stored as complex64.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_cfl(folder / "a", np.ones((2, 1, 3, 4)))
    >>> (folder / "a.hdr").read_text().split()[2:7]
    ['4', '3', '1', '2', '1']
    """
    shape = array.shape[::-1]
    dimensions = [*shape, *[1] * (N_AXES - len(shape))]
    words = " ".join(str(n) for n in dimensions)
    path.with_name(path.name + ".hdr").write_text(f"# Dimensions\n{words}\n")
    np.ascontiguousarray(array, dtype=np.complex64).tofile(path.with_name(path.name + ".cfl"))


def read_cfl(path: Path) -> NDArray[np.complex64]:
    """Read a `.cfl` as `(z, y, x)`.

    Parameters
    ----------
    path
        Name without ending.

    Returns
    -------
        The first three dimensions; the others must be one.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_cfl(folder / "a", np.arange(6.0).reshape(1, 2, 3))
    >>> read_cfl(folder / "a").real.tolist()
    [[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]]
    """
    header = path.with_name(path.name + ".hdr").read_text().splitlines()
    dimensions = [int(word) for word in header[1].split()]
    values = np.fromfile(path.with_name(path.name + ".cfl"), dtype=np.complex64)
    return values.reshape(dimensions[2::-1])


def prepare(
    case: BenchmarkCase,
    problem: Problem,
    exact_steps: bool = True,  # noqa: ARG001 - BART chooses its own
) -> Prepared:
    """Write the files; solving is running the program, with its start and its reading and writing.

    Parameters
    ----------
    case
        Method and weight.
    problem
        Data, maps and mask.
    exact_steps
        Of no effect: BART chooses its own.

    Returns
    -------
        The timed part, the time of a no-op call to subtract, and how to measure memory.
    """
    solver = _Pics(case, problem)
    return Prepared(
        solve=solver.solve,
        overhead_seconds=_no_op_seconds(),
        measure_memory=solver.measure_memory,
    )


class _Pics:
    """Runs `bart pics` on files in the folder for temporary files (TMPDIR)."""

    def __init__(self, case: BenchmarkCase, problem: Problem) -> None:
        self.case = case
        self.is_reflected = case.method == "tv"
        given = reflected(problem) if self.is_reflected else problem
        self.folder = Path(tempfile.mkdtemp(prefix="bart-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        maps = given.coil_maps
        write_cfl(self.folder / "kspace", given.kspace)
        write_cfl(self.folder / "maps", np.ones_like(given.kspace) if maps is None else maps)
        self.program = shutil.which("bart") or "bart"

    def command(self, iterations: int) -> list[str]:
        weight = f"{self.case.regularization_weight:g}"
        flags = sum(1 << axis for axis, n in enumerate(self.case.size.image_shape[::-1]) if n > 1)
        penalty = {"cg-sense": ["-l2", "-r", weight], "tv": ["-R", f"T:{flags}:0:{weight}"]}
        files = [str(self.folder / name) for name in ("kspace", "maps", "out")]
        rest = ["-i", str(iterations), "-w", "1", "-S"]
        return [self.program, "pics", *penalty[self.case.method], *rest, *files]

    def solve(
        self, iterations: int, _observer: Observer | None = None
    ) -> Callable[[], ComplexArray]:
        done = subprocess.run(  # noqa: S603 - the command above
            self.command(iterations), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise DataError(f"bart pics ended with {done.returncode}: {' '.join(last)}")
        return self._image

    def _image(self) -> ComplexArray:
        found = read_cfl(self.folder / "out")
        return reflect(found) if self.is_reflected else found

    def measure_memory(self) -> tuple[float, float]:
        """Return (baseline, peak) [MiB]: a no-op call plus the input files, and a short run."""
        files = sum((self.folder / f"{name}.cfl").stat().st_size for name in ("kspace", "maps"))
        baseline = _peak_mib([self.program, "version"]) + files / 2**20
        return baseline, _peak_mib(self.command(5))


def _no_op_seconds(repeats: int = 5) -> float:
    """Return the median time of `bart version`, which starts the program and does nothing."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        bart_version()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def _peak_mib(command: list[str]) -> float:
    """Watch a program's resident memory while it runs; its own count is lost when it ends."""
    peak = 0.0
    with subprocess.Popen(  # noqa: S603 - a fixed command
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            peak = max(peak, peak_mib(process.pid, "bart"))
            time.sleep(_POLL_SECONDS)
    return peak
