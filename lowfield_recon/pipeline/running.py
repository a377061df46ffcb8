"""Doing what a pipeline asks for: what is in the cache is taken from there, the rest is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from lowfield_recon.errors import LowfieldReconError, UsageError
from lowfield_recon.manifest import to_plain
from lowfield_recon.pipeline.cache import Cache, Entry, locked, write_json
from lowfield_recon.pipeline.compiling import with_files
from lowfield_recon.pipeline.publishing import publish, staging_folder
from lowfield_recon.pipeline.step import load_function
from lowfield_recon.pipeline.units import Link, Pipeline, Source, Unit

if TYPE_CHECKING:
    from lowfield_recon.pipeline.execution import Request
    from lowfield_recon.pipeline.schedulers import ProgressOf, Scheduler

_LOG = "run.json"

Status = Literal["cached", "to run", "made", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """What became of a unit, or would."""

    label: str
    """Step and values."""

    status: Status
    """Whether it was taken from the cache, made, ..."""

    place: str
    """File and line of its step."""

    why: str = ""
    """Why it must run, was skipped, or failed."""

    seconds: float = 0.0
    """How long it took, if it was made."""

    saved: str | None = None
    """Its main file below the output folder."""

    notes: tuple[str, ...] = ()
    """What was assumed."""


Tell = Callable[[UnitReport], None]


@dataclass(slots=True, eq=False)
class _State:
    """What is known while units are looked up or made."""

    pipeline: Pipeline
    cache: Cache
    entries: dict[int, Entry] = field(default_factory=dict)
    reports: dict[int, UnitReport] = field(default_factory=dict)

    def paths(self, unit: Unit) -> dict[Source, Path]:
        """Return where the files of other units lie, as far as they are there."""
        return {
            link: self.entries[link.unit].path_of(link.output)
            for link in unit.links()
            if link.unit in self.entries
        }

    def inputs(self, unit: Unit) -> dict[str, list[Path]]:
        """Return the files of each setting, those that are missing left out."""
        paths = self.paths(unit)
        found: dict[str, list[Path]] = {}
        for key, sources in unit.files.items():
            candidates = [s if isinstance(s, Path) else paths.get(s) for s in sources]
            found[key] = [path for path in candidates if path is not None]
        return found

    def blockers(self, unit: Unit) -> list[Unit]:
        """Return the units without which this one cannot be done."""
        inputs, units = unit.type.inputs(), self.pipeline.units
        blocking = []
        for key, sources in unit.files.items():
            missing = [s for s in sources if isinstance(s, Link) and s.unit not in self.entries]
            if missing and (not inputs[key].is_list or len(missing) == len(sources)):
                blocking += [units[link.unit] for link in missing]
        return blocking

    def tell(self, unit: Unit, tell: Tell, status: Status, why: str = "", *,
             seconds: float = 0.0) -> None:  # fmt: skip
        """Record what became of a unit and pass it on."""
        entry = self.entries.get(unit.index)
        report = UnitReport(
            label=unit.label,
            status=status,
            place=self.pipeline.place(unit),
            why=why,
            seconds=seconds,
            saved=None if unit.folder is None else (unit.folder / unit.name).as_posix(),
            notes=entry.notes if entry is not None else (),
        )
        self.reports[unit.index] = report
        tell(report)


def inspect(pipeline: Pipeline, cache_folder: Path) -> list[UnitReport]:
    """Say for every unit whether its result is in the cache, and if not why; writes nothing.

    Parameters
    ----------
    pipeline
        The pipeline.
    cache_folder
        The cache; it need not be there.

    Returns
    -------
        One report per unit.
    """
    state = _State(pipeline, Cache(cache_folder))
    for unit in pipeline.units:
        waits = [link.unit for link in unit.links() if link.unit not in state.entries]
        if waits:
            label = pipeline.units[waits[0]].label
            state.tell(unit, _silent, "to run", f"needs the new result of '{label}'")
            continue
        recipe = state.cache.recipe_of(unit, state.inputs(unit))
        entry = state.cache.find(state.cache.folder_of(recipe))
        if entry is None:
            state.tell(unit, _silent, "to run", state.cache.reason(unit, recipe))
        else:
            state.entries[unit.index] = entry
            state.tell(unit, _silent, "cached")
    return [state.reports[unit.index] for unit in pipeline.units]


def check_methods(pipeline: Pipeline) -> None:
    """Refuse methods, settings of methods and endings of names that do not exist.

    This loads the methods and writers, so that it is left out where nothing is to be run.

    Parameters
    ----------
    pipeline
        The pipeline.

    Raises
    ------
    UsageError
        If one does not exist or fit; names file and line.
    """
    for unit in pipeline.units:
        settings = {**unit.settings, **with_files(unit.files, unit.type.inputs(), {})}
        for key, function in unit.type.checks.items():
            try:
                load_function(function)(settings, unit.name)
            except LowfieldReconError as error:
                raise UsageError(f"{pipeline.place(unit, key)}: {error}") from error


def run_pipeline(
    pipeline: Pipeline,
    out: Path,
    cache_folder: Path,
    *,
    scheduler: Scheduler,
    progress_of: ProgressOf,
    tell: Tell,
) -> list[UnitReport]:
    """Do what is not in the cache, and put the results into the output folder.

    The results hold no time, so that they are the same bytes again; how long everything took is
    written to `run.json` in the cache.

    When a unit fails, those that do not need it are done all the same; one that takes any number
    of files goes on with those that are there.

    Parameters
    ----------
    pipeline
        The pipeline.
    out
        Output folder.
    cache_folder
        The cache.
    scheduler
        What does the units, see `open_scheduler`.
    progress_of
        Progress callback of each unit by its index.
    tell
        Called with each report.

    Returns
    -------
        One report per unit.

    Raises
    ------
    DataError
        If another run works with the cache.
    """
    start, began = perf_counter(), datetime.now(UTC)
    with locked(cache_folder):
        state = _State(pipeline, Cache(cache_folder))
        try:
            with staging_folder(out, cache_folder) as staging:
                for _, units in groupby(pipeline.units, key=lambda unit: unit.step_index):
                    _run_step(state, list(units), scheduler, progress_of, tell, (out, staging))
        finally:
            state.cache.save()
        reports = [state.reports[unit.index] for unit in pipeline.units]
        log = {
            "pipeline": pipeline.plan.name,
            "parameters": pipeline.parameters,
            "began": began.isoformat(timespec="seconds"),
            "seconds": round(perf_counter() - start, 3),
            "units": [asdict(report) for report in reports],
        }
        write_json(cache_folder / _LOG, to_plain(log))
    return reports


def _run_step(
    state: _State,
    units: Sequence[Unit],
    scheduler: Scheduler,
    progress_of: ProgressOf,
    tell: Tell,
    places: tuple[Path, Path],
) -> None:
    """Do the units of one step, which do not need each other."""
    waiting: dict[Path, list[Unit]] = {}
    requests: list[Request] = []
    for unit in units:
        blockers = state.blockers(unit)
        if blockers:
            state.tell(unit, tell, "skipped", f"needs '{blockers[0].label}'")
            continue
        recipe = state.cache.recipe_of(unit, state.inputs(unit))
        folder = state.cache.folder_of(recipe)
        entry = state.cache.find(folder)
        if entry is not None:
            _settle(state, unit, entry, tell, places, 0.0, "cached")
            continue
        if folder not in waiting:
            requests.append(_request(state, unit, folder, recipe))
        waiting.setdefault(folder, []).append(unit)

    def callback_of(index: int) -> Any:
        return progress_of(waiting[requests[index].folder][0].index)

    for index, done in scheduler(requests, callback_of):
        folder = requests[index].folder
        entry = state.cache.find(folder) if done.error is None else None
        for number, unit in enumerate(waiting[folder]):
            if entry is None:
                state.tell(unit, tell, "failed", done.error or "its result was damaged at once")
            else:
                seconds = 0.0 if number else done.seconds
                _settle(state, unit, entry, tell, places, seconds, "made")


def _request(state: _State, unit: Unit, folder: Path, recipe: dict[str, Any]) -> Request:
    import torch

    from lowfield_recon.pipeline.execution import Request

    inputs = unit.type.inputs()
    present = {
        key: tuple(
            source for source in sources
            if isinstance(source, Path) or source.unit in state.entries
        )
        for key, sources in unit.files.items()
    }  # fmt: skip
    return Request(
        function=unit.type.function,
        settings_type=unit.type.settings,
        settings={**unit.settings, **with_files(present, inputs, state.paths(unit))},
        name=unit.name,
        folder=folder,
        recipe=recipe,
        outputs=tuple(unit.type.outputs),
        n_threads=torch.get_num_threads(),
    )


def _settle(
    state: _State,
    unit: Unit,
    entry: Entry,
    tell: Tell,
    places: tuple[Path, Path],
    seconds: float,
    status: Status,
) -> None:
    """Take over a result and put it into the output folder."""
    state.entries[unit.index] = entry
    state.cache.remember(unit, entry.folder)
    try:
        if unit.folder is not None:
            publish(state.cache, entry, places[0] / unit.folder, places[1])
    except (LowfieldReconError, OSError) as error:
        state.tell(unit, tell, "failed", f"could not be saved: {error}")
        return
    absent = [link for link in unit.links() if link.unit not in state.entries]
    why = f"without {len(absent)} of its inputs, which failed" if absent else ""
    state.tell(unit, tell, status, why, seconds=seconds)


def _silent(_report: UnitReport) -> None:
    """Tell nobody."""
