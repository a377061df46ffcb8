"""One grade of `mg-spair`: coordinate networks, one per plane, whose image is added to a base."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lowfield_recon.errors import DataError
from lowfield_recon.learning.networks.coordinate_network import (
    CoordinateNetwork,
    CoordinateNetworkSettings,
    pixel_coordinates,
)
from lowfield_recon.learning.networks.coordinate_network_choice import make_coordinate_network


class Grade(nn.Module):
    r"""``x = x_base + s U N(c; theta)`` for every (y, x) plane of an image.

    Parameters
    ----------
    settings
        Kind, size and frequencies of the networks.
    base
        Image of the grades below, `(*other, channels, z, y, x)`; it is kept, without gradients.
    scale
        s.
    coarsening
        Spacing of the grid on which N is evaluated, in pixels; U enlarges linearly.
    below
        The grade whose last hidden layer is the input in place of the coordinates, or None.
    generator
        Where the weights come from.
    half_precision
        Whether hidden layers compute in bfloat16.
    """

    def __init__(
        self,
        settings: CoordinateNetworkSettings,
        *,
        base: torch.Tensor,
        scale: float = 1.0,
        coarsening: int = 1,
        below: Grade | None = None,
        generator: torch.Generator,
        half_precision: bool = False,
    ) -> None:
        """Draw the weights; the image is the base at first."""
        super().__init__()
        self.base = base.detach()
        self.scale = scale
        *other, self._channels, planes, y, x = base.shape
        self._leading = (*other, planes)
        self._size = (y, x)
        self._grid = (-(-y // coarsening), -(-x // coarsening))
        # In a tuple, so that the grade below does not become a part of this one.
        self._below = (below,)
        self._inputs = [
            self._inputs_on(self._grid, plane) for plane in range(math.prod(self._leading))
        ]
        self.networks = nn.ModuleList(
            make_coordinate_network(
                settings,
                inputs=c.shape[-1],
                outputs=self._channels,
                is_complex=base.is_complex(),
                generator=generator,
                dtype=base.dtype.to_real(),
                half_precision=half_precision,
            ).to(base.device)
            for c in self._inputs
        )

    def theta(self) -> torch.Tensor:
        """Return all weights as one vector (a copy)."""
        return parameters_to_vector(self.parameters()).detach()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return copies of all weights by name."""
        return {name: value.detach().clone() for name, value in self.networks.state_dict().items()}

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take weights over from another grade of the same layout.

        Raises
        ------
        DataError
            If a name or a shape is another one.
        """
        own = self.networks.state_dict()
        wrong = sorted(own.keys() ^ weights.keys()) or [
            name for name, value in own.items() if value.shape != weights[name].shape
        ]
        if wrong:
            raise DataError(
                f"warm_start: the weights do not fit this network ({len(wrong)} differ, the first "
                f"is {wrong[0]}); use the features, hidden_layers, network, channels and number of "
                "planes that they were fitted with."
            )
        self.networks.load_state_dict(dict(weights))

    def image(self, theta: torch.Tensor) -> torch.Tensor:
        """Return x at a vector of weights, with the graph that leads back to them."""
        vector_to_parameters(theta, self.parameters())
        with torch.enable_grad():
            return self.base + self.scale * self._residual()

    def pulled_back(self, image: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient by theta that belongs to a gradient by x = `image`."""
        slopes = torch.autograd.grad(image, list(self.parameters()), gradient)
        return torch.cat([slope.reshape(-1) for slope in slopes])

    def features_on(self, grid: Sequence[int], plane: int) -> torch.Tensor:
        """Return the last hidden layer of a plane's network on the coordinates of a grid."""
        network = self.networks[plane]
        assert isinstance(network, CoordinateNetwork)  # noqa: S101 - the list holds nothing else
        inputs = self._inputs_on(grid, plane)
        with torch.no_grad():
            return network.features(inputs)

    def _inputs_on(self, grid: Sequence[int], plane: int) -> torch.Tensor:
        (below,) = self._below
        if below is not None:
            return below.features_on(grid, plane)
        return pixel_coordinates(grid, dtype=self.base.dtype.to_real(), device=self.base.device)

    def _residual(self) -> torch.Tensor:
        """Return U N, shape of the image."""
        planes = torch.stack(
            [network(c).T for network, c in zip(self.networks, self._inputs, strict=True)]
        )
        planes = planes.reshape(*planes.shape[:-1], *self._grid)
        planes = _enlarged(planes, self._size)
        return planes.reshape(*self._leading, *planes.shape[1:]).movedim(-3, -4)


def _enlarged(planes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Enlarge `(planes, channels, y, x)` linearly, pixel centres on pixel centres."""
    if planes.shape[-2:] == size:
        return planes
    if planes.is_complex():
        return torch.complex(_enlarged(planes.real, size), _enlarged(planes.imag, size))
    return nn.functional.interpolate(planes, size=size, mode="bilinear", align_corners=False)
