"""`lowfield-recon study`: the robustness study and its report."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowfield_recon.cli.options import JsonOption
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path

if TYPE_CHECKING:
    from lowfield_recon.evaluation.study.running import StepCallback, StudyOutcome
    from lowfield_recon.evaluation.study.setup import StudySetup

_Study = Annotated[
    str | None, typer.Argument(metavar="STUDY", help="YAML file, or the name of one that ships.")
]
_Out = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the results.")]
_Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Processes, each with one thread.")]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run found.")]
_Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder with the images and weights that the study names; repeatable. Default: the "
        "study's own.",
    ),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, count the rows, compute nothing.")
]
_Figures = Annotated[
    bool, typer.Option("--figures", help="Draw every figure as PDF and PNG too, into DIR/figures.")
]
_List = Annotated[bool, typer.Option("--list", help="Show the studies that ship.")]


def study(
    study: _Study = None,
    out: _Out = Path("lowfield-recon-study"),
    workers: _Workers = 1,
    fresh: _Fresh = False,
    data: _Data = None,
    figures: _Figures = False,
    dry_run: _DryRun = False,
    list_all: _List = False,
    json: JsonOption = False,
) -> None:
    """Ask which method degrades how much under which shift.

    Every method sees the same images, masks and noise. A run that was interrupted goes on where it
    stopped; its results are those of an undisturbed one, byte by byte, whatever the number of
    workers. Writes rows.csv, rows.parquet, study.json, panels and report.html.
    """
    if list_all:
        _list_shipped()
        return
    if study is None:
        raise UsageError(
            "study: expected a study; 'lowfield-recon study --list' shows those that ship."
        )
    from lowfield_recon.evaluation.study.loading import find_study, load_study
    from lowfield_recon.evaluation.study.running import run_study

    path = find_study(study)
    if not out.is_dir():
        check_output_path(out)
    setup = load_study(path, folders=tuple(data or ()))
    if dry_run:
        typer.echo(_count(setup))
        return
    with _bar(setup.title) as progress:
        outcome = run_study(setup, out, workers=workers, is_fresh=fresh, progress=progress)
    if figures:
        from lowfield_recon.evaluation.study_report import write_study_figures

        write_study_figures(outcome.record, out / "panels", out / "figures")
    _conclude(outcome, out, as_json=json)


def _list_shipped() -> None:
    from lowfield_recon.configuration import read_document
    from lowfield_recon.resources import shipped_folder

    for path in sorted(shipped_folder("pipelines").glob("study_*.yaml")):
        content = read_document(path).content
        typer.echo(f"{path.stem}: {' '.join(str(content.get('question', '')).split())}")


def _count(setup: StudySetup) -> str:
    n_rows = sum(setup.is_asked(arm, case.condition) for case in setup.cases for arm in setup.arms)
    images = {case.image for case in setup.cases}
    subjects = {case.subject for case in setup.cases}
    return (
        f"dry run: {n_rows} rows: {len(setup.arms)} methods, {len(setup.conditions)} conditions, "
        f"{len(images)} images of {len(subjects)} subjects, {len(setup.seeds)} seeds"
    )


def _conclude(outcome: StudyOutcome, out: Path, *, as_json: bool) -> None:
    """Print the verdict and where things are."""
    from json import dumps

    if as_json:
        typer.echo(dumps(outcome.record["verdict"], indent=2, ensure_ascii=False))
        return
    for entry in outcome.record["verdict"]:
        word = {True: "supports", False: "contradicts", None: "leaves open"}[entry["supports"]]
        typer.echo(f"{entry['sentence']} ({word} the claim)")
    known = f", {outcome.n_known} results of an earlier run" if outcome.n_known else ""
    typer.echo(f"{outcome.n_rows} rows, {outcome.n_failed} of them failures{known}")
    typer.echo(f"wrote rows.csv, rows.parquet, study.json and {outcome.report.name} in {out}")


@contextmanager
def _bar(title: str) -> Iterator[StepCallback | None]:
    """Show a bar with counts on stderr, where that is a terminal and --quiet is not given."""
    is_quiet = logging.getLogger("lowfield_recon").level > logging.WARNING
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def step(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield step
