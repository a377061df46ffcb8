"""`"${parameter}"` and `"${step.output}"` inside the settings of a step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${name}` or `${name.part}`."""

    name: str
    """Name of a parameter or step."""

    part: str | None
    """Output of the step, or attribute of a file."""

    def __str__(self) -> str:
        inner = self.name if self.part is None else f"{self.name}.{self.part}"
        return f"${{{inner}}}"


def parse_reference(text: str) -> Reference:
    """Split the words between the braces.

    Parameters
    ----------
    text
        For instance `"image.record"`.

    Returns
    -------
        Name and part.

    Examples
    --------
    >>> parse_reference("scan.stem")
    Reference(name='scan', part='stem')
    """
    name, dot, part = text.strip().partition(".")
    return Reference(name=name, part=part if dot else None)


def whole_reference(value: object) -> Reference | None:
    """Return the reference that a value consists of, if it is nothing else.

    Parameters
    ----------
    value
        A value from the YAML.

    Returns
    -------
        The reference, or None.

    Examples
    --------
    >>> whole_reference("${scan}")
    Reference(name='scan', part=None)
    >>> whole_reference("${scan}.png") is None
    True
    """
    match = _REFERENCE.fullmatch(value.strip()) if isinstance(value, str) else None
    return None if match is None else parse_reference(match.group(1))


def references_in(value: Any, location: Location = ()) -> Iterator[tuple[Location, Reference]]:
    """Find every reference in a value, however deep.

    Parameters
    ----------
    value
        A value from the YAML.
    location
        Keys and indices of its place.

    Yields
    ------
        Place and reference.

    Examples
    --------
    >>> [place for place, _ in references_in({"a": ["${x}", 1]})]
    [('a', 0)]
    """
    if isinstance(value, str):
        for match in _REFERENCE.finditer(value):
            yield location, parse_reference(match.group(1))
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from references_in(entry, (*location, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from references_in(entry, (*location, index))


def substitute(value: Any, look_up: Callable[[Reference], Any]) -> Any:
    """Put values in the place of references.

    Parameters
    ----------
    value
        A value from the YAML.
    look_up
        Gives the value of a reference.

    Returns
    -------
        The same with values; a text that is one reference takes over the value's type.

    Examples
    --------
    >>> substitute({"a": "${n}", "b": "n-${n}.png"}, lambda reference: 3)
    {'a': 3, 'b': 'n-3.png'}
    """
    if isinstance(value, str):
        whole = whole_reference(value)
        if whole is not None:
            return look_up(whole)
        return _REFERENCE.sub(lambda match: str(look_up(parse_reference(match.group(1)))), value)
    if isinstance(value, dict):
        return {key: substitute(entry, look_up) for key, entry in value.items()}
    if isinstance(value, list):
        return [substitute(entry, look_up) for entry in value]
    return value
