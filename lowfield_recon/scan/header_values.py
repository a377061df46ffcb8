"""Values of a header against the schema: unknown and empty elements, numbers, words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ismrmrd import xsd

from lowfield_recon.errors import DataError
from lowfield_recon.scan.header_evidence import Evidence
from lowfield_recon.scan.header_schema import Element, Rule, local_name, rules_of
from lowfield_recon.scan.records import Repair

_SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "trajectory": {
        "cartesian2d": "cartesian",
        "cartesian3d": "cartesian",
        "cart": "cartesian",
        "golden_angle": "goldenangle",
        "golden-angle": "goldenangle",
        "golden angle": "goldenangle",
    },
    "patientPosition": {
        "head first supine": "HFS",
        "head first prone": "HFP",
        "feet first supine": "FFS",
        "feet first prone": "FFP",
    },
}


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
                old=_content(child),
            )
        elif rule.children is not None:
            yield from _walk(child, rule.children, here, evidence)
        elif not (child.text or "").strip():
            element.remove(child)
            yield Repair(
                code="empty-element", message=f"<{here}> is empty; it was taken as absent."
            )
        else:
            yield from _mend_value(element, child, here, rule, evidence)


def _mend_value(
    parent: Element, leaf: Element, path: str, rule: Rule, evidence: Evidence
) -> Iterator[Repair]:
    text = (leaf.text or "").strip()
    if rule.words and text not in rule.words:
        yield _mend_word(parent, leaf, path, rule)
        return
    if rule.number is None:
        return
    try:
        value = float(text)
        is_finite = abs(value) < float("inf")
    except ValueError:
        is_finite = False
    if not is_finite:
        if rule.is_required and not path.startswith("experimentalConditions"):
            raise DataError(
                f"{evidence.where}: <{path}> holds '{text[:40]}'; expected a number. Mend the "
                "header."
            )
        parent.remove(leaf)
        yield Repair(
            code="not-a-number", message=f"<{path}> is no number; it was left out.", old=text[:40]
        )
    elif rule.number is int and not text.lstrip("+-").isdigit() and "Frequency" not in path:
        if not value.is_integer():
            raise DataError(
                f"{evidence.where}: <{path}> holds {text}; expected a whole number. Mend the "
                "header, or find out what its writer meant."
            )
        leaf.text = str(int(value))
        yield Repair(
            code="integer-as-float",
            message=f"<{path}> is written as a decimal number; it was read as a whole one.",
            old=text,
            new=leaf.text,
        )


def _mend_word(parent: Element, leaf: Element, path: str, rule: Rule) -> Repair:
    text = (leaf.text or "").strip()
    known = {word.lower(): word for word in rule.words} | dict(_SYNONYMS.get(local_name(leaf), {}))
    word = known.get(text.lower())
    if word is None:
        parent.remove(leaf)
        return Repair(
            code="unknown-word",
            message=f"<{path}> holds none of {', '.join(rule.words)}; it was left out.",
            old=text[:40],
        )
    leaf.text = word
    return Repair(
        code="word-spelling",
        message=f"<{path}> is not spelt as the schema has it.",
        old=text,
        new=word,
    )


def _content(element: Element) -> str:
    return " ".join(part.strip() for part in element.itertext() if part.strip())[:200]
