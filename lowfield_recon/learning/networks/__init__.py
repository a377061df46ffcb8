"""Networks that infer sparsity-level maps: the published three, and the set network."""

from lowfield_recon.learning.networks.inputs import MapInput
from lowfield_recon.learning.networks.registry import (
    NETWORK_NAMES,
    MapNetwork,
    NetworkSettings,
    make_network,
)

__all__ = ["NETWORK_NAMES", "MapInput", "MapNetwork", "NetworkSettings", "make_network"]
