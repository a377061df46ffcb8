"""Everything that a training run needs to go on where it was interrupted, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.schedule import FREE_ON_RESUME
from lowfield_recon.learning.tensor_files import read_tensors, write_tensors

FORMAT = "lowfield-recon checkpoint"
VERSION = 1
_PARTS = ("model", "optimizer", "average", "best")


@dataclass(slots=True, kw_only=True, eq=False)
class Counters:
    """Where a training run stands."""

    step: int = 0
    """Steps done, the skipped ones too."""

    skipped: int = 0
    """Steps that were skipped because loss or gradient was not finite."""

    skipped_in_a_row: int = 0
    """How many of these came last."""

    seconds: float = 0.0
    """Time spent so far, over all resumptions [s]."""

    threads: int = 1
    """Threads that computed the last steps."""

    best_step: int | None = None
    """Step of the best validation."""

    history: list[dict[str, float | int]] = field(default_factory=list)
    """Every validation: its step and its figures."""

    @property
    def best(self) -> dict[str, float | int] | None:
        """The best validation, None before the first."""
        found = [entry for entry in self.history if entry["step"] == self.best_step]
        return found[0] if found else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """State of a training run after a step."""

    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    """By part (`"model"`, `"optimizer"`, `"average"`, `"best"`) and name."""

    counters: Counters
    """Where the run stands."""

    settings: Mapping[str, Any]
    """What must be the same when the run goes on, apart from `FREE_ON_RESUME`."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path
        File to write.
    checkpoint
        The state.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.

    Examples
    --------
    >>> import tempfile
    >>> state = Checkpoint(tensors={"model": {"w": torch.ones(1)}}, counters=Counters(step=5),
    ...                    settings={})
    >>> path = write_checkpoint(Path(tempfile.mkdtemp()) / "checkpoint.safetensors", state)
    >>> read_checkpoint(path).counters.step
    5
    """
    flat = {
        f"{part}/{name}": tensor
        for part, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    record = {
        "format": FORMAT,
        "version": VERSION,
        "counters": asdict(checkpoint.counters),
        "settings": dict(checkpoint.settings),
    }
    return write_tensors(path, flat, record)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
        The state, on the CPU.

    Raises
    ------
    DataError
        If it is damaged, or no checkpoint of this version.

    Examples
    --------
    >>> import tempfile
    >>> path = write_tensors(Path(tempfile.mkdtemp()) / "a.safetensors", {}, {"format": "other"})
    >>> read_checkpoint(path)
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.DataError: a.safetensors: holds 'other', version None; expected \
'lowfield-recon checkpoint', version 1. Begin anew with --restart.
    """
    flat, record = read_tensors(path)
    if record.get("format") != FORMAT or record.get("version") != VERSION:
        raise DataError(
            f"{path.name}: holds '{record.get('format')}', version {record.get('version')}; "
            f"expected '{FORMAT}', version {VERSION}. Begin anew with --restart."
        )
    tensors: dict[str, dict[str, torch.Tensor]] = {part: {} for part in _PARTS}
    for key, tensor in flat.items():
        part, _, name = key.partition("/")
        tensors.setdefault(part, {})[name] = tensor
    kept = record["counters"]
    known = {entry.name for entry in fields(Counters)}
    counters = Counters(**{name: value for name, value in kept.items() if name in known})
    return Checkpoint(tensors=tensors, counters=counters, settings=record["settings"])


def check_same_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: str) -> None:
    """Refuse to go on with other settings than a run began with.

    Parameters
    ----------
    before
        Settings of the checkpoint.
    now
        Settings that the run is to go on with.
    folder
        Name of the run's folder, for the message.

    Raises
    ------
    UsageError
        If any differ, apart from those of `FREE_ON_RESUME` under `"fit"`; names the first.

    Examples
    --------
    >>> check_same_settings({"fit": {"steps": 5, "seed": 1}}, {"fit": {"steps": 9, "seed": 2}}, "a")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: a: this run began with fit.seed = 1, now it is 2; use the \
same again, choose another folder, or begin anew with --restart.
    """
    old, new = _flattened(before), _flattened(now)
    free = {f"fit.{name}" for name in FREE_ON_RESUME}
    different = [
        name for name in sorted({*old, *new} - free) if old.get(name, _NONE) != new.get(name, _NONE)
    ]
    if different:
        name = different[0]
        more = f" ({len(different) - 1} more differ)" if len(different) > 1 else ""
        raise UsageError(
            f"{folder}: this run began with {name} = {_shown(old.get(name, _NONE))}, now it is "
            f"{_shown(new.get(name, _NONE))}{more}; use the same again, choose another folder, or "
            "begin anew with --restart."
        )


_NONE = object()


def _shown(value: object) -> str:
    text = "absent" if value is _NONE else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flattened(value: object, prefix: str = "") -> dict[str, object]:
    """Name every leaf of nested mappings and lists by its place."""
    if isinstance(value, Mapping):
        pairs = [(str(key), entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(str(index), entry) for index, entry in enumerate(value)]
    else:
        return {prefix: value}
    leaves: dict[str, object] = {} if pairs or not prefix else {prefix: "empty"}
    for key, entry in pairs:
        leaves |= _flattened(entry, f"{prefix}.{key}" if prefix else key)
    return leaves
