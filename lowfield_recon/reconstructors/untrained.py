"""What the methods share that fit a skip network to one measurement."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from lowfield_recon.learning.networks.skip_network import SkipNetworkSettings
from lowfield_recon.learning.untrained.loop import Estimate, run_fit
from lowfield_recon.learning.untrained.rules import LastIterate
from lowfield_recon.learning.untrained.skip_fit import FitState, SkipFit, fastest_precision
from lowfield_recon.learning.weight_files import load_weights, save_weights
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import Outcome, Reconstructor
from lowfield_recon.reconstructors.interruption import INTERRUPTED
from lowfield_recon.reconstructors.untrained_problem import (
    Stated,
    UntrainedSettings,
    diagnostics_of,
    state_problem,
    stopping_rule,
    with_exact_pixels,
)

_SNAPSHOT_EVERY = 20
"""Iterations between two copies of the networks."""

_FINISHING_RATE = 0.3
"""Learning rate of the iterations with all samples, as a part of the first one."""

SettingsT = TypeVar("SettingsT", bound=UntrainedSettings)


class Run(ABC):
    """One fit in progress: what a method does in an iteration, and with which networks."""

    fits: Sequence[SkipFit]
    """The networks."""

    @abstractmethod
    def advance(self, iteration: int) -> Estimate:
        """Take a step."""

    @abstractmethod
    def go_on_with(self, stated: Stated) -> None:
        """Go on with the data of another statement of the same problem."""

    @abstractmethod
    def completed(self, image: torch.Tensor) -> torch.Tensor:
        """Put the held-out samples into an image that was fitted without them."""

    def resolved(self) -> dict[str, Any]:
        """Return settings that the method chose."""
        return {}


class UntrainedReconstructor(Reconstructor[SettingsT]):
    """Base of `dip` and `ngr`: choose an iterate without the truth, then go on with all samples."""

    takes = "images of at least 4 pixels along y and x"

    def __init__(self, settings: SettingsT | None = None) -> None:
        """Begin without weights of an earlier image."""
        super().__init__(settings)
        self._carried: dict[str, torch.Tensor] | None = None

    @abstractmethod
    def begin(self, stated: Stated, problem: InverseProblem) -> Run:
        """Prepare a fit."""

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Fit, let the rule choose, go on with all samples, and scale back."""
        start = time.perf_counter()
        chosen = self.settings
        stated = state_problem(problem, chosen)
        run = self.begin(stated, problem)
        self._start(run)
        rule = stopping_rule(stated, problem, chosen)
        snapshots = _Snapshots(run)
        finishing = chosen.finish if stated.whole is not None else 0.0
        first_budget = None if chosen.budget is None else chosen.budget / (1 + finishing)
        fitted = run_fit(
            run.advance,
            rule,
            iterations=chosen.iterations,
            budget=first_budget,
            progress=progress,
            to_image=stated.in_unit,
            on_keep=snapshots.take if finishing else None,
        )
        found = diagnostics_of(fitted, rule, stated, chosen)
        image, has_all = fitted.image, stated.whole is None
        if finishing and stated.whole is not None and fitted.stopping_reason != INTERRUPTED:
            snapshots.restore()
            run.go_on_with(stated.whole)
            spent = time.perf_counter() - start
            try:
                last = run_fit(
                    run.advance,
                    LastIterate(),
                    iterations=max(1, round(finishing * fitted.chosen_iteration)),
                    budget=None if chosen.budget is None else max(chosen.budget - spent, 1e-3),
                    progress=progress,
                    to_image=stated.in_unit,
                )
            except KeyboardInterrupt:
                # Before the first image with all samples there is still the one without.
                found["stopping_reason"] = INTERRUPTED
            else:
                image, has_all = last.image, True
                found["finishing_iterations"] = last.iterations
                if last.stopping_reason == INTERRUPTED:
                    found["stopping_reason"] = INTERRUPTED
        self._keep(run, problem.shape)
        resolved = {
            "scale": stated.scale, "precision": self.precision(problem.data.device),
            **run.resolved(),
        }  # fmt: skip
        # A data step on an image that has the data already would bring their noise in again.
        image = image if has_all else run.completed(image)
        image = with_exact_pixels(stated.in_unit(image), problem)
        return Outcome(image, found, resolved)

    def network_settings(self) -> SkipNetworkSettings:
        """Return the size of the network."""
        chosen = self.settings
        return SkipNetworkSettings(
            channels=chosen.channels,
            scales=chosen.scales,
            skip_channels=chosen.skip_channels,
            upsampling=chosen.upsampling,
        )

    def skip_fit(
        self,
        stated: Stated,
        problem: InverseProblem,
        generator: torch.Generator,
        *,
        images: int = 1,
        sigmoid: bool | None = None,
        input_channels: int | None = None,
        shifts: int = 0,
    ) -> SkipFit:
        """Return a new network for the images of a problem.

        Parameters
        ----------
        stated
            The problem as the fit sees it.
        problem
            The problem.
        generator
            Where all random numbers come from.
        images
            How many images come out.
        sigmoid
            Whether they lie in 0..1; None for photographs.
        input_channels
            Of the input; None for the setting.
        shifts
            Most pixels by which image and input move under the network.

        Returns
        -------
            The network with its input and optimiser.
        """
        device = problem.data.device
        return SkipFit(
            problem.shape,
            is_complex=problem.image_domain == "complex",
            network=self.network_settings(),
            images=images,
            inputs=self.settings.input_channels if input_channels is None else input_channels,
            input_noise=self.settings.input_noise,
            learning_rate=self.settings.learning_rate,
            sigmoid=stated.is_photograph if sigmoid is None else sigmoid,
            precision=self.precision(device),
            generator=generator,
            device=device,
            shifts=shifts,
        )

    def precision(self, device: torch.device) -> str:
        """Return the precision of the convolutions."""
        return self.settings.precision or fastest_precision(device)

    def _start(self, run: Run) -> None:
        """Take over the weights of another image, where that is asked for."""
        source = self.settings.warm_start
        if source is None or (source == "previous" and self._carried is None):
            return
        state = self._carried if source == "previous" else None
        if state is None:
            state = load_weights(source, method=self.name).state
        for number, fit in enumerate(run.fits):
            own = f"{number}."
            fit.start_from(
                {k.removeprefix(own): v for k, v in state.items() if k.startswith(own)}, source
            )

    def _keep(self, run: Run, shape: tuple[int, ...]) -> None:
        """Carry weights to the next image, and write them where that is asked for."""
        state = {f"{n}.{k}": v for n, fit in enumerate(run.fits) for k, v in fit.state().items()}
        self._carried = state if self.settings.warm_start == "previous" else None
        if self.settings.save_weights is not None:
            header = {"method": self.name, "architecture": self.network_settings().model_dump()}
            card = {
                "fitted_to": "one measurement; no training data",
                "image_shape": list(shape),
                "settings": self.settings.model_dump(),
            }
            save_weights(Path(self.settings.save_weights), state, header, card)


class _Snapshots:
    """The networks as they were at about the iteration that is kept."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._states: list[FitState] = []
        self._taken_at = -_SNAPSHOT_EVERY

    def take(self, iteration: int) -> None:
        if iteration - self._taken_at >= _SNAPSHOT_EVERY:
            self._states = [fit.snapshot() for fit in self._run.fits]
            self._taken_at = iteration

    def restore(self) -> None:
        for fit, state in zip(self._run.fits, self._states, strict=True):
            fit.restore(state, learning_rate_factor=_FINISHING_RATE)
