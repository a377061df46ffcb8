"""What the training loop asks of a task, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel
from torch import nn

from lowfield_recon.learning.image_set import ImageSet


class TrainingTask(Protocol):
    """What is trained: a model, its loss on examples that are drawn anew, and its validation."""

    name: str
    """Name of the method."""

    model: nn.Module
    """The network; all that is trained is among its parameters."""

    def loss(self, step: int) -> torch.Tensor:
        """Return the loss of the examples of a step, which depend on nothing but its number."""

    def validate(self) -> dict[str, float]:
        """Return the figures of the present weights, `loss` among them (smaller is better)."""

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return what the optimiser moves, as `torch.optim` takes it."""

    def header(self) -> dict[str, Any]:
        """Return what the weights are made for: `method` and `architecture`; JSON."""

    def card(self) -> dict[str, Any]:
        """Return data, licence and settings, the same in every call; JSON."""


def describe_training(
    settings: BaseModel,
    model: nn.Module,
    trained: ImageSet,
    validated: ImageSet,
    left_out: ImageSet | None,
) -> dict[str, Any]:
    """Return what a model card says of any training: settings, and which images did what.

    Parameters
    ----------
    settings
        Settings of the task.
    model
        What is trained.
    trained, validated, left_out
        Images that were trained on, that chose the weights, and that were not touched.

    Returns
    -------
        JSON.
    """
    return {
        "settings": settings.model_dump(mode="json"),
        "n_parameters": sum(p.numel() for p in model.parameters()),
        "trained_on_subjects": list(trained.subjects),
        "validated_on_subjects": list(validated.subjects),
        "left_out_subjects": list(left_out.subjects) if left_out else [],
        "images": trained.describe(),
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitResult:
    """How a training run ended."""

    weights: Path
    """The best weights; their model card lies beside them."""

    steps: int
    """Steps done."""

    stopped_by: str
    """`"steps"` or `"time"`."""

    best: dict[str, float | int]
    """Figures of the best validation, with its `step`."""

    skipped: int
    """Steps skipped because loss or gradient was not finite."""

    seconds: float
    """Time spent over all resumptions [s]."""
