"""The rows of `benchmark ncpr-scans`: ours, and peers with the best weight that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.benchmark.best_scalar import best_octaves
from lowfield_recon.evaluation.benchmark.ncpr_quality_rows import hash_of_patch_solver
from lowfield_recon.evaluation.benchmark.quality_methods import Solved, solve
from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.problem import InverseProblem

PATCH_METHODS = ("ncpr", "cpr")
PEERS = ("tv", "wavelet")
NETWORK = "cdl-lambda"
METHODS = (*PATCH_METHODS, *PEERS, NETWORK)
ZERO_FILLED = "zero-filled"
PRESET = "mri-multicoil-4x"
"""Strength that was tuned on other subjects."""

BEST_PSNR, BEST_SSIM = "best weight, PSNR", "best weight, SSIM"
_METRICS = {BEST_PSNR: "psnr_db", BEST_SSIM: "ssim"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanUnit:
    """A method whose result is one row, or a peer with three weights, whose rows share work."""

    rows: tuple[str, ...]
    """Names of its rows."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the progress bar says."""
        return self.rows[0] if len(self.rows) == 1 else f"{self.method} and its best weights"

    def identity(self) -> list[Any]:
        """Return all that the results depend on besides the problem.

        Returns
        -------
            What `result_key` takes.
        """
        preset = self.settings.get("preset")
        strength: list[Any] = []
        if preset is not None:
            found = patch_preset(self.method, str(preset))
            strength = [found.weights, found.beta, found.base_scale]
        named = [self.method, list(self.rows), dict(self.settings), strength]
        return [*named, hash_of_patch_solver()] if self.method in PATCH_METHODS else named

    def solve(self, problem: InverseProblem) -> dict[str, Solved]:
        """Reconstruct and score, magnitudes against the magnitude of the reference.

        Parameters
        ----------
        problem
            Problem with its reference, which serves scores and the search for the best weights.

        Returns
        -------
            What each row got.

        Raises
        ------
        LowfieldReconError
            If the method refuses the problem.
        """
        first = solve(problem, self.method, self.settings)
        if len(self.rows) == 1:
            return {self.rows[0]: first}
        return dict(zip(self.rows, self._best(problem, first), strict=True))

    def _best(self, problem: InverseProblem, by_rule: Solved) -> list[Solved]:
        """Search for the best weights of this image, from that of the rule."""
        start = by_rule.record["regularization_weight"]
        tried: dict[float, Solved] = {0.0: by_rule}

        def score_at(octave: float) -> Mapping[str, float]:
            if octave not in tried:
                weighted = {**self.settings, "regularization_weight": start * 2**octave}
                tried[octave] = solve(problem, self.method, weighted)
            return tried[octave].record

        for octave in set(best_octaves(score_at, list(_METRICS.values())).values()):
            score_at(octave)
        results = [by_rule]
        for metric in _METRICS.values():
            octave = max(tried, key=lambda t: float(tried[t].record[metric]))
            note = {"weight_over_rule": 2**octave, "search_trials": len(tried)}
            best = tried[octave]
            results.append(Solved(record={**best.record, **note}, image=best.image))
        return results


def tuned_row(method: str) -> str:
    """Return the name of the row with the strength that was tuned on other subjects.

    Parameters
    ----------
    method
        `"ncpr"` or `"cpr"`.

    Returns
    -------
        The name.
    """
    return f"{method}, tuned elsewhere"


def best_row(method: str) -> str:
    """Return the name of the row of a peer with the weight of the largest PSNR.

    Parameters
    ----------
    method
        `"tv"` or `"wavelet"`.

    Returns
    -------
        The name.
    """
    return f"{method}, {BEST_PSNR}"


def scan_units(methods: Sequence[str], *, iterations: int | None = None) -> tuple[ScanUnit, ...]:
    """List the methods of the table.

    Parameters
    ----------
    methods
        Of `ncpr`, `cpr`, `tv`, `wavelet`, `cdl-lambda`; empty for all.
    iterations
        Most iterations of each method; None takes the method's default.

    Returns
    -------
        Zero-filled, ours with the strength that was tuned elsewhere and with that of the noise
        rule, peers with the weight of their rule and the best ones, the network.

    Raises
    ------
    UsageError
        If a method is not known here.

    Examples
    --------
    >>> [row for unit in scan_units(("ncpr", "tv")) for row in unit.rows][1:3]
    ['ncpr, tuned elsewhere', 'ncpr, noise rule']
    """
    for name in methods:
        if name not in METHODS:
            raise UsageError(f"tool '{name}' is not known here. {nearest_name(name, METHODS)}")
    few: dict[str, Any] = {} if iterations is None else {"iterations": iterations}
    wanted = [name for name in METHODS if name in (methods or METHODS)]
    units = [ScanUnit(rows=(ZERO_FILLED,), method="adjoint")]
    for name in wanted:
        if name in PATCH_METHODS:
            tuned = {**few, "preset": PRESET}
            units.append(ScanUnit(rows=(tuned_row(name),), method=name, settings=tuned))
            units.append(ScanUnit(rows=(f"{name}, noise rule",), method=name, settings=few))
        elif name in PEERS:
            rows = (f"{name}, noise rule", *(f"{name}, {best}" for best in _METRICS))
            units.append(ScanUnit(rows=rows, method=name, settings=few))
        else:
            units.append(ScanUnit(rows=(name,), method=name, settings=few))
    return tuple(units)
