"""The patch regulariser: what is smooth stays free, the rest is sparse in a dictionary."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from lowfield_recon.solvers.patch_potentials import Potential


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchRegularizer:
    r"""``sum_k min_a beta/2 ||U P_k x - C a||^2 + R(a)`` over the patches P_k x around all pixels.

    The rows of U span what is penalised of a patch; the rest, its smooth part, is free. D = U^T C
    is the dictionary, with ``beta ||D||^2 < 1``, so that a unit step descends in a.

    References
    ----------
    Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
    arXiv:2412.13070
    """

    basis: torch.Tensor
    """U, orthonormal, `(r, ky, kx)`."""

    factors: torch.Tensor
    """C, `(r, K)`."""

    scales: torch.Tensor
    """Scale of the potential for each atom, `(K,)`, in the unit of the image."""

    beta: float
    """Weight of the quadratic."""

    potential: Potential
    """R, through its proximal operator with unit step."""

    @property
    def dictionary(self) -> torch.Tensor:
        """D = U^T C as patches, `(K, ky, kx)`."""
        size = self.basis.shape[1:]
        return (self.factors.mT @ self.basis.flatten(1)).reshape(-1, *size)

    def to(self, dtype: torch.dtype, device: torch.device | str | None = None) -> PatchRegularizer:
        """Return the same regulariser in another precision or on another device."""
        return replace(
            self,
            basis=self.basis.to(device, dtype),
            factors=self.factors.to(device, dtype),
            scales=self.scales.to(device, dtype),
        )
