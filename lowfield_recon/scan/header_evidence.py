"""What is known about a measurement beside its header, for repairing that header."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lowfield_recon.scan.header_schema import Element
from lowfield_recon.scan.records import Extent, Repair, Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the readouts and the caller know that the header may lack."""

    where: str = "header"
    """Name of the file, for errors."""

    counters: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Smallest and largest value of every counter of the readouts, by its name in the header."""

    has_trajectory: bool = False
    """Whether the readouts carry stored trajectories."""

    matrix: Shape | None = None
    """Encoded matrix (z, y, x) that the caller gives, or None."""

    fov_m: Extent | None = None
    """Encoded field of view (z, y, x) [m] that the caller gives, or None."""

    field_strength_t: float | None = None
    """Main field [T] that the caller gives, or None."""


Mend = Callable[[Element, Evidence], Iterator[Repair]]
"""Mends one kind of defect in a header's tree and names every repair."""
