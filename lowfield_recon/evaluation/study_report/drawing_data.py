"""What the script of a study's page draws: the same numbers as in the tables, by position."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lowfield_recon.evaluation.study_report.content import Entry, StudyContent, finite
from lowfield_recon.evaluation.study_report.gallery import viewer_entry
from lowfield_recon.evaluation.study_report.pictures import StudyPanel

_DIGITS = 7


def drawing_data(content: StudyContent, panels: Sequence[StudyPanel]) -> str:
    """Return the numbers as JSON that is harmless inside a page.

    Parameters
    ----------
    content
        The study.
    panels
        The panels of the viewer.

    Returns
    -------
        JSON without the letters that mean something in HTML.
    """
    data = {
        "methods": [
            {"name": name, "label": content.label("methods", name)}
            for name in content.names("methods")
        ],
        "reference": _index(content.names("methods"), content.reference_method),
        "conditions": [_condition(content, entry) for entry in content.sections["conditions"]],
        "axes": [
            {
                "name": axis.name,
                "title": axis.title,
                "unit": axis.unit,
                "conditions": axis.conditions,
                "trained": axis.trained,
            }
            for axis in content.axes
        ],
        "metrics": [
            {
                "name": str(entry["name"]),
                "title": content.label("metrics", entry["name"]),
                "unit": str(entry.get("unit") or ""),
                "better": entry.get("higher_is_better"),
                "decimals": content.digits[str(entry["name"])],
            }
            for entry in content.sections["metrics"]
        ],
        "levels": _rows(content, "levels", ("mean", "low", "high")),
        "degradation": _rows(content, "degradation", ("mean", "low", "high")),
        "differences": _differences(content),
        "pairs": _pairs(content),
        "calibration": _calibration(content),
        "images": list(content.names("images")),
        "panels": [viewer_entry(content, number, panel) for number, panel in enumerate(panels)],
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def share_of(text: object) -> float | None:
    """Return the share that an interval promises.

    Parameters
    ----------
    text
        What the study calls it.

    Returns
    -------
        Number from 0 to 1; None where it is no such number.

    Examples
    --------
    >>> share_of("0.9"), share_of("biased")
    (0.9, None)
    """
    try:
        found = float(str(text))
    except ValueError:
        return None
    return found if 0 <= found <= 1 else None


def _index(names: Sequence[str], name: object) -> int:
    return names.index(str(name)) if name in names else -1


def _condition(content: StudyContent, entry: Entry) -> dict[str, Any]:
    level = entry.get("level")
    return {
        "name": str(entry["name"]),
        "label": content.label("conditions", entry["name"]),
        "level": "reference" if entry.get("is_reference") or level is None else str(level),
        "axis": content.axis_of(entry["name"]),
        "paired": bool(entry.get("is_reference") or entry.get("is_paired")),
    }


def _keys(content: StudyContent, section: str) -> Iterator[tuple[list[float | None], Entry]]:
    """Yield the positions of method, condition and metric of every entry, and the entry."""
    kinds = (("method", "methods"), ("condition", "conditions"), ("metric", "metrics"))
    positions = {
        key: {name: i for i, name in enumerate(content.names(kind))} for key, kind in kinds
    }
    for entry in content.sections[section]:
        yield [positions[key][str(entry[key])] for key, _ in kinds], entry


def _short(value: object) -> float | None:
    """Return a number to seven digits, which is more than a figure shows."""
    found = finite(value)
    return None if found is None else float(f"{found:.{_DIGITS}g}")


def _rows(content: StudyContent, section: str, names: Sequence[str]) -> list[list[float | None]]:
    return [
        [*key, *(_short(entry.get(name)) for name in names)]
        for key, entry in _keys(content, section)
    ]


def _differences(content: StudyContent) -> list[list[float | None]]:
    rows = _rows(content, "difference_in_differences", ("mean", "low", "high", "p_holm"))
    entries = content.sections["difference_in_differences"]
    return [
        [*row, int(bool(entry.get("is_primary")))] for row, entry in zip(rows, entries, strict=True)
    ]


def _pairs(content: StudyContent) -> dict[str, list[list[float | str | None]]]:
    """Return image, seed and both scores by `method,condition,metric`."""
    images = {name: i for i, name in enumerate(content.names("images"))}
    found: dict[str, list[list[float | str | None]]] = {}
    for key, entry in _keys(content, "pairs"):
        image = str(entry["image"])
        found.setdefault(",".join(str(i) for i in key), []).append(
            [
                images.get(image, image),
                str(entry.get("seed", "")),
                _short(entry["reference"]),
                _short(entry["shifted"]),
            ]
        )
    return found


def _calibration(content: StudyContent) -> list[list[Any]]:
    """Return method, condition, promised share and the mean over images of the kept share."""
    kept: dict[tuple[int, int, float], list[float]] = {}
    methods, conditions = content.names("methods"), content.names("conditions")
    for entry in content.sections["uncertainty"]:
        where = methods.index(str(entry["method"])), conditions.index(str(entry["condition"]))
        for share, value in (entry["coverage"] or {}).items():
            found, promised = finite(value), share_of(share)
            if found is not None and promised is not None:
                kept.setdefault((*where, promised), []).append(found)
    return [[*key, _short(sum(values) / len(values))] for key, values in sorted(kept.items())]
