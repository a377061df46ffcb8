"""What is costly and done of some rows only: checks for hallucinations, uncertainty per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowfield_recon.evaluation.calibration import calibrate
from lowfield_recon.evaluation.hallucination import null_space_check
from lowfield_recon.evaluation.instability import find_worst_case
from lowfield_recon.evaluation.resampling import image_by
from lowfield_recon.evaluation.study.jobs import RowJob, digest_of, failure_line
from lowfield_recon.evaluation.study.scoring import build_problem
from lowfield_recon.evaluation.study.setup import CheckSettings, UncertaintySettings
from lowfield_recon.evaluation.uncertainty import uncertainty_map
from lowfield_recon.files import atomic_path
from lowfield_recon.manifest import to_plain


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckJob:
    """Checks of one arm on one case."""

    row: RowJob
    """The row that is checked."""

    settings: CheckSettings
    """How."""

    @property
    def name(self) -> str:
        """What the progress bar says."""
        return f"checks: {self.row.name}"

    def key(self, threads: int) -> str:
        """Return the name of its result.

        Parameters
        ----------
        threads
            Number of threads.

        Returns
        -------
            Hash of all that the result depends on.
        """
        return digest_of(
            "study checks", self.row.key(threads), self.settings.radius, self.settings.steps
        )

    def run(self) -> dict[str, Any]:
        """Find the part that the data does not see, and how far a small change of it carries.

        Returns
        -------
            `values` and `failure`.
        """
        problem = build_problem(self.row.case)
        try:
            method = self.row.method()
            image = image_by(method, problem)
            worst = find_worst_case(
                method, problem, radius=self.settings.radius, steps=self.settings.steps,
                seed=self.row.case.seed,
            )  # fmt: skip
            unseen = null_space_check(problem, image)
        except MemoryError as error:
            return {"values": {}, "failure": failure_line(error), "is_lasting": False}
        except Exception as error:  # noqa: BLE001 - whatever a method raises is its result
            return {"values": {}, "failure": failure_line(error)}
        values = {
            "null_space_fraction": unseen.image_fraction,
            "error_null_space_fraction": unseen.error_fraction,
            "invented": unseen.invented,
            "instability": worst.amplification,
            "typical_amplification": worst.typical,
            "relative_change": worst.relative_change,
        }
        return {"values": plain_numbers(values), "failure": None}

    def entry(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return its line in the section `checks`.

        Parameters
        ----------
        result
            What `run` returned.

        Returns
        -------
            The line.
        """
        return {
            **_place(self.row),
            "null_space_fraction": None,
            "instability": None,
            "radius": self.settings.radius,
            **result["values"],
            "failure": result["failure"],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UncertaintyJob:
    """Uncertainty per pixel of one arm on one case."""

    row: RowJob
    """The row."""

    settings: UncertaintySettings
    """How."""

    image_folder: Path | None
    """Where the map is kept for a panel; None keeps none."""

    @property
    def name(self) -> str:
        """What the progress bar says."""
        return f"uncertainty: {self.row.name}"

    def key(self, threads: int) -> str:
        """Return the name of its result.

        Parameters
        ----------
        threads
            Number of threads.

        Returns
        -------
            Hash of all that the result depends on.
        """
        return digest_of(
            "study uncertainty",
            self.row.key(threads),
            self.settings.draws,
            self.settings.varied,
        )

    def run(self) -> dict[str, Any]:
        """Resample the noise, and compare the nominal coverage of intervals with that found.

        Returns
        -------
            `values` and `failure`.
        """
        problem = build_problem(self.row.case)
        seed, draws = self.row.case.seed, self.settings.draws
        try:
            method = self.row.method()
            found = uncertainty_map(
                method, problem, draws=draws, seed=2 * seed, varied=self.settings.varied
            )
            judged = calibrate(method, problem, found, draws=draws, seed=2 * seed + 1)
        except MemoryError as error:
            return {"values": {}, "failure": failure_line(error), "is_lasting": False}
        except Exception as error:  # noqa: BLE001 - whatever a method raises is its result
            return {"values": {}, "failure": failure_line(error)}
        if self.image_folder is not None:
            planes = found.std.detach().cpu().double().reshape(-1, *found.std.shape[-2:])
            kept = planes[len(planes) // 2].float().numpy()
            with atomic_path(deviation_file(self.image_folder, self.key(1))) as temporary:
                np.save(temporary, kept, allow_pickle=False)
        values = {
            "coverage": dict(judged.with_bias),
            "coverage_without_bias": dict(judged.without_bias),
            "mean_std": judged.mean_std,
            "rms_error": judged.rms_error,
            "rms_bias": judged.rms_bias,
            "rank_correlation": judged.rank_correlation,
        }
        return {"values": plain_numbers(values), "failure": None}

    def entry(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return its line in the section `uncertainty`.

        Parameters
        ----------
        result
            What `run` returned.

        Returns
        -------
            The line.
        """
        return {
            **_place(self.row),
            "coverage": {},
            "mean_std": None,
            "draws": self.settings.draws,
            **result["values"],
            "failure": result["failure"],
        }


def deviation_file(folder: Path, key: str) -> Path:
    """Return where a map of deviations is kept for a panel."""
    return folder / f"{key}.npy"


def plain_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with None for what is not finite, which JSON does not hold.

    Parameters
    ----------
    values
        Numbers by name, also nested.

    Returns
    -------
        The same.

    Examples
    --------
    >>> plain_numbers({"a": float("nan"), "b": {"c": 1.0}})
    {'a': None, 'b': {'c': 1.0}}
    """
    return dict(to_plain(values))


def _place(row: RowJob) -> dict[str, Any]:
    case = row.case
    return {
        "method": row.arm.name,
        "condition": case.condition,
        "image": case.image,
        "seed": case.seed,
    }
