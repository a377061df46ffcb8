"""What the ISMRMRD schema allows, read from the `ismrmrd` package; the header as a tree."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from xml.etree import ElementTree

from xsdata.models.datatype import XmlDate, XmlTime

from lowfield_recon.errors import DataError
from lowfield_recon.scan.records import Repair

NAMESPACE = "http://www.ismrm.org/ISMRMRD"
MAX_HEADER_BYTES = 4 << 20
_PREFIX = f"{{{NAMESPACE}}}"

Element = ElementTree.Element


@dataclass(frozen=True, slots=True)
class Rule:
    """What the schema says about one element."""

    is_required: bool
    children: type | None = None
    """Schema class of an element that holds others."""

    number: type | None = None
    """`int` or `float` for numbers."""

    words: tuple[str, ...] = ()
    """Allowed words of an enumeration."""

    clock: type | None = None
    """Class that reads a date or a time of day."""


@cache
def rules_of(schema: type) -> Mapping[str, Rule]:
    """Return the rule of every element that may stand inside an element of class `schema`.

    Parameters
    ----------
    schema
        A class of `ismrmrd.xsd`, e.g. `ismrmrd.xsd.ismrmrdHeader`.

    Returns
    -------
        Element name to rule.

    Examples
    --------
    >>> from ismrmrd import xsd
    >>> rules_of(xsd.matrixSizeType)["x"].number
    <class 'int'>
    """
    hints = typing.get_type_hints(schema)
    return {f.name: _rule(hints[f.name]) for f in dataclasses.fields(schema)}


def parse_xml(document: bytes | str, where: str) -> tuple[Element, list[Repair]]:
    """Parse a header into a tree whose elements all carry the ISMRMRD namespace.

    Parameters
    ----------
    document
        The XML text as stored.
    where
        Name of the file, for errors.

    Returns
    -------
        The root element and the repairs made: cut at a NUL, namespace added.

    Raises
    ------
    DataError
        If it is no XML, is longer than 4 MiB, declares a document type or entities, or is not an
        ISMRMRD header.
    """
    text, repairs = _as_text(document, where)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(
            f"{where}: the header declares a document type or entities, which could make it "
            "expand without end; expected plain elements. Remove the declaration."
        )
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - declarations were refused above
    except ElementTree.ParseError as error:
        raise DataError(
            f"{where}: the ISMRMRD header is not well-formed XML ({error}); the file is damaged "
            "or its writer broken. Write the header again."
        ) from error
    if local_name(root) != "ismrmrdHeader":
        raise DataError(
            f"{where}: the XML begins with <{local_name(root)}>; expected <ismrmrdHeader>. Check "
            "that this is ISMRMRD raw data."
        )
    spaces = {_namespace(e) for e in root.iter()} - {NAMESPACE}
    for element in root.iter():
        element.tag = _PREFIX + local_name(element)
    if spaces:
        repairs.append(
            Repair(
                code="namespace-missing",
                message="The header's elements are not in the ISMRMRD namespace; it was added.",
                old=", ".join(sorted(spaces)) or None,
                new=NAMESPACE,
            )
        )
    return root, repairs


def local_name(element: Element) -> str:
    """Return an element's name without its namespace.

    Parameters
    ----------
    element
        The element.

    Returns
    -------
        The name.
    """
    return str(element.tag).rpartition("}")[2]


def find(element: Element, path: str) -> Element | None:
    """Return the first descendant at a path of local names, or None.

    Parameters
    ----------
    element
        Where to start.
    path
        Names joined by `/`.

    Returns
    -------
        The element or None.
    """
    return element.find("/".join(_PREFIX + name for name in path.split("/")))


def find_all(element: Element, path: str) -> list[Element]:
    """Return all descendants at a path of local names.

    Parameters
    ----------
    element
        Where to start.
    path
        Names joined by `/`.

    Returns
    -------
        The elements, in order.
    """
    return element.findall("/".join(_PREFIX + name for name in path.split("/")))


def text_of(element: Element, path: str) -> str | None:
    """Return the stripped text at a path, or None where there is none.

    Parameters
    ----------
    element
        Where to start.
    path
        Names joined by `/`.

    Returns
    -------
        The text or None.
    """
    found = find(element, path)
    text = None if found is None else (found.text or "").strip()
    return text or None


def number_of(element: Element, path: str) -> float | None:
    """Return the number at a path, or None where there is none.

    Parameters
    ----------
    element
        Where to start.
    path
        Names joined by `/`.

    Returns
    -------
        The number or None.
    """
    text = text_of(element, path)
    return None if text is None else float(text)


def add(element: Element, name: str, text: str | None = None) -> Element:
    """Append a child.

    Parameters
    ----------
    element
        The parent.
    name
        Local name of the child.
    text
        Its text, or None.

    Returns
    -------
        The child.
    """
    child = ElementTree.SubElement(element, _PREFIX + name)
    child.text = text
    return child


def set_text(parent: Element | None, name: str, text: str) -> None:
    """Set the text of a child, adding the child where it is missing.

    Parameters
    ----------
    parent
        The parent; None does nothing.
    name
        Local name of the child.
    text
        Its text.
    """
    if parent is None:
        return
    found = find(parent, name)
    if found is None:
        add(parent, name, text)
    else:
        found.text = text


def to_text(root: Element) -> str:
    """Return the tree as XML that `ismrmrd.xsd.CreateFromDocument` takes.

    Parameters
    ----------
    root
        The header's root.

    Returns
    -------
        XML text.
    """
    return ElementTree.tostring(root, encoding="unicode")


def _rule(hint: object) -> Rule:
    kinds = [hint, *typing.get_args(hint)]
    required = type(None) not in kinds and typing.get_origin(hint) is not list
    for kind in kinds:
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            if kind.__module__.startswith("ismrmrd"):
                return Rule(required, children=kind)
        elif isinstance(kind, type) and issubclass(kind, enum.Enum):
            return Rule(required, words=tuple(str(word.value) for word in kind))
        elif kind in (XmlDate, XmlTime):
            return Rule(required, clock=XmlDate if kind is XmlDate else XmlTime)
        elif kind in (int, float):
            return Rule(required, number=int if kind is int else float)
    return Rule(required)


def _namespace(element: Element) -> str:
    return str(element.tag).rpartition("}")[0].lstrip("{")


def _as_text(document: bytes | str, where: str) -> tuple[str, list[Repair]]:
    raw = document.encode() if isinstance(document, str) else bytes(document)
    if len(raw) > MAX_HEADER_BYTES:
        raise DataError(
            f"{where}: the header has {len(raw)} bytes; expected at most {MAX_HEADER_BYTES}."
        )
    repairs = []
    body = raw.split(b"\x00", 1)[0]
    if len(body) < len(raw):
        repairs.append(
            Repair(
                code="header-nul",
                message="The header goes on after a NUL byte; it was cut there.",
                old=f"{len(raw)} bytes",
                new=f"{len(body)} bytes",
            )
        )
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        text = body.decode("latin-1").strip()
        repairs.append(
            Repair(
                code="header-encoding", message="The header is not UTF-8; it was read as Latin-1."
            )
        )
    if not text:
        raise DataError(
            f"{where}: the ISMRMRD header is empty; expected XML. Write the file again."
        )
    return text, repairs
