"""The types of steps that ship, with their settings; their functions are loaded when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lowfield_recon.pipeline.step import FileInput, StepSettings, StepType
from lowfield_recon.pipeline.study_step_types import STUDY_STEP_TYPES

_IMAGES = ("image", "photograph")

_Extents = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...],
    Field(min_length=2, max_length=3),
]
_Sizes = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2, max_length=3)]


class ReadingSettings(StepSettings):
    """How raw arrays are read; ISMRMRD files say all of this themselves."""

    axes: str | None = None
    key: str | None = None
    image_space: bool = False
    trajectory_key: str | None = None
    fov_mm: _Extents | None = None
    """Field of view along x, y and perhaps z [mm]."""
    matrix: _Sizes | None = None
    """Image size along x, y and perhaps z."""
    field_strength_t: Annotated[float, Field(gt=0)] | None = None


class UndersamplingSettings(StepSettings):
    """Lines that are left out after the fact."""

    acceleration: Annotated[float, Field(ge=1)]
    calibration_lines: Annotated[int, Field(ge=0)] = 24
    kind: str = "random"
    seed: int | str = 0


class CompressionSettings(StepSettings):
    """How coils are compressed."""

    method: Literal["svd", "geometric"]
    virtual_coils: Annotated[int, Field(ge=1)] | None = None
    energy: Annotated[float, Field(gt=0, le=1)] | None = None


class ReconstructSettings(ReadingSettings):
    """Settings of `reconstruct`."""

    scan: Annotated[Path, FileInput(("scan",))]
    also: Annotated[tuple[Path, ...], FileInput(("scan",))] = ()
    method: str = "tv"
    settings: dict[str, Any] = Field(default={})
    device: str = "auto"
    slices: str | None = None
    part: Literal["magnitude", "phase", "complex", "both"] | None = None
    coil_maps: Literal["auto", "espirit", "walsh", "inati"] = "auto"
    prewhitening: bool = True
    coil_compression: CompressionSettings | None = None
    recenter: bool = False
    partial_fourier: Literal["zero-filled", "homodyne", "pocs"] = "zero-filled"
    intensity_scale: Literal["raw", "unit"] = "raw"
    image_domain: Literal["complex", "real", "nonnegative"] = "complex"
    average_repetitions: bool = False
    undersampling: UndersamplingSettings | None = None


class DegradeSettings(StepSettings):
    """Settings of `degrade`."""

    image: Annotated[Path, FileInput(_IMAGES)]
    task: Literal["inpaint", "denoise", "deblur", "super-resolve", "mixed"]
    kept_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Part of the pixels that `inpaint` and `mixed` keep; for `mixed`, 1 is no mask."""
    per_channel: bool = False
    """Whether each value is kept or not by itself, not all channels of a pixel together."""
    noise_std: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Standard deviation of the noise on the grey scale 0..1."""
    kernel: str | None = "gaussian:1.6"
    """Blur of `deblur` and `mixed`; for `mixed`, null is none but the mean of the pixels that
    become one."""
    factor: Annotated[int, Field(ge=1)] = 2
    """How many times smaller `super-resolve` and `mixed` make the image; for `mixed`, 1 is none."""
    crop: Annotated[int, Field(ge=8)] | None = None
    """Largest size along y and x [pixels]; the middle is kept."""
    seed: Annotated[int, Field(ge=0)] = 0


class RestoreSettings(StepSettings):
    """Settings of `restore`: the task with what it needs, or the record of `degrade`."""

    image: Annotated[Path, FileInput(_IMAGES)]
    degradation: Annotated[Path | None, FileInput(("degradation",))] = None
    task: Literal["inpaint", "denoise", "deblur", "super-resolve", "mixed"] | None = None
    mask: Annotated[Path | None, FileInput(("mask", *_IMAGES))] = None
    mask_per_channel: bool = False
    """Whether the channels of a mask that is a picture are masks of their own."""
    noise_std: Annotated[float, Field(ge=0, lt=1)] | None = None
    kernel: str | None = None
    factor: Annotated[int, Field(ge=2)] | None = None
    method: str = "tv"
    settings: dict[str, Any] = Field(default={})
    device: str = "auto"


class ConvertSettings(ReadingSettings):
    """Settings of `convert`."""

    array: Annotated[Path, FileInput(("scan", "image"))]


class SimulateSettings(StepSettings):
    """Settings of `simulate`."""

    image: Annotated[Path, FileInput(_IMAGES)]
    recipe: dict[str, Any] = Field(default={})
    """What is done to the image, e.g. `n_coils: 4` and `snr: 20`."""
    fov_mm: _Extents | None = None
    """Field of view along x, y and perhaps z [mm], where the image does not say."""
    voxel_mm: _Extents | None = None
    """Size of a voxel along x, y and perhaps z [mm], where the image does not say."""
    matrix: _Sizes | None = None
    """Size of k-space along x, y and perhaps z."""


class ScoreSettings(StepSettings):
    """Settings of `score`."""

    image: Annotated[Path, FileInput(_IMAGES)]
    reference: Annotated[Path, FileInput(_IMAGES)]
    mask: Annotated[Path | None, FileInput(("mask", *_IMAGES))] = None
    data_range: Annotated[float, Field(gt=0)] | None = None
    labels: dict[str, str | int | float | bool | None] = Field(default={})
    """What to call this image, for the table."""


class TableSettings(StepSettings):
    """Settings of `table`."""

    rows: Annotated[tuple[Path, ...], FileInput(("scores", "record")), Field(min_length=1)]
    columns: Annotated[dict[str, str], Field(min_length=1)]
    """Heading and place of the value in the JSON, e.g. `scan: inputs.scan.name`."""


class LearnDictionarySettings(StepSettings):
    """Settings of `learn-dictionary`."""

    images: Annotated[tuple[Path, ...], FileInput(_IMAGES), Field(min_length=1)]
    n_kernels: Annotated[int, Field(ge=1)]
    kernel_size: Annotated[int, Field(ge=1)]
    weight: Annotated[float, Field(gt=0)]
    """Sparsity weight λ."""
    beta: Annotated[float, Field(ge=0)]
    """Weight of the low-pass that is taken off first."""
    passes: Annotated[int, Field(ge=1)] = 2
    coding_iterations: Annotated[int, Field(ge=1)] = 40
    forgetting: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 8.0
    """How soon older codes count less; see `LearningOptions`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.7
    """Part of its last change that a kernel goes on."""
    zero_mean: bool = False
    image_level: Annotated[float, Field(gt=0)] = 10.0
    seed: Annotated[int, Field(ge=0)] = 0
    key: str | None = None
    """Name of the array in files that hold several."""
    slice_axis: int = 0
    """Axis of an array that counts slices."""
    reduction: Annotated[int, Field(ge=1)] = 1
    """How many times larger pixels are made."""
    crop: Annotated[int, Field(ge=8)] | None = None
    """Largest size along y and x [pixels]; the middle is kept."""
    provenance: dict[str, str] = Field(default={})
    """Licence and source of the images, for the record."""


class BankSettings(StepSettings):
    """Settings of `bank`."""

    dictionaries: Annotated[tuple[Path, ...], FileInput(("dictionary",)), Field(min_length=1)]


_STEPS = "lowfield_recon.pipeline.steps"
_BUILDING = "lowfield_recon.pipeline.dictionary_steps"
_METHOD = {"method": f"{_STEPS}:check_method"}

STEP_TYPES: dict[str, StepType] = {
    step.name: step
    for step in (
        StepType(
            name="reconstruct",
            version=1,
            summary="scan in, image out",
            settings=ReconstructSettings,
            outputs={"image": "image", "record": "record"},
            default_name="image.npy",
            function=f"{_STEPS}:reconstruct_step",
            checks={**_METHOD, "save_as": f"{_STEPS}:check_image_name"},
        ),
        StepType(
            name="restore",
            version=1,
            summary="degraded photograph in, restored one out",
            settings=RestoreSettings,
            outputs={"image": "photograph", "record": "record"},
            default_name="restored.npy",
            function=f"{_STEPS}:restore_step",
            checks={
                **_METHOD,
                "task": f"{_STEPS}:check_restoration",
                "save_as": f"{_STEPS}:check_photograph_name",
            },
        ),
        StepType(
            name="degrade",
            version=1,
            summary="photograph in, degraded one out, with the truth and what was done to it",
            settings=DegradeSettings,
            outputs={
                "image": "photograph",
                "reference": "photograph",
                "degradation": "degradation",
            },
            default_name="degraded.npy",
            function=f"{_STEPS}:degrade_step",
            checks={"save_as": f"{_STEPS}:check_photograph_name"},
        ),
        StepType(
            name="convert",
            version=1,
            summary="raw array in, ISMRMRD scan out",
            settings=ConvertSettings,
            outputs={"scan": "scan"},
            default_name="scan.h5",
            function=f"{_STEPS}:convert_step",
        ),
        StepType(
            name="simulate",
            version=1,
            summary="image in, simulated scan out",
            settings=SimulateSettings,
            outputs={"scan": "scan"},
            default_name="scan.h5",
            function=f"{_STEPS}:simulate_step",
            checks={"recipe": f"{_STEPS}:check_recipe"},
        ),
        StepType(
            name="score",
            version=1,
            summary="image and reference in, scores out",
            settings=ScoreSettings,
            outputs={"scores": "scores"},
            default_name="scores.json",
            function=f"{_STEPS}:score_step",
        ),
        StepType(
            name="table",
            version=1,
            summary="scores or records in, one table out as CSV and Markdown",
            settings=TableSettings,
            outputs={"csv": "table", "markdown": "table"},
            default_name="table.csv",
            function=f"{_STEPS}:table_step",
        ),
        StepType(
            name="learn-dictionary",
            version=1,
            summary="images in, convolutional dictionary out",
            settings=LearnDictionarySettings,
            outputs={"dictionary": "dictionary", "record": "record"},
            default_name="dictionary.safetensors",
            function=f"{_BUILDING}:learn_dictionary_step",
            checks={"kernel_size": f"{_BUILDING}:check_learning"},
        ),
        StepType(
            name="bank",
            version=1,
            summary="dictionaries in, folder with their index out",
            settings=BankSettings,
            outputs={"bank": "bank"},
            default_name="bank",
            function=f"{_BUILDING}:bank_step",
        ),
        *STUDY_STEP_TYPES,
    )
}
"""Every type of step by its name."""
