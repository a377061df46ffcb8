"""Normalisations by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Normalisation = Literal["none", "instance", "batch"]


def make_normalisation(name: Normalisation, n_channels: int) -> nn.Module:
    """Return a normalisation of feature maps.

    Parameters
    ----------
    name
        `"none"`, `"instance"` (learnt gain and offset) or `"batch"`.
    n_channels
        Channels.

    Returns
    -------
        The module.

    Examples
    --------
    >>> make_normalisation("none", 8)
    Identity()
    """
    if name == "batch":
        return nn.BatchNorm2d(n_channels)
    if name == "instance":
        return nn.InstanceNorm2d(n_channels, affine=True)
    return nn.Identity()
