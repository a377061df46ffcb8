"""The adjoint: what the data says without any prior, with the coils combined."""

from __future__ import annotations

import torch
from mrpro.data import DcfData
from pydantic import Field

from lowfield_recon.operators.noncartesian import NonCartesianOp
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import Outcome, Reconstructor, Settings
from lowfield_recon.reconstructors.data_term import in_domain


class AdjointSettings(Settings):
    """Settings of `adjoint`."""

    density_compensation: bool = Field(
        default=True,
        description="weight non-Cartesian samples by the k-space area that they stand for",
    )


class Adjoint(Reconstructor[AdjointSettings]):
    r"""``x = A^H W y`` with W = I, or the density compensation of a trajectory.

    With normalised coil maps it is the combination of the coil images of highest signal-to-noise
    ratio. Undersampled data is filled with zeros.

    References
    ----------
    Roemer PB et al. Magn Reson Med 1990;16:192-225. https://doi.org/10.1002/mrm.1910160203
    """

    name = "adjoint"
    summary = (
        "zero-filled inverse Fourier transform with coil combination (gridding where non-Cartesian)"
    )
    settings_type = AdjointSettings

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Apply the adjoint."""
        y = problem.data
        operator = problem.operator
        compensated = isinstance(operator, NonCartesianOp) and self.settings.density_compensation
        if isinstance(operator, NonCartesianOp) and compensated:
            y = y * density_weights(operator)
        (image,) = operator.adjoint(y)
        if progress is not None:
            progress(1, 1, None)
        diagnostics = {"stopping_reason": "closed form", "density_compensation": compensated}
        return Outcome(in_domain(image, problem), diagnostics, {})


def density_weights(operator: NonCartesianOp) -> torch.Tensor:
    """Return the k-space area of each sample of a trajectory, from its Voronoi cells.

    Parameters
    ----------
    operator
        Non-Cartesian operator.

    Returns
    -------
        Weights, broadcastable to the data; of a Cartesian grid they would be one.
    """
    weights: torch.Tensor = DcfData.from_traj_voronoi(operator.trajectory).data
    return weights
