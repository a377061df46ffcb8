"""What `benchmark untrained` times: inpainting of a photograph, and the settings of each method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from lowfield_recon.evaluation.benchmark.untrained.quality_problems import degraded_photograph
from lowfield_recon.problem import InverseProblem

TASK = "inpaint-30"
MG_SPAIR_TASK = "inpaint-50"
NETWORK_INPUTS = 32
"""Channels of the random input of `dip`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedSize:
    """What is timed."""

    crop: int
    """Rows and columns of what ngr is given."""

    large: int
    """Rows and columns of what mg-spair and dip are given."""

    published_seconds: float | None
    """Time that the published three-network scheme is given; None for a few iterations."""

    published_iterations: int
    dip_iterations: int
    """Timed iterations of each deep image prior, after two that are not."""

    network: dict[str, Any] = field(default_factory=dict)
    """Size of the networks of `dip` and `ngr`; empty for their defaults."""

    ngr: dict[str, Any] = field(default_factory=dict)
    """Further settings of our ngr; empty for the defaults, which are what is judged."""

    mg_spair: dict[str, Any] = field(default_factory=dict)


SIZES: dict[str, SpeedSize] = {
    "full": SpeedSize(
        crop=128, large=256, published_seconds=240.0, published_iterations=15_000,
        dip_iterations=12,
    ),
    "small": SpeedSize(
        crop=48, large=64, published_seconds=None, published_iterations=12, dip_iterations=3,
        network={"channels": 8, "scales": 3}, ngr={"iterations": 20},
        mg_spair={"iterations": 12, "features": 16},
    ),
}  # fmt: skip


def speed_problem(photograph: torch.Tensor, task: str, seed: int) -> InverseProblem:
    """State the problem.

    Parameters
    ----------
    photograph
        The truth, float32 `(1, channels, 1, y, x)`, 0..1.
    task
        Name of an inpainting task.
    seed
        Of the mask.

    Returns
    -------
        The problem with its reference.
    """
    return degraded_photograph(photograph, task, seed)


def published_settings(
    channels: int, seconds: float | None, iterations: int, network: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Return the settings of `ngr` that are the published scheme.

    Parameters
    ----------
    channels
        Channels of the photograph, as many as the random input has.
    seconds
        Time that it is given, or None.
    iterations
        Most iterations; published: 15,000.
    network
        Size of each network; empty for the published one, 128 channels at 5 scales.
    seed
        Seed of the networks.

    Returns
    -------
        A network for each direction, the splitting with a growing penalty, periodic differences, no
        average of iterates, single precision.

    References
    ----------
    Xu S et al. Neural gradient regularizer. arXiv:2308.16612
    """
    return {
        "fields": "separate", "update": "splitting", "boundary": "periodic", "channels": 128,
        "input_channels": channels, "average": 0.0, "stop": "last", "precision": "float32",
        "iterations": iterations, "budget": seconds, "seed": seed, **network,
    }  # fmt: skip
