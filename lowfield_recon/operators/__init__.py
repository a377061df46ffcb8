"""Forward operators A of `y = A x + e`, which tell a solver what it may exploit."""

from lowfield_recon.operators.capabilities import (
    Capabilities,
    OperatorNorm,
    capabilities,
    operator_norm,
)
from lowfield_recon.operators.image import (
    blur_operator,
    downsample_operator,
    identity_operator,
    mask_operator,
)
from lowfield_recon.operators.kspace import kspace_operator

__all__ = [
    "Capabilities",
    "OperatorNorm",
    "blur_operator",
    "capabilities",
    "downsample_operator",
    "identity_operator",
    "kspace_operator",
    "mask_operator",
    "operator_norm",
]
