"""Curves of a training run: JSON lines, cut to the checkpoint on resumption, and a picture."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path

_POINTS = 400


class Curves:
    """Lines of numbers, one for each step and each validation.

    Parameters
    ----------
    stream
        File that is open for appending and reading, in binary mode.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line at once, so that it stands there whatever happens next.

        Parameters
        ----------
        entry
            `step` and other numbers by name; those that JSON lacks (NaN, infinity) become null.
            A validation has its figures under `validation`.
        """
        self._stream.write(_line(entry))
        self._stream.flush()

    def entries(self) -> list[dict[str, Any]]:
        """Read all lines; one that was cut off ends them.

        Returns
        -------
            Numbers by name.
        """
        return [entry for entry, _ in self._places()]

    def cut_after(self, step: int, validated: Collection[int] = ()) -> None:
        """Forget what came after a step.

        Parameters
        ----------
        step
            Last step to keep; 0 empties the file.
        validated
            Steps whose validation is kept.
        """
        end = 0
        for entry, place in self._places():
            is_validation = "validation" in entry
            if entry["step"] > step or (is_validation and entry["step"] not in validated):
                break
            end = place
        self._stream.truncate(end)

    def _places(self) -> Iterator[tuple[dict[str, Any], int]]:
        """Give each line and where it ends in the file."""
        self._stream.seek(0)
        end = 0
        for line in self._stream:
            try:
                entry = json.loads(line)
            except ValueError:
                return
            whole = line.endswith(b"\n") and isinstance(entry, dict)
            if not whole or not isinstance(entry.get("step"), int):
                return
            end += len(line)
            yield entry, end


@contextmanager
def open_curves(path: Path) -> Iterator[Curves]:
    """Open the curves of a run, for this process alone.

    Parameters
    ----------
    path
        File of JSON lines; it is made if need be.

    Yields
    ------
        The curves.

    Raises
    ------
    DataError
        If another process has them open: two runs must not write into one folder.

    Examples
    --------
    >>> import tempfile
    >>> with open_curves(Path(tempfile.mkdtemp()) / "curves.jsonl") as curves:
    ...     curves.append({"step": 1, "loss": 0.5})
    ...     curves.append({"step": 2, "loss": 0.25})
    ...     curves.cut_after(1)
    ...     curves.entries()
    [{'step': 1, 'loss': 0.5}]
    """
    with path.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{path.parent.name}: another training run is writing into this folder; wait for "
                "it or choose another folder."
            ) from error
        yield Curves(stream)


def draw_curves(
    path: Path,
    entries: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, float | int]],
    title: str,
) -> Path:
    """Draw the losses, and beside them every other figure of the validations.

    Parameters
    ----------
    path
        PNG to write.
    entries
        Training losses: `step` and `loss`.
    history
        Validations: `step`, `loss` and other figures.
    title
        Title of the picture.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted({name for entry in history for name in entry} - {"step", "loss", "seconds"})
    width = 4.4 * (1 + len(names))
    figure = Figure(figsize=(width, 3.6))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left=0.7 / width, right=1 - 0.2 / width, bottom=0.15, top=0.82)
    axes = figure.subplots(1, 1 + len(names), squeeze=False)[0]
    steps, losses = _block_means(entries)
    axes[0].plot(steps, losses, color="0.6", linewidth=1, label="training")
    for axis, name in zip(axes, ["loss", *names], strict=True):
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        x, y = [point[0] for point in points], [point[1] for point in points]
        axis.plot(x, y, color="C0", marker="o", markersize=3, label="validation")
        axis.set_xlabel("step")
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
    drawn = [*losses, *(entry["loss"] for entry in history)]
    if drawn and min(drawn) > 0:
        axes[0].set_yscale("log")
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="white")
    return path


def _line(entry: Mapping[str, Any]) -> bytes:
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in entry.items()
    }
    return (json.dumps(plain, allow_nan=False) + "\n").encode()


def _block_means(entries: Sequence[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    """Average the training losses over blocks, so that a curve can be seen in their scatter."""
    points = [(e["step"], e["loss"]) for e in entries if e.get("loss") is not None]
    width = max(1, math.ceil(len(points) / _POINTS))
    blocks = [points[start : start + width] for start in range(0, len(points), width)]
    steps = [math.fsum(step for step, _ in block) / len(block) for block in blocks]
    losses = [math.fsum(loss for _, loss in block) / len(block) for block in blocks]
    return steps, losses
