"""Gradient steps on the data and a network by turns."""

from __future__ import annotations

from pydantic import Field

from lowfield_recon.reconstructors.learned import LearnedReconstructor, LearnedSettings


class VarnetSettings(LearnedSettings):
    """Settings of `varnet`."""

    weights: str = Field(
        default="varnet_small", description="name or .safetensors file of the network's weights"
    )


class Varnet(LearnedReconstructor):
    r"""``x <- x - eta_t A^H (A x - y) + G_t(x)``, a fixed number of cascades, all trained.

    One convolutional network for all cascades, or a U-Net for each; weights of the kind
    "multi-coil" estimate the sensitivities by a network of their own and work on the k-space of the
    coils, as the end-to-end variational network does.

    References
    ----------
    Hammernik K et al. Magn Reson Med 2018;79:3055-3071. https://doi.org/10.1002/mrm.26977
    Sriram A et al. MICCAI 2020. arXiv:2004.06688
    """

    name = "varnet"
    summary = "trained cascades of a data step and a network (variational network)"
    settings_type = VarnetSettings
