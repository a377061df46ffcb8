"""An image-to-image network with dense skip connections."""

from __future__ import annotations

from pydantic import Field

from lowfield_recon.reconstructors.learned import LearnedReconstructor, LearnedSettings


class SrdensenetSettings(LearnedSettings):
    """Settings of `srdensenet`."""

    weights: str = Field(
        default="srdensenet_small", description="name or .safetensors file of the network's weights"
    )


class Srdensenet(LearnedReconstructor):
    r"""``x = x_0 + N(x_0)`` from ``x_0 = A^H y``: a network alone, without data consistency.

    Weights of the published form double the grid of the central half of k-space and take no other
    sampling and no odd matrix.

    References
    ----------
    Tong T, Li G, Liu X, Gao Q. ICCV 2017. https://doi.org/10.1109/ICCV.2017.514
    """

    name = "srdensenet"
    summary = "a trained image network with dense skips, without data consistency"
    settings_type = SrdensenetSettings
