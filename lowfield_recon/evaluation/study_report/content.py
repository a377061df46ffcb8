"""The sections of a study's results, checked, and in the order in which a reader meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lowfield_recon.errors import DataError

SCHEMA = "lowfield-recon study, version 1"
"""What a study's results call themselves."""

Entry: TypeAlias = Mapping[str, Any]
"""One line of a section, as in the JSON file."""

_COMPARED = ("method", "condition", "metric")
_REQUIRED: dict[str, tuple[str, ...]] = {
    "methods": ("name",),
    "conditions": ("name", "axis"),
    "axes": ("name",),
    "metrics": ("name",),
    "images": ("name",),
    "levels": (*_COMPARED, "mean"),
    "degradation": (*_COMPARED, "mean"),
    "difference_in_differences": (*_COMPARED, "mean"),
    "ranks": (*_COMPARED, "rank"),
    "pairs": (*_COMPARED, "image", "reference", "shifted"),
    "failures": ("method", "condition", "image", "failure"),
    "checks": ("method", "condition"),
    "uncertainty": ("method", "condition", "coverage"),
    "panels": ("condition", "image", "file"),
    "verdict": ("sentence",),
}
_KINDS = {"method": "methods", "condition": "conditions", "metric": "metrics"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Axis:
    """One kind of shift and its conditions."""

    name: str
    """Name in the study; names joined by `+` where shifts were combined."""

    title: str
    """Name in words."""

    unit: str
    """Unit of its levels, or empty."""

    conditions: tuple[int, ...]
    """Indices of its conditions, the reference condition among them where there is one."""

    trained: tuple[int, ...] = ()
    """Which of them lie within the range of levels that learned methods were trained on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyContent:
    """A study's results with every section present, empty where nothing was found."""

    title: str
    """Title of the study."""

    question: str
    """What was asked."""

    sections: Mapping[str, tuple[Entry, ...]]
    """Entries by section."""

    axes: tuple[Axis, ...]
    """Axes that have conditions, in the order of the conditions."""

    labels: Mapping[str, Mapping[str, str]]
    """What methods, conditions and metrics are called in a text, by section and name."""

    digits: Mapping[str, int]
    """Decimals that show four digits of the largest mean, by metric."""

    reference_method: str | None
    """Method that the others are compared with."""

    facts: Mapping[str, Entry]
    """Settings and environment."""

    notes: tuple[str, ...]
    """What a reader must know besides."""

    seconds: float | None
    """How long the study took, or None."""

    @property
    def axis_titles(self) -> dict[str, str]:
        """Titles of the shifts by name."""
        return {axis.name: axis.title for axis in self.axes}

    def names(self, section: str) -> tuple[str, ...]:
        """Return the names of methods, conditions, metrics or images, in order.

        Parameters
        ----------
        section
            Which of them.

        Returns
        -------
            Their names.
        """
        return tuple(str(entry["name"]) for entry in self.sections[section])

    def label(self, section: str, name: object) -> str:
        """Return what a method, condition or metric is called in a text.

        Parameters
        ----------
        section
            `"methods"`, `"conditions"` or `"metrics"`.
        name
            Its name.

        Returns
        -------
            Its label or title; its name where it has none.
        """
        return self.labels[section].get(str(name), str(name))

    def axis_of(self, condition: object) -> str:
        """Return the axis of a condition, empty for the reference condition.

        Parameters
        ----------
        condition
            Name of the condition.

        Returns
        -------
            Name of the axis.
        """
        return self.labels["axis"].get(str(condition), "")


def read_study(study: Mapping[str, Any]) -> StudyContent:
    """Check a study's results and complete its empty sections.

    Parameters
    ----------
    study
        Results as in `study.json`.

    Returns
    -------
        The content.

    Raises
    ------
    DataError
        If these are no results of a study, an entry lacks what it must have, or one names a
        method, condition or metric that the study does not list.

    Examples
    --------
    >>> read_study({"schema": SCHEMA, "title": "A"}).sections["levels"]
    ()
    """
    if not isinstance(study, Mapping) or study.get("schema") != SCHEMA:
        seen = study.get("schema") if isinstance(study, Mapping) else type(study).__name__
        raise DataError(
            f"study: expected results with the schema {SCHEMA!r}, got {seen!r}; "
            "write them with `lowfield-recon study`."
        )
    sections = {name: _section(study, name, keys) for name, keys in _REQUIRED.items()}
    _check_names(sections)
    reference = study.get("reference_method")
    return StudyContent(
        title=str(study.get("title") or "Robustness study"),
        question=str(study.get("question") or ""),
        sections=sections,
        axes=_axes(sections["conditions"], sections["axes"]),
        labels=_labels(sections),
        digits={
            str(e["name"]): _digits(sections["levels"], e["name"]) for e in sections["metrics"]
        },
        reference_method=None if reference is None else str(reference),
        facts={name: study.get(name) or {} for name in ("settings", "environment")},
        notes=tuple(str(note) for note in study.get("notes") or ()),
        seconds=finite(study.get("seconds")),
    )


def finite(value: object) -> float | None:
    """Return a number, or None where there is none or it is not finite.

    Parameters
    ----------
    value
        Anything that JSON holds.

    Returns
    -------
        The number or None.

    Examples
    --------
    >>> finite(float("nan")) is None, finite(2)
    (True, 2.0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _section(study: Mapping[str, Any], name: str, keys: Sequence[str]) -> tuple[Entry, ...]:
    entries = study.get(name)
    if entries is None:
        return ()
    if not isinstance(entries, list | tuple):
        raise DataError(f"study: expected a list of {name}, got {type(entries).__name__}.")
    for number, entry in enumerate(entries, 1):
        lacking = [k for k in keys if not isinstance(entry, Mapping) or k not in entry]
        if lacking:
            raise DataError(
                f"study: entry {number} of {name} lacks {lacking[0]!r}; expected {', '.join(keys)}."
            )
    return tuple(entries)


def _check_names(sections: Mapping[str, tuple[Entry, ...]]) -> None:
    known = {kind: {entry["name"] for entry in sections[kind]} for kind in _KINDS.values()}
    for section, entries in sections.items():
        if section == "verdict":
            continue
        for entry in entries:
            for key, kind in _KINDS.items():
                if (
                    section not in _KINDS.values()
                    and key in entry
                    and entry[key] not in known[kind]
                ):
                    raise DataError(
                        f"study: its {section} name the {key} {entry[key]!r}; its {kind} lack it."
                    )


def _labels(sections: Mapping[str, tuple[Entry, ...]]) -> dict[str, dict[str, str]]:
    labels = {
        kind: {str(e["name"]): str(e.get("label") or e.get("title") or e["name"]) for e in entries}
        for kind, entries in sections.items()
        if kind in _KINDS.values()
    }
    labels["axis"] = {
        str(entry["name"]): "" if entry.get("is_reference") else str(entry["axis"])
        for entry in sections["conditions"]
    }
    return labels


def _digits(levels: Sequence[Entry], metric: object) -> int:
    values = [finite(entry["mean"]) for entry in levels if entry["metric"] == metric]
    peak = max((abs(value) for value in values if value is not None), default=1.0)
    return min(6, max(0, 3 - math.floor(math.log10(peak)))) if peak > 0 else 3


def _axes(conditions: Sequence[Entry], described: Sequence[Entry]) -> tuple[Axis, ...]:
    about = {str(entry["name"]): entry for entry in described}
    reference = [i for i, entry in enumerate(conditions) if entry.get("is_reference")][:1]
    members: dict[str, list[int]] = {}
    for i, entry in enumerate(conditions):
        if not entry.get("is_reference"):
            members.setdefault(str(entry["axis"]), []).append(i)
    axes = []
    for name, own in members.items():
        parts = [about.get(part, {}) for part in ([name] if name in about else name.split("+"))]
        titles = [str(p.get("title") or n) for p, n in zip(parts, name.split("+"), strict=False)]
        is_one = len(parts) == 1
        start = finite(parts[0].get("reference_level")) if is_one else None
        ordered = _ordered(conditions, own, reference, start)
        levels = {i: finite(conditions[i].get("numeric_level")) for i in own}
        levels |= dict.fromkeys(reference, start)
        axes.append(
            Axis(
                name=name,
                title=" + ".join(titles),
                unit=str(parts[0].get("unit") or "") if is_one else "",
                conditions=ordered,
                trained=_within(ordered, levels, parts[0].get("trained") if is_one else None),
            )
        )
    return tuple(axes)


def _within(
    ordered: Sequence[int], levels: Mapping[int, float | None], trained: object
) -> tuple[int, ...]:
    """Return the conditions whose level lies in a range `[lowest, highest]`, where there is one."""
    ends = [finite(end) for end in trained] if isinstance(trained, list | tuple) else []
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return ()
    low, high = ends[0], ends[1]
    return tuple(i for i in ordered if (v := levels.get(i)) is not None and low <= v <= high)


def _ordered(
    conditions: Sequence[Entry], own: list[int], reference: list[int], start: float | None
) -> tuple[int, ...]:
    """Sort by level where every level is a number; the reference comes first where it has none."""
    levels = {i: finite(conditions[i].get("numeric_level")) for i in own}
    numbers = {i: level for i, level in levels.items() if level is not None}
    if len(numbers) < len(own):
        return (*reference, *own)
    if start is None or not reference:
        return (*reference, *sorted(own, key=numbers.__getitem__))
    numbers[reference[0]] = start
    return tuple(sorted([*reference, *own], key=numbers.__getitem__))
