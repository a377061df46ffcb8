"""The rows of `benchmark ncpr-quality`: ours, the published procedure, other weights, peers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from lowfield_recon import solvers
from lowfield_recon.errors import LowfieldReconError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark.factored_published import (
    first_disagreement,
    run_factored,
)
from lowfield_recon.evaluation.benchmark.published_tasks import PublishedTask
from lowfield_recon.files import sha256_of
from lowfield_recon.learning.patch_presets import patch_preset
from lowfield_recon.learning.patch_prior import PatchPrior, load_patch_prior
from lowfield_recon.learning.weight_files import SHIPPED, SUFFIX
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import uninterrupted
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

PATCH_METHODS = ("ncpr", "cpr")
PEERS = ("tv", "wavelet")
INPUT = "input"
PUBLISHED = ", published"

Procedure = Literal["ours", "published", "peer"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solved:
    """What one row got out of one problem."""

    record: dict[str, Any]
    """PSNR, iterations, seconds, stopping reason; JSON can hold it."""

    image: torch.Tensor
    """Image `(1, 1, 1, y, x)`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One method with its weights, run by one procedure."""

    name: str
    method: str
    procedure: Procedure
    weights: str | None = None
    """Weights by name or file; None takes those of the task's preset."""

    def takes(self, task: PublishedTask) -> bool:
        """Return whether the row has settings for a task.

        Parameters
        ----------
        task
            The task.

        Returns
        -------
            False for weights of one's own where they would have to be tuned.
        """
        return self.weights is None or task.kind == "denoise"

    def needs_even_sides(self) -> bool:
        """Return whether images are cut to even sides, as the authors cut them for CPR.

        Returns
        -------
            True for cpr.
        """
        return self.method == "cpr"

    def settings(self, task: PublishedTask) -> dict[str, Any]:
        """Return the settings of the method for a task: the published optimum, or the weights' own.

        Parameters
        ----------
        task
            The task.

        Returns
        -------
            Settings by name; none for a peer, which follows its own rule.

        Raises
        ------
        LowfieldReconError
            If the weights cannot be loaded.
        """
        if self.procedure == "peer":
            return {}
        prior, beta, base_scale = self._strength(task)
        source = self.weights or patch_preset(self.method, task.preset).weights
        return {
            "weights": source,
            "beta": prior.regularizer().beta if beta is None else beta,
            "regularization_weight": prior.settings.base_scale
            if base_scale is None
            else base_scale,
            "scale": 1.0,
        }

    def identity(self, task: PublishedTask, iterations: int | None) -> list[Any]:
        """Return all that the result depends on besides the image and the task.

        Parameters
        ----------
        task
            The task.
        iterations
            Most iterations, or None.

        Returns
        -------
            What `result_key` takes.
        """
        settings = self.settings(task)
        source = settings.get("weights")
        content = None if source is None else sha256_of(_file(source))
        code = None
        if self.procedure == "ours":
            settings = create(self.method, settings).settings.model_dump()
            code = hash_of_patch_solver()
        return [self.method, self.procedure, settings, content, iterations, code]

    def solve(self, problem: InverseProblem, task: PublishedTask, iterations: int | None) -> Solved:
        """Reconstruct and score.

        Parameters
        ----------
        problem
            Data of the task, with its reference, which is for the score only.
        task
            The task.
        iterations
            Most iterations; None for the procedure's own number.

        Returns
        -------
            Record and image.

        Raises
        ------
        LowfieldReconError
            If the method refuses the problem.
        """
        if self.procedure == "published":
            image, record = self._published(problem, task, iterations)
        else:
            few = (
                {} if iterations is None or self.method == "adjoint" else {"iterations": iterations}
            )
            method = create(self.method, {**self.settings(task), **few})
            found = uninterrupted(method.reconstruct(problem))
            image = found.image
            record = {
                "iterations": found.diagnostics.get("iterations"),
                "seconds": found.seconds,
                "stopping_reason": found.diagnostics.get("stopping_reason"),
            }
        assert problem.reference is not None  # noqa: S101 - tasks give it
        return Solved(
            record={"psnr_db": task.score(image, problem.reference), **record}, image=image
        )

    def regularizer(self, task: PublishedTask) -> PatchRegularizer:
        """Return the model of a task in single precision.

        Parameters
        ----------
        task
            The task.

        Returns
        -------
            The regulariser.
        """
        prior, beta, base_scale = self._strength(task)
        return prior.regularizer(beta=beta, base_scale=base_scale)

    def agreement(self, problem: InverseProblem, task: PublishedTask) -> float:
        """Compare the first factored iterations with the direct ones.

        Parameters
        ----------
        problem
            Data of the task.
        task
            The task.

        Returns
        -------
            Largest relative difference.
        """
        return first_disagreement(problem, self.regularizer(task))

    def _published(
        self, problem: InverseProblem, task: PublishedTask, iterations: int | None
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        start = time.perf_counter()
        run = run_factored(
            problem, self.regularizer(task), tolerance=task.tolerance, iterations=iterations
        )
        record = {
            "iterations": run.iterations,
            "seconds": time.perf_counter() - start,
            "stopping_reason": run.stopping_reason,
        }
        return run.image.reshape(problem.shape), record

    def _strength(self, task: PublishedTask) -> tuple[PatchPrior, float | None, float | None]:
        preset = patch_preset(self.method, task.preset)
        if self.weights is not None:
            return load_patch_prior(self.weights, method=self.method), None, None
        return load_patch_prior(preset.weights, method=self.method), preset.beta, preset.base_scale


def choose_rows(methods: Sequence[str], weights: Sequence[str]) -> tuple[Row, ...]:
    """List the rows of the table.

    Parameters
    ----------
    methods
        Of `ncpr`, `cpr`, `tv`, `wavelet`; empty for all.
    weights
        Further weights by name or file, each denoising with its own strength.

    Returns
    -------
        The input, ours and the published procedure with the published weights, further weights,
        peers.

    Raises
    ------
    UsageError
        If a method is not known or weights belong to neither method.

    Examples
    --------
    >>> [row.name for row in choose_rows(("ncpr", "tv"), ())]
    ['input', 'ncpr', 'ncpr, published', 'tv']
    """
    known = (*PATCH_METHODS, *PEERS)
    for name in methods:
        if name not in known:
            raise UsageError(f"tool '{name}' is not known here. {nearest_name(name, known)}")
    wanted = methods or known
    rows = [Row(name=INPUT, method="adjoint", procedure="peer")]
    for method in [m for m in PATCH_METHODS if m in wanted]:
        rows.append(Row(name=method, method=method, procedure="ours"))
        rows.append(Row(name=method + PUBLISHED, method=method, procedure="published"))
    for source in weights:
        label, method = Path(source).stem, _method_of(source)
        rows.append(Row(name=label, method=method, procedure="ours", weights=source))
    rows += [Row(name=peer, method=peer, procedure="peer") for peer in PEERS if peer in wanted]
    if len({row.name for row in rows}) < len(rows):
        raise UsageError(f"weights: {', '.join(weights)}: two have the same name; rename one.")
    return tuple(rows)


def published_pairs(rows: Sequence[Row]) -> Mapping[str, str]:
    """Return the name of ours by the name of the published procedure with the same weights.

    Parameters
    ----------
    rows
        Rows of the table.

    Returns
    -------
        E.g. `{"ncpr, published": "ncpr"}`.
    """
    return {row.name: row.method for row in rows if row.procedure == "published"}


def _method_of(source: str) -> str:
    """Find the method that weights were trained for."""
    refusals = []
    for method in PATCH_METHODS:
        try:
            load_patch_prior(source, method=method)
        except LowfieldReconError as error:
            refusals.append(error)
        else:
            return method
    raise refusals[0]


def hash_of_patch_solver() -> str:
    """Hash the modules that decide what ours gives, so that no result outlives a change of them.

    Returns
    -------
        32 hexadecimal digits.
    """
    folder = Path(solvers.__file__).parent
    content = b"".join(path.read_bytes() for path in sorted(folder.glob("patch_*.py")))
    return hashlib.sha256(content).hexdigest()[:32]


def _file(source: str) -> Path:
    return Path(source) if Path(source).suffix == SUFFIX else SHIPPED / f"{source}{SUFFIX}"
