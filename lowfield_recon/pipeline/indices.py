"""Lists of indices as people write them."""

from __future__ import annotations

from lowfield_recon.errors import UsageError


def parse_indices(text: str | None, count: int, what: str = "slices") -> list[int]:
    """Turn `"0,2-5"` into the indices it names, counted from 0.

    Parameters
    ----------
    text
        Indices and ranges with both ends included, or None for all.
    count
        How many there are.
    what
        What they count, for messages.

    Returns
    -------
        Indices in the order given.

    Raises
    ------
    UsageError
        If it cannot be read, names one twice or one that does not exist.

    Examples
    --------
    >>> parse_indices("0,2-4", 10)
    [0, 2, 3, 4]
    """
    if text is None:
        return list(range(count))
    indices: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise UsageError(f"--{what} {text}: expected numbers and ranges such as 0,2-5.")
        if int(last or first) >= count or int(last or first) < int(first):
            raise UsageError(
                f"--{what} {text}: '{part.strip()}' is not there; there are 0 to {count - 1}."
            )
        indices.extend(range(int(first), int(last or first) + 1))
    if len(set(indices)) != len(indices):
        raise UsageError(f"--{what} {text}: names one twice; name each once.")
    return indices
