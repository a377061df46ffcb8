"""The coordinate network that settings name."""

from __future__ import annotations

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.networks.coordinate_network import (
    CoordinateNetwork,
    CoordinateNetworkSettings,
    Siren,
)
from lowfield_recon.learning.networks.wire import Wire


def make_coordinate_network(
    settings: CoordinateNetworkSettings,
    *,
    inputs: int = 2,
    outputs: int,
    is_complex: bool,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
    half_precision: bool = False,
) -> CoordinateNetwork:
    """Build the network that the settings name, with zero output.

    Parameters
    ----------
    settings
        Kind, size and frequencies.
    inputs
        Numbers per pixel that come in, 2 for coordinates.
    outputs
        Values per pixel.
    is_complex
        Whether these are complex.
    generator
        Where the initial weights come from.
    dtype
        Real dtype of the weights.
    half_precision
        Whether hidden layers of a SIREN compute in bfloat16.

    Returns
    -------
        The network.

    Raises
    ------
    UsageError
        If bfloat16 is asked of a WIRE, whose numbers are complex.

    Examples
    --------
    >>> network = make_coordinate_network(
    ...     CoordinateNetworkSettings(features=8), outputs=1, is_complex=False,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> network(torch.zeros(5, 2)).shape
    torch.Size([5, 1])
    """
    if settings.kind == "siren":
        return Siren(
            settings, inputs=inputs, outputs=outputs, is_complex=is_complex,
            generator=generator, dtype=dtype, half_precision=half_precision,
        )  # fmt: skip
    if half_precision:
        raise UsageError(
            "precision: a wire computes with complex numbers, which bfloat16 has not; use "
            "precision float32 or network siren."
        )
    return Wire(
        settings,
        inputs=inputs,
        outputs=outputs,
        is_complex=is_complex,
        generator=generator,
        dtype=dtype,
    )
