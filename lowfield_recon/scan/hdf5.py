"""HDF5 files, opened for reading only; links that leave the file are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from lowfield_recon.errors import DataError, LowfieldReconError

_READ_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    UnicodeDecodeError,
    MemoryError,
)
"""What h5py raises on a damaged file, depending on where the damage is."""


_FLOATS = tuple(
    getattr(h5py.h5t, f"IEEE_F{bits}{order}") for bits in (16, 32, 64) for order in ("LE", "BE")
)


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; damage met while it is open is a `DataError`.

    Parameters
    ----------
    path
        The file.

    Yields
    ------
        The open `h5py.File`.

    Raises
    ------
    DataError
        If the file cannot be opened as HDF5, or cannot be read inside the `with` block.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except LowfieldReconError:
        raise
    except _READ_ERRORS as error:
        raise DataError(
            f"{path.name}: begins like HDF5 but cannot be read ({first_line(error)}); the file is "
            "truncated or damaged. Copy it again."
        ) from error


def members(group: Any, where: str) -> dict[str, Any]:
    """Return what a group holds by name, without following links that leave it.

    Parameters
    ----------
    group
        An open `h5py` group.
    where
        Name of the file, for the error.

    Returns
    -------
        Name and `h5py` object of every member.

    Raises
    ------
    DataError
        If a member is an external or a soft link, its values lie in another file, or its numbers
        are laid out as no computer does it.
    """
    found: dict[str, Any] = {}
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
            raise DataError(
                f"{where}: '{name}' is {kind} link; expected the data in the file itself. "
                "Write a copy without links, e.g. with h5repack."
            )
        found[name] = group[name]
        _refuse_outside(found[name], where)
        if isinstance(found[name], h5py.Dataset) and not _has_usual_numbers(
            found[name].id.get_type()
        ):
            raise DataError(
                f"{where}: the numbers of '{name}' have a layout that no computer uses; the file "
                "is damaged. Copy it again."
            )
    return found


def _refuse_outside(item: Any, where: str) -> None:
    """Refuse a data set whose values lie in another file."""
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise DataError(
            f"{where}: the values of '{item.name}' lie outside the file; expected them in the file "
            "itself. Write a copy, e.g. with h5repack."
        )


def _has_usual_numbers(kind: Any) -> bool:
    """Say whether all numbers of a stored type are IEEE floats or whole-byte integers.

    HDF5 converts any arrangement of bits, but with absurd ones it writes over its own memory.
    """
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        members_of = [kind.get_member_type(i) for i in range(kind.get_nmembers())]
        return all(_has_usual_numbers(member) for member in members_of)
    if isinstance(kind, h5py.h5t.TypeArrayID | h5py.h5t.TypeVlenID):
        return _has_usual_numbers(kind.get_super())
    if isinstance(kind, h5py.h5t.TypeFloatID):
        return any(kind.equal(usual) for usual in _FLOATS)
    if isinstance(kind, h5py.h5t.TypeIntegerID):
        is_whole = bool(kind.get_offset() == 0 and kind.get_precision() == 8 * kind.get_size())
        return is_whole and kind.get_size() in (1, 2, 4, 8)
    return True


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's text, or its kind where it has none.

    Parameters
    ----------
    error
        The error.

    Returns
    -------
        One line of text.

    Examples
    --------
    >>> first_line(ValueError("bad\nmore"))
    'bad'
    """
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
