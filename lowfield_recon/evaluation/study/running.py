"""A study from beginning to end: what is missing is computed, then everything is written."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lowfield_recon
from lowfield_recon import __version__
from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.untrained.code_identity import code_identity
from lowfield_recon.evaluation.benchmark.untrained.side_by_side import Job, run_jobs
from lowfield_recon.evaluation.study.arms import hash_arm
from lowfield_recon.evaluation.study.extras import CheckJob, UncertaintyJob, deviation_file
from lowfield_recon.evaluation.study.jobs import RowJob, kept_image
from lowfield_recon.evaluation.study.panels import write_panels
from lowfield_recon.evaluation.study.records import Row
from lowfield_recon.evaluation.study.row_store import RowStore, open_row_store
from lowfield_recon.evaluation.study.scoring import build_problem, case_place
from lowfield_recon.evaluation.study.sections import plain_record, study_sections
from lowfield_recon.evaluation.study.setup import StudySetup
from lowfield_recon.evaluation.study.writing import write_json, write_rows
from lowfield_recon.evaluation.study_report import write_study_report

StepCallback = Callable[[int, int, str], None]
"""Called as `progress(done, total, what)`."""

STATE = ".study"
"""Folder of what an interrupted study goes on from."""

TIMING = "timing.json"
"""File of how long things took."""

_THREADS = 1
_ROOMS = ("operators", "solvers", "dictionaries", "prepare", "simulation", "learning",
          "reconstructors", "evaluation/shifts")  # fmt: skip
_MODULES = (
    "problem.py",
    *(f"evaluation/{name}.py" for name in (
        "arrays", "calibration", "data_fit", "demo", "fast_scores", "hallucination", "instability",
        "metrics", "resampling", "score_planes", "uncertainty",
    )),
    *(f"evaluation/study/{name}.py" for name in ("cases", "extras", "jobs", "scoring")),
    *(f"evaluation/benchmark/{name}.py" for name in ("best_scalar", "quality_methods")),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyOutcome:
    """What a study left."""

    record: Mapping[str, Any]
    """What `study.json` holds."""

    report: Path
    """The page to look at."""

    n_rows: int
    """Rows of the table."""

    n_failed: int
    """Rows that hold a failure."""

    n_known: int
    """Results that an earlier run had found."""


def run_study(
    setup: StudySetup,
    folder: Path,
    *,
    workers: int = 1,
    is_fresh: bool = False,
    progress: StepCallback | None = None,
) -> StudyOutcome:
    """Run a study, or what is missing of it, and write its tables, record, panels and report.

    The same study gives the same bytes, whatever the number of workers and however often it was
    interrupted; how long things took stands in `timing.json`, which differs.

    Parameters
    ----------
    setup
        The study.
    folder
        Folder for the results; made where there is none.
    workers
        Processes, each with one thread.
    is_fresh
        Whether to forget what an earlier run found.
    progress
        Told when a result is there.

    Returns
    -------
        Record and counts.

    Raises
    ------
    DataError
        If a problem cannot be made or scored on, another process works in the folder, or a worker
        dies.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder.name}: is a file; expected the name of a folder.")
    state = folder / STATE
    state.mkdir(parents=True, exist_ok=True)
    with open_row_store(state, is_fresh=is_fresh) as store:
        code = study_code()
        rows = _row_jobs(setup, state, code)
        checks = _check_jobs(setup, rows)
        maps = _uncertainty_jobs(setup, rows, state)
        jobs: list[Job] = [*rows, *checks, *maps]
        n_known = _compute(jobs, store, workers, progress)
        results = {job.key(_THREADS): _found(store, job) for job in jobs}
        return _write(setup, folder, rows, checks, maps, results, n_known)


def study_code() -> str:
    """Hash the code that results depend on, without comments and docstrings.

    Returns
    -------
        Version of this package and 32 hexadecimal digits.
    """
    root = Path(lowfield_recon.__file__).parent
    files = [path for room in _ROOMS for path in (root / room).rglob("*.py")]
    files += [root / name for name in _MODULES]
    return f"{__version__} {code_identity(files)}"


def _row_jobs(setup: StudySetup, state: Path, code: str) -> list[RowJob]:
    hashes = {
        (arm.name, seed): hash_arm(arm, position, seed)
        for arm in setup.arms
        for position, seed in enumerate(setup.seeds)
    }
    shown = setup.chosen(setup.panels)
    return [
        RowJob(
            arm=arm, position=setup.seeds.index(case.seed), hashes=hashes[arm.name, case.seed],
            case=case, scoring=setup.scoring, code=code,
            image_folder=state if (arm.name, *case_place(case)) in shown else None,
        )
        for case in setup.cases
        for arm in setup.arms
        if setup.is_asked(arm, case.condition)
    ]  # fmt: skip


def _check_jobs(setup: StudySetup, rows: Sequence[RowJob]) -> list[CheckJob]:
    if setup.checks is None:
        return []
    chosen = setup.chosen(setup.checks.chosen)
    return [
        CheckJob(row=replace(row, image_folder=None), settings=setup.checks)
        for row in rows
        if row.place in chosen
    ]


def _uncertainty_jobs(
    setup: StudySetup, rows: Sequence[RowJob], state: Path
) -> list[UncertaintyJob]:
    if setup.uncertainty is None:
        return []
    chosen = setup.chosen(setup.uncertainty.chosen)
    return [
        UncertaintyJob(
            row=replace(row, image_folder=None), settings=setup.uncertainty,
            image_folder=None if row.image_folder is None else state,
        )
        for row in rows
        if row.place in chosen
    ]  # fmt: skip


def _compute(
    jobs: Sequence[Job], store: RowStore, workers: int, progress: StepCallback | None
) -> int:
    """Do what is missing, and return how many results were there."""
    missing = [job for job in jobs if not _is_done(store, job)]
    n_known = len(jobs) - len(missing)
    _check_cases(missing, progress)
    if progress is not None and missing:
        progress(n_known, len(jobs), missing[0].name)
    n_failed = 0
    done = run_jobs(missing, workers=workers, threads=_THREADS)
    for count, (index, result) in enumerate(done, start=1):
        store.store(missing[index].key(_THREADS), result)
        n_failed += result.get("failure") is not None
        if progress is not None:
            failed = f", {n_failed} failed" if n_failed else ""
            what = f"{n_known + count} of {len(jobs)}{failed}: {missing[index].name}"
            progress(n_known + count, len(jobs), what)
    return n_known


def _check_cases(missing: Sequence[Job], progress: StepCallback | None) -> None:
    """Make the problem of every image and condition once, before hours are spent on others."""
    cases = {
        (job.case.image, job.case.condition): job.case for job in missing if isinstance(job, RowJob)
    }
    for count, case in enumerate(cases.values()):
        if progress is not None:
            progress(count, len(cases), f"checking {case.condition}, {case.image}")
        build_problem(case)


def _is_done(store: RowStore, job: Job) -> bool:
    key = job.key(_THREADS)
    found = store.find(key)
    if found is None or not found.get("is_lasting", True):
        return False
    if found["failure"] is not None:
        return True
    if isinstance(job, RowJob) and job.image_folder is not None:
        return kept_image(job.image_folder, key).is_file()
    if isinstance(job, UncertaintyJob) and job.image_folder is not None:
        return deviation_file(job.image_folder, key).is_file()
    return True


def _found(store: RowStore, job: Job) -> dict[str, Any]:
    found = store.find(job.key(_THREADS))
    assert found is not None  # noqa: S101 - all that was missing has been computed
    return found


def _write(
    setup: StudySetup,
    folder: Path,
    jobs: Sequence[RowJob],
    checks: Sequence[CheckJob],
    maps: Sequence[UncertaintyJob],
    results: Mapping[str, dict[str, Any]],
    n_known: int,
) -> StudyOutcome:
    rows = [_row(job, results[job.key(_THREADS)]) for job in jobs]
    _check_problems(rows)
    write_rows(folder, rows, setup.conditions, setup.metrics)
    record = study_sections(setup, rows)
    record["checks"] = [job.entry(results[job.key(_THREADS)]) for job in checks]
    record["uncertainty"] = [job.entry(results[job.key(_THREADS)]) for job in maps]
    record["panels"] = write_panels(setup, jobs, maps, folder, _THREADS)
    plain = plain_record(record)
    write_json(folder / "study.json", plain)
    write_json(folder / TIMING, _timing(jobs, results))
    report = folder / "report.html"
    write_study_report(plain, folder / "panels", report)
    return StudyOutcome(
        record=plain,
        report=report,
        n_rows=len(rows),
        n_failed=sum(row.failure is not None for row in rows),
        n_known=n_known,
    )


def _row(job: RowJob, result: Mapping[str, Any]) -> Row:
    case = job.case
    return Row(
        method=job.arm.name, condition=case.condition, image=case.image, subject=case.subject,
        domain=case.domain, seed=case.seed, values=result["values"], failure=result["failure"],
        hashes={
            "problem_sha256": result["problem"],
            "settings_sha256": job.hashes.settings,
            "weights_sha256": job.hashes.weights,
        },
        input_snr_db=result["input_snr_db"],
    )  # fmt: skip


def _check_problems(rows: Sequence[Row]) -> None:
    """See that all methods were given the same problem."""
    seen: dict[tuple[str, str, int], str] = {}
    for row in rows:
        key, found = (row.image, row.condition, row.seed), row.hashes["problem_sha256"]
        if seen.setdefault(key, found) != found:
            raise DataError(
                f"image '{row.image}', condition '{row.condition}', seed {row.seed}: methods were "
                "given different data, perhaps by another machine or version; run with --fresh."
            )


def _timing(jobs: Sequence[RowJob], results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {}
    for job in jobs:
        result = results[job.key(_THREADS)]
        if result["failure"] is None:
            seconds.setdefault(job.arm.name, []).append(result["seconds"])
    return {
        "note": "median and sum over images [s], one thread; differs from run to run",
        "methods": {
            name: {"median_s": statistics.median(found), "sum_s": sum(found), "n": len(found)}
            for name, found in seconds.items()
        },
    }
