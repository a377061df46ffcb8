"""What a pipeline's YAML holds: parameters with their types, and steps in order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ParameterType = Literal[
    "text", "number", "integer", "flag", "file", "files", "words", "numbers", "settings"
]
"""What a parameter holds; `files`, `words` and `numbers` hold several and can be looped over."""

PLURAL: tuple[ParameterType, ...] = ("files", "words", "numbers")

_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]


class _Strict(BaseModel):
    """Settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


class ParameterPlan(_Strict):
    """One value that the user may give as `name=value`."""

    type: ParameterType
    """What it holds."""

    default: Any = None
    """Value when the user gives none; a parameter without this key must be given."""

    help: str = ""
    """What it means."""

    unit: str | None = None
    """Unit of a number."""

    pattern: tuple[str, ...] = ("*",)
    """Names that are taken when `files` is given a folder."""

    @property
    def is_required(self) -> bool:
        """Whether the user must give it."""
        return "default" not in self.model_fields_set


class StepPlan(_Strict):
    """One step, done once for each combination of what it loops over."""

    name: _Name
    """Name by which later steps refer to it."""

    uses: str
    """Type of the step."""

    settings: dict[str, Any] = Field(default={}, alias="with")
    """Its settings; `"${parameter}"` and `"${step.output}"` stand for values."""

    for_each: tuple[str, ...] = ()
    """Parameters that hold several values; the step is done for each combination."""

    save_as: str | None = None
    """Name in the output folder; None keeps the result in the cache for later steps."""


class PipelinePlan(_Strict):
    """A chain of steps."""

    name: _Name
    """Name of the pipeline."""

    description: str
    """What it does, in one or two sentences."""

    parameters: dict[_Name, ParameterPlan] = {}
    """Values that the user may give."""

    steps: Annotated[tuple[StepPlan, ...], Field(min_length=1)]
    """Steps; each may refer to those before it."""
