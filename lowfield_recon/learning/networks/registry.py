"""The networks by name."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lowfield_recon.learning.networks.constant import BlindNetwork, ConstantNetwork
from lowfield_recon.learning.networks.inputs import MapInput
from lowfield_recon.learning.networks.published import (
    CoefficientNetwork,
    ImageNetwork,
    SharedNetwork,
)
from lowfield_recon.learning.networks.set_network import SetNetwork

NetworkName = Literal["v1", "v2", "v3", "set", "scalar", "filterwise", "blind"]
NETWORK_NAMES: tuple[str, ...] = get_args(NetworkName)


class MapNetwork(Protocol):
    """What infers sparsity-level maps; a `torch.nn.Module`."""

    def __call__(self, data: MapInput) -> torch.Tensor:
        """Return Lambda, real, > 0, `(K, planes, y, x)`."""


class NetworkSettings(BaseModel):
    """Architecture of a network: what its weights belong to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: NetworkName = Field(
        default="set",
        description="v1, v2, v3 (published), set (ours), or what an ablation leaves: scalar (one "
        "level), filterwise (one for each kernel), blind (one map for all kernels)",
    )
    filters: int = Field(default=14, ge=1, le=256, description="channels of the first stage")
    stages: int = Field(default=2, ge=1, le=5, description="resolutions of the U-Net")
    n_kernels: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="number of kernels that v1, v2 and filterwise are tied to",
    )
    level: float | None = Field(
        default=None, gt=0, lt=10, description="v1, v2, v3: where maps start, of 10; None: 4.6"
    )
    features: int = Field(default=8, ge=1, le=256, description="set: features of a filter")
    hidden: int = Field(default=16, ge=1, le=256, description="set: channels of the context")

    @model_validator(mode="after")
    def _number_is_known(self) -> NetworkSettings:
        if self.name in ("v1", "v2", "filterwise") and self.n_kernels is None:
            raise ValueError(f"{self.name} is tied to a number of kernels; set n_kernels")
        return self


def make_network(settings: NetworkSettings) -> torch.nn.Module:
    """Build a network with fresh weights.

    Parameters
    ----------
    settings
        Its architecture.

    Returns
    -------
        A module that maps a `MapInput` to Lambda.

    Examples
    --------
    >>> network = make_network(NetworkSettings(name="v3", filters=32))
    >>> sum(p.numel() for p in network.parameters())
    111489
    """
    shared = {"filters": settings.filters, "stages": settings.stages}
    if settings.name in ("scalar", "filterwise"):
        return ConstantNetwork(settings.n_kernels if settings.name == "filterwise" else None)
    if settings.name == "blind":
        return BlindNetwork(**shared)
    if settings.name == "set":
        return SetNetwork(**shared, features=settings.features, hidden=settings.hidden)
    if settings.name == "v3":
        return SharedNetwork(**shared, level=settings.level)
    kind = ImageNetwork if settings.name == "v1" else CoefficientNetwork
    return kind(**shared, n_kernels=settings.n_kernels or 0, level=settings.level)
