"""Settings of a training of NCPR or CPR: what its configuration file may say."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lowfield_recon.learning.cdl_lambda_settings import DataSettings
from lowfield_recon.learning.patch_adjoint import Backward
from lowfield_recon.learning.patch_prior import PatchPriorSettings


class SolveSettings(BaseModel):
    """How far denoising is solved in training, and its adjoint system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tolerance: float = Field(
        default=1e-4, gt=0, lt=1, description="relative change of image and coefficients to stop at"
    )
    iterations: int = Field(default=2000, ge=1, le=100_000, description="most iterations")
    backward: Backward = Field(
        default="cg", description="conjugate gradients, or anderson: of the fixed-point iteration"
    )
    backward_tolerance: float = Field(
        default=1e-4, gt=0, lt=1, description="relative residual of the adjoint system to stop at"
    )
    backward_iterations: int = Field(
        default=500, ge=1, le=100_000, description="most iterations of the adjoint system"
    )


class CropSettings(BaseModel):
    """What the model learns to denoise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: int = Field(default=40, ge=8, le=1024, description="side of the crops [pixels]")
    turned: bool = Field(default=True, description="turn and mirror the crops at random")


class ValidationSettings(BaseModel):
    """By which held-out images weights are judged: their centres with fixed noise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_images: int = Field(default=12, ge=1, description="most images, one of each subject")
    crop: int = Field(default=96, ge=8, le=4096, description="largest side of the centres [pixels]")
    tolerance: float = Field(default=1e-4, gt=0, lt=1, description="as in solve")


class PatchTaskSettings(BaseModel):
    """Everything about a training of NCPR or CPR but the optimiser.

    Examples
    --------
    >>> PatchTaskSettings(noise=25, model={"patch": 9, "atoms": 64, "free_atoms": 52}).start
    'patches'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: PatchPriorSettings = Field(default_factory=PatchPriorSettings)
    noise: float = Field(
        default=25.0, gt=0, le=255, description="standard deviation of the noise, white being 255"
    )
    start: str = Field(
        default="patches",
        description="fresh atoms: `patches` of the images and, as smooth basis, their principal "
        "components; or `gaussian` noise (published); or the name or file of weights to go on from",
    )
    examples: CropSettings = Field(default_factory=CropSettings)
    solve: SolveSettings = Field(default_factory=SolveSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    validation: ValidationSettings = Field(default_factory=ValidationSettings)
    batch_size: int = Field(default=16, ge=1, le=256, description="crops in a step")
    scale_rate: float = Field(
        default=5.0, gt=0, description="learning rate of scales and beta over that of the atoms"
    )
    seed: int = Field(default=0, ge=0, description="seed of weights, crops and noise")

    @model_validator(mode="after")
    def _crops_hold_patches_and_blocks(self) -> PatchTaskSettings:
        block = self.model.block if self.model.potential == "group" else 1
        for name, side in (("examples", self.examples.crop), ("validation", self.validation.crop)):
            if side < self.model.patch or side % block:
                raise ValueError(
                    f"{name}.crop: expected at least the {self.model.patch} pixels of a patch, and "
                    f"a multiple of {block}, got {side}"
                )
        return self
