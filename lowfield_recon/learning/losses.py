"""What training minimises: how far a reconstruction is from the image that was simulated from."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

_WINDOW = 7


class LossSettings(BaseModel):
    """A loss by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mean-square", "noise-relative", "logarithmic"] = Field(
        default="mean-square",
        description="|x - t|^2 (published), the same over noise_std^2, or its logarithm",
    )
    ssim_weight: float = Field(
        default=0.0, ge=0, le=100, description="weight of 1 - SSIM of the moduli"
    )


def image_loss(
    image: torch.Tensor, target: torch.Tensor, noise_std: torch.Tensor, settings: LossSettings
) -> torch.Tensor:
    """Return the mean loss of a batch.

    With ``m = mean |x - t|^2`` of a plane: m, ``m / noise_std^2`` or ``1/2 log(m / noise_std^2)``,
    and `ssim_weight` times ``1 - SSIM(|x|, |t|)``.

    Parameters
    ----------
    image, target
        Complex `(planes, y, x)`.
    noise_std
        Noise standard deviation `(planes,)`, > 0.
    settings
        Which loss.

    Returns
    -------
        A number with its gradient.

    Examples
    --------
    >>> x = torch.ones(1, 8, 8, dtype=torch.complex64)
    >>> float(image_loss(3 * x, x, torch.ones(1), LossSettings()))
    4.0
    """
    error = torch.view_as_real(image - target).square().sum(-1).mean(dim=(-2, -1))
    if settings.kind != "mean-square":
        error = error / noise_std.square()
    if settings.kind == "logarithmic":
        error = 0.5 * torch.log(error.clamp(min=torch.finfo(error.dtype).tiny))
    if settings.ssim_weight > 0:
        error = error + settings.ssim_weight * (1 - structural_similarity(image, target))
    return error.mean()


def structural_similarity(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the SSIM of the moduli, data range the target's maximum, uniform 7 x 7 window.

    Parameters
    ----------
    image, target
        Complex `(planes, y, x)`.

    Returns
    -------
        `(planes,)`, differentiable in `image`.

    References
    ----------
    Wang Z et al. IEEE Trans Image Process 2004;13:600-612. https://doi.org/10.1109/TIP.2003.819861
    """
    x = _modulus(image)[:, None]
    t = target.abs()[:, None]
    peak = t.amax(dim=(-2, -1), keepdim=True)
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    means = functional.avg_pool2d(torch.cat([x, t, x * x, t * t, x * t], 1), _WINDOW, stride=1)
    mx, mt, xx, tt, xt = (means[:, i : i + 1] for i in range(5))
    n = _WINDOW**2
    unbiased = n / (n - 1)
    vx, vt, cov = ((a - b) * unbiased for a, b in ((xx, mx * mx), (tt, mt * mt), (xt, mx * mt)))
    similarity = (2 * mx * mt + c1) * (2 * cov + c2) / ((mx**2 + mt**2 + c1) * (vx + vt + c2))
    return similarity.mean(dim=(1, 2, 3))


def peak_signal_to_noise(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the PSNR of the moduli [dB], peak the target's maximum.

    Parameters
    ----------
    image, target
        Complex `(planes, y, x)`.

    Returns
    -------
        `(planes,)`.
    """
    t = target.abs()
    error = (image.abs() - t).square().mean(dim=(-2, -1))
    return 10 * torch.log10(t.amax(dim=(-2, -1)).square() / error)


def _modulus(image: torch.Tensor) -> torch.Tensor:
    """Return ``|x|`` with a gradient of 0 instead of NaN at 0."""
    parts = torch.view_as_real(image).square().sum(-1)
    return parts.clamp(min=torch.finfo(parts.dtype).tiny).sqrt()
