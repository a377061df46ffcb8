"""The training loop: interrupted at any moment, it goes on to the same weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.checkpoints import (
    Checkpoint,
    Counters,
    check_same_settings,
    read_checkpoint,
    write_checkpoint,
)
from lowfield_recon.learning.curves import Curves, draw_curves, open_curves
from lowfield_recon.learning.schedule import FitSettings, learning_rate_factor
from lowfield_recon.learning.training_state import TrainingState
from lowfield_recon.learning.training_task import FitResult, TrainingTask
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.manifest import software_versions, thread_count, to_plain

if TYPE_CHECKING:
    from lowfield_recon.problem import ProgressCallback

__all__ = ["FitResult", "FitSettings", "TrainingTask", "fit"]

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
CURVES = "curves.jsonl"
PICTURE = "curves.png"
_PATIENCE = 10
_LOGGER = logging.getLogger(__name__)


def fit(
    task: TrainingTask,
    settings: FitSettings,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    progress: ProgressCallback | None = None,
    tell: Callable[[str], None] | None = None,
    restart: bool = False,
    command: str | None = None,
) -> FitResult:
    """Train a model, or go on with the training that a folder holds.

    Each step n averages the gradients of `task.loss(n * accumulate + i)`, clips their norm, and
    moves the weights by AdamW. The folder holds `checkpoint.safetensors`, `curves.jsonl`,
    `curves.png`, and the best weights by validation loss with their model card,
    `weights.safetensors` and `weights.json`. On the CPU, with the same number of threads, a run
    that was killed and started again gives the same weights, bit by bit, as one that was not.

    Parameters
    ----------
    task
        What is trained.
    settings
        How.
    folder
        Where to write; it is made if need be.
    device
        Where the model is to be.
    progress
        Called after each step with the number of steps and the loss.
    tell
        Called with one line about each resumption and validation.
    restart
        Begin anew even if the folder holds a training.
    command
        Command line for the model card, without folders.

    Returns
    -------
        How it ended.

    Raises
    ------
    UsageError
        If the folder holds a training with other settings, or weights without their checkpoint.
    DataError
        If ten steps in a row had no finite gradient, no validation had a finite loss, the
        checkpoint is damaged, or another run is writing into the folder.

    References
    ----------
    Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR 2019. arXiv:1711.05101
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_curves(folder / CURVES) as curves:
        _clear(folder, restart)
        run = _Run(task, settings, folder, torch.device(device), curves, command, tell)
        run.begin()
        return run.finish(run.loop(progress))


def _clear(folder: Path, restart: bool) -> None:
    """Remove the traces of a training that is not to go on."""
    if restart:
        for name in (CHECKPOINT, WEIGHTS, WEIGHTS.replace(".safetensors", ".json"), PICTURE):
            (folder / name).unlink(missing_ok=True)
    elif (folder / WEIGHTS).exists() and not (folder / CHECKPOINT).exists():
        raise UsageError(
            f"{folder.name}: holds {WEIGHTS} but no {CHECKPOINT} to go on from; choose another "
            "folder, or overwrite them with --restart."
        )


def _log(line: str) -> None:
    _LOGGER.info("%s", line)


class _Run:
    """One training run in its folder."""

    def __init__(
        self,
        task: TrainingTask,
        settings: FitSettings,
        folder: Path,
        device: torch.device,
        curves: Curves,
        command: str | None,
        tell: Callable[[str], None] | None,
    ) -> None:
        self.task = task
        self.settings = settings
        self.folder = folder
        self.device = device
        self.curves = curves
        self.command = command
        self.tell = tell or _log
        task.model.to(device)
        groups = task.parameter_groups(settings.learning_rate, settings.weight_decay)
        self.state = TrainingState(task.model, groups, settings.averaging)
        self.counters = Counters()
        self.description = {**task.header(), **task.card(), "fit": settings.model_dump()}
        self.began = time.perf_counter()

    def begin(self) -> None:
        """Take up the checkpoint, or write that of the first moment."""
        path = self.folder / CHECKPOINT
        if path.exists():
            found = read_checkpoint(path)
            settings = to_plain(self.description)
            check_same_settings(found.settings, settings, self.folder.name)
            self.state.restore(found.tensors, path.name)
            self.counters = found.counters
            self.began = time.perf_counter() - self.counters.seconds
            self.tell(f"going on after step {self.counters.step}{self.other_threads()}")
        else:
            self.write_checkpoint()
        validated = {int(entry["step"]) for entry in self.counters.history}
        self.curves.cut_after(self.counters.step, validated)

    def other_threads(self) -> str:
        """Say so if sums will be rounded otherwise than before."""
        before, now = self.counters.threads, thread_count()
        if before == now:
            return ""
        return f" with {now} threads, not {before}: results agree to rounding only"

    def loop(self, progress: ProgressCallback | None) -> str:
        """Do the steps that are left and return what ended them."""
        settings, counters = self.settings, self.counters
        validated = counters.history[-1]["step"] if counters.history else None
        while counters.step < settings.steps and not self.is_time_up():
            loss = self.step()
            if progress is not None:
                progress(counters.step, settings.steps, loss)
            if counters.step % settings.validate_every == 0:
                self.validate()
                validated = counters.step
            if counters.step % settings.checkpoint_every == 0 or validated == counters.step:
                self.write_checkpoint()
        if validated != counters.step:
            self.validate()
            self.write_checkpoint()
        return "steps" if counters.step >= settings.steps else "time"

    def step(self) -> float:
        """Do one step and return its loss; without a finite gradient the weights stay."""
        settings, counters, state = self.settings, self.counters, self.state
        self.task.model.train()
        factor = learning_rate_factor(settings, counters.step)
        state.set_rate(factor)
        state.optimizer.zero_grad(set_to_none=True)
        losses = []
        for index in range(settings.accumulate):
            loss = self.task.loss(counters.step * settings.accumulate + index)
            (loss / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        bound = math.inf if settings.gradient_clip is None else settings.gradient_clip
        norm = float(nn.utils.clip_grad_norm_(state.moved, bound))
        counters.step += 1
        is_finite = math.isfinite(mean) and math.isfinite(norm)
        if is_finite:
            state.optimizer.step()
            counters.skipped_in_a_row = 0
            state.update_average(counters.step - counters.skipped)
        else:
            counters.skipped += 1
            counters.skipped_in_a_row += 1
        rate = settings.learning_rate * factor
        self.curves.append(
            {"step": counters.step, "loss": mean, "gradient_norm": norm, "learning_rate": rate}
        )
        if counters.skipped_in_a_row >= _PATIENCE:
            raise DataError(
                f"{self.folder.name}: loss or gradient was not finite in {_PATIENCE} steps in a "
                f"row, the last is step {counters.step}; expected numbers. Lower the learning "
                "rate, set gradient_clip, or check the images, and train with --restart."
            )
        return mean

    def validate(self) -> None:
        """Judge the averaged weights, keep them if they are the best, and draw the curves."""
        counters = self.counters
        self.task.model.eval()
        with self.state.averaged(), torch.no_grad():
            figures = self.task.validate()
            entry: dict[str, float | int] = {"step": counters.step, **figures}
            finite = {k: v for k, v in entry.items() if math.isfinite(v)}
            best = counters.best
            is_best = "loss" in finite and (best is None or finite["loss"] < best["loss"])
            if is_best:
                self.state.keep_as_best()
        counters.history.append(finite)
        counters.seconds = time.perf_counter() - self.began
        if is_best:
            counters.best_step = counters.step
            self.write_weights()
        if "loss" in finite:
            entries = [e for e in self.curves.entries() if "validation" not in e]
            history = [e for e in counters.history if "loss" in e]
            draw_curves(self.folder / PICTURE, entries, history, self.task.name)
        self.curves.append({"step": counters.step, "validation": finite})
        text = ", ".join(f"{k} {v:.5g}" for k, v in entry.items() if k != "step")
        mark = " (best)" if is_best else ""
        self.tell(f"step {counters.step} of {self.settings.steps}: validation {text}{mark}")

    def finish(self, stopped_by: str) -> FitResult:
        """Complete the model card and say how it ended."""
        counters = self.counters
        if counters.best is None:
            raise DataError(
                f"{self.folder.name}: no validation had a finite loss, so there are no weights; "
                "lower the learning rate or check the images, and train with --restart."
            )
        self.write_weights()
        return FitResult(
            weights=self.folder / WEIGHTS,
            steps=counters.step,
            stopped_by=stopped_by,
            best=counters.best,
            skipped=counters.skipped,
            seconds=counters.seconds,
        )

    def is_time_up(self) -> bool:
        """Say whether the hours are spent."""
        hours = self.settings.max_hours
        return hours is not None and time.perf_counter() - self.began >= 3600 * hours

    def write_checkpoint(self) -> None:
        """Write the present state."""
        self.counters.seconds = time.perf_counter() - self.began
        self.counters.threads = thread_count()
        state = Checkpoint(
            tensors=self.state.tensors(),
            counters=self.counters,
            settings=to_plain(self.description),
        )
        write_checkpoint(self.folder / CHECKPOINT, state)

    def write_weights(self) -> None:
        """Write the best weights with their model card."""
        counters = self.counters
        card = {
            **self.task.card(),
            "fit": self.settings.model_dump(),
            "figures": counters.best,
            "training": {
                "steps": counters.step,
                "skipped_steps": counters.skipped,
                "seconds": round(counters.seconds, 1),
                "device": str(self.device),
                "threads": thread_count(),
            },
            "command": self.command,
            "versions": software_versions(),
        }
        save_weights(self.folder / WEIGHTS, self.state.best, self.task.header(), to_plain(card))
