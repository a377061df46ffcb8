"""Errors that a user can act on: what was seen, what was expected, what to do, in one line."""

from __future__ import annotations


class LowfieldReconError(ValueError):
    """Base of the errors that the command line shows as one line without a traceback."""

    exit_code = 1


class DataError(LowfieldReconError):
    """The data (a file, an array, a header) is not what it must be; exit code 1."""

    exit_code = 1


class UsageError(LowfieldReconError):
    """The caller asked for something that does not exist or does not fit; exit code 2."""

    exit_code = 2


class MissingDependencyError(LowfieldReconError):
    """A package is missing or does not match another one; the message names the remedy."""

    exit_code = 2


_MANY = 40
_FEW = 5


def nearest_name(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return a hint that names the known word nearest to `name`, and all of them if they are few.

    Of many words it names those that begin in the same way, else some that are near.

    Parameters
    ----------
    name
        The word that was not found.
    known
        The words that exist.

    Returns
    -------
        `"Did you mean 'tv'? Known: adjoint, tv."`, without the question where nothing is near.

    Examples
    --------
    >>> nearest_name("tvv", ["adjoint", "tv"])
    "Did you mean 'tv'? Known: adjoint, tv."
    """
    import difflib

    begun = [word for word in known if name and word.lower().startswith(name.lower())]
    near = begun or difflib.get_close_matches(name.lower(), list(known), n=_FEW, cutoff=0.5)
    if len(known) > _MANY:
        some = (near or sorted(known))[:_FEW]
        listing = f"Among {len(known)} known: {', '.join(some)}."
    else:
        listing = f"Known: {', '.join(known)}."
    return f"Did you mean '{near[0]}'? {listing}" if near else listing
