"""The ISMRMRD header, read tolerantly: defects are mended by rule, and every repair is named."""

from __future__ import annotations

import math

from lowfield_recon.errors import DataError
from lowfield_recon.scan.header_evidence import Evidence
from lowfield_recon.scan.header_physics import HZ_PER_TESLA
from lowfield_recon.scan.header_repairs import REPAIRS
from lowfield_recon.scan.header_schema import (
    Element,
    find,
    find_all,
    local_name,
    number_of,
    parse_xml,
    text_of,
    to_text,
)
from lowfield_recon.scan.header_user_parameters import user_parameters
from lowfield_recon.scan.records import Extent, Repair, ScanHeader, Shape

MAX_MATRIX = 65536
"""Largest matrix size along one axis; counters have 16 bits."""


def repair_header(
    document: bytes | str, evidence: Evidence | None = None
) -> tuple[Element, tuple[Repair, ...]]:
    """Parse a header and mend what is wrong with it.

    Parameters
    ----------
    document
        The XML as stored in the file.
    evidence
        What readouts and caller know that the header may lack.

    Returns
    -------
        The mended tree, which `ismrmrd` accepts, and the repairs in order.

    Raises
    ------
    DataError
        If the header is no ISMRMRD header or has a defect that cannot be mended.

    Examples
    --------
    >>> space = (
    ...     "<matrixSize><x>8.0</x><y>8</y><z>1</z></matrixSize>"
    ...     "<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm>"
    ... )
    >>> encoding = f"<encoding><encodedSpace>{space}</encodedSpace></encoding>"
    >>> root, repairs = repair_header(f"<ismrmrdHeader>{encoding}</ismrmrdHeader>")
    >>> [repair.code for repair in repairs][:3]
    ['namespace-missing', 'integer-as-float', 'recon-space-missing']
    """
    evidence = evidence or Evidence()
    root, repairs = parse_xml(document, evidence.where)
    for mend in REPAIRS:
        repairs.extend(mend(root, evidence))
    return root, tuple(repairs)


def repaired_xml(document: bytes | str, evidence: Evidence | None = None) -> str:
    """Return the mended header as XML that `ismrmrd.xsd.CreateFromDocument` accepts.

    Parameters
    ----------
    document
        The XML as stored in the file.
    evidence
        What readouts and caller know that the header may lack.

    Returns
    -------
        XML text.

    Raises
    ------
    DataError
        If the header has a defect that cannot be mended.
    """
    root, _ = repair_header(document, evidence)
    return to_text(root)


def header_record(
    root: Element, *, encoding: int, n_coils: int, where: str, notes: list[str] | None = None
) -> ScanHeader:
    """Read the record from a mended tree, in SI units.

    Parameters
    ----------
    root
        Root of the mended tree.
    encoding
        Which of the header's encodings the image readouts refer to.
    n_coils
        Number of coils of the image readouts.
    where
        Name of the file, for errors.
    notes
        What was decided is appended here: user parameters that were left out, doubts about sizes.

    Returns
    -------
        The header.

    Raises
    ------
    DataError
        If the encoding does not exist or a matrix size or field of view is out of range.
    """
    encodings = find_all(root, "encoding")
    if not 0 <= encoding < len(encodings):
        raise DataError(
            f"{where}: the readouts refer to encoding {encoding}, but the header has "
            f"{len(encodings)}; the header belongs to another measurement or is incomplete."
        )
    space = encodings[encoding]
    notes = [] if notes is None else notes
    frequency = number_of(root, "experimentalConditions/H1resonanceFrequency_Hz") or None
    strength = number_of(root, "acquisitionSystemInformation/systemFieldStrength_T")
    if not strength and frequency is not None:
        strength = frequency / HZ_PER_TESLA
    matrix, fov_m = _matrix(space, "encodedSpace", where), _fov(space, "encodedSpace", where)
    if fov_m is not None and all(
        round(1e3 * f, 6) == n for f, n in zip(fov_m, matrix, strict=True)
    ):
        notes.append(
            "The field of view in mm equals the matrix in all directions, as where it was never "
            "filled in; check that voxels of exactly 1 mm are true, or pass the field of view."
        )
    return ScanHeader(
        encoded_matrix=matrix,
        recon_matrix=_matrix(space, "reconSpace", where),
        encoded_fov_m=fov_m,
        recon_fov_m=_fov(space, "reconSpace", where),
        field_strength_t=strength or None,
        larmor_frequency_hz=frequency,
        trajectory=text_of(space, "trajectory") or "cartesian",
        n_coils=n_coils,
        vendor=text_of(root, "acquisitionSystemInformation/systemVendor"),
        model=text_of(root, "acquisitionSystemInformation/systemModel"),
        protocol=text_of(root, "measurementInformation/protocolName"),
        echo_time_s=_numbers(root, "sequenceParameters/TE", 1e-3),
        repetition_time_s=_numbers(root, "sequenceParameters/TR", 1e-3),
        inversion_time_s=_numbers(root, "sequenceParameters/TI", 1e-3),
        flip_angle_rad=_numbers(root, "sequenceParameters/flipAngle_deg", math.pi / 180),
        patient_position=text_of(root, "measurementInformation/patientPosition"),
        relative_noise_bandwidth=number_of(
            root, "acquisitionSystemInformation/relativeReceiverNoiseBandwidth"
        ),
        limits=_limits(space),
        user_parameters=user_parameters(root, notes),
    )


def receiver_channels(root: Element) -> int | None:
    """Return the number of receive channels that the header states, or None.

    Parameters
    ----------
    root
        Root of the mended tree.

    Returns
    -------
        The number or None.
    """
    value = number_of(root, "acquisitionSystemInformation/receiverChannels")
    return None if value is None else int(value)


def _matrix(space: Element, name: str, where: str) -> Shape:
    sizes = [int(number_of(space, f"{name}/matrixSize/{axis}") or 0) for axis in "zyx"]
    sizes[0] = max(sizes[0], 1)
    if not all(1 <= n <= MAX_MATRIX for n in sizes):
        raise DataError(
            f"{where}: {name}/matrixSize (z, y, x) is {tuple(sizes)}; expected 1 to {MAX_MATRIX} "
            "along each axis. Mend the header."
        )
    return (sizes[0], sizes[1], sizes[2])


def _fov(space: Element, name: str, where: str) -> Extent | None:
    z, y, x = (1e-3 * (number_of(space, f"{name}/fieldOfView_mm/{axis}") or 0) for axis in "zyx")
    if min(z, y, x) < 0 or max(z, y, x) > 100:
        raise DataError(
            f"{where}: {name}/fieldOfView_mm (z, y, x) is {1e3 * z:g}, {1e3 * y:g}, {1e3 * x:g}; "
            "expected lengths in millimetres. Mend the header."
        )
    return None if min(y, x) == 0 else (z, y, x)


def _numbers(root: Element, path: str, unit: float) -> tuple[float, ...] | None:
    values = tuple(float(e.text or 0) * unit for e in find_all(root, path))
    return values or None


def _limits(space: Element) -> dict[str, tuple[int, int, int]]:
    limits = find(space, "encodingLimits")
    found = {}
    for limit in [] if limits is None else limits:
        low, high, center = (
            int(number_of(limit, n) or 0) for n in ("minimum", "maximum", "center")
        )
        found[local_name(limit)] = (low, high, center)
    return found
