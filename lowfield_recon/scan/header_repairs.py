"""One small function per defect of an ISMRMRD header; each mends the tree and says what it did.

`REPAIRS` lists them in the order in which they run; a new defect is a new function in that list.
"""

from __future__ import annotations

from collections.abc import Iterator

from lowfield_recon.errors import DataError
from lowfield_recon.scan.header_evidence import Evidence, Mend
from lowfield_recon.scan.header_physics import PHYSICS
from lowfield_recon.scan.header_schema import (
    Element,
    add,
    find,
    find_all,
    number_of,
    set_text,
    text_of,
)
from lowfield_recon.scan.header_values import elements_by_schema
from lowfield_recon.scan.records import Extent, Repair

_PHASE_ENCODINGS = ("kspace_encoding_step_1", "kspace_encoding_step_2")
_ON_A_GRID = ("cartesian", "epi")


def _encoding_missing(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Build the encoding from the caller's matrix and field of view where the header has none."""
    if find(root, "encoding") is not None:
        return
    if evidence.matrix is None or evidence.fov_m is None:
        raise DataError(
            f"{evidence.where}: the header has no <encoding>, so matrix and field of view are not "
            "known; pass both, e.g. matrix=(1, 256, 256) and fov_m=(0.005, 0.2, 0.2) to "
            "load_scan."
        )
    encoding = add(root, "encoding")
    for name in ("encodedSpace", "reconSpace"):
        space = add(encoding, name)
        _add_triple(space, "matrixSize", tuple(str(n) for n in evidence.matrix))
        _add_triple(space, "fieldOfView_mm", tuple(repr(1e3 * f) for f in evidence.fov_m))
    yield Repair(
        code="encoding-missing",
        message="The header has no encoding; it was built from the given matrix and field of view.",
        new=f"matrix {evidence.matrix}, field of view {evidence.fov_m} m",
    )


def _spaces_incomplete(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Demand matrix and field of view; take missing ones of the image from the encoded."""
    for encoding in find_all(root, "encoding"):
        for part in ("matrixSize", "fieldOfView_mm"):
            found = find(encoding, f"encodedSpace/{part}")
            if found is None and part == "fieldOfView_mm" and evidence.fov_m is not None:
                found = _given_fov(encoding, evidence.fov_m)
            if found is None or any(number_of(found, axis) is None for axis in "xyz"):
                raise DataError(
                    f"{evidence.where}: the header lacks encodedSpace/{part} with x, y and z; "
                    "expected three numbers. Write the header again."
                )
            mend = find(encoding, "reconSpace")
            mend = add(encoding, "reconSpace") if mend is None else mend
            given = find(mend, part)
            if given is None or any(number_of(given, axis) is None for axis in "xyz"):
                if given is not None:
                    mend.remove(given)
                _add_triple(mend, part, tuple(str(find(found, a).text) for a in "zyx"))  # type: ignore[union-attr]
                yield Repair(
                    code="recon-space-missing",
                    message=f"The header lacks reconSpace/{part}; the encoded one was taken.",
                )


def _field_of_view_given(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Take the caller's field of view, not the header's; the image's changes in proportion."""
    for encoding in find_all(root, "encoding") if evidence.fov_m is not None else ():
        given = dict(zip("zyx", (1e3 * f for f in evidence.fov_m or ()), strict=True))
        encoded = find(encoding, "encodedSpace/fieldOfView_mm")
        recon = find(encoding, "reconSpace/fieldOfView_mm")
        stored = {
            axis: 0.0 if encoded is None else number_of(encoded, axis) or 0.0 for axis in "zyx"
        }
        if all(abs(stored[axis] - given[axis]) <= 1e-6 * given[axis] for axis in "zyx"):
            continue
        for axis in "zyx":
            image = 0.0 if recon is None else number_of(recon, axis) or 0.0
            ratio = image / stored[axis] if image and stored[axis] else 1.0
            set_text(encoded, axis, repr(given[axis]))
            set_text(recon, axis, repr(given[axis] * ratio))
        yield Repair(
            code="fov-given",
            message="The encoded field of view of the header was replaced by the given one.",
            old=" x ".join(f"{stored[axis]:g}" for axis in "zyx") + " mm",
            new=" x ".join(f"{given[axis]:g}" for axis in "zyx") + " mm",
        )


def _field_of_view_in_metres(root: Element, _: Evidence) -> Iterator[Repair]:
    """Turn a field of view below 1 mm along x and y, meant in metres, into millimetres."""
    for encoding in find_all(root, "encoding"):
        for space in ("encodedSpace", "reconSpace"):
            fov = find(encoding, f"{space}/fieldOfView_mm")
            values = [] if fov is None else [number_of(fov, axis) or 0.0 for axis in "xyz"]
            if fov is None or not all(0 < value < 1 for value in values[:2]):
                continue
            for axis, value in zip("xyz", values, strict=True):
                set_text(fov, axis, repr(1e3 * value))
            yield Repair(
                code="fov-in-metres",
                message=f"{space}/fieldOfView_mm is below 1 mm; it was taken as metres.",
                old=", ".join(f"{v:g}" for v in values),
                new=", ".join(f"{1e3 * v:g}" for v in values),
            )


def _limits_missing(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Rebuild the encoding limits from the counters of the readouts."""
    for encoding in find_all(root, "encoding"):
        if find(encoding, "encodingLimits") is not None:
            continue
        limits = add(encoding, "encodingLimits")
        for name, (low, high) in evidence.counters.items():
            _add_limit(limits, name, low, high, _likely_center(encoding, name, high))
        yield Repair(
            code="encoding-limits-missing",
            message="The header has no encoding limits; they were rebuilt from the counters, the "
            "centre of k-space in the middle of the matrix.",
            new=", ".join(f"{n} {a}..{b}" for n, (a, b) in evidence.counters.items() if b > 0)
            or None,
        )


def _limit_missing(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Rebuild the limits of a phase encoding that is in use on a grid, where they alone lack."""
    for encoding in find_all(root, "encoding"):
        limits = find(encoding, "encodingLimits")
        if limits is None or (text_of(encoding, "trajectory") or "cartesian") not in _ON_A_GRID:
            continue
        for name in _PHASE_ENCODINGS:
            low, high = evidence.counters.get(name, (0, 0))
            if high == 0 or find(limits, name) is not None:
                continue
            center = _likely_center(encoding, name, high)
            _add_limit(limits, name, low, high, center)
            yield Repair(
                code="encoding-limit-missing",
                message=f"The encoding limits lack {name}; it was rebuilt from the counters, the "
                "centre of k-space in the middle of the matrix.",
                new=f"{low}..{high}, centre {center}",
            )


def _trajectory_missing(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Infer the kind of trajectory: other where readouts carry one, Cartesian where they do not."""
    for encoding in find_all(root, "encoding"):
        if find(encoding, "trajectory") is not None:
            continue
        word = "other" if evidence.has_trajectory else "cartesian"
        add(encoding, "trajectory", word)
        yield Repair(
            code="trajectory-missing",
            message="The header names no trajectory; it was inferred from the readouts.",
            new=word,
        )


def _patient_position_missing(root: Element, _: Evidence) -> Iterator[Repair]:
    """Assume head first, supine; the orientation of the patient is then not known."""
    measurement = find(root, "measurementInformation")
    if measurement is None or find(measurement, "patientPosition") is not None:
        return
    add(measurement, "patientPosition", "HFS")
    yield Repair(
        code="patient-position-missing",
        message="The header names no patient position; head first supine was assumed, so the "
        "orientation is not known.",
        new="HFS",
    )


REPAIRS: tuple[Mend, ...] = (
    elements_by_schema,
    _encoding_missing,
    _spaces_incomplete,
    _field_of_view_in_metres,
    _field_of_view_given,
    _limits_missing,
    _limit_missing,
    _trajectory_missing,
    _patient_position_missing,
    *PHYSICS,
)
"""All repairs of a header, in the order in which they run."""


def _likely_center(encoding: Element, counter: str, high: int) -> int:
    axis = {"kspace_encoding_step_1": "y", "kspace_encoding_step_2": "z"}.get(counter)
    if axis is None or high == 0:
        return 0
    return int(number_of(encoding, f"encodedSpace/matrixSize/{axis}") or 0) // 2


def _add_limit(limits: Element, name: str, low: int, high: int, center: int) -> None:
    limit = add(limits, name)
    for tag, value in (("minimum", low), ("maximum", high), ("center", center)):
        add(limit, tag, str(value))


def _add_triple(parent: Element, name: str, zyx: tuple[str, ...]) -> None:
    triple = add(parent, name)
    for axis, text in zip("zyx", zyx, strict=True):
        add(triple, axis, text)


def _given_fov(encoding: Element, fov_m: Extent) -> Element | None:
    space = find(encoding, "encodedSpace")
    if space is None:
        return None
    _add_triple(space, "fieldOfView_mm", tuple(repr(1e3 * f) for f in fov_m))
    return find(space, "fieldOfView_mm")
