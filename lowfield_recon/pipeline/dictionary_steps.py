"""The functions behind the steps that learn dictionaries and collect them in a bank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowfield_recon.dictionaries.learning import LearningOptions
from lowfield_recon.pipeline.dictionary_building import (
    learn_and_write,
    training_images,
    write_bank,
)
from lowfield_recon.pipeline.step import StepResult
from lowfield_recon.pipeline.step_types import BankSettings, LearnDictionarySettings
from lowfield_recon.progress import ProgressBars

_OPTIONS = (
    "n_kernels",
    "kernel_size",
    "weight",
    "beta",
    "passes",
    "coding_iterations",
    "forgetting",
    "momentum",
    "zero_mean",
    "image_level",
    "seed",
)


def learn_dictionary_step(
    settings: LearnDictionarySettings, out: Path, progress: ProgressBars
) -> StepResult:
    """Learn a dictionary, as `lowfield-recon dictionary build` does."""
    options = LearningOptions(**settings.model_dump(include=set(_OPTIONS)))
    images = training_images(
        settings.images,
        key=settings.key,
        slice_axis=settings.slice_axis,
        reduction=settings.reduction,
        crop=settings.crop,
    )
    provenance = {
        "preparation": settings.model_dump(include={"key", "slice_axis", "reduction", "crop"}),
        **settings.provenance,
    }
    with progress("dictionary", 1) as progress_of:
        record = learn_and_write(
            settings.images,
            out,
            options,
            images=images,
            provenance=provenance,
            progress=progress_of(0),
        )
    return StepResult(outputs={"dictionary": out, "record": record})


def bank_step(settings: BankSettings, out: Path, _progress: ProgressBars) -> StepResult:
    """Collect dictionaries in a folder with an index."""
    return StepResult(outputs={"bank": write_bank(settings.dictionaries, out)})


def check_learning(settings: Mapping[str, Any], _name: str) -> None:
    """Refuse options that no dictionary can be learnt with."""
    LearningOptions(**{key: settings[key] for key in _OPTIONS})
