r"""Total variation with a weight at each pixel that a U-Net infers.

``argmin_x 1/2 ||A x - y||^2 + sum_r Lambda_r |G x|_r``, G the periodic forward differences along y
and x, by a fixed number of primal-dual steps that the training differentiates.

References
----------
Kofler A, Altekrueger F, Antarou Ba F, Kolbitsch C, Papoutsellis E, Schote D, Sirotenko C,
Zimmermann FF, Papafitsoros K. Learning regularization parameter-maps for variational image
reconstruction using deep neural networks and algorithm unrolling. SIAM J Imaging Sci
2023;16:2202-2246. https://doi.org/10.1137/23M1552486
Chambolle A, Pock T. A first-order primal-dual algorithm for convex problems with applications to
imaging. J Math Imaging Vis 2011;40:120-145. https://doi.org/10.1007/s10851-010-0251-1
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from lowfield_recon.learning.measured import Measured, channels
from lowfield_recon.learning.networks.residual_cnn import in_chunks
from lowfield_recon.learning.networks.unet import UNet

TvPenalty = Literal["isotropic", "components"]
_STEP = 0.97 / 3
_START = 0.5


class TvLambdaSettings(BaseModel):
    """Architecture of the learned total variation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filters: int = Field(default=16, ge=1, le=256, description="channels of the U-Net at the top")
    stages: int = Field(default=2, ge=1, le=5, description="its resolutions")
    sees: Literal["noise-relative", "image"] = Field(
        default="noise-relative",
        description="moduli of the image and its differences over the noise, Lambda in the unit of "
        "that; or real and imaginary part of the image (published)",
    )
    penalty: TvPenalty = Field(
        default="isotropic",
        description="the length of the gradient, or |Re| + |Im| of each difference (published)",
    )
    iterations: int = Field(default=64, ge=1, le=10_000, description="primal-dual steps")


class TvLambdaNetwork(nn.Module):
    """U-Net and unrolled solver.

    Parameters
    ----------
    settings
        Architecture.

    Examples
    --------
    >>> published = TvLambdaNetwork(TvLambdaSettings(sees="image", penalty="components"))
    >>> sum(p.numel() for p in published.parameters())
    27953
    """

    least_size = 4

    def __init__(self, settings: TvLambdaSettings) -> None:
        super().__init__()
        self.settings = settings
        is_ours = settings.sees == "noise-relative"
        self.unet = UNet(2, 1, filters=settings.filters, stages=settings.stages, bias=is_ours)
        self.raw_scale = nn.Parameter(torch.tensor(0.0))
        if is_ours and self.unet.head.bias is not None:
            start = math.log(math.expm1(_START / math.log(2)))
            nn.init.constant_(self.unet.head.bias, start)

    def forward(self, measured: Measured) -> torch.Tensor:
        """Reconstruct.

        Parameters
        ----------
        measured
            Data, scaled.

        Returns
        -------
            Images, complex `(planes, y, x)`.
        """
        return weighted_total_variation(
            measured, self.maps(measured), penalty=self.settings.penalty,
            iterations=self.settings.iterations,
        )  # fmt: skip

    def maps(self, measured: Measured) -> torch.Tensor:
        """Infer the weights.

        Parameters
        ----------
        measured
            Data, scaled.

        Returns
        -------
            Lambda, real, > 0, `(planes, y, x)`, for the scaled data.
        """
        n_channels = 6 * self.settings.filters
        factor = functional.softplus(self.raw_scale)
        if self.settings.sees == "image":
            u = in_chunks(self.unet, channels(measured.adjoint), n_channels=n_channels)
            return factor * functional.softplus(u[:, 0])
        noise = measured.pixel_noise[:, None, None]
        image = measured.adjoint / noise
        differences = gradient(image).abs().square().sum(dim=0).sqrt()
        seen = torch.log1p(torch.stack([image.abs(), differences], dim=1))
        u = in_chunks(self.unet, seen, n_channels=n_channels)
        return noise * (factor * functional.softplus(u[:, 0]) + torch.finfo(u.dtype).eps)


def gradient(image: torch.Tensor) -> torch.Tensor:
    """Return the periodic forward differences along y and x.

    Parameters
    ----------
    image
        `(planes, y, x)`.

    Returns
    -------
        `(2, planes, y, x)`.

    Examples
    --------
    >>> gradient(torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]))[1, 0]
    tensor([[ 2., -2.],
            [ 0.,  0.]])
    """
    return torch.stack([image.roll(-1, dims=d) - image for d in (-2, -1)])


def weighted_total_variation(
    measured: Measured, weights: torch.Tensor, *, penalty: TvPenalty, iterations: int
) -> torch.Tensor:
    r"""Return T steps towards ``argmin_x 1/2 ||A x - y||^2 + sum_r Lambda_r |G x|_r``.

    Primal-dual hybrid gradients on ``K = [A; G]`` with ``||K||^2 <= 1 + 8`` and both steps
    ``0.97 / 3``, from ``A^H y``. The dual variable p of the data enters by ``A^H p`` alone, whose
    recursion needs no more than ``A^H A``.

    Parameters
    ----------
    measured
        Data, with ``||A|| <= 1``.
    weights
        Lambda, real, >= 0, `(planes, y, x)`.
    penalty
        `"isotropic"`, ``|G x|_r = sqrt(sum_d |(G_d x)_r|^2)``, or `"components"`, the sum of the
        moduli of the real and imaginary parts of both differences.
    iterations
        T.

    Returns
    -------
        Images, complex `(planes, y, x)`, differentiable in the weights.

    Examples
    --------
    >>> y = torch.full((1, 4, 4), 2 + 0j)
    >>> measured = Measured(adjoint=y, gram=lambda x: x, pixel_noise=torch.ones(1))
    >>> x = weighted_total_variation(
    ...     measured, torch.ones(1, 4, 4), penalty="isotropic", iterations=3
    ... )
    >>> torch.allclose(x, y)
    True
    """
    x = ahead = measured.adjoint
    data_dual = torch.zeros_like(x)
    dual = torch.zeros((2, *x.shape), dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        data_dual = (data_dual + _STEP * (measured.gram(ahead) - measured.adjoint)) / (1 + _STEP)
        dual = _bounded(dual + _STEP * gradient(ahead), weights, penalty)
        down = sum((dual[i].roll(1, dims=d) - dual[i] for i, d in ((0, -2), (1, -1))), data_dual)
        following = x - _STEP * down
        ahead = 2 * following - x
        x = following
    return x


def _bounded(dual: torch.Tensor, weights: torch.Tensor, penalty: TvPenalty) -> torch.Tensor:
    """Project on the dual ball of the penalty."""
    parts = torch.view_as_real(dual)
    if penalty == "components":
        bound = weights[..., None]
        clamped = torch.minimum(torch.maximum(parts, -bound), bound)
        return torch.view_as_complex(clamped.contiguous())
    square = parts.square().sum(dim=(0, -1))
    length = square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
    return dual * (weights / torch.maximum(length, weights))
