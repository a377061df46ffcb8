"""A U-Net from image to image."""

from __future__ import annotations

from pydantic import Field

from lowfield_recon.reconstructors.learned import LearnedReconstructor, LearnedSettings


class ImageUnetSettings(LearnedSettings):
    """Settings of `unet`."""

    weights: str = Field(
        default="unet_small", description="name or .safetensors file of the network's weights"
    )


class ImageUnet(LearnedReconstructor):
    r"""``x = x_0 + U(x_0)`` from ``x_0 = A^H y``, or that projected once on the data.

    Which of the two is a property of the weights: `unet_small`, `unet_projected_small`.

    References
    ----------
    Ronneberger O et al. MICCAI 2015. arXiv:1505.04597
    Zbontar J et al. arXiv:1811.08839
    """

    name = "unet"
    summary = "a trained image network (U-Net), with or without one projection on the data"
    settings_type = ImageUnetSettings
