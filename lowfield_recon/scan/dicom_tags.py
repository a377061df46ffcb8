"""Values as DICOM stores them: numbers and words within their limits, identifiers from content.

References
----------
DICOM PS3.5, data structures and encoding (value representations, section 6.2; identifiers made
from UUIDs, annex B.2): https://dicom.nema.org/medical/dicom/current/output/html/part05.html
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
import uuid
from collections.abc import Iterable

from pydicom.valuerep import format_number_as_ds

from lowfield_recon.errors import DataError

IMPLEMENTATION_UID = "2.25.133467811735862103977043921178510361087"
"""Names the program that wrote a file; the same for every version of it."""

IMPLEMENTATION_NAME = "LOWFIELD_RECON"

RESEARCH_NOTE = "Research reconstruction, not for diagnosis"
"""Stands in every file that is written."""

ORIENTATION_NOT_KNOWN = "ORIENTATION NOT KNOWN"
"""Marks, in the image comments, files whose position and directions are a default."""

_LARGEST_DECIMAL = 1e100


def decimal(value: float) -> str:
    """Write a number as a decimal string of at most 16 characters, as exactly as these allow.

    Parameters
    ----------
    value
        The number.

    Returns
    -------
        Text that `float` reads back.

    Raises
    ------
    DataError
        If the number is not finite.

    Examples
    --------
    >>> decimal(-1 / 3), decimal(2.0), decimal(-0.0)
    ('-0.3333333333333', '2.0', '0.0')
    """
    if not (math.isfinite(value) and abs(value) < _LARGEST_DECIMAL):
        raise DataError(f"a value for DICOM: expected a finite number, got {value}.")
    return format_number_as_ds(float(value) + 0.0)  # adding zero turns -0.0 into 0.0


def decimals(values: Iterable[float]) -> list[str]:
    """Write several numbers as decimal strings.

    Parameters
    ----------
    values
        The numbers.

    Returns
    -------
        One text for each.

    Raises
    ------
    DataError
        If a number is not finite.

    Examples
    --------
    >>> decimals((1, 0.5))
    ['1.0', '0.5']
    """
    return [decimal(value) for value in values]


def words(text: str | None, length: int = 64) -> str:
    r"""Return text that a string element can hold: no backslash, no control characters, not longer.

    Parameters
    ----------
    text
        Any text, or None.
    length
        Largest number of characters.

    Returns
    -------
        The text, empty for None.

    Examples
    --------
    >>> words("t2\\tse\n0.05 T")
    't2 tse 0.05 T'
    """
    kept = "".join(
        " " if letter == "\\" or unicodedata.category(letter)[0] == "C" else letter
        for letter in text or ""
    )
    return " ".join(kept.split())[:length].strip()


def identifier(*parts: str | bytes) -> str:
    """Make a unique identifier from content: the same parts always give the same one.

    ``2.25.`` and the number of a UUID (version 8) whose free bits are those of the SHA-256 of the
    parts.

    Parameters
    ----------
    parts
        What it stands for.

    Returns
    -------
        At most 44 characters.

    Examples
    --------
    >>> identifier("series", b"1") == identifier("series", b"1") != identifier("series", b"2")
    True
    """
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    number = int.from_bytes(digest.digest()[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76  # the version
    number = number & ~(0x3 << 62) | 0x2 << 62  # the variant
    return f"2.25.{uuid.UUID(int=number).int}"
