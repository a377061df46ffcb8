"""Settings of a training of CDL-Lambda: what its configuration file may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lowfield_recon.learning.cdl_lambda import ModelSettings
from lowfield_recon.learning.example_settings import ExampleSettings
from lowfield_recon.learning.image_set import SliceAxis
from lowfield_recon.learning.losses import LossSettings
from lowfield_recon.solvers.sparse_coding import Momentum


class UnrollSettings(BaseModel):
    """How the sparse codes are found in training, and what of it is differentiated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    solver: Literal["fista", "admm", "implicit"] = Field(
        default="fista", description="unrolled fista or admm, or the converged solution"
    )
    iterations: int = Field(default=64, ge=1, le=10_000, description="T")
    tracked: int | None = Field(
        default=None, ge=1, description="differentiate the last so many iterations; None: all"
    )
    restart_momentum: bool = Field(
        default=False, description="restart the momentum where tracking begins, not carry it"
    )
    momentum: Momentum = Field(default="delayed", description="rule of the extrapolation")


class DataSettings(BaseModel):
    """Which images, and which of them are kept for validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slice_axis: SliceAxis = Field(
        default="shortest", description="axis of a volume that counts its slices"
    )
    held_out: Annotated[int, Field(ge=1)] | tuple[str, ...] = Field(
        default=6, description="subjects kept for validation: how many, or their names"
    )
    tested: int | tuple[str, ...] = Field(
        default=0, description="subjects that are neither trained nor validated on"
    )
    split_seed: int = Field(default=0, ge=0, description="which subjects, where numbers are given")
    licence: str = Field(default="not stated", description="licence of the images, for the card")
    source: str = Field(default="not stated", description="where they come from, for the card")


class ValidationSettings(BaseModel):
    """Which scans of held-out subjects weights are judged by."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snrs: tuple[float, ...] = Field(
        default=(6.0, 18.0), min_length=1, description="mean of the object over the noise"
    )
    windows: tuple[float, ...] = Field(
        default=(0.5, 0.7), min_length=1, description="sampled part of k-space along either axis"
    )
    n_subjects: int = Field(default=4, ge=1, description="most subjects, one slice of each")
    dictionaries: tuple[str, ...] = Field(
        min_length=1, description="names or patterns of dictionaries, all of them used"
    )


class TaskSettings(BaseModel):
    """Everything about a training of CDL-Lambda but the optimiser."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelSettings = Field(default_factory=ModelSettings)
    unroll: UnrollSettings = Field(default_factory=UnrollSettings)
    loss: LossSettings = Field(default_factory=LossSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    examples: ExampleSettings = Field(default_factory=ExampleSettings)
    dictionaries: tuple[str, ...] = Field(
        min_length=1, description="names or patterns such as brain_K16_*; one is drawn in each step"
    )
    excluded_dictionaries: tuple[str, ...] = Field(
        default=(), description="names or patterns that are not drawn"
    )
    validation: ValidationSettings = Field(description="how weights are judged")
    batch_size: int = Field(default=1, ge=1, le=256, description="images in a step")
    beta_rate: float = Field(
        default=10.0, gt=0, description="learning rate of beta over that of the network"
    )
    seed: int = Field(default=0, ge=0, description="seed of weights, images and dictionaries")

    @model_validator(mode="after")
    def _validates_what_it_can(self) -> TaskSettings:
        if self.unroll.solver != "fista" and any(n > 1 for n in self.examples.coils):
            raise ValueError("several coils need unroll.solver 'fista'")
        return self
