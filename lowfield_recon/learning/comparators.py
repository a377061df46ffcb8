"""The learned methods that infer no dictionary codes, by name: networks, scale and weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import nn

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.measured import Measured
from lowfield_recon.learning.networks.modl import ModlNetwork, ModlSettings
from lowfield_recon.learning.networks.multi_coil_varnet import MultiCoilVarnet
from lowfield_recon.learning.networks.srdensenet import SrdensenetNetwork, SrdensenetSettings
from lowfield_recon.learning.networks.tv_lambda import TvLambdaNetwork, TvLambdaSettings
from lowfield_recon.learning.networks.unet_image import UnetNetwork, UnetSettings
from lowfield_recon.learning.networks.varnet import VarnetNetwork, VarnetSettings
from lowfield_recon.learning.weight_files import SUFFIX, available_weights, load_weights

ARCHITECTURE_VERSION = 1
"""Counts up when the same settings come to mean another network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparator:
    """A learned method."""

    settings: type[BaseModel]
    """Type of its architecture."""

    build: Callable[[Any], nn.Module]
    """Settings -> network from `Measured` to images."""

    config: str
    """Name of its small configuration."""


def _varnet(settings: VarnetSettings) -> nn.Module:
    return MultiCoilVarnet(settings) if settings.kind == "multi-coil" else VarnetNetwork(settings)


COMPARATORS: Mapping[str, Comparator] = {
    "modl": Comparator(settings=ModlSettings, build=ModlNetwork, config="modl_small"),
    "srdensenet": Comparator(
        settings=SrdensenetSettings, build=SrdensenetNetwork, config="srdensenet_small"
    ),
    "tv-lambda": Comparator(
        settings=TvLambdaSettings, build=TvLambdaNetwork, config="tv_lambda_small"
    ),
    "unet": Comparator(settings=UnetSettings, build=UnetNetwork, config="unet_small"),
    "varnet": Comparator(settings=VarnetSettings, build=_varnet, config="varnet_small"),
}
"""The methods by name."""


class ComparatorModel(nn.Module):
    """A network and the scale of its data, which comes from the data alone.

    Parameters
    ----------
    method
        Name of the method.
    settings
        Architecture.
    seed
        Seed of the fresh weights; the global generator is left alone.

    Examples
    --------
    >>> model = ComparatorModel("modl", ModlSettings(filters=4))
    >>> x = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)) + 0j
    >>> measured = Measured(adjoint=x, gram=lambda x: x, pixel_noise=torch.full((1,), 0.1))
    >>> larger = measured.divided_by(torch.full((1,), 0.01))
    >>> torch.allclose(model(larger), 100 * model(measured), rtol=1e-4)
    True
    """

    def __init__(self, method: str, settings: BaseModel, *, seed: int = 0) -> None:
        super().__init__()
        self.method = method
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = COMPARATORS[method].build(settings)

    @property
    def least_size(self) -> int:
        """Fewest pixels along y and x that the network takes."""
        return int(self.network.least_size)  # type: ignore[arg-type]

    def forward(self, measured: Measured) -> torch.Tensor:
        """Reconstruct.

        Parameters
        ----------
        measured
            Data in any unit.

        Returns
        -------
            Images, complex `(planes, y, x)`, in that unit; planes without any signal are zero.
        """
        scale = measured.scale()
        image: torch.Tensor = self.network(measured.divided_by(scale))
        # Networks that normalise their input would divide by zero.
        has_signal = measured.adjoint.abs().amax(dim=(-2, -1)) > 0
        return torch.where(has_signal[:, None, None], image * scale[:, None, None], 0)

    def maps(self, measured: Measured) -> torch.Tensor | None:
        """Return the inferred weights, of the method that has them.

        Parameters
        ----------
        measured
            Data in any unit.

        Returns
        -------
            Lambda `(planes, y, x)` in that unit, None where the method has none.
        """
        if not isinstance(self.network, TvLambdaNetwork):
            return None
        scale = measured.scale()
        return self.network.maps(measured.divided_by(scale)) * scale[:, None, None]


def load_comparator(method: str, weights: str) -> ComparatorModel:
    """Load a trained model.

    Parameters
    ----------
    method
        Name of the method.
    weights
        Name of weights that ship, or path of a .safetensors file that training wrote.

    Returns
    -------
        The model, in evaluation mode, on the CPU.

    Raises
    ------
    UsageError
        If there are no such weights.
    DataError
        If the file is damaged, or its weights belong to another method, architecture or version.
    """
    if not weights.endswith(SUFFIX) and not available_weights(method):
        config = COMPARATORS[method].config
        raise UsageError(
            f"{method}: no weights ship for it yet, asked for '{weights}'; train them with "
            f"'lowfield-recon train {method} {config} --images FOLDER -o DIR' and set "
            f"weights=DIR/weights{SUFFIX}."
        )
    found = load_weights(weights, method=method, architecture_version=ARCHITECTURE_VERSION)
    try:
        settings = COMPARATORS[method].settings.model_validate(found.header.get("architecture"))
    except ValidationError as error:
        raise DataError(
            f"{found.name}: its architecture is not one of this version of {method} "
            f"({error.errors()[0]['msg'].lower()}); train it anew, or update lowfield-recon."
        ) from error
    model = ComparatorModel(method, settings)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in found.state.items()}
    if expected != given:
        odd = sorted(key for key in {*expected, *given} if expected.get(key) != given.get(key))[0]
        raise DataError(
            f"{found.name}: '{odd}' has shape {given.get(odd, 'none')}, expected "
            f"{expected.get(odd, 'none')} for its architecture; the file was changed after "
            "training."
        )
    model.load_state_dict(found.state)
    return model.eval()
