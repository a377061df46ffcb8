"""What the demonstration does, as it stands in `pipelines/demo.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lowfield_recon.errors import UsageError

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

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """What it is called in file names, tables and captions; None for its name."""

    @property
    def shown_as(self) -> str:
        """What it is called in file names, tables and captions."""
        return self.name if self.label is None else self.label


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


def check_labels(plan: DemoPlan) -> None:
    """Refuse methods of one experiment whose files would have the same name.

    Parameters
    ----------
    plan
        The plan.

    Raises
    ------
    UsageError
        If two labels are the same, or differ only in case, which some file systems ignore.

    Examples
    --------
    >>> scan = {"name": "a", "title": "A", "text": "B", "sample": "c.h5"}
    >>> scan["methods"] = [{"name": "tv"}, {"name": "tv"}]
    >>> check_labels(DemoPlan(title="D", summary="E", experiments=[scan]))
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: a: two methods are called 'tv', and so would be their files; \
give one of them another 'label'.
    """
    for experiment in plan.experiments:
        seen: set[str] = set()
        for method in experiment.methods:
            if method.shown_as.casefold() in seen:
                raise UsageError(
                    f"{experiment.name}: two methods are called '{method.shown_as}', and so would "
                    "be their files; give one of them another 'label'."
                )
            seen.add(method.shown_as.casefold())
