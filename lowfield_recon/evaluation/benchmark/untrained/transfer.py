"""Weights of one slice as the start of the next: what `warm_start=previous` brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Literal

from lowfield_recon.errors import LowfieldReconError
from lowfield_recon.evaluation.benchmark.quality_statistics import (
    Difference,
    paired_difference,
    subject_means,
)
from lowfield_recon.evaluation.benchmark.results_file import result_key
from lowfield_recon.evaluation.benchmark.tables import markdown_table
from lowfield_recon.evaluation.benchmark.untrained.measure import Measure, blind
from lowfield_recon.evaluation.benchmark.untrained.quality_problems import (
    QualityCase,
    low_field_cases,
)
from lowfield_recon.evaluation.benchmark.untrained.quality_rows import (
    DIP,
    NGR,
    method_code,
    small_settings,
)
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import uninterrupted

NAME = "transfer"
METHODS = (DIP, NGR)
SAMPLE = "brain_0055t_t2w.h5"
ITERATIONS = (100, 200, 400)
SMALL_ITERATIONS = (5, 10)

Start = Literal["cold", "warm"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransferJob:
    """All slices of a scan, each with the same number of iterations."""

    cases: Sequence[QualityCase]
    """Consecutive slices."""

    method: str
    start: Start
    iterations: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the progress bar says."""
        return f"{NAME}, {self.method}, {self.start}, {self.iterations} iterations"

    def key(self, threads: int) -> str:
        """Return the name of its result.

        Parameters
        ----------
        threads
            Number of threads, which the last digits depend on.

        Returns
        -------
            Hash of all that the result depends on.
        """
        resolved = create(self.method, self._settings()).settings.model_dump(mode="json")
        cases = [case.identity for case in self.cases]
        return result_key(
            "untrained-quality", NAME, cases, self.start, threads, self.method, resolved,
            method_code(self.method),
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Reconstruct the slices in order and score all but the first.

        Returns
        -------
            PSNR and seconds of each slice from the second on; or `refused` with the reason.
        """
        method = create(self.method, self._settings())
        psnr_db, seconds = [], []
        try:
            for case in self.cases:
                problem = case.build()
                found = uninterrupted(method.reconstruct(blind(problem)))
                psnr_db.append(Measure(problem, case.view).psnr(found.image))
                seconds.append(found.seconds)
        except LowfieldReconError as error:
            return {"refused": str(error)}
        return {"psnr_db": psnr_db[1:], "seconds": seconds[1:]}

    def _settings(self) -> dict[str, Any]:
        return {
            **self.settings,
            "iterations": self.iterations,
            "stop": "last",
            "seed": self.seed,
            "warm_start": "previous" if self.start == "warm" else None,
        }


def transfer_jobs(
    seeds: Sequence[int], methods: Sequence[str], *, is_small: bool = False
) -> list[TransferJob]:
    """List the fits of all slices, cold and warm.

    Parameters
    ----------
    seeds
        Seeds of lines, noise and networks.
    methods
        Those that are compared; of them `dip` and `ngr` count. Empty for both.
    is_small
        Few iterations of small networks on the middle of k-space.

    Returns
    -------
        The jobs.
    """
    counts = SMALL_ITERATIONS if is_small else ITERATIONS
    jobs = []
    for seed in seeds:
        cases = low_field_cases(
            [seed], samples=[SAMPLE], all_slices=True, crop=48 if is_small else None
        )
        for method in [name for name in METHODS if name in (methods or METHODS)]:
            few = small_settings(method) if is_small else {}
            starts: tuple[Start, ...] = ("cold", "warm")
            jobs += [
                TransferJob(
                    cases=tuple(cases), method=method, start=start, iterations=count, seed=seed,
                    settings=few,
                )
                for count in counts
                for start in starts
            ]  # fmt: skip
    return jobs


def transfer_summary(
    jobs: Sequence[TransferJob], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Compare warm starts with cold ones, slice by slice.

    Parameters
    ----------
    jobs
        The jobs.
    records
        Their results.

    Returns
    -------
        Per method and number of iterations the mean PSNR of both, and of the differences warm minus
        cold the mean and the 95 % interval over slices, seeds averaged before.
    """
    found: dict[tuple[str, int], dict[tuple[int, int], dict[str, float]]] = {}
    for job, record in zip(jobs, records, strict=True):
        for slice_, value in enumerate(record.get("psnr_db", ())):
            entry = found.setdefault((job.method, job.iterations), {})
            entry.setdefault((slice_, job.seed), {})[job.start] = value
    summaries = []
    for (method, iterations), entry in found.items():
        both = {at: pair for at, pair in entry.items() if len(pair) == 2}
        if not both:
            continue
        gains = [(str(at[0]), pair["warm"] - pair["cold"]) for at, pair in both.items()]
        means = subject_means(gains)
        gain = paired_difference(means, dict.fromkeys(means, 0.0))
        summaries.append(
            {
                "method": method,
                "iterations": iterations,
                "cold_db": mean(pair["cold"] for pair in both.values()),
                "warm_db": mean(pair["warm"] for pair in both.values()),
                "gain_db": {"mean": gain.mean, "low": gain.low, "high": gain.high},
                "n_slices": gain.n_subjects,
            }
        )
    return summaries


def transfer_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the comparison.

    Parameters
    ----------
    summaries
        Of `transfer_summary`.

    Returns
    -------
        Markdown.
    """
    cells = [
        [
            entry["method"], str(entry["iterations"]), f"{entry['cold_db']:.2f}",
            f"{entry['warm_db']:.2f}",
            Difference(**entry["gain_db"], n_subjects=entry["n_slices"]).text(2),
        ]
        for entry in summaries
    ]  # fmt: skip
    header = ["method", "iterations", "cold [dB]", "warm [dB]", "warm minus cold [95 %]"]
    return markdown_table(header, cells)
