"""The rows of `benchmark untrained-quality`: one method on one problem, scored as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import lowfield_recon
from lowfield_recon.errors import LowfieldReconError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark.best_scalar import best_octaves
from lowfield_recon.evaluation.benchmark.results_file import result_key
from lowfield_recon.evaluation.benchmark.untrained.code_identity import code_identity
from lowfield_recon.evaluation.benchmark.untrained.measure import Measure, blind
from lowfield_recon.evaluation.benchmark.untrained.quality_problems import QualityCase
from lowfield_recon.evaluation.oracle import Oracle
from lowfield_recon.operators.image import MaskOp
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import uninterrupted

TV, DIP, NGR, MG_SPAIR, MG_SPAIR_PLAIN = "tv", "dip", "ngr", "mg-spair", "mg-spair-plain"
MG_SPAIR_GRADES, MG_SPAIR_GRADES_PLAIN = "mg-spair-grades", "mg-spair-grades-plain"
MG_SPAIR_WIRE, MG_SPAIR_WIRE_PLAIN = "mg-spair-wire", "mg-spair-wire-plain"
ROWS = (TV, DIP, NGR, MG_SPAIR, MG_SPAIR_PLAIN)
_EQUAL_COST = 700
"""Iterations of three grades, early ones on coarse grids, that take about as long as 400 of one."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    MG_SPAIR_PLAIN: {"penalty": "none"},
    MG_SPAIR_GRADES: {"grades": 3, "iterations": _EQUAL_COST},
    MG_SPAIR_GRADES_PLAIN: {"grades": 3, "iterations": _EQUAL_COST, "penalty": "none"},
    MG_SPAIR_WIRE: {"network": "wire"},
    MG_SPAIR_WIRE_PLAIN: {"network": "wire", "penalty": "none"},
}
"""Settings of `mg-spair`."""

LABELS = {
    TV: "tv, best weight (WITH truth)",
    MG_SPAIR_PLAIN: "mg-spair without sparse term",
    MG_SPAIR_GRADES: "mg-spair, 3 grades",
    MG_SPAIR_GRADES_PLAIN: "mg-spair, 3 grades, without sparse term",
    MG_SPAIR_WIRE: "mg-spair, wire",
    MG_SPAIR_WIRE_PLAIN: "mg-spair, wire, without sparse term",
}
SHOWN_EVERY = 10

_NOISE_FREE_WEIGHT = 0.01
_TV_ITERATIONS = 300
_SHARED = (
    "learning/untrained/[!mg]*.py", "learning/untrained/guided_input.py",
    "learning/networks/skip_network.py", "reconstructors/untrained*.py",
)  # fmt: skip
_CODE: Mapping[str, tuple[str, ...]] = {
    TV: ("reconstructors/tv.py", "solvers/admm.py"),
    DIP: (*_SHARED, "reconstructors/dip.py"),
    NGR: (
        *_SHARED, "learning/untrained/gradient_fields.py", "solvers/gradient_fit.py",
        "operators/gradient.py", "reconstructors/ngr*.py",
    ),
    MG_SPAIR: (
        "learning/untrained/loop.py", "learning/untrained/mg_spair*.py",
        "learning/networks/coordinate_network*.py", "learning/networks/wire.py",
        "solvers/sparse_penalties.py", "solvers/safeguarded_step.py", "operators/framelet.py",
        "reconstructors/mg_spair*.py",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityRow:
    """A method with its settings."""

    name: str

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> list[Any]:
        """Return all that the results depend on besides the problem.

        Returns
        -------
            What `result_key` takes.
        """
        resolved = create(self.method, self.settings).settings.model_dump(mode="json")
        return [self.name, resolved, method_code(self.method)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityJob:
    """One row on one case."""

    case: QualityCase
    row: QualityRow

    @property
    def name(self) -> str:
        """What the progress bar says."""
        return f"{self.case.task}, {self.case.image}, seed {self.case.seed}: {self.row.name}"

    def key(self, threads: int) -> str:
        """Return the name of its result.

        Parameters
        ----------
        threads
            Number of threads, which the last digits depend on.

        Returns
        -------
            Hash of all that the result depends on.
        """
        return result_key(
            "untrained-quality", self.case.identity, self.case.seed, threads, *self.row.identity()
        )

    def run(self) -> dict[str, Any]:
        """Reconstruct and score.

        Returns
        -------
            Scores of the image that the method chose, those of the oracle, time and counts; or
            `refused` with the reason.
        """
        problem = self.case.build()
        try:
            if self.row.method == TV:
                return _best_tv(problem, self.case, self.row.settings)
            return _fitted(problem, self.case, self.row)
        except LowfieldReconError as error:
            return {"refused": str(error)}


def quality_rows(
    names: Sequence[str], *, budget: float | None = None, is_small: bool = False
) -> tuple[QualityRow, ...]:
    """List the rows.

    Parameters
    ----------
    names
        Of `ROWS` and `VARIANTS`; empty for `ROWS`.
    budget
        Seconds for each run of the methods that fit networks; None for their default iterations.
    is_small
        Few iterations of small networks, to try whether everything runs.

    Returns
    -------
        The rows in the table's order.

    Raises
    ------
    UsageError
        If a name is not known here.

    Examples
    --------
    >>> [row.name for row in quality_rows(("ngr", "tv"))]
    ['tv', 'ngr']
    """
    known = tuple(dict.fromkeys((*ROWS, *VARIANTS)))
    for name in names:
        if name not in known:
            raise UsageError(f"tool '{name}' is not known here. {nearest_name(name, known)}")
    limit: dict[str, Any] = {} if budget is None else {"budget": budget}
    rows = []
    for name in [row for row in known if row in (names or ROWS)]:
        method = MG_SPAIR if name in VARIANTS else name
        few = small_settings(method) if is_small else {}
        if name == TV:
            settings: dict[str, Any] = {"iterations": _TV_ITERATIONS, **few}
        else:
            settings = {**limit, **VARIANTS.get(name, {}), **few}
        rows.append(QualityRow(name=name, method=method, settings=settings))
    return tuple(rows)


def small_settings(method: str) -> dict[str, Any]:
    """Return settings with which a method takes a second.

    Parameters
    ----------
    method
        Name of the method.

    Returns
    -------
        Settings.
    """
    if method == TV:
        return {"iterations": 20}
    if method == MG_SPAIR:
        return {"iterations": 12, "features": 16}
    return {"iterations": 12, "channels": 8, "scales": 3}


def method_code(method: str) -> str:
    """Hash the modules that decide what a method gives.

    Parameters
    ----------
    method
        Name of the method.

    Returns
    -------
        32 hexadecimal digits.
    """
    root = Path(lowfield_recon.__file__).parent
    patterns = _CODE[method]
    return code_identity(path for pattern in patterns for path in root.glob(pattern))


class Viewer:
    """A progress callback that lets the oracle look.

    Parameters
    ----------
    oracle
        Scores the images.
    """

    def __init__(self, oracle: Oracle) -> None:
        """Store the oracle."""
        self._oracle = oracle

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        """Do nothing."""

    def wants_image(self, iteration: int) -> bool:
        """Return whether the oracle wants to see it."""
        return self._oracle.wants_image(iteration)

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        """Show it."""
        self._oracle.show_image(iteration, image)


def _fitted(problem: InverseProblem, case: QualityCase, row: QualityRow) -> dict[str, Any]:
    measure = Measure(problem, case.view)
    oracle = Oracle(measure.psnr, every=SHOWN_EVERY)
    method = create(row.method, {**row.settings, "seed": case.seed})
    found = uninterrupted(method.reconstruct(blind(problem), progress=Viewer(oracle)))
    record = _record(problem, measure, found)
    shown = oracle.record()
    best = record["psnr_db"] if shown is None else max(shown["psnr_db"], record["psnr_db"])
    return record | {
        "oracle_psnr_db": best,
        "oracle_iteration": None if shown is None else shown["iteration"],
    }


def _record(problem: InverseProblem, measure: Measure, found: Reconstruction) -> dict[str, Any]:
    said = found.diagnostics
    record = {
        "psnr_db": measure.psnr(found.image),
        "ssim": measure.ssim(found.image),
        "seconds": found.seconds,
        "iterations": said.get("iterations"),
        "chosen_iteration": said.get("chosen_iteration"),
        "finishing_iterations": said.get("finishing_iterations"),
        "stopping_reason": said.get("stopping_reason"),
        "rule": said.get("rule"),
        "precision": found.settings.get("precision"),
        "regularization_weight": found.settings.get("regularization_weight"),
    }
    if isinstance(problem.operator, MaskOp) and not problem.noise_std:
        pasted = torch.where(problem.operator.mask, problem.data, found.image)
        record["pasted_psnr_db"] = measure.psnr(pasted)
    return record


def _best_tv(
    problem: InverseProblem, case: QualityCase, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Search for the weight of the largest PSNR, with the truth."""
    measure = Measure(problem, case.view)
    tried: dict[float, dict[str, Any]] = {}
    first = create(TV, settings).reconstruct(problem)
    start = float(first.settings["regularization_weight"] or 0.0) or _NOISE_FREE_WEIGHT

    def score_at(octave: float) -> Mapping[str, float]:
        if octave not in tried:
            weighted = {**settings, "regularization_weight": start * 2**octave}
            found = uninterrupted(create(TV, weighted).reconstruct(problem))
            tried[octave] = _record(problem, measure, found)
        return {"psnr_db": tried[octave]["psnr_db"]}

    score_at(best_octaves(score_at, ["psnr_db"])["psnr_db"])
    best = max(tried.values(), key=lambda record: float(record["psnr_db"]))
    return {**best, "search_trials": len(tried)}
