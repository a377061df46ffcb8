"""One row of a study: a method on an image in a condition, scored; a failure is a result too."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowfield_recon.errors import LowfieldReconError
from lowfield_recon.evaluation.benchmark.best_scalar import best_octaves
from lowfield_recon.evaluation.benchmark.quality_methods import compared, reference_of
from lowfield_recon.evaluation.metrics import psnr
from lowfield_recon.evaluation.study.arms import Arm, ArmHashes
from lowfield_recon.evaluation.study.scoring import (
    Scoring,
    StudyCase,
    build_problem,
    case_place,
    input_snr_db,
    problem_hash,
    score_image,
)
from lowfield_recon.files import atomic_path
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors import Reconstructor, create
from lowfield_recon.reconstructors.interruption import uninterrupted

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowJob:
    """One arm on one case."""

    arm: Arm
    """The method."""

    position: int
    """Place of the case's seed in the study."""

    hashes: ArmHashes
    """Hashes of the arm with that seed."""

    case: StudyCase
    """The case."""

    scoring: Scoring
    """How it is scored."""

    code: str
    """Hash of the code that computes it."""

    image_folder: Path | None = None
    """Where the image is kept for a panel; None keeps none."""

    @property
    def name(self) -> str:
        """What the progress bar says."""
        case = self.case
        return f"{self.arm.name}, {case.condition}, {case.image}, seed {case.seed}"

    @property
    def place(self) -> tuple[str, str, str, int]:
        """Arm, condition, image and seed."""
        return self.arm.name, *case_place(self.case)

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
        return digest_of(
            "study row", _FORMAT, self.case.identity, self.case.seed, self.hashes.settings,
            dataclasses.asdict(self.scoring), self.code, threads,
        )  # fmt: skip

    def run(self) -> dict[str, Any]:
        """Reconstruct and score.

        Returns
        -------
            `values`, `failure`, `is_lasting`, `problem` (hash), `input_snr_db` and `seconds`.

        Raises
        ------
        DataError
            If the problem itself cannot be made.
        """
        problem = build_problem(self.case)
        record: dict[str, Any] = {
            "values": {},
            "failure": None,
            "is_lasting": True,
            "problem": problem_hash(problem),
            "input_snr_db": input_snr_db(problem),
            "seconds": 0.0,
        }
        blind = dataclasses.replace(problem, reference=None)
        settings = self.arm.settings_for(self.position, self.case.seed)
        try:
            found = self._reconstruct(blind, problem, settings)
            record["values"] = score_image(
                problem, found.image, self.scoring, is_recorded=self.case.is_recorded
            )
        except MemoryError as error:
            return record | {"failure": failure_line(error), "is_lasting": False}
        except Exception as error:  # noqa: BLE001 - whatever a method raises is its result
            return record | {"failure": failure_line(error)}
        record["seconds"] = found.seconds
        if self.image_folder is not None:
            _keep_image(kept_image(self.image_folder, self.key(1)), problem, found)
        return record

    def method(self) -> Reconstructor[Any]:
        """Return the method with the settings of this row's seed."""
        return create(self.arm.method, self.arm.settings_for(self.position, self.case.seed))

    def _reconstruct(
        self, blind: InverseProblem, problem: InverseProblem, settings: dict[str, Any]
    ) -> Reconstruction:
        if self.arm.search is not None:
            return _best_setting(self.arm, blind, problem, settings)
        method = create(self.arm.method, settings)
        if self.image_folder is not None and "keep_maps" in type(method.settings).model_fields:
            method = create(self.arm.method, {**settings, "keep_maps": True})
        return uninterrupted(method.reconstruct(blind))


def digest_of(*words: Any) -> str:
    """Hash what a result depends on.

    Parameters
    ----------
    words
        What JSON can hold.

    Returns
    -------
        32 hexadecimal digits.

    Examples
    --------
    >>> digest_of("a", 1) == digest_of("a", 2)
    False
    """
    text = json.dumps(words, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def failure_line(error: BaseException) -> str:
    """Say an error in one line; of one that nobody foresaw, its kind too.

    Parameters
    ----------
    error
        What a method raised.

    Returns
    -------
        The line.

    Examples
    --------
    >>> failure_line(KeyError("maps"))
    "unexpected KeyError: 'maps'"
    """
    text = " ".join(str(error).split())
    if isinstance(error, LowfieldReconError) and text:
        return text
    return f"unexpected {type(error).__name__}: {text or 'no message'}"


def kept_image(folder: Path, key: str) -> Path:
    """Return where the image of a row is kept for a panel."""
    return folder / f"{key}.npz"


def _best_setting(
    arm: Arm, blind: InverseProblem, problem: InverseProblem, settings: Mapping[str, Any]
) -> Reconstruction:
    """Search for the value of a setting with the largest PSNR, with the truth."""
    assert arm.search is not None and problem.reference is not None  # noqa: S101 - asked for
    reference = reference_of(problem)
    first = create(arm.method, settings).reconstruct(blind)
    start = float(first.settings.get(arm.search) or 1.0)
    tried: dict[float, tuple[float, Reconstruction]] = {}

    def score_at(octave: float) -> dict[str, float]:
        if octave not in tried:
            chosen = {**settings, str(arm.search): start * 2**octave}
            found = uninterrupted(create(arm.method, chosen).reconstruct(blind))
            peak = float(reference.max())
            x = compared(found.image, problem)
            tried[octave] = psnr(x, reference, data_range=peak), found
        return {"psnr_db": tried[octave][0]}

    score_at(best_octaves(score_at, ["psnr_db"])["psnr_db"])
    return max(tried.values(), key=lambda entry: entry[0])[1]


def _keep_image(path: Path, problem: InverseProblem, found: Reconstruction) -> None:
    """Keep image, reference and the mean of the maps over the filters."""
    arrays = {"image": compared(found.image, problem), "reference": reference_of(problem)}
    maps = found.diagnostics.get("maps")
    if isinstance(maps, torch.Tensor) and maps.shape[-2:] == found.image.shape[-2:]:
        stack = maps.detach().cpu().abs().double().reshape(-1, *maps.shape[-2:])
        arrays["lambda"] = stack.mean(dim=0).numpy()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        kept = {name: plane.astype(np.float32) for name, plane in arrays.items()}
        np.savez(stream, allow_pickle=False, **kept)
