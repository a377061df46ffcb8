"""Values of a header against the schema: unknown and empty elements, numbers, words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ismrmrd import xsd

from lowfield_recon.errors import DataError
from lowfield_recon.scan.header_evidence import Evidence
from lowfield_recon.scan.header_schema import Element, Rule, find, local_name, rules_of
from lowfield_recon.scan.header_user_parameters import is_private
from lowfield_recon.scan.records import Repair

_SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "trajectory": {
        "cartesian2d": "cartesian",
        "cartesian3d": "cartesian",
        "cart": "cartesian",
        "golden_angle": "goldenangle",
        "golden-angle": "goldenangle",
        "golden angle": "goldenangle",
        "echo planar": "epi",
    },
    "patientPosition": {
        "head first supine": "HFS",
        "head first prone": "HFP",
        "feet first supine": "FFS",
        "feet first prone": "FFP",
    },
}

_MENDED_LATER = ("encoding", "measurementInformation")


def elements_by_schema(root: Element, evidence: Evidence) -> Iterator[Repair]:
    """Leave out unknown and empty elements, and make numbers and words what the schema says."""
    yield from _walk(root, xsd.ismrmrdHeader, "", evidence)


def _walk(element: Element, schema: type, path: str, evidence: Evidence) -> Iterator[Repair]:
    rules = rules_of(schema)
    for child in list(element):
        name = local_name(child)
        here = f"{path}/{name}".lstrip("/")
        rule = rules.get(name)
        if rule is None:
            element.remove(child)
            yield Repair(
                code="unknown-element",
                message=f"<{here}> is not in the ISMRMRD schema; it was left out.",
                old=_content(child, here),
            )
        elif rule.children is not None:
            yield from _walk(child, rule.children, here, evidence)
            yield from _incomplete(element, child, here, rule)
        elif not (child.text or "").strip():
            element.remove(child)
            yield Repair(
                code="empty-element", message=f"<{here}> is empty; it was taken as absent."
            )
        else:
            yield from _mend_value(element, child, here, rule, evidence)


def _incomplete(parent: Element, child: Element, path: str, rule: Rule) -> Iterator[Repair]:
    """Leave out an optional element that lacks what the schema demands in it."""
    if rule.is_required or rule.children is None or local_name(child) in _MENDED_LATER:
        return
    inner = rules_of(rule.children)
    missing = [name for name, r in inner.items() if r.is_required and find(child, name) is None]
    if missing:
        parent.remove(child)
        yield Repair(
            code="incomplete-element",
            message=f"<{path}> lacks {', '.join(missing)}; it was left out.",
            old=_content(child, path),
        )


def _mend_value(
    parent: Element, leaf: Element, path: str, rule: Rule, evidence: Evidence
) -> Iterator[Repair]:
    text = (leaf.text or "").strip()
    if rule.words and text not in rule.words:
        yield _mend_word(parent, leaf, path, rule)
    elif rule.clock is not None and not _is_clock(text, rule.clock):
        parent.remove(leaf)
        yield Repair(
            code="not-a-date",
            message=f"<{path}> is no date or time as the schema has it; it was left out.",
            old=_content(leaf, path),
        )
    elif rule.number is not None:
        yield from _mend_number(parent, leaf, path, rule, evidence)


def _mend_number(
    parent: Element, leaf: Element, path: str, rule: Rule, evidence: Evidence
) -> Iterator[Repair]:
    text = (leaf.text or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    is_whole = rule.number is not int or "Frequency" in path or value.is_integer()
    if not (math.isfinite(value) and is_whole):
        wanted = "a whole number" if math.isfinite(value) else "a number"
        if "encodedSpace/" in path:
            raise DataError(
                f"{evidence.where}: <{path}> holds '{text[:40]}'; expected {wanted}. Mend the "
                "header, or find out what its writer meant."
            )
        parent.remove(leaf)
        yield Repair(
            code="not-a-number",
            message=f"<{path}> is not {wanted}; it was left out.",
            old=_content(leaf, path),
        )
    elif rule.number is int and not text.lstrip("+-").isdigit() and "Frequency" not in path:
        leaf.text = str(int(value))
        yield Repair(
            code="integer-as-float",
            message=f"<{path}> is written as a decimal number; it was read as a whole one.",
            old=_content(leaf, path) and text,
            new=leaf.text,
        )


def _is_clock(text: str, kind: type) -> bool:
    try:
        kind.from_string(text)  # type: ignore[attr-defined]
    except ValueError:
        return False
    return True


def _mend_word(parent: Element, leaf: Element, path: str, rule: Rule) -> Repair:
    text = (leaf.text or "").strip()
    known = {word.lower(): word for word in rule.words} | dict(_SYNONYMS.get(local_name(leaf), {}))
    word = known.get(text.lower())
    if word is None:
        parent.remove(leaf)
        return Repair(
            code="unknown-word",
            message=f"<{path}> holds none of {', '.join(rule.words)}; it was left out.",
            old=_content(leaf, path),
        )
    leaf.text = word
    return Repair(
        code="word-spelling",
        message=f"<{path}> is not spelt as the schema has it.",
        old=text,
        new=word,
    )


def _content(element: Element, path: str) -> str | None:
    """Return the text of an element for a report, None where it may be data of the patient."""
    if is_private(path) or any(is_private(local_name(e)) for e in element.iter()):
        return None
    return " ".join(part.strip() for part in element.itertext() if part.strip())[:200] or None
