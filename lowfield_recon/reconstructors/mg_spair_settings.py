"""Settings of `mg-spair`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lowfield_recon.reconstructors.base import Settings


class MgSpairSettings(Settings):
    """Settings of `mg-spair`; numbers are in units of an image with values up to about 1."""

    iterations: int = Field(default=400, ge=1, description="most iterations, all grades together")
    budget: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="seconds after which the best image so far is returned",
    )  # fmt: skip
    grades: int = Field(
        default=1, ge=1, le=8, description="networks fitted one after the other, coarse to fine"
    )
    network: Literal["siren", "wire"] = Field(
        default="siren", description="siren (sines) or wire (complex Gabor wavelets)"
    )
    features: int | None = Field(
        default=None, ge=1, le=4096,
        description="width of the network; None: half the image's longer side, within 64 and 128",
    )  # fmt: skip
    hidden_layers: int = Field(default=2, ge=0, le=16, description="layers after the first")
    omega: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="frequency of the first layer, radians per half image; None: in proportion to "
        "the image's size (siren), sigma (wire); grades before the last have half, a quarter, ...",
    )  # fmt: skip
    sigma: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="width parameter of a wire's Gaussians"
    )
    penalty: Literal["l0", "l1", "mcp", "none"] = Field(
        default="mcp", description="sparsity of the coefficients; none: a plain network"
    )
    transform: Literal["framelet", "gradient"] = Field(
        default="framelet", description="what is sparse: framelet details or differences"
    )
    mu: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="coupling of image and sparse coefficients; None: by the penalty",
    )  # fmt: skip
    regularization_weight: float | None = Field(
        default=None, ge=0, allow_inf_nan=False,
        description="weight lambda of the penalty; None: by a rule from the noise",
    )  # fmt: skip
    relaxation: float = Field(
        default=0.99, gt=0, le=1, description="a of the relaxed step of the coefficients"
    )
    mode: Literal["safe", "fast"] = Field(
        default="safe", description="safe: the objective never rises; fast: plain Adam"
    )
    coarse_grids: bool = Field(
        default=True, description="early grades on grids of half, a quarter, ... the resolution"
    )
    composition: bool = Field(
        default=False, description="a grade sees the features of the one below, not coordinates"
    )
    learning_rate: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="of Adam at the start of a grade; None: 1e-3 for siren (3e-3 for complex "
        "images), 5e-3 for wire",
    )  # fmt: skip
    warm_up: int = Field(
        default=100, ge=0, description="most iterations before the sparse term begins"
    )
    weight_decay: float = Field(
        default=1e-6, ge=0, allow_inf_nan=False, description="eps of eps/2 ||theta||^2"
    )
    stop: Literal["settled", "discrepancy"] | None = Field(
        default=None,
        description="settled: where the objective is; discrepancy: where the data are explained to "
        "their noise; None: discrepancy without penalty, else settled",
    )
    tolerance: float = Field(
        default=1e-5, ge=0, description="relative decrease over 50 iterations that counts as none"
    )
    discrepancy_factor: float = Field(
        default=1.0, gt=0, allow_inf_nan=False,
        description="tau of ||A x - y||^2 <= tau m noise_std^2",
    )  # fmt: skip
    precision: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="of a siren's hidden layers; None: float32"
    )
    warm_start: str | None = Field(
        default=None,
        description="weights to begin with: previous (those of the image before) or a .safetensors "
        "file that this method wrote; they are those of the first grade",
    )
    save_weights: str | None = Field(
        default=None, description=".safetensors file for the fitted weights of the first grade"
    )
