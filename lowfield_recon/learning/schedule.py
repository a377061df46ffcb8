"""Settings of a training run, and the learning rate at each of its steps."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FREE_ON_RESUME = ("steps", "max_hours", "validate_every", "checkpoint_every")
"""Settings that may differ when a run that was interrupted goes on."""


class FitSettings(BaseModel):
    """How a network is fitted; the optimiser is AdamW.

    Examples
    --------
    >>> FitSettings(steps=100, learning_rate=1e-3).schedule
    'cosine'

    References
    ----------
    Loshchilov I, Hutter F. Decoupled weight decay regularization. ICLR 2019. arXiv:1711.05101
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=20_000, ge=1, description="updates of the parameters")
    learning_rate: float = Field(
        default=1e-3, gt=0, allow_inf_nan=False, description="largest learning rate"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="decoupled weight decay"
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="steps over which the rate grows linearly to its largest"
    )
    schedule: Literal["constant", "cosine", "exponential"] = Field(
        default="cosine", description="what the rate does after that"
    )
    final_rate: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="part of the largest rate that the exponential schedule ends with",
    )
    gradient_clip: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="largest norm of the gradient"
    )
    averaging: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="decay of the moving average of the weights that is validated and kept; 0: off",
    )
    validate_every: int = Field(default=1000, ge=1, description="steps between validations")
    checkpoint_every: int = Field(default=100, ge=1, description="steps between checkpoints")
    accumulate: int = Field(default=1, ge=1, description="batches whose gradients are averaged")
    seed: int = Field(default=0, ge=0, description="seed of the initial weights and the examples")
    max_hours: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="hours of training, over all resumptions, after which the run ends",
    )

    @model_validator(mode="after")
    def _leave_steps_after_the_warmup(self) -> FitSettings:
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps: expected fewer than the {self.steps} steps, got {self.warmup_steps}"
            )
        return self


def learning_rate_factor(settings: FitSettings, step: int) -> float:
    """Return what part of the largest learning rate a step uses.

    With W warm-up steps and T steps: `(n + 1) / W` for n < W, then with `t = (n - W) / (T - W)`
    1 (`"constant"`), `(1 + cos(pi t)) / 2` (`"cosine"`) or `final_rate^t` (`"exponential"`).

    Parameters
    ----------
    settings
        Settings of the run.
    step
        n, counted from 0.

    Returns
    -------
        Factor from 0 to 1.

    Examples
    --------
    >>> settings = FitSettings(steps=12, warmup_steps=2, schedule="cosine")
    >>> [round(learning_rate_factor(settings, n), 3) for n in (0, 1, 2, 7, 12)]
    [0.5, 1.0, 1.0, 0.5, 0.0]

    References
    ----------
    Loshchilov I, Hutter F. SGDR: stochastic gradient descent with warm restarts. ICLR 2017.
    arXiv:1608.03983
    """
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    part = min((step - settings.warmup_steps) / (settings.steps - settings.warmup_steps), 1.0)
    if settings.schedule == "exponential":
        return float(settings.final_rate**part)
    return (1 + math.cos(math.pi * part)) / 2
