"""Benchmarks by name: what each measures, and the function that runs it.

A benchmark is a function `run(options, folder, progress) -> BenchmarkOutcome`. It writes one JSON
and one Markdown file into the folder. To add one, write its module and list it in `BENCHMARKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from lowfield_recon.errors import UsageError, nearest_name

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkOptions",
    "BenchmarkOutcome",
    "StepCallback",
    "find_benchmark",
]

StepCallback = Callable[[int, int, str], None]
"""Called as `progress(step, total, what)` when a step begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """What the user may choose; each benchmark uses what concerns it."""

    size: str = "full"
    """`full`, or `small` to try whether everything runs."""

    threads: tuple[int, ...] = (1, 2)
    tools: tuple[str, ...] = ()
    """Names of the tools to compare; empty for all."""

    cases: tuple[str, ...] = ()
    """Methods (`tv`), sizes (`256x256x4`) or both (`tv/256x256x4`); empty for all."""

    repeats: int = 5
    """Timed runs per tool and target."""

    budget: float = 900.0
    """Time for everything [s]; what does not fit is reported as such."""

    exact_steps: bool = True
    """Step sizes from the known operator norms; otherwise from each tool's own rule."""

    seed: int = 0
    """Seed of the order in which the tools take turns, or of simulated scans."""

    images: tuple[str, ...] = ()
    """Image files, folders, patterns and recorded scans; empty for the samples that ship."""

    slices: int = 1
    """Middle slices of each subject."""

    weights: tuple[str, ...] = ()
    """Names or files of trained weights, ours first; empty for those that ship."""

    dictionaries: tuple[str, ...] = ()
    """Names, patterns or files of dictionaries; empty for the benchmark's own choice."""

    tasks: tuple[str, ...] = ()
    """What is to be reconstructed, e.g. `denoise`, `mri-8x`; empty for all."""

    sigma: tuple[int, ...] = ()
    """Noise levels of denoising, of 255; empty for the benchmark's own choice."""

    seeds: tuple[int, ...] = (0,)
    """Seeds over which a benchmark repeats what is random."""

    run_budget: float | None = None
    """Time of a single run [s]; None for the methods' default iterations."""

    workers: int = 1
    """Processes that work side by side, one thread each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOutcome:
    """What a benchmark hands back."""

    table: str
    """Table for people, Markdown."""

    json_path: Path
    markdown_path: Path

    has_passed: bool = True
    """False where a benchmark has a criterion and it is not met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark that can be run by name."""

    name: str
    summary: str
    module: str

    def run(
        self, options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
    ) -> BenchmarkOutcome:
        """Run it.

        Parameters
        ----------
        options
            What the user chose.
        folder
            Existing folder for the results.
        progress
            Told when a step begins.

        Returns
        -------
            Table and files.

        Raises
        ------
        LowfieldReconError
            If an option is wrong or nothing can be compared.
        """
        function: Callable[..., BenchmarkOutcome] = import_module(self.module).run
        return function(options, folder, progress)


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="agreement",
            summary="CG-SENSE of every tool on the same data: the images must agree to 1e-3",
            module="lowfield_recon.evaluation.benchmark.agreement",
        ),
        Benchmark(
            name="cdl",
            summary="sparse coding beside its bare transforms and mrpro's pgd: time, memory, gap",
            module="lowfield_recon.evaluation.benchmark.cdl_speed",
        ),
        Benchmark(
            name="dictionary-learning",
            summary="learning beside sporco's: objective of the dictionaries, time to the same one",
            module="lowfield_recon.evaluation.benchmark.dictionary_learning",
        ),
        Benchmark(
            name="cdl-quality",
            summary="PSNR and SSIM of cdl-lambda beside tv, cdl and the best scalar weight",
            module="lowfield_recon.evaluation.benchmark.cdl_quality",
        ),
        Benchmark(
            name="dictionary-swap",
            summary="one set of weights of cdl-lambda with every dictionary of the bank",
            module="lowfield_recon.evaluation.benchmark.dictionary_swap",
        ),
        Benchmark(
            name="metrics",
            summary="all metrics of 1,000 images beside scikit-image's SSIM and PSNR: time, values",
            module="lowfield_recon.evaluation.benchmark.metrics_speed",
        ),
        Benchmark(
            name="ncpr",
            summary="ncpr beside the published direct iteration: time to its PSNR, memory",
            module="lowfield_recon.evaluation.benchmark.ncpr_speed",
        ),
        Benchmark(
            name="ncpr-quality",
            summary="PSNR of ncpr and cpr beside the published procedure, tv and wavelet",
            module="lowfield_recon.evaluation.benchmark.ncpr_quality",
        ),
        Benchmark(
            name="ncpr-scans",
            summary="ncpr and cpr on 4-fold multi-coil scans beside tv and wavelet at their best",
            module="lowfield_recon.evaluation.benchmark.ncpr_scans",
        ),
        Benchmark(
            name="reading",
            summary="a 1 GB ISMRMRD file by every reader: time and memory beside h5py's",
            module="lowfield_recon.evaluation.benchmark.reading",
        ),
        Benchmark(
            name="solvers",
            summary="CG-SENSE, TV and wavelet: time and memory to reach the same objective",
            module="lowfield_recon.evaluation.benchmark.solvers",
        ),
        Benchmark(
            name="untrained",
            summary="ngr beside its published scheme, dip beside deepinv's, mg-spair: time, memory",
            module="lowfield_recon.evaluation.benchmark.untrained.speed",
        ),
        Benchmark(
            name="untrained-quality",
            summary="PSNR and SSIM of dip, ngr and mg-spair beside tv at its best weight; "
            "by name also mg-spair-plain, -grades, -grades-plain, -wire, -wire-plain",
            module="lowfield_recon.evaluation.benchmark.untrained.quality",
        ),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """Return the benchmark of a name.

    Parameters
    ----------
    name
        As in `BENCHMARKS`.

    Returns
    -------
        The benchmark.

    Raises
    ------
    UsageError
        If there is none; the message names the nearest.

    Examples
    --------
    >>> find_benchmark("solvers").name
    'solvers'
    """
    if name not in BENCHMARKS:
        raise UsageError(
            f"benchmark '{name}' is not known. {nearest_name(name, tuple(BENCHMARKS))}"
        )
    return BENCHMARKS[name]
