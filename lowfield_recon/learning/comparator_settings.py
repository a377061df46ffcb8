"""Settings of a training of a comparator: what its configuration file may say."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lowfield_recon.learning.cdl_lambda_settings import DataSettings
from lowfield_recon.learning.example_settings import ExampleSettings
from lowfield_recon.learning.losses import LossSettings


class ComparatorValidationSettings(BaseModel):
    """Which scans of held-out subjects weights are judged by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snrs: tuple[float, ...] = Field(
        default=(6.0, 18.0), min_length=1, description="mean of the object over the noise"
    )
    windows: tuple[float, ...] = Field(
        default=(0.5, 0.7), min_length=1, description="sampled part of k-space along either axis"
    )
    n_subjects: int = Field(default=3, ge=1, description="most subjects, one slice of each")


class ComparatorTaskSettings(BaseModel):
    """Everything about a training of a comparator but its architecture and the optimiser.

    Examples
    --------
    >>> ComparatorTaskSettings(batch_size=2).loss.kind
    'mean-square'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: dict[str, Any] = Field(
        default_factory=dict, description="architecture, see the method's settings"
    )
    loss: LossSettings = Field(default_factory=LossSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    examples: ExampleSettings = Field(default_factory=ExampleSettings)
    validation: ComparatorValidationSettings = Field(default_factory=ComparatorValidationSettings)
    batch_size: int = Field(default=1, ge=1, le=256, description="images in a step")
    scalar_rate: float = Field(
        default=10.0, gt=0,
        description="learning rate of weights and steps, single numbers, over the network's",
    )  # fmt: skip
    seed: int = Field(default=0, ge=0, description="seed of weights and images")
