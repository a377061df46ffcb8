"""What a type of step declares: its settings, the files it takes and gives, its function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict

Function = str | Callable[..., Any]
"""A function, or `"module:function"`, which is imported when it is called."""


class StepSettings(BaseModel):
    """Settings of a step; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class FileInput:
    """Marks a setting as a file that the step reads."""

    accepts: tuple[str, ...]
    """Kinds of files that it takes from other steps."""


@dataclass(frozen=True, slots=True)
class Input:
    """One setting that names files."""

    accepts: tuple[str, ...]
    """Kinds of files that it takes."""

    is_list: bool
    """Whether it takes any number of files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step hands back."""

    outputs: Mapping[str, Path]
    """Each declared output and its file or folder, at or beside the name that was given."""

    notes: tuple[str, ...] = ()
    """What was assumed, in sentences."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepType:
    """One type of step."""

    name: str
    """Name that a YAML uses."""

    version: int
    """Goes up whenever the same input gives another result; older cache entries then expire."""

    summary: str
    """What it does, in one line."""

    settings: type[StepSettings]
    """Its settings, those that are files marked with `FileInput`."""

    outputs: Mapping[str, str]
    """Name of each output and its kind (`"scan"`, `"image"`, `"scores"`, ...)."""

    default_name: str
    """Name of its main output where the YAML gives none."""

    function: Function
    """`(settings, path of the main output, progress) -> StepResult`."""

    checks: Mapping[str, Function] = field(default_factory=dict)
    """Key of the step in the YAML and the function of `(settings, name)` that refuses what only
    the methods and writers themselves can judge; called only when something is to run."""

    def inputs(self) -> dict[str, Input]:
        """Return the settings that are files.

        Returns
        -------
            Name of the setting and what it takes.
        """
        found = {}
        for name, info in self.settings.model_fields.items():
            marks = [mark for mark in info.metadata if isinstance(mark, FileInput)]
            if marks:
                found[name] = Input(marks[0].accepts, _holds_tuple(info.annotation))
        return found


def _holds_tuple(annotation: Any) -> bool:
    return get_origin(annotation) is tuple or any(_holds_tuple(a) for a in get_args(annotation))


def load_function(function: Function) -> Callable[..., Any]:
    """Import what `"module:function"` names.

    Parameters
    ----------
    function
        Module and function, or the function itself.

    Returns
    -------
        The function.

    Examples
    --------
    >>> load_function("math:floor")(2.5)
    2
    """
    if not isinstance(function, str):
        return function
    module, _, attribute = function.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), attribute)
    return loaded
