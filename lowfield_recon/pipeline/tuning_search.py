"""Pattern search on a geometric grid: positive numbers that make a costly score largest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from lowfield_recon.errors import UsageError

Point = tuple[float, ...]
"""One value, above 0, for each setting that is searched."""

EvaluateMany = Callable[[Sequence[Point]], Sequence[float]]
"""Points in, the score of each out; a score that is NaN says that the point failed."""

SAME_POINT = 1e-3
"""Points whose relative differences sum to less count as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How the grid moves and shrinks."""

    factor: float = 4.0
    """First ratio of neighbouring values, above 1."""

    stop_factor: float = 1.025
    """The search ends when the ratio is no larger than this."""

    least_gain: float = 1e-4
    """Gain of the score below which the grid shrinks instead of moving."""

    max_points: int | None = None
    """Most points to evaluate, or None."""

    reach: float = 1e6
    """Values beyond this ratio from the start are not tried."""

    def __post_init__(self) -> None:
        """Refuse what cannot end."""
        for name in ("factor", "stop_factor", "reach"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 1):
                raise UsageError(
                    f"search: {name.replace('_', ' ')} {value:g}: expected a ratio above 1, e.g. "
                    f"{getattr(SearchOptions(), name):g}."
                )
        if not (math.isfinite(self.least_gain) and self.least_gain >= 0):
            raise UsageError(f"search: least gain {self.least_gain:g}: expected at least 0.")
        if self.max_points is not None and self.max_points < 1:
            raise UsageError(f"search: {self.max_points} evaluations: expected at least 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One grid of the search."""

    factor: float
    """Ratio of neighbouring values."""

    n_new: int
    """Points that were not evaluated before."""

    best: Point
    """Best point so far."""

    score: float
    """Its score; NaN if every point failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Where the search ended and what it saw."""

    best: Point
    """Where the grid stood at the end; no point gains more than the least gain over it."""

    score: float
    """Its score; NaN if every point failed."""

    points: tuple[Point, ...]
    """All points in the order of their evaluation."""

    scores: tuple[float, ...]
    """Their scores; NaN where one failed."""

    stopped_by: str
    """`"converged"`, `"max-evaluations"` or `"failure"` (of every point of the first grid)."""

    def border(self) -> tuple[str | None, ...]:
        """Say along which settings the best point lies at the edge of what worked.

        Returns
        -------
            For each setting `"lowest"` or `"highest"` where no point that was evaluated without
            failure has a smaller or larger value, else None.
        """
        worked = [p for p, score in zip(self.points, self.scores, strict=True) if score == score]
        sides: list[str | None] = []
        for axis, value in enumerate(self.best):
            values = [point[axis] for point in worked]
            if not any(other < value * (1 - SAME_POINT) for other in values):
                sides.append("lowest")
            elif not any(other > value * (1 + SAME_POINT) for other in values):
                sides.append("highest")
            else:
                sides.append(None)
        return tuple(sides)

    def influence(self) -> tuple[float, ...]:
        """Say by how much each setting changed the score, the others being equal.

        Returns
        -------
            For each setting the largest difference between points that differ in it alone; 0 where
            there are none.
        """
        spreads = []
        for axis in range(len(self.best)):
            groups: dict[Point, list[float]] = {}
            for point, score in zip(self.points, self.scores, strict=True):
                if math.isfinite(score):
                    groups.setdefault(point[:axis] + point[axis + 1 :], []).append(score)
            spreads.append(max((max(g) - min(g) for g in groups.values()), default=0.0))
        return tuple(spreads)


def pattern_search(
    evaluate_many: EvaluateMany,
    start: Sequence[float],
    options: SearchOptions | None = None,
    *,
    tell: Callable[[Round], None] | None = None,
) -> SearchResult:
    """Search for the positive numbers with the largest score.

    With the ratio g, all points ``p_i * g^e_i``, e_i in {-1, 0, 1}, around the best point p are
    evaluated, but for those that were before. If the best of all gains more than the least gain
    over p, the grid moves there, else ``g <- sqrt(g)``, until g is no larger than the stop factor.

    Parameters
    ----------
    evaluate_many
        Gives the scores of several points, which may be computed side by side.
    start
        First point, every value above 0.
    options
        How the grid moves and shrinks; None takes the defaults.
    tell
        Called after each grid.

    Returns
    -------
        The best point, and all that were evaluated.

    Raises
    ------
    UsageError
        If there is no value, or one is not a finite number above 0.

    Examples
    --------
    >>> from math import log
    >>> def bowl(points):
    ...     return [-(log(x / 3) ** 2) for (x,) in points]
    >>> round(pattern_search(bowl, [0.01]).best[0], 1)
    3.0
    """
    if not start or not all(math.isfinite(value) and value > 0 for value in start):
        raise UsageError(f"search: expected a start of numbers above 0, got {tuple(start)}.")
    how = SearchOptions() if options is None else options
    centre: Point = tuple(float(value) for value in start)
    limits = [(value / how.reach, value * how.reach) for value in centre]
    points: list[Point] = []
    scores: list[float] = []
    at, g, stopped_by = 0, how.factor, "converged"
    while g > how.stop_factor:
        new = [p for p in _grid(centre, g) if _is_inside(p, limits) and not _is_known(p, points)]
        left = len(new) if how.max_points is None else how.max_points - len(points)
        points += new[:left]
        scores += evaluate_many(new[:left]) if new[:left] else []
        best = _index_of_best(scores)
        has_gained = _rank(scores[best]) > _rank(scores[at]) + how.least_gain
        at = best if has_gained else at
        centre = points[at]
        if tell is not None:
            tell(Round(factor=g, n_new=len(new[:left]), best=centre, score=scores[at]))
        if math.isnan(scores[at]) or len(new) > left:
            stopped_by = "failure" if math.isnan(scores[at]) else "max-evaluations"
            break
        g = g if has_gained else math.sqrt(g)
    return SearchResult(
        best=centre,
        score=scores[at],
        points=tuple(points),
        scores=tuple(scores),
        stopped_by=stopped_by,
    )


def _grid(centre: Point, factor: float) -> list[Point]:
    """Return the points around the centre, itself first, so that it wins among equals."""
    steps = [(1.0, 1 / factor, factor)] * len(centre)
    return [
        tuple(value * step for value, step in zip(centre, chosen, strict=True))
        for chosen in product(*steps)
    ]


def _is_inside(point: Point, limits: Sequence[tuple[float, float]]) -> bool:
    return all(low <= value <= high for value, (low, high) in zip(point, limits, strict=True))


def _is_known(point: Point, points: Sequence[Point]) -> bool:
    return any(
        sum(abs(a - b) / b for a, b in zip(point, known, strict=True)) < SAME_POINT
        for known in points
    )


def _index_of_best(scores: Sequence[float]) -> int:
    ranked = [_rank(score) for score in scores]
    return ranked.index(max(ranked))


def _rank(score: float) -> float:
    return -math.inf if math.isnan(score) else score
