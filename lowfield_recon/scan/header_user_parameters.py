"""User parameters of an ISMRMRD header: what a console stored beside the schema, and privacy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ismrmrd import xsd

from lowfield_recon.scan.header_schema import Element, find, find_all, local_name, text_of

UserValue = str | int | float
"""Value of a user parameter."""

ORIENTATION = "orientation"
"""Name of the user parameter that is `"unknown"` where the directions stand for nothing."""

MOST_PARAMETERS = 256
LONGEST_NAME = 128
LONGEST_TEXT = 16384

_PRIVATE = re.compile(
    r"patient(?!_*(position|orientation|table))"
    r"|(subject|participant|physician|operator)s?_*(name|id\b|id_|information|birth)"
    r"|birth_*da(te|y)|date_*of_*birth|accession|referring_*physician|\bdob\b",
    re.IGNORECASE,
)


def is_private(name: str) -> bool:
    """Say whether a name in a header stands for data of the patient.

    Parameters
    ----------
    name
        Name of a user parameter, or path of an element.

    Returns
    -------
        True for names, numbers and birth dates of patients, and for all of `subjectInformation`.

    Examples
    --------
    >>> [is_private(n) for n in ("tPatientName", "subject_ID", "patientPosition", "MaxwellX")]
    [True, True, False, False]
    """
    return _PRIVATE.search(name) is not None


def user_parameters(root: Element, notes: list[str]) -> dict[str, UserValue]:
    """Read the user parameters of a mended header.

    At most 256 are kept, with names of at most 128 and texts of at most 16384 characters; data of
    the patient, binary values and second values of one name are left out.

    Parameters
    ----------
    root
        Root of the mended tree.
    notes
        What was left out is appended here, without naming it.

    Returns
    -------
        Name to value, in the order of the header.
    """
    kept: dict[str, UserValue] = {}
    private = other = 0
    for element in find(root, "userParameters") or ():
        name, text = text_of(element, "name"), text_of(element, "value")
        value = _value(local_name(element), text)
        if name is None or (name == ORIENTATION and value == "unknown"):
            continue
        if is_private(name):
            private += 1
        elif value is None or name in kept or not _fits(name, value, len(kept)):
            other += 1
        else:
            kept[name] = value
    if private:
        notes.append(f"{private} user parameters with data of the patient were left out.")
    if other:
        notes.append(
            f"{other} user parameters were left out: they are binary, repeat a name, are too long "
            f"({LONGEST_TEXT} characters), or come after the first {MOST_PARAMETERS}."
        )
    return kept


def is_orientation_unknown(root: Element) -> bool:
    """Say whether the writer marked the directions of the readouts as standing for nothing.

    Parameters
    ----------
    root
        Root of the mended tree.

    Returns
    -------
        Whether there is a user parameter `orientation = unknown`.
    """
    return any(
        (text_of(e, "name"), text_of(e, "value")) == (ORIENTATION, "unknown")
        for e in find_all(root, "userParameters/userParameterString")
    )


def user_parameters_element(
    parameters: Mapping[str, UserValue], *, is_orientation_known: bool
) -> xsd.userParametersType | None:
    """Return user parameters as the schema has them.

    Parameters
    ----------
    parameters
        Name to value.
    is_orientation_known
        False adds `orientation = unknown`.

    Returns
    -------
        The element, or None where there is nothing to say.

    Examples
    --------
    >>> found = user_parameters_element({"shots": 4, "note": "a"}, is_orientation_known=True)
    >>> found.userParameterLong[0].value, found.userParameterString[0].value
    (4, 'a')
    """
    longs, doubles, strings = [], [], []
    for name, value in parameters.items():
        if name == ORIENTATION:
            continue
        if isinstance(value, int):
            longs.append(xsd.userParameterLongType(name=name, value=int(value)))
        elif isinstance(value, float):
            doubles.append(xsd.userParameterDoubleType(name=name, value=value))
        else:
            strings.append(xsd.userParameterStringType(name=name, value=value))
    if not is_orientation_known:
        strings.append(xsd.userParameterStringType(name=ORIENTATION, value="unknown"))
    if not (longs or doubles or strings):
        return None
    return xsd.userParametersType(
        userParameterLong=longs, userParameterDouble=doubles, userParameterString=strings
    )


def _value(kind: str, text: str | None) -> UserValue | None:
    if text is None:
        return None
    if kind == "userParameterLong":
        return int(text)
    if kind == "userParameterDouble":
        return float(text)
    return text if kind == "userParameterString" else None


def _fits(name: str, value: UserValue, n_kept: int) -> bool:
    is_short = not isinstance(value, str) or len(value) <= LONGEST_TEXT
    return is_short and len(name) <= LONGEST_NAME and n_kept < MOST_PARAMETERS
