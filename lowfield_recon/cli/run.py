"""`lowfield-recon run`: a chain of steps; a second run does only what changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowfield_recon.cli.options import JsonOption
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import check_output_path
from lowfield_recon.resources import find_plan, shipped_folder

if TYPE_CHECKING:
    from lowfield_recon.pipeline.running import UnitReport

_Pipeline = Annotated[
    str | None,
    typer.Argument(metavar="PIPELINE", help="YAML file, or the name of one that ships."),
]
_Values = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values of its parameters.")
]
_Out = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the results.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check, say what would be done, and write nothing.")
]
_List = Annotated[bool, typer.Option("--list", help="Show the pipelines that ship.")]
_Cache = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of intermediate results. Default: .cache in --out."),
]
_Scheduler = Annotated[
    str,
    typer.Option(
        metavar="sync|local|ADDRESS",
        help="sync: one step after the other; local: Dask workers on this machine; or the address "
        "of a Dask scheduler.",
    ),
]


def run(
    pipeline: _Pipeline = None,
    values: _Values = None,
    out: _Out = Path("lowfield-recon-run"),
    dry_run: _DryRun = False,
    cache: _Cache = None,
    scheduler: _Scheduler = "sync",
    shipped: _List = False,
    json: JsonOption = False,
) -> None:
    """Run a chain of steps.

    The whole file is checked before anything is done. A second run does only what changed, and one
    that was interrupted goes on where it stopped. How long things took is in run.json in the cache;
    the results themselves hold no time, so that the same run gives the same bytes.
    """
    if shipped:
        _list_shipped(json)
        return
    if pipeline is None:
        raise UsageError(
            "run: expected a pipeline; 'lowfield-recon run --list' shows those that ship."
        )
    from lowfield_recon.pipeline.compiling import compile_pipeline
    from lowfield_recon.pipeline.parameters import parse_assignments
    from lowfield_recon.pipeline.running import check_methods, inspect, run_pipeline
    from lowfield_recon.pipeline.schedulers import SYNC, open_scheduler
    from lowfield_recon.progress import progress_bar

    compiled = compile_pipeline(find_pipeline(pipeline), parse_assignments(values or []))
    cache_folder = out / ".cache" if cache is None else cache
    for folder in (out, cache):
        if folder is not None and not folder.is_dir():
            check_output_path(folder)
    reports = inspect(compiled, cache_folder)
    has_work = any(report.status == "to run" for report in reports)
    if has_work:
        check_methods(compiled)
    if not dry_run:
        out.mkdir(exist_ok=True)
        with (
            open_scheduler(scheduler if has_work else SYNC) as opened,
            progress_bar(compiled.plan.name, len(compiled.units), noun="step") as progress_of,
        ):
            reports = run_pipeline(
                compiled,
                out,
                cache_folder,
                scheduler=opened,
                progress_of=progress_of,
                tell=(lambda _report: None) if json else _say,
            )
    _conclude(reports, out, is_dry=dry_run, as_json=json)


def find_pipeline(name: str) -> Path:
    """Return the YAML of a pipeline.

    Parameters
    ----------
    name
        Path of a YAML file, or the name of one that ships.

    Returns
    -------
        Its path.

    Raises
    ------
    UsageError
        If no pipeline of that name ships.
    DataError
        If there is no such file.

    Examples
    --------
    >>> find_pipeline("reconstruct_scan").name
    'reconstruct_scan.yaml'
    """
    return find_plan(name, "pipeline")


def _list_shipped(as_json: bool) -> None:
    """Show the pipelines that ship, with their parameters; other YAML files there are left out."""
    from json import dumps

    from lowfield_recon.configuration import read_document
    from lowfield_recon.manifest import to_plain
    from lowfield_recon.pipeline.plan import PipelinePlan

    documents = [read_document(path) for path in sorted(shipped_folder("pipelines").glob("*.yaml"))]
    plans = {
        document.path.stem: document.check(document.content, PipelinePlan)
        for document in documents
        if "steps" in document.content
    }
    if as_json:
        typer.echo(dumps({name: plan.model_dump() for name, plan in plans.items()}, indent=2))
        return
    for name, plan in plans.items():
        typer.echo(f"{name}: {' '.join(plan.description.split())}")
        for key, parameter in plan.parameters.items():
            default = "needed" if parameter.is_required else to_plain(parameter.default)
            shown = ",".join(map(str, default)) if isinstance(default, list) else default
            unit = f" [{parameter.unit}]" if parameter.unit else ""
            typer.echo(f"  {key}={shown}  {parameter.help}{unit}")


def _say(report: UnitReport) -> None:
    """Print one line about a unit."""
    seconds = f" in {report.seconds:.1f} s" if report.status == "made" else ""
    why = f" ({report.why})" if report.why else ""
    saved = f" -> {report.saved}" if report.saved and report.status in ("made", "cached") else ""
    typer.echo(f"{report.label}: {report.status}{seconds}{saved}{why}")


def _conclude(reports: Sequence[UnitReport], out: Path, *, is_dry: bool, as_json: bool) -> None:
    """Print the sum of it, and fail if a unit failed."""
    from collections import Counter
    from dataclasses import asdict
    from json import dumps

    from lowfield_recon.manifest import to_plain

    counts = Counter(report.status for report in reports)
    if as_json:
        units = [asdict(report) for report in reports]
        typer.echo(dumps(to_plain({"dry_run": is_dry, "units": units}), indent=2))
    elif is_dry:
        for report in reports:
            _say(report)
        typer.echo(f"dry run: {counts['to run']} to run, {counts['cached']} in the cache")
    else:
        made = f"{counts['made']} made, {counts['cached']} taken from the cache"
        typer.echo(f"{made}; results are in {out}")
    failed = [report for report in reports if report.status == "failed"]
    if failed:
        first, rest = failed[0], len(failed) - 1
        more = f" ({rest} more failed)" if rest else ""
        raise DataError(f"{first.place}: '{first.label}' failed: {first.why}{more}")
