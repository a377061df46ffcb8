"""What a pipeline comes down to: units of work, each one call of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lowfield_recon.configuration import Document
from lowfield_recon.pipeline.plan import PipelinePlan, StepPlan
from lowfield_recon.pipeline.step import StepType


@dataclass(frozen=True, slots=True)
class Link:
    """A file that another unit makes."""

    unit: int
    """Index of that unit."""

    output: str
    """Which of its outputs."""


Source = Path | Link
"""Where an input file comes from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unit:
    """One call of a step."""

    index: int
    """Its place in the pipeline's list; units that it needs come before."""

    step: StepPlan
    """The step as the YAML has it."""

    step_index: int
    """Place of the step in the YAML."""

    type: StepType
    """Type of the step."""

    bindings: Mapping[str, Any]
    """What it loops over, with the values of this unit."""

    settings: Mapping[str, Any]
    """Settings, without those that are files."""

    files: Mapping[str, tuple[Source, ...]]
    """Settings that are files."""

    name: str
    """Name of the main output."""

    folder: PurePosixPath | None
    """Folder below the output folder, or None where the result stays in the cache."""

    @property
    def label(self) -> str:
        """Step and values, as users see them."""
        values = (
            f"{name}={value.name if isinstance(value, Path) else value}"
            for name, value in self.bindings.items()
        )
        return " ".join([self.step.name, *values])

    def links(self) -> list[Link]:
        """Return the files of other units that it needs.

        Returns
        -------
            The links, in the order of the settings.
        """
        return [source for sources in self.files.values() for source in sources
                if isinstance(source, Link)]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pipeline:
    """A pipeline whose YAML and parameters have been checked."""

    plan: PipelinePlan
    """What the YAML says."""

    document: Document
    """The YAML with its lines."""

    parameters: Mapping[str, Any]
    """Value of each parameter."""

    units: tuple[Unit, ...]
    """Units of work in an order in which they can be done."""

    def place(self, unit: Unit, key: str | None = None) -> str:
        """Name file and line of a unit's step, or of one of its keys.

        Parameters
        ----------
        unit
            The unit.
        key
            A key of the step, or of its `with`.

        Returns
        -------
            For instance `"chain.yaml, line 3"`.
        """
        location: tuple[int | str, ...] = ("steps", unit.step_index)
        if key is not None:
            location += (key,) if key in ("save_as", "uses", "for_each") else ("with", key)
        return self.document.place(*location)
