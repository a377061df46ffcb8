"""`lowfield-recon train`: train a network from a configuration file and images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowfield_recon.cli.options import DeviceOption
from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.files import check_output_path, require_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from lowfield_recon.learning.trainer import FitResult

_CONFIGS = Path(__file__).resolve().parents[1] / "learning" / "configs"

_Method = Annotated[str, typer.Argument(metavar="METHOD", help="What to train, e.g. cdl-lambda.")]
_Config = Annotated[
    str, typer.Argument(metavar="CONFIG", help="YAML file, or the name of one that ships.")
]
_Images = Annotated[
    list[Path],
    typer.Option("--images", metavar="PATH...", help="Files or folders of images to learn from."),
]
_More = Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="More images.")]
_Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for weights and checkpoint.")
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the configuration, e.g. fit.steps=500; may be given repeatedly.",
    ),
]
_Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Threads.  [default: as torch chooses]")
]
_Restart = Annotated[
    bool, typer.Option("--restart", help="Begin anew; the training in the folder is lost.")
]


def train(
    method: _Method,
    config: _Config,
    images: _Images,
    out: _Out,
    more: _More = None,
    settings: _Set = None,
    device: DeviceOption = "auto",
    threads: _Threads = None,
    restart: _Restart = False,
) -> None:
    """Train a network.

    The same command goes on with a training that was interrupted, and ends with the same weights
    (on the CPU, with the same number of threads). DIR then holds weights.safetensors, the best by
    validation loss, with the model card weights.json, and curves.png.
    """
    paths = [*images, *(more or [])]
    for path in paths:
        if not any(mark in path.name for mark in "*?["):
            require_file(path, "image or folder of images")
    check_output_path(out)
    content = load_training_configuration(config, settings or [])
    from lowfield_recon.learning.tasks import check_method, fit_settings, make_task
    from lowfield_recon.progress import progress_bar

    check_method(method)
    fitting = fit_settings(content)
    place = _compute_on(device, threads)
    from lowfield_recon.learning.trainer import fit

    task = make_task(method, content, paths, place)
    command = _command(method, config, paths, out, settings or [], device, threads)
    with progress_bar(f"train {method}", 1) as progress_of:
        is_quiet = logging.getLogger("lowfield_recon").level > logging.WARNING
        result = fit(
            task, fitting, out, device=place, progress=progress_of(0), restart=restart,
            command=command, tell=_say_nothing if is_quiet else _say,
        )  # fmt: skip
    _conclude(result)


def load_training_configuration(name: str, assignments: Sequence[str]) -> dict[str, Any]:
    """Read the configuration of a training and set what the user sets.

    Parameters
    ----------
    name
        Path of a YAML file, or the name of one that ships.
    assignments
        Words such as `"fit.steps=500"`; values are written as in YAML.

    Returns
    -------
        The configuration: sections by name.

    Raises
    ------
    UsageError
        If no configuration of that name ships, it is no YAML, or a word is not `key=value`.
    DataError
        If there is no such file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "small.yaml"
    >>> _ = path.write_text("fit: {steps: 10, seed: 3}")
    >>> load_training_configuration(str(path), ["fit.steps=500", "batch_size=2"])
    {'fit': {'steps': 500, 'seed': 3}, 'batch_size': 2}
    """
    from lowfield_recon.configuration import read_document

    content = read_document(_find_configuration(name)).content
    for word in assignments:
        key, value = _assignment(word)
        *sections, last = key.split(".")
        place = content
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise UsageError(
                    f"--set {word}: '{section}' holds no settings; name one that it has."
                )
            place = inner
        place[last] = value
    return content


def _find_configuration(name: str) -> Path:
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return require_file(path, "configuration")
    known = {entry.stem: entry for entry in _CONFIGS.glob("*.yaml")} if _CONFIGS.is_dir() else {}
    if name not in known:
        hint = nearest_name(name, sorted(known)) if known else "None ship."
        raise UsageError(f"{name}: no such file, and no configuration of that name ships. {hint}")
    return known[name]


def _assignment(word: str) -> tuple[str, Any]:
    """Split `key=value` and read the value as YAML does."""
    import yaml

    key, separator, text = word.partition("=")
    if not separator or not all(key.split(".")):
        raise UsageError(f"--set {word}: expected KEY=VALUE, e.g. fit.steps=500.")
    try:
        return key, yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {word}: '{text}' is not a YAML value; quote it.") from error


def _compute_on(device: str, threads: int | None) -> torch.device:
    """Return where to compute, with this many threads."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise UsageError(f"--device {device}: expected auto, cpu or cuda.")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: torch sees no CUDA device; use --device cpu, or auto to let it choose."
        )
    return torch.device(device)


def _command(
    method: str,
    config: str,
    paths: Sequence[Path],
    out: Path,
    settings: Sequence[str],
    device: str,
    threads: int | None,
) -> str:
    """Write the command as it goes into the model card: file names without their folders."""
    from shlex import join

    words = ["lowfield-recon", "train", method, Path(config).name, "-o", out.name, "--images"]
    words += [path.name or path.resolve().name for path in paths]
    for word in settings:
        key, _, value = word.partition("=")
        words += ["--set", f"{key}={Path(value).name if '/' in value else value}"]
    words += ["--device", device] + ([] if threads is None else ["--threads", str(threads)])
    return join(words)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _say_nothing(line: str) -> None:
    del line


def _conclude(result: FitResult) -> None:
    why = "the hours are spent" if result.stopped_by == "time" else "all steps are done"
    skipped = f", {result.skipped} skipped (not finite)" if result.skipped else ""
    figures = ", ".join(f"{k} {v:.5g}" for k, v in result.best.items() if k != "step")
    typer.echo(f"{why}: {result.steps} steps in {result.seconds:.0f} s{skipped}")
    typer.echo(f"best at step {result.best['step']}: {figures}; wrote {result.weights}")
