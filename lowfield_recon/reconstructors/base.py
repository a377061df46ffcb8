"""What every reconstructor has: a name, checked settings, and `reconstruct`."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import torch
from pydantic import BaseModel, ConfigDict, Field

from lowfield_recon.errors import UsageError
from lowfield_recon.problem import InverseProblem, ProgressCallback, Reconstruction
from lowfield_recon.solvers import Callback, Iteration


class Settings(BaseModel):
    """Settings that every method has; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str | None = Field(
        default=None, description="cpu, cuda or cuda:N; None: where the data is"
    )
    seed: int = Field(default=0, ge=0, description="seed of whatever is random in the method")


class IterativeSettings(Settings):
    """Settings of the methods that iterate."""

    regularization_weight: float | None = Field(
        default=None, ge=0, allow_inf_nan=False,
        description="weight w of 1/2 ||A x - y||^2 + w R(x); None: by the method's noise rule",
    )  # fmt: skip
    iterations: int = Field(default=100, ge=1, description="most iterations")
    tolerance: float = Field(
        default=1e-4, ge=0, description="relative optimality residual to stop at"
    )
    budget: float | None = Field(
        default=None, gt=0, description="seconds after which the current iterate is returned"
    )


SettingsT = TypeVar("SettingsT", bound=Settings)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a method hands back to `Reconstructor.reconstruct`."""

    image: torch.Tensor
    diagnostics: Mapping[str, Any]
    resolved: Mapping[str, Any]


class Reconstructor(ABC, Generic[SettingsT]):
    """Base of all methods; a subclass names itself and implements `solve`."""

    name: ClassVar[str]
    """The name that users call."""

    summary: ClassVar[str]
    """What it does, in one line."""

    needs: ClassVar[str] = "nothing but the problem"
    """What must be there besides the problem (weights, a dictionary)."""

    takes: ClassVar[str] = "any problem"
    """Which problems it takes."""

    settings_type: ClassVar[type[Settings]] = Settings
    """Type of its settings."""

    def __init__(self, settings: SettingsT | None = None) -> None:
        """Store the settings; None takes the defaults."""
        chosen = self.settings_type() if settings is None else settings
        self.settings: SettingsT = cast(SettingsT, chosen)

    @abstractmethod
    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Return image, diagnostics and resolved settings; called without gradients."""

    def reconstruct(
        self, problem: InverseProblem, *, progress: ProgressCallback | None = None
    ) -> Reconstruction:
        """Reconstruct an image.

        Parameters
        ----------
        problem
            Data and operator. `problem.reference` is never looked at.
        progress
            Called as `progress(iteration, total, objective)`.

        Returns
        -------
            Image of shape `problem.shape` on the problem's device, with diagnostics and settings.

        Raises
        ------
        UsageError
            If the device does not exist.
        """
        start = time.perf_counter()
        home = problem.data.device
        device = _device(self.settings.device, home)
        with torch.no_grad():
            outcome = self.solve(problem if device == home else problem.to(device), progress)
        settings = {**self.settings.model_dump(), **outcome.resolved, "device": str(device)}
        return Reconstruction(
            image=outcome.image.to(home),
            method=self.name,
            diagnostics=outcome.diagnostics,
            settings=settings,
            seconds=time.perf_counter() - start,
        )


def _device(wanted: str | None, home: torch.device) -> torch.device:
    if wanted is None:
        return home
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"device: expected auto, cpu or cuda, got '{wanted}'.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "device: cuda was asked for, but torch sees no CUDA device; use --device cpu."
        )
    return device


def watch(
    progress: ProgressCallback | None, budget: float | None, *, total: int, every: int = 1
) -> Callback | None:
    """Return a solver callback that reports progress and stops when the time budget is spent.

    Parameters
    ----------
    progress
        Where to report, or None.
    budget
        Seconds from now, or None.
    total
        Iterations allowed.
    every
        Iterations between two calls.

    Returns
    -------
        The callback, or None where there is nothing to watch.

    Examples
    --------
    >>> watch(None, None, total=10) is None
    True
    """
    if progress is None and budget is None:
        return None
    deadline = None if budget is None else time.perf_counter() + budget

    def callback(state: Iteration) -> str | None:
        if progress is not None:
            progress(min(state.number * every, total), total, state.objective)
        if deadline is not None and time.perf_counter() >= deadline:
            return "budget"
        return None

    return callback
