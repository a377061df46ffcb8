"""The command `lowfield-recon`: its commands, its exit codes, its one line for every error."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import dropwhile
from types import TracebackType
from typing import Annotated

import typer

from lowfield_recon import __version__
from lowfield_recon.cli.interruption import interruptible
from lowfield_recon.cli.logging_setup import logging_to_stderr
from lowfield_recon.errors import LowfieldReconError

PROGRAM = "lowfield-recon"

COMMANDS = {
    "demo": "lowfield_recon.cli.demo",
    "info": "lowfield_recon.cli.info",
    "reconstruct": "lowfield_recon.cli.reconstruct",
    "restore": "lowfield_recon.cli.restore",
    "simulate": "lowfield_recon.cli.simulate",
    "convert": "lowfield_recon.cli.convert",
    "decompose": "lowfield_recon.cli.decompose",
    "score": "lowfield_recon.cli.score",
    "methods": "lowfield_recon.cli.methods",
    "run": "lowfield_recon.cli.run",
    "study": "lowfield_recon.cli.study",
    "benchmark": "lowfield_recon.cli.benchmark",
    "data": "lowfield_recon.cli.data",
    "dictionary": "lowfield_recon.cli.dictionary",
    "train": "lowfield_recon.cli.train",
    "tune": "lowfield_recon.cli.tune",
    "weights": "lowfield_recon.cli.weights",
}
"""Command and the module that holds the function, or the Typer group of commands, of that name.

The modules import lightly.
"""

_EPILOG = "Anywhere: --debug (traceback on errors), --quiet (errors only), --verbose."
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_GLOBAL_FLAGS = ("--debug", "--quiet", "--verbose")
_NUMBER_LISTS = ("--fov", "--matrix", "--voxel", "--window", "--emi")
_INTERRUPTED = 130


def build_app(names: Sequence[str] = tuple(COMMANDS)) -> typer.Typer:
    """Collect commands, importing only their modules.

    Parameters
    ----------
    names
        Which commands; a single one becomes the program itself, without the global options.

    Returns
    -------
        The Typer application.

    Examples
    --------
    >>> [command.name for command in build_app(["info"]).registered_commands]
    ['info']
    """
    app = typer.Typer(
        name=PROGRAM,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
        epilog=_EPILOG,
    )
    if len(names) > 1:
        app.callback()(_global_options)
    for name in names:
        function = getattr(import_module(COMMANDS[name]), name)
        if not isinstance(function, typer.Typer):
            app.command(name, context_settings=_CONTEXT, epilog=_EPILOG)(function)
        elif len(names) == 1:
            return function
        else:
            app.add_typer(function, name=name, epilog=_EPILOG)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and say in one line what went wrong, if anything did.

    Parameters
    ----------
    arguments
        Words after the program's name; None takes them from the command line.

    Returns
    -------
        Exit code: 0, or 2 for wrong use, 1 for a problem with the data, 130 when interrupted.

    Examples
    --------
    >>> main(["methds"])
    2
    """
    words = _arrange(list(sys.argv[1:] if arguments is None else arguments))
    is_debug = "--debug" in words
    verbosity = next((word[2:] for word in ("--quiet", "--verbose") if word in words), "normal")
    with _one_line_errors(is_debug), interruptible(), logging_to_stderr(verbosity):
        try:
            return _run(words)
        except (LowfieldReconError, typer.TyperException, OSError, MemoryError) as error:
            if is_debug:
                raise
            return _report(error)
        except RuntimeError as error:
            if is_debug or not _is_out_of_memory(error):
                raise
            return _report(MemoryError(str(error)))


def _run(words: list[str]) -> int:
    """Run the command that is named, or the whole program for everything else."""
    rest = list(dropwhile(lambda word: word in _GLOBAL_FLAGS, words))
    if rest and rest[0] in COMMANDS:
        app, program, words = build_app(rest[:1]), f"{PROGRAM} {rest[0]}", rest[1:]
        words = words or (["--help"] if app.registered_commands[1:] else [])
    else:
        app, program, words = build_app(), PROGRAM, words or ["--help"]
    command = typer.main.get_command(app)
    result = command.main(words, prog_name=program, standalone_mode=False)
    code = result if isinstance(result, int) else 0
    if code == _INTERRUPTED:
        _say("interrupted; nothing half-written was left")
    return code


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show errors only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say what is being done.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Reconstruct images from what an MRI scanner recorded, above all a low-field one."""
    del debug, quiet, verbose, version  # `main` reads them, wherever they stand


def _arrange(words: list[str]) -> list[str]:
    """Move the global flags to the front, and join numbers after `--fov` and the like."""
    end = words.index("--") if "--" in words else len(words)
    head, tail = words[:end], words[end:]
    flags = [word for word in head if word in _GLOBAL_FLAGS]
    rest: list[str] = []
    for word in (word for word in head if word not in _GLOBAL_FLAGS):
        if len(rest) >= 2 and rest[-2] in _NUMBER_LISTS and _is_number(word):
            rest[-1] = f"{rest[-1]} {word}"
        else:
            rest.append(word)
    return flags + rest + tail


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _report(error: Exception) -> int:
    """Say the error in one line and return the exit code."""
    if isinstance(error, LowfieldReconError):
        _say(str(error))
        return error.exit_code
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        place = context.command_path if context is not None else PROGRAM
        _say(f"{error.format_message().rstrip('.')}; see '{place} --help'")
        return error.exit_code
    if isinstance(error, MemoryError):
        _say(f"not enough memory ({error}); expected the data to fit: choose fewer --slices")
        return 1
    _say(_explain_os_error(error) if isinstance(error, OSError) else str(error))
    return 1


def _explain_os_error(error: OSError) -> str:
    name = error.filename if error.filename is not None else "file"
    if error.errno is None:
        return str(error)
    advice = {
        errno.ENOENT: "check the path",
        errno.EACCES: "check its permissions",
        errno.EPERM: "check its permissions",
        errno.EISDIR: "expected a file",
        errno.ENOTDIR: "expected a folder",
        errno.ENOSPC: "free some space or write elsewhere",
        errno.ENAMETOOLONG: "choose a shorter name",
    }.get(error.errno, "mend that and try again")
    return f"{name}: {os.strerror(error.errno).lower()}; {advice}"


def _is_out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def _say(message: str) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")


@contextmanager
def _one_line_errors(is_debug: bool) -> Iterator[None]:
    """Show an error that nobody foresaw in one line too; Python then exits with 1."""

    def show(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if is_debug:
            sys.__excepthook__(kind, error, traceback)
        else:
            _say(f"unexpected {kind.__name__}: {error}; run again with --debug and report it")

    sys.excepthook = show
    yield
    sys.excepthook = sys.__excepthook__


if __name__ == "__main__":
    sys.exit(main())
