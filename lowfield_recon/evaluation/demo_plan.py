"""What the demonstration does, as it stands in `pipelines/demo.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Setting = int | float | str | bool | None
"""Value of a method's setting."""


class _Strict(BaseModel):
    """Settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodPlan(_Strict):
    """One method and its settings."""

    name: str
    """Name of the method."""

    settings: dict[str, Setting] = {}
    """Settings by name; those left out follow the method's rule."""


class UndersamplingPlan(_Strict):
    """Lines that are left out after the fact."""

    acceleration: Annotated[float, Field(ge=1)]
    """R: one line in R is kept."""

    calibration_lines: Annotated[int, Field(ge=0)]
    """Central lines that are always kept."""

    kind: Literal["random", "regular"] = "random"
    """How the other lines are chosen."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the random choice."""


class ExperimentPlan(_Strict):
    """One scan, several methods."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Beginning of the names of the files that are written."""

    title: str
    """Head of its section."""

    text: str
    """What is done and what to look at."""

    sample: str
    """Name of a scan that ships with the package."""

    methods: Annotated[tuple[MethodPlan, ...], Field(min_length=1)]
    """Methods, in the order of the images."""

    undersampling: UndersamplingPlan | None = None
    """None reconstructs from all data."""

    slices: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Slices, counted from 0; None for all. The middle one is shown first."""

    difference_gain: Annotated[float, Field(gt=0)] = 4.0
    """How many times brighter differences are shown."""

    quarter_turns: Annotated[int, Field(ge=0, le=3)] = 0
    """Anticlockwise quarter turns of the images in report and figure; files are not turned."""

    head_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Scores count where the smoothed reference exceeds this part of its peak, holes filled."""


class DemoPlan(_Strict):
    """The whole demonstration."""

    title: str
    """Head of the report."""

    summary: str
    """First paragraph of the report."""

    experiments: Annotated[tuple[ExperimentPlan, ...], Field(min_length=1)]
    """What is done, in order."""
