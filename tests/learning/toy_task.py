"""A training that takes milliseconds: a small network learns a function of three numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn


class ToySettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    width: int = 4
    scale: float = 1.0
    nan_from: int | None = None
    nan_steps: int = 0
    nan_in_gradient: bool = False
    seconds_per_step: float = 0.0


class ToyTask:
    name = "toy"

    def __init__(self, settings: ToySettings) -> None:
        self.settings = settings
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            self.model: nn.Module = nn.Sequential(
                nn.Linear(3, settings.width, bias=False),
                nn.BatchNorm1d(settings.width),
                nn.Tanh(),
                nn.Linear(settings.width, 1),
            )
        self.steps: list[int] = []

    def examples(self, seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(n, 3, generator=generator)
        return x, self.settings.scale * (x[:, :1] - 0.5 * x[:, 1:2] * x[:, 2:])

    def loss(self, step: int) -> torch.Tensor:
        self.steps.append(step)
        if self.settings.seconds_per_step:
            time.sleep(self.settings.seconds_per_step)
        x, y = self.examples(1000 * self.settings.seed + step, 16)
        loss = (self.model(x) - y).square().mean()
        first, settings = self.settings.nan_from, self.settings
        if first is None or not first <= step < first + settings.nan_steps:
            return loss
        # The root of zero has an infinite slope, though its value is finite.
        return loss + (loss - loss.detach()).sqrt() if settings.nan_in_gradient else loss / 0

    def validate(self) -> dict[str, float]:
        x, y = self.examples(999_999, 64)
        error = self.model(x) - y
        return {"loss": float(error.square().mean()), "bias": float(error.mean())}

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        first, *rest = self.model.parameters()
        return [
            {"params": rest, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": [first], "lr": 2 * learning_rate, "weight_decay": 0.0},
        ]

    def header(self) -> dict[str, Any]:
        return {"method": self.name, "architecture": {"width": self.settings.width}}

    def card(self) -> dict[str, Any]:
        return {"data_licence": "made up", "settings": self.settings.model_dump(mode="json")}


def make_task(config: Mapping[str, Any], images: Sequence[Path], device: torch.device) -> ToyTask:
    from lowfield_recon.learning.tasks import checked

    del images, device
    return ToyTask(checked(ToySettings, config))
