"""What a method used that its user may not have named, said in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = ("dictionary", "weights", "beta", "regularization_weight")


def used_line(settings: Sequence[Mapping[str, Any]]) -> str | None:
    """Say which dictionary, weights and numbers the images of a run were made with.

    Parameters
    ----------
    settings
        Resolved settings of each image, at least one.

    Returns
    -------
        The line, or None for a method without a dictionary.

    Examples
    --------
    >>> used = {"dictionary": "cosine_k7_K48", "beta": 1.0, "iterations": 150}
    >>> used_line([used | {"regularization_weight": w} for w in (0.125, 0.5)])
    'used: dictionary cosine_k7_K48, beta 1, regularization_weight 0.125 to 0.5'
    >>> used_line([{"regularization_weight": 0.1}]) is None
    True
    """
    if "dictionary" not in settings[0]:
        return None
    words = []
    for name in (name for name in _SHOWN if settings[0].get(name) is not None):
        values = [entry[name] for entry in settings]
        if isinstance(values[0], int | float):
            low, high = f"{min(values):.4g}", f"{max(values):.4g}"
            words.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
        else:
            words.append(f"{name} {getattr(values[0], 'name', values[0])}")
    return "used: " + ", ".join(words)
