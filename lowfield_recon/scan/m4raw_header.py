"""The XML of M4Raw: units written out, elements of its own, read by name into what is standard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lowfield_recon.errors import DataError
from lowfield_recon.scan.header_schema import (
    Element,
    add,
    find,
    local_name,
    number_of,
    parse_xml,
    set_text,
    text_of,
    to_text,
)
from lowfield_recon.scan.records import Extent, Repair

FIELD_STRENGTH_T = 0.3
"""Field of the scanner of the data set [T]."""

SLICE_THICKNESS_M = 0.005
"""Slice thickness of the data set [m], without the gap."""

SLICE_SPACING_M = 0.006
"""Distance between slices of the data set, gap included [m]."""

_QUANTITY = re.compile(r"([-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?)\s*([a-zµ°]+)", re.IGNORECASE)
_FACTORS = {
    "ms": {"ms": 1.0, "us": 1e-3, "µs": 1e-3, "s": 1e3},
    "mm": {"mm": 1.0, "cm": 10.0, "m": 1e3},
    "hz": {"hz": 1.0, "khz": 1e3, "mhz": 1e6},
    "t": {"t": 1.0, "mt": 1e-3},
    "deg": {"deg": 1.0, "°": 1.0, "degree": 1.0},
}
_UNITS = {
    "tr": "ms",
    "te": "ms",
    "ti": "ms",
    "echospacing": "ms",
    "flipangledeg": "deg",
    "samplingbandwidth": "hz",
    "h1resonancefrequencyhz": "hz",
    "systemfieldstrengtht": "t",
    "x": "mm",
    "y": "mm",
    "z": "mm",
    "slicethickness": "mm",
    "slicespacing": "mm",
    "spacingbetweenslices": "mm",
    "slicegap": "mm",
}
_SPACING = ("slicespacing", "spacingbetweenslices")
_ABSENT = ("n/a", "na", "none", "null", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class M4RawValues:
    """What the data set's header says beyond the standard."""

    sampling_bandwidth_hz: float | None = None
    """Bandwidth over the whole readout [Hz]."""

    slice_spacing_m: float | None = None
    """Distance between slices, gap included [m]."""

    offset_m: Extent = (0.0, 0.0, 0.0)
    """Off-centre correction along x, y, z [m]."""


def mend_m4raw(
    document: bytes, n_slices: int, where: str
) -> tuple[bytes, M4RawValues, tuple[Repair, ...]]:
    """Turn the data set's header into one that the tolerant ISMRMRD step reads.

    Parameters
    ----------
    document
        The XML as stored.
    n_slices
        Number of slices in the file.
    where
        Name of the file, for errors.

    Returns
    -------
        XML with plain numbers in the units of the standard, or the document itself where it is no
        XML; what the standard has no place for; and the repairs made.

    Examples
    --------
    >>> times = "<sequenceParameters><echo_spacing>16.0ms</echo_spacing></sequenceParameters>"
    >>> xml = f"<ismrmrdHeader>{times}</ismrmrdHeader>".encode()
    >>> [(repair.old, repair.new) for repair in mend_m4raw(xml, 18, "scan.h5")[2]][1]
    ('16.0ms', '16')
    """
    try:
        root, repairs = parse_xml(document, where)
    except DataError:
        return document, M4RawValues(), ()
    for parent in list(root.iter()):
        for leaf in list(parent):
            repairs.extend(_plain_number(parent, leaf))
    repairs.extend(_field_of_data_set(root))
    repairs.extend(_slice_maximum(root, n_slices))
    return to_text(root).encode(), _values(root), tuple(repairs)


def merged_unknown(repairs: tuple[Repair, ...]) -> tuple[Repair, ...]:
    """Name all elements outside the schema in one repair: the data set has a dozen of its own.

    Parameters
    ----------
    repairs
        Repairs of the tolerant step.

    Returns
    -------
        Repairs with one `unknown-elements` in the place of each `unknown-element`.
    """
    unknown = [repair for repair in repairs if repair.code == "unknown-element"]
    if len(unknown) < 2:
        return repairs
    names = [match[0] for r in unknown if (match := re.search(r"<[^>]+>", r.message)) is not None]
    one = Repair(
        code="unknown-elements",
        message=f"{', '.join(names)} are not in the ISMRMRD schema; bandwidth, slice spacing and "
        "off-centre correction were read by name, the others left out.",
        old=f"{len(unknown)} elements",
    )
    return (one, *(repair for repair in repairs if repair.code != "unknown-element"))


def _key(element: Element) -> str:
    """Spell a name without case, underscores and a unit in millimetres, as writers vary them."""
    name = re.sub(r"[^a-z0-9]", "", local_name(element).lower())
    return name.removesuffix("mm") if name != "mm" else name


def _plain_number(parent: Element, leaf: Element) -> Iterator[Repair]:
    """Take the unit off a number; leave out values that say they are absent."""
    text = (leaf.text or "").strip()
    unit = _UNITS.get(_key(leaf))
    if unit is None or not text or len(leaf):
        return
    name = local_name(leaf)
    if text.lower() in _ABSENT:
        parent.remove(leaf)
        yield Repair(
            code="value-not-applicable", message=f"<{name}> says it has no value.", old=text
        )
        return
    match = _QUANTITY.fullmatch(text)
    factor = None if match is None else _FACTORS[unit].get(match[2].lower())
    if match is None or factor is None:
        return
    leaf.text = f"{float(match[1]) * factor:.10g}"
    yield Repair(
        code="unit-in-value",
        message=f"<{name}> carries its unit; it was read as a number in {_written(unit)}.",
        old=text,
        new=leaf.text,
    )


def _written(unit: str) -> str:
    return {"hz": "Hz", "t": "T", "deg": "degrees"}.get(unit, unit)


def _field_of_data_set(root: Element) -> Iterator[Repair]:
    """Take the field of the data set's one scanner where the header states none."""
    if _number_or_none(root, "acquisitionSystemInformation/systemFieldStrength_T"):
        return
    if _number_or_none(root, "experimentalConditions/H1resonanceFrequency_Hz"):
        return
    system = find(root, "acquisitionSystemInformation")
    if system is None:
        system = add(root, "acquisitionSystemInformation")
    set_text(system, "systemFieldStrength_T", repr(FIELD_STRENGTH_T))
    yield Repair(
        code="field-strength-of-data-set",
        message="The header states no field strength; all of M4Raw was acquired at 0.3 T.",
        new=f"{FIELD_STRENGTH_T} T",
    )


def _slice_maximum(root: Element, n_slices: int) -> Iterator[Repair]:
    """Lower a largest slice counter that is the number of slices."""
    limit = find(root, "encoding/encodingLimits/slice")
    if limit is None or _number_or_none(limit, "minimum") or n_slices < 2:
        return
    if _number_or_none(limit, "maximum") == n_slices:
        set_text(limit, "maximum", str(n_slices - 1))
        yield Repair(
            code="slice-maximum",
            message="The largest slice counter is written as the number of slices.",
            old=str(n_slices),
            new=str(n_slices - 1),
        )


def _number_or_none(element: Element, path: str) -> float | None:
    """Read the number at a path, None where there is none or the text is no number."""
    try:
        return number_of(element, path)
    except ValueError:
        return None


def _values(root: Element) -> M4RawValues:
    bandwidth = spacing = None
    offset = [0.0, 0.0, 0.0]
    for element in root.iter():
        key = _key(element)
        if key == "samplingbandwidth":
            bandwidth = _positive(element)
        elif key in _SPACING:
            spacing = _positive(element)
        elif key.startswith("offcent"):
            _add_offset(offset, element, key)
    return M4RawValues(
        sampling_bandwidth_hz=bandwidth,
        slice_spacing_m=None if spacing is None else 1e-3 * spacing,
        offset_m=(offset[0], offset[1], offset[2]),
    )


def _positive(element: Element) -> float | None:
    try:
        value = float(element.text or "")
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _add_offset(offset: list[float], element: Element, key: str) -> None:
    """Take x, y and z [mm] from children or a name's end of these letters, or from one text."""
    texts: list[str | None] = [text_of(element, axis) for axis in "xyz"]
    if not any(texts) and key[-1] in "xyz":
        texts = [element.text if axis == key[-1] else None for axis in "xyz"]
    elif not any(texts):
        texts = [*re.split(r"[\s,;]+", (element.text or "").strip()), None, None][:3]
    for axis, text in enumerate(texts):
        try:
            value = float(text or 0)
        except ValueError:
            value = 0.0
        if value and abs(value) < 1e3:
            offset[axis] = 1e-3 * value
