"""What the parameters of a patch prior mean, and where their training starts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lowfield_recon.learning.patch_parameters import STEPS

POTENTIALS: dict[str, Literal["power", "group"]] = {"ncpr": "power", "cpr": "group"}
"""Potential of each method."""


class PatchPriorSettings(BaseModel):
    """What the parameters of a prior mean, and where their training starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int = Field(default=13, ge=3, le=31, description="side of a patch [pixels], odd")
    atoms: int = Field(default=200, ge=1, le=4096, description="K, atoms of the dictionary")
    free_atoms: int = Field(
        default=120, ge=0, le=959, description="q, dimension of the smooth subspace; 0 for 'none'"
    )
    removal: Literal["learned", "dct", "none"] = Field(
        default="learned",
        description="smooth subspace beside the constant: learned, low cosine frequencies, none",
    )
    potential: Literal["power", "group"] = Field(default="power", description="of ncpr, of cpr")
    order: float = Field(default=1.8, gt=1, le=8, description="exponent g of the power potential")
    block: Literal[1, 2] = Field(default=2, description="side of the blocks of the group potential")
    base_scale: float = Field(default=0.0125, gt=0, le=1e3, description="lambda_0, image unit")
    initial_beta: float = Field(default=2.0, gt=0, le=1e3, description="where beta starts")
    beta_map: Literal["softplus", "relu"] = Field(
        default="softplus", description="what keeps beta positive; relu in the published models"
    )
    orthonormalization_steps: int = Field(
        default=STEPS, ge=STEPS, le=100, description="steps that make the smooth basis orthonormal"
    )

    @field_validator("patch")
    @classmethod
    def _is_odd(cls, patch: int) -> int:
        if patch % 2 == 0:
            raise ValueError(f"{patch} is even; expected an odd side, so that a patch has a centre")
        return patch

    @model_validator(mode="after")
    def _leaves_something_to_penalise(self) -> PatchPriorSettings:
        if self.removal != "none" and self.free_atoms < 1:
            raise ValueError(f"free_atoms is 0; expected at least 1 for the removal {self.removal}")
        if self.n_penalised < 1:
            raise ValueError(
                f"free_atoms is {self.free_atoms}; expected at most {self.patch**2 - 2} for "
                f"patches of {self.patch}x{self.patch}"
            )
        return self

    @property
    def n_smooth(self) -> int:
        """q, the dimension of the smooth subspace beside the constant."""
        return 0 if self.removal == "none" else self.free_atoms

    @property
    def n_penalised(self) -> int:
        """r, the dimension of what is penalised."""
        return self.patch**2 - 1 - self.n_smooth
