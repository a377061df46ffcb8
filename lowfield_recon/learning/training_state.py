"""What changes in a training run: weights, their moving average, the optimiser's moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lowfield_recon.errors import DataError, UsageError

Tensors = dict[str, torch.Tensor]


class TrainingState:
    """Model and optimiser of a run, as tensors by name and back.

    Parameters
    ----------
    model
        Network that is trained.
    groups
        What the optimiser moves, as `torch.optim` takes it, each group with its `lr`.
    averaging
        Decay of the moving average of the parameters; 0 keeps none.
    """

    def __init__(self, model: nn.Module, groups: list[dict[str, Any]], averaging: float) -> None:
        self.model = model
        self.averaging = averaging
        self.optimizer = torch.optim.AdamW(groups)
        self._largest_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self._parameters = dict(model.named_parameters())
        known = {id(parameter) for parameter in self._parameters.values()}
        moved = [p for group in self.optimizer.param_groups for p in group["params"]]
        if any(id(parameter) not in known for parameter in moved):
            raise UsageError(
                "the task trains a tensor that is no parameter of its model; checkpoints would "
                "lack it. Register it as a parameter."
            )
        self.moved: list[nn.Parameter] = moved
        self.average: Tensors = _copies(self._parameters) if averaging else {}
        self.best: Tensors = {}

    def set_rate(self, factor: float) -> None:
        """Set every group's learning rate to this part of its largest."""
        for group, rate in zip(self.optimizer.param_groups, self._largest_rates, strict=True):
            group["lr"] = rate * factor

    @torch.no_grad()
    def update_average(self, n_updates: int) -> None:
        """Move the average towards the weights, faster in the first updates.

        `a <- a + (1 - d)(w - a)` with d the smaller of the decay and `(1 + n) / (10 + n)`.
        """
        decay = min(self.averaging, (1 + n_updates) / (10 + n_updates))
        for name, average in self.average.items():
            average.lerp_(self._parameters[name], 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the average, where there is one, in the place of the weights while the block runs."""
        own = _copies(self._parameters) if self.average else {}
        try:
            self._put(self.average)
            yield
        finally:
            self._put(own)

    def keep_as_best(self) -> None:
        """Remember the present weights, buffers included, as the best."""
        self.best = _copies(self.model.state_dict())

    def tensors(self) -> dict[str, Tensors]:
        """Return everything by part and name; nothing is copied."""
        moments = {
            f"{name}/{key}": value
            for name, parameter in self._parameters.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }
        return {
            "model": dict(self.model.state_dict()),
            "optimizer": moments,
            "average": self.average,
            "best": self.best,
        }

    def restore(self, tensors: Mapping[str, Mapping[str, torch.Tensor]], name: str) -> None:
        """Take up the state of a checkpoint.

        Parameters
        ----------
        tensors
            What `tensors` returned, from any device.
        name
            Name of the checkpoint, for the message.

        Raises
        ------
        DataError
            If it belongs to another network.
        """
        own, given = self.model.state_dict(), tensors["model"]
        wrong = sorted(key for key in {*own, *given} if not _fits(own.get(key), given.get(key)))
        if wrong or set(tensors["average"]) != set(self.average):
            what = f"its '{wrong[0]}' does not fit" if wrong else "its average does not fit"
            raise DataError(
                f"{name}: made by another network ({what}); begin anew with --restart, or choose "
                "another folder."
            )
        self.model.load_state_dict(dict(given))
        device = {key: tensor.device for key, tensor in own.items()}
        for key, average in self.average.items():
            average.copy_(tensors["average"][key])
        self.best = {key: tensor.to(device[key]) for key, tensor in tensors["best"].items()}
        self.optimizer.state.clear()
        for key, tensor in tensors["optimizer"].items():
            owner, _, moment = key.rpartition("/")
            parameter = self._parameters[owner]
            # AdamW counts its steps on the CPU.
            place = torch.device("cpu") if moment == "step" else parameter.device
            self.optimizer.state[parameter][moment] = tensor.to(place)

    @torch.no_grad()
    def _put(self, values: Tensors) -> None:
        for name, value in values.items():
            self._parameters[name].copy_(value)


def _copies(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _fits(own: torch.Tensor | None, given: torch.Tensor | None) -> bool:
    if own is None or given is None:
        return False
    return own.shape == given.shape and own.dtype == given.dtype
