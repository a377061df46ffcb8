"""One network and data consistency by turns, the weights shared."""

from __future__ import annotations

from pydantic import Field

from lowfield_recon.reconstructors.learned import LearnedReconstructor, LearnedSettings


class ModlSettings(LearnedSettings):
    """Settings of `modl`."""

    weights: str = Field(
        default="modl_small", description="name or .safetensors file of the network's weights"
    )


class Modl(LearnedReconstructor):
    r"""``x <- argmin_x 1/2 ||A x - y||^2 + w/2 ||x - z||^2`` with ``z = x + G(x)``, by turns.

    G is a small convolutional network, the same in all repetitions, and w is learnt. The quadratic
    problem is solved in closed form where ``A^H A`` is diagonal in Fourier space, by conjugate
    gradients otherwise.

    References
    ----------
    Aggarwal HK, Mani MP, Jacob M. IEEE Trans Med Imaging 2019;38:394-405.
    https://doi.org/10.1109/TMI.2018.2865356
    """

    name = "modl"
    summary = "a trained network and exact data consistency by turns (MoDL)"
    settings_type = ModlSettings
