"""The trained weights of a comparison, by name or file, with their hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowfield_recon.errors import UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.learning.weight_files import SHIPPED, SUFFIX, available_weights, load_weights

METHOD = "cdl-lambda"
DEFAULT_WEIGHTS = ("cdl-lambda_set", "cdl-lambda_v3", "cdl-lambda_v1")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsChoice:
    """Trained weights as a row of the table."""

    label: str
    """Name in the table."""

    source: str
    """Name or path for `cdl-lambda`."""

    network: str
    """Name of the architecture."""

    sha256: str
    """Hash of the file."""


def choose_weights(names: Sequence[str]) -> tuple[tuple[WeightsChoice, ...], tuple[str, ...]]:
    """Find trained weights.

    Parameters
    ----------
    names
        Names of weights that ship, or paths; none for those of `DEFAULT_WEIGHTS` that ship.

    Returns
    -------
        The weights, ours first by default, and sentences on those that were left out.

    Raises
    ------
    UsageError
        If there are none.
    DataError
        If a file is damaged.
    """
    shipped = available_weights(METHOD)
    wanted = tuple(names) or tuple(name for name in DEFAULT_WEIGHTS if name in shipped)
    if not wanted:
        raise UsageError(
            f"weights: none of {', '.join(DEFAULT_WEIGHTS)} ship with this version; give files "
            "that 'lowfield-recon train cdl-lambda' wrote, e.g. --weights run/weights.safetensors."
        )
    missing = () if names else tuple(name for name in DEFAULT_WEIGHTS if name not in shipped)
    stems = [Path(name).stem for name in wanted]
    choices = []
    for name, stem in zip(wanted, stems, strict=True):
        found = load_weights(name, method=METHOD)
        path = Path(name) if Path(name).suffix == SUFFIX else SHIPPED / f"{name}{SUFFIX}"
        label = stem if stems.count(stem) == 1 else f"{path.resolve().parent.name}/{stem}"
        choices.append(
            WeightsChoice(
                label=label, source=name, network=_network(found.header), sha256=sha256_of(path)
            )
        )
    if len({choice.label for choice in choices}) < len(choices):
        raise UsageError(f"weights: {', '.join(wanted)}: two have the same name; rename one.")
    return tuple(choices), tuple(f"{name} does not ship and was left out." for name in missing)


def _network(header: Mapping[str, Any]) -> str:
    architecture = header.get("architecture")
    network = architecture.get("network") if isinstance(architecture, Mapping) else None
    return str(network.get("name", "unknown")) if isinstance(network, Mapping) else "unknown"
