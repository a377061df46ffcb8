"""`lowfield-recon benchmark`: time, memory and quality beside whatever peers are installed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowfield_recon.errors import DataError, UsageError

if TYPE_CHECKING:
    from lowfield_recon.evaluation.benchmark import StepCallback


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="Benchmarks to run; all when none is named."),
]
OutputOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for JSON and tables.")
]
SizeOption = Annotated[str, typer.Option(help="full, or small to try whether everything runs.")]
ThreadsOption = Annotated[
    str, typer.Option(metavar="N,...", help="Numbers of threads to time with.")
]
ToolsOption = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", help="Only these, see --list. Default: all."),
]
CasesOption = Annotated[
    str | None,
    typer.Option(
        metavar="CASE,...",
        help="Methods (tv), sizes (256x256x4) or both (tv/256x256x4). Default: all.",
    ),
]
RepeatsOption = Annotated[int, typer.Option(help="Timed runs per tool and target.", min=1)]
BudgetOption = Annotated[
    float, typer.Option(metavar="SECONDS", help="Time for everything; the rest is left out.")
]
OwnStepsOption = Annotated[
    bool,
    typer.Option(
        "--own-steps", help="Let every tool find its step sizes; default: tell it the norms."
    ),
]
ImagesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="PATH",
        help="Images (files, folders, patterns) or recorded scans to score on; repeatable. "
        "Default: the samples that ship.",
    ),
]
SlicesOption = Annotated[int, typer.Option(help="Middle slices of each subject.", min=1)]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...", help="Trained weights by name or file, ours first. Default: shipped."
    ),
]
DictionariesOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN,...", help="Dictionaries by name, pattern (brain_K32_*) or file."
    ),
]
TasksOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Tasks of ncpr-quality: denoise, super-resolve, mri-8x, mri-16x; of "
        "untrained-quality: inpaint-10, inpaint-30, inpaint-50, text, mixed, brain-4coil, "
        "brain-0055t, transfer. Default: all.",
    ),
]
SigmaOption = Annotated[
    str | None,
    typer.Option(metavar="N,...", help="Noise levels of the task denoise, 5 or 25 (of 255)."),
]
SeedsOption = Annotated[
    str, typer.Option(metavar="N,...", help="Seeds that untrained-quality averages over.")
]
RunBudgetOption = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Time of every single run of untrained-quality. Default: the methods' iterations.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option(help="Runs side by side (untrained-quality), one thread each.", min=1)
]
ListOption = Annotated[bool, typer.Option("--list", help="List benchmarks and tools.")]


def benchmark(
    names: NamesArgument = None,
    output: OutputOption = Path("lowfield-recon-benchmark"),
    size: SizeOption = "full",
    threads: ThreadsOption = "1,2",
    tools: ToolsOption = None,
    cases: CasesOption = None,
    repeats: RepeatsOption = 5,
    budget: BudgetOption = 900.0,
    own_steps: OwnStepsOption = False,
    images: ImagesOption = None,
    slices: SlicesOption = 1,
    weights: WeightsOption = None,
    dictionaries: DictionariesOption = None,
    tasks: TasksOption = None,
    sigma: SigmaOption = None,
    seeds: SeedsOption = "0",
    run_budget: RunBudgetOption = None,
    workers: WorkersOption = 1,
    list_all: ListOption = False,
) -> None:
    """Compare time, memory and quality with other packages.

    Every tool solves the same problems on the same data; what is quoted are ratios of one run.
    Peers that are not installed are named with how to get them. Close other programs before
    timing: with two threads, a busy machine slows some tools by a factor of ten.
    """
    if list_all:
        _list()
        return
    from lowfield_recon.evaluation.benchmark import BENCHMARKS, BenchmarkOptions, find_benchmark

    chosen = [find_benchmark(name) for name in names or BENCHMARKS]
    options = BenchmarkOptions(
        size=size,
        threads=_numbers(threads, "--threads", "1,2"),
        tools=_words(tools),
        cases=_words(cases),
        repeats=repeats,
        budget=budget,
        exact_steps=not own_steps,
        images=tuple(images or ()),
        slices=slices,
        weights=_words(weights),
        dictionaries=_words(dictionaries),
        tasks=_words(tasks),
        sigma=() if sigma is None else _numbers(sigma, "--sigma", "5,25"),
        seeds=_numbers(seeds, "--seeds", "0,1,2", least=0),
        run_budget=_positive(run_budget, "--run-budget"),
        workers=workers,
    )
    if output.exists() and not output.is_dir():
        raise DataError(f"{output}: is a file; expected a folder for the results.")
    output.mkdir(parents=True, exist_ok=True)
    for entry in chosen:
        with _progress(entry.name) as progress:
            outcome = entry.run(options, output, progress)
        typer.echo(outcome.table)
        typer.echo(f"wrote {outcome.json_path} and {outcome.markdown_path}")
        if not outcome.has_passed:
            raise DataError(f"{entry.name}: its criterion is not met; see {outcome.json_path}.")


def _list() -> None:
    from lowfield_recon.evaluation.benchmark import BENCHMARKS
    from lowfield_recon.evaluation.benchmark.tools import TOOLS

    for entry in BENCHMARKS.values():
        typer.echo(f"{entry.name}: {entry.summary}")
    typer.echo("")
    for tool in TOOLS.values():
        state = tool.version() if tool.is_installed() else f"not installed ({tool.install})"
        typer.echo(f"{tool.name}: {state}")


def _words(text: str | None) -> tuple[str, ...]:
    words = tuple(word.strip() for word in (text or "").split(","))
    return tuple(word for word in words if word)


def _numbers(text: str, option: str, example: str, least: int = 1) -> tuple[int, ...]:
    words = _words(text)
    if not words or not all(word.isdecimal() and int(word) >= least for word in words):
        raise UsageError(
            f"{option} {text}: expected numbers from {least} on, e.g. {option} {example}."
        )
    return tuple(dict.fromkeys(int(word) for word in words))


def _positive(seconds: float | None, option: str) -> float | None:
    if seconds is not None and not (isfinite(seconds) and seconds > 0):
        raise UsageError(f"{option} {seconds:g}: expected a number of seconds above 0.")
    return seconds


@contextmanager
def _progress(name: str) -> Iterator[StepCallback | None]:
    """Show a bar over the steps on stderr, where that is a terminal and --quiet is not given."""
    is_quiet = logging.getLogger("lowfield_recon").level > logging.WARNING
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)

        def step(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield step
