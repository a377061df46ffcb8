"""`benchmark ncpr-scans`: ncpr and cpr on complete multi-coil scans, a quarter of which is kept.

The strength of ncpr and cpr was tuned on other subjects, while tv and wavelet get the best weight
for the very image, found with its truth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.ncpr_scans_rows import PRESET, ScanUnit, scan_units
from lowfield_recon.evaluation.benchmark.ncpr_scans_table import (
    not_better,
    scans_table,
    summarise,
    verdict,
)
from lowfield_recon.evaluation.benchmark.quality_figure import Panel, write_comparison
from lowfield_recon.evaluation.benchmark.quality_methods import reference_of
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile, result_key
from lowfield_recon.evaluation.demo import one_thread
from lowfield_recon.files import atomic_path, sha256_of
from lowfield_recon.problem import InverseProblem
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.problems import Undersampling

NAME = "ncpr-scans"
SAMPLE = "brain_4coil_t2w.h5"
ACCELERATION = 4
CALIBRATION_LINES = 24
N_MASKS = 3
PROTOCOL = (
    "Complete multi-coil scans, of which one in four phase encodings is kept: 24 central lines (at "
    "most half of those kept) and others at random, another choice for each mask. Coil maps by "
    "ESPIRiT from the central lines that are kept. PSNR and SSIM (7 x 7 windows) on magnitudes, "
    "data range = maximum of the reference, which is the reconstruction from all lines with the "
    "same maps: it holds the noise of the scan, and shares it with the lines that are kept. 'tuned "
    f"elsewhere': the preset {PRESET}, found on simulated scans of other subjects and contrast. "
    "'noise rule': what the method does without being told. 'best weight' is the best one for each "
    "image and mask, found WITH the truth, once for PSNR and once for SSIM: an upper bound in "
    "favour of that method, which no one without the truth can reach. Differences are paired, with "
    "their range over masks (and scans). One thread."
)

_SMALL_MASKS, _SMALL_ITERATIONS = 2, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One image of a scan with one mask."""

    path: Path
    sha256: str
    index: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.path.stem}, slice {self.index}, mask {self.seed}"

    def key(self, unit: ScanUnit) -> str:
        return result_key(NAME, self.sha256, self.index, self.seed, *unit.identity())

    def problem(self) -> InverseProblem:
        scan = load_scan(self.path)
        lines = scan.header.encoded_matrix[1]
        calibration = min(CALIBRATION_LINES, lines // (2 * ACCELERATION))
        few = Undersampling(
            acceleration=ACCELERATION, calibration_lines=calibration, seed=self.seed
        )
        problem = scan.problems(undersampling=few)[self.index]
        if problem.reference is None:
            raise DataError(
                f"{self.path.name}: has no reference, because samples are missing from it; "
                "expected a complete Cartesian scan."
            )
        return problem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Run:
    """What stays the same over all cases."""

    units: tuple[ScanUnit, ...]
    results: ResultsFile
    folder: Path
    progress: StepCallback | None


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Score ncpr and cpr beside tv and wavelet at their best weights, and cdl-lambda.

    Parameters
    ----------
    options
        Size, images (complete scans; default: the shipped 4-coil brain), middle slices of each,
        tools (the methods), and the seed of the first mask.
    folder
        Existing folder for `benchmark_ncpr-scans.json`, `.md`, `.png`, `_results.json` and
        `_examples` (what an interrupted run goes on from).
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed where ncpr is above tv and wavelet in PSNR.

    Raises
    ------
    UsageError
        If a method does not exist.
    DataError
        If a file is no complete scan.
    """
    if options.size not in ("full", "small"):
        raise UsageError(f"size: expected full or small, got '{options.size}'.")
    is_small = options.size == "small"
    start = time.perf_counter()
    cases = _cases(options, _SMALL_MASKS if is_small else N_MASKS)
    plan = _Run(
        units=scan_units(options.tools, iterations=_SMALL_ITERATIONS if is_small else None),
        results=ResultsFile(folder / f"benchmark_{NAME}_results.json"),
        folder=folder,
        progress=progress,
    )
    with one_thread():
        records = [_score(plan, case, i, cases) for i, case in enumerate(cases)]
    rows = [row for unit in plan.units for row in unit.rows]
    summaries = summarise(records, rows)
    report = {
        "schema": "lowfield-recon benchmark ncpr-scans, version 1",
        "size": options.size,
        "protocol": PROTOCOL,
        "environment": describe_environment(),
        "seconds": time.perf_counter() - start,
        "results_of_an_earlier_run": plan.results.n_found,
        "cases": {case.name: record for case, record in zip(cases, records, strict=True)},
        "summary": summaries,
        "verdict": verdict(summaries),
        "not_better": not_better(summaries),
        "picture": _draw(plan, cases[0], records[0]),
    }
    return _write(folder, report)


def _cases(options: BenchmarkOptions, n_masks: int) -> list[_Case]:
    """List the middle slices of each scan with each mask."""
    cases = []
    for path in [Path(name) for name in options.images] or [sample_path(SAMPLE)]:
        n_slices = load_scan(path).volume_shape[1]
        count = min(options.slices, n_slices)
        first = (n_slices - count + 1) // 2
        digest = sha256_of(path)
        cases += [
            _Case(path=path, sha256=digest, index=index, seed=options.seed + mask)
            for index in range(first, first + count)
            for mask in range(n_masks)
        ]
    return cases


def _score(plan: _Run, case: _Case, number: int, cases: Sequence[_Case]) -> dict[str, Any]:
    """Score all rows on one case, taking over what an earlier run found."""
    records: dict[str, Any] = {}
    problem = None
    is_shown = case == cases[0]
    for j, unit in enumerate(plan.units):
        if plan.progress is not None:
            total = len(cases) * len(plan.units)
            plan.progress(number * len(plan.units) + j, total, f"{case.name}: {unit.name}")
        key = case.key(unit)
        found = plan.results.find(key)
        pictures = [_picture(plan, key, row) for row in range(len(unit.rows))]
        if found is None or (is_shown and not all(path.exists() for path in pictures)):
            problem = problem or case.problem()
            solved = unit.solve(problem)
            found = {row: solved[row].record for row in unit.rows}
            if is_shown:
                for path, row in zip(pictures, unit.rows, strict=True):
                    _keep(path, solved[row].image)
            plan.results.store(key, found)
        records |= found
    return records


def _picture(plan: _Run, key: str, row: int) -> Path:
    return plan.folder / f"benchmark_{NAME}_examples" / f"{key}_{row}.npy"


def _keep(path: Path, image: NDArray[np.float64]) -> None:
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, image.astype(np.float32))


def _draw(plan: _Run, case: _Case, records: dict[str, Any]) -> str:
    """Draw the first case."""
    panels = []
    for unit in plan.units:
        for number, row in enumerate(unit.rows):
            image = np.load(_picture(plan, case.key(unit), number)).astype(np.float64)
            caption = f"{records[row]['psnr_db']:.2f} dB, SSIM {records[row]['ssim']:.3f}"
            panels.append(Panel(title=row.replace(", ", "\n", 1), caption=caption, image=image))
    path = plan.folder / f"benchmark_{NAME}.png"
    title = f"{case.name}: one in {ACCELERATION} phase encodings"
    return write_comparison(path, reference_of(case.problem()), panels, title=title).name


def _write(folder: Path, report: dict[str, Any]) -> BenchmarkOutcome:
    judged = [f"- {text}: {'met' if ok else 'NOT met'}" for text, ok in report["verdict"].items()]
    earlier = report["results_of_an_earlier_run"]
    notes = [f"{earlier} results were taken from an earlier run in this folder.", ""]
    table = "\n".join(
        [
            f"{len(report['cases'])} problems; ours: ncpr, tuned elsewhere",
            "",
            scans_table(report["summary"]),
            "",
            *judged,
            *(f"- {sentence}" for sentence in report["not_better"]),
            "",
            *(notes if earlier else []),
            f"{report['protocol']} {report['environment']['cpu']}.",
            "",
        ]
    )
    json_path, markdown_path = folder / f"benchmark_{NAME}.json", folder / f"benchmark_{NAME}.md"
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    for path, content in ((json_path, text), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return BenchmarkOutcome(
        table=table,
        json_path=json_path,
        markdown_path=markdown_path,
        has_passed=all(report["verdict"].values()),
    )
