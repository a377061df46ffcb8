"""The types of steps of a study: training, the study itself, its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lowfield_recon.pipeline.step import FileInput, StepSettings, StepType

_IMAGES = ("image", "photograph")


class TrainSettings(StepSettings):
    """Settings of `train`."""

    config: str
    """Name of a configuration that ships."""
    method: str | None = None
    """Method to train; None takes the one whose name the configuration's begins with."""
    images: Annotated[tuple[Path, ...], FileInput(_IMAGES), Field(min_length=1)]
    """Images to learn from: files or folders."""
    settings: dict[str, Any] = Field(default={})
    """What differs from the configuration, e.g. `fit.steps: 500`."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of weights and examples; None takes the configuration's."""
    state: str | None = None
    """Folder of what an interrupted training goes on from; None begins anew."""


class StudySettings(StepSettings):
    """Settings of `study`."""

    study: Annotated[Path, FileInput(("study-plan",))]
    """YAML of the study."""
    data: Annotated[tuple[Path, ...], FileInput(("images", *_IMAGES))] = ()
    """Folders with the images that the study names."""
    weights: Annotated[tuple[Path, ...], FileInput(("weights",))] = ()
    """Weights that the study names, by the names of their files."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes, each with one thread; the results are the same."""
    state: str | None = None
    """Folder of what an interrupted study goes on from; None begins anew."""


class ReportSettings(StepSettings):
    """Settings of `report`."""

    study: Annotated[Path, FileInput(("study",))]
    """Folder of a study."""


_STEPS = "lowfield_recon.pipeline.study_steps"

STUDY_STEP_TYPES = (
    StepType(
        name="train",
        version=1,
        summary="images in, trained weights out",
        settings=TrainSettings,
        outputs={"weights": "weights", "record": "record"},
        default_name="weights.safetensors",
        function=f"{_STEPS}:train_step",
        checks={"config": f"{_STEPS}:check_training"},
    ),
    StepType(
        name="study",
        version=1,
        summary="study, images and weights in, folder with its tables and panels out",
        settings=StudySettings,
        outputs={"study": "study"},
        default_name="study",
        function=f"{_STEPS}:study_step",
        checks={"study": f"{_STEPS}:check_study"},
    ),
    StepType(
        name="report",
        version=1,
        summary="study in, page and figures out",
        settings=ReportSettings,
        outputs={"report": "report", "figures": "figures"},
        default_name="report.html",
        function=f"{_STEPS}:report_step",
    ),
)
"""Types of steps of a study."""
