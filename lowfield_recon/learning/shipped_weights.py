"""What is known of weights without building their network: for lists and model cards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.learning.tensor_files import read_record
from lowfield_recon.learning.weight_files import FORMAT, SHIPPED, SUFFIX, load_weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightsDescription:
    """Weights as a list shows them."""

    name: str
    """Name of the file without its ending."""

    method: str
    """Method that they are for."""

    n_bytes: int
    """Size of the file [bytes]."""

    summary: str
    """What they are, in a few words."""

    header: Mapping[str, Any]
    """Format, version, method and architecture."""

    card: Mapping[str, Any]
    """Model card."""


def shipped_weights() -> tuple[WeightsDescription, ...]:
    """Describe all weights that ship.

    Returns
    -------
        By method, then by name.

    Raises
    ------
    DataError
        If a file is damaged.

    Examples
    --------
    >>> {entry.name: entry.summary for entry in shipped_weights()}["ncpr_sigma25"]
    'published NCPR, trained on noise of 25/255'
    """
    found = [_describe(path) for path in SHIPPED.glob(f"*{SUFFIX}")]
    return tuple(sorted(found, key=lambda entry: (entry.method, entry.name)))


def describe_weights(source: str | os.PathLike[str]) -> WeightsDescription:
    """Describe weights of any method, after a look at every number in them.

    Parameters
    ----------
    source
        Name of weights that ship, or path of a .safetensors file.

    Returns
    -------
        Their description.

    Raises
    ------
    UsageError
        If there are no such weights.
    DataError
        If the file is damaged or holds no weights.

    Examples
    --------
    >>> describe_weights("cpr_sigma5").card["copyright"]
    'Copyright (c) 2024 Stanislas Ducotterd'
    """
    path = Path(source)
    if path.suffix != SUFFIX:
        names = sorted(entry.stem for entry in SHIPPED.glob(f"*{SUFFIX}"))
        if str(source) not in names:
            raise UsageError(
                f"weights '{source}': none of that name ship, and a file ends in {SUFFIX}. "
                f"{nearest_name(str(source), names)}"
            )
        path = SHIPPED / f"{source}{SUFFIX}"
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; expected weights as {SUFFIX}.")
    found = _describe(path)
    load_weights(path, method=found.method)
    return found


def _describe(path: Path) -> WeightsDescription:
    record = read_record(path)
    header, card = record.get("header"), record.get("card")
    if not (isinstance(header, dict) and isinstance(card, dict)) or header.get("format") != FORMAT:
        raise DataError(
            f"{path.name}: holds no weights of lowfield-recon; expected the format '{FORMAT}' in "
            "its header."
        )
    return WeightsDescription(
        name=path.stem,
        method=str(header.get("method")),
        n_bytes=path.stat().st_size,
        summary=_summary(header, card),
        header=header,
        card=card,
    )


def _summary(header: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Take the card's own words, or else the network's name and the source of the images."""
    if isinstance(card.get("summary"), str):
        return str(card["summary"])
    architecture, images = header.get("architecture"), card.get("images")
    network = architecture.get("network") if isinstance(architecture, dict) else architecture
    name = network.get("name") if isinstance(network, dict) else network
    source = images.get("source") if isinstance(images, dict) else None
    words = [f"network {name}" if name else "", f"trained on {source}" if source else ""]
    return ", ".join(word for word in words if word) or "no summary in its card"
