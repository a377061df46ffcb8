"""What a method used that its user may not have named, said in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = ("dictionary", "weights", "beta", "regularization_weight")
_SAID = {"strength_rule": "strength: ", "padding": ""}
"""Diagnostics that are said too, with what stands before them."""


def used_line(
    settings: Sequence[Mapping[str, Any]], diagnostics: Sequence[Mapping[str, Any]] = ()
) -> str | None:
    """Say which dictionary, weights and numbers the images of a run were made with, and why.

    Parameters
    ----------
    settings
        Resolved settings of each image, at least one.
    diagnostics
        Diagnostics of each image; of several that say different things the first is quoted.

    Returns
    -------
        The line, or None for a method with neither dictionary nor weights.

    Examples
    --------
    >>> used = {"dictionary": "cosine_k7_K48", "beta": 1.0, "iterations": 150}
    >>> used_line([used | {"regularization_weight": w} for w in (0.125, 0.5)])
    'used: dictionary cosine_k7_K48, beta 1, regularization_weight 0.125 to 0.5'
    >>> used_line([{"weights": "ncpr_sigma25"}], [{"strength_rule": "published optimum 'a'"}])
    "used: weights ncpr_sigma25; strength: published optimum 'a'"
    >>> used_line([{"regularization_weight": 0.1}]) is None
    True
    """
    if not {"dictionary", "weights"} & settings[0].keys():
        return None
    words = []
    for name in (name for name in _SHOWN if settings[0].get(name) is not None):
        values = [entry[name] for entry in settings]
        if isinstance(values[0], int | float):
            low, high = f"{min(values):.4g}", f"{max(values):.4g}"
            words.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
        else:
            words.append(f"{name} {getattr(values[0], 'name', values[0])}")
    said = [", ".join(words)]
    for name, head in _SAID.items():
        texts = list(dict.fromkeys(entry[name] for entry in diagnostics if entry.get(name)))
        if texts:
            more = " (of other images in the JSON)" if len(texts) > 1 else ""
            said.append(f"{head}{texts[0]}{more}")
    return "used: " + "; ".join(said)
