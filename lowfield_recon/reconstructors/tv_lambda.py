"""Total variation with a weight at each pixel that a network infers."""

from __future__ import annotations

from typing import cast

from pydantic import Field

from lowfield_recon.learning.comparators import ComparatorModel
from lowfield_recon.learning.measured import Measured
from lowfield_recon.reconstructors.data_term import DataTerm
from lowfield_recon.reconstructors.learned import LearnedReconstructor, LearnedSettings


class TvLambdaSettings(LearnedSettings):
    """Settings of `tv-lambda`."""

    weights: str = Field(
        default="tv-lambda_small", description="name or .safetensors file of the network's weights"
    )
    keep_maps: bool = Field(
        default=False, description="keep Lambda `(1, planes, y, x)` in the diagnostics"
    )


class TvLambda(LearnedReconstructor):
    r"""``argmin_x 1/2 ||A x - y||^2 + sum_r Lambda_r |G x|_r``, Lambda from a network.

    G are the periodic differences along y and x. The primal-dual iteration takes as many steps as
    in the training, since the network was trained for what stands then.

    References
    ----------
    Kofler A et al. SIAM J Imaging Sci 2023;16:2202-2246. https://doi.org/10.1137/23M1552486
    """

    name = "tv-lambda"
    summary = "total variation, its weight at each pixel from a network"
    settings_type = TvLambdaSettings

    def notes(
        self, model: ComparatorModel, measured: Measured, term: DataTerm
    ) -> dict[str, object]:
        """Return the mean weight, and the map where it is asked for."""
        maps = model.maps(measured)
        if maps is None:
            return {}
        # Weights of 1/2 ||A x - y||^2 with the problem's own operator and unit.
        unit = term.scale * term.lipschitz
        notes: dict[str, object] = {"mean_map": float(maps.mean()) * unit}
        if cast(TvLambdaSettings, self.settings).keep_maps:
            notes["maps"] = maps[None] * unit
        return notes
