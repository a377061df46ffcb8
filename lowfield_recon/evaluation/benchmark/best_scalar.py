"""The best weight there is for one image, found with its truth: an upper bound, not a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Scores = Mapping[str, float]

_FARTHEST = 5


def best_octaves(score_at: Callable[[float], Scores], metrics: Sequence[str]) -> dict[str, float]:
    """Find where each metric is largest along one axis.

    A grid of step 1 about 0 is extended until the largest value is not at its end (at most to
    +-5); then both half steps about it are tried, and the vertex of the parabola through the best
    three neighbours is returned.

    Parameters
    ----------
    score_at
        t -> value of every metric; larger is better. It is called once per t.
    metrics
        Names of the metrics.

    Returns
    -------
        t of each metric.

    Examples
    --------
    >>> found = best_octaves(lambda t: {"a": -((t - 1.3) ** 2), "b": t}, ["a", "b"])
    >>> round(found["a"], 6), found["b"]
    (1.3, 5.0)
    """
    known: dict[float, Scores] = {}

    def value(t: float, metric: str) -> float:
        if t not in known:
            known[t] = score_at(t)
        return known[t][metric]

    found = {}
    for metric in metrics:
        low, high = -1.0, 1.0
        best = max((low, 0.0, high), key=lambda t: value(t, metric))
        while best in (low, high) and abs(best) < _FARTHEST:
            low, high = (low - 1, high) if best == low else (low, high + 1)
            best = max((low, best, high), key=lambda t: value(t, metric))
        if abs(best) == _FARTHEST:
            found[metric] = best
            continue
        best = max((best - 0.5, best, best + 0.5), key=lambda t: value(t, metric))
        left, middle, right = (value(best + step, metric) for step in (-0.5, 0.0, 0.5))
        bend = left - 2 * middle + right
        shift = 0.25 * (left - right) / bend if bend < 0 else 0.0
        found[metric] = best + max(-0.5, min(shift, 0.5))
    return found
