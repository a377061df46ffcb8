"""Deep image prior."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.untrained.channels import RunningMean, channel_count
from lowfield_recon.learning.untrained.guided_input import (
    AutoencodingInput,
    FixedInput,
    GuidedInput,
    LearntInput,
)
from lowfield_recon.learning.untrained.loop import Estimate
from lowfield_recon.learning.untrained.skip_fit import SkipFit
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors.untrained import Run, UntrainedReconstructor
from lowfield_recon.reconstructors.untrained_problem import Stated, UntrainedSettings


class DeepImagePriorSettings(UntrainedSettings):
    """Settings of `dip`."""

    input_update: Literal["none", "autoencode", "learn"] = Field(
        default="none",
        description="none: a fixed random input; autoencode: the output becomes the input; learn: "
        "the input is learnt with the network",
    )
    shifts: int = Field(
        default=0, ge=0, le=32,
        description="most pixels by which the image moves against the network's grid at each step "
        "(input_update none)",
    )  # fmt: skip
    input_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False,
        description="weight of ||f(z) - z||^2 / 2 of the latter two",
    )  # fmt: skip
    input_steps: int = Field(default=2, ge=0, description="steps between updates (autoencode)")
    input_learning_rate: float = Field(
        default=0.1, ge=0, allow_inf_nan=False, description="of the input (learn)"
    )
    input_draws: int = Field(default=1, ge=1, le=16, description="noise draws of a step (learn)")


class DeepImagePrior(UntrainedReconstructor[DeepImagePriorSettings]):
    r"""``argmin_W 1/2 ||A f_W(z + s e) - y||^2``, stopped before the network f learns the noise.

    z is random and fixed, e is fresh noise at every step of Adam; complex images are two channels.
    The result is the mean of the last outputs that a rule chooses without knowing the truth; where
    the data are noise-free pixels, they stand in it as they were observed.

    References
    ----------
    Ulyanov D et al. Deep image prior. Int J Comput Vis 2020;128:1867-1888.
    https://doi.org/10.1007/s11263-020-01303-4
    Wang H et al. Early stopping for deep image prior. arXiv:2112.06074
    """

    name = "dip"
    summary = "deep image prior: a network fitted to this measurement alone, stopped early"
    settings_type = DeepImagePriorSettings

    def begin(self, stated: Stated, problem: InverseProblem) -> Run:
        """Draw the network and its input."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        guide = self._guide(stated, generator)
        inputs, shifts = None, self.settings.shifts
        if not isinstance(guide, FixedInput):
            if shifts:
                raise UsageError(
                    f"shifts={shifts}: the input moves with the image only where it is fixed; use "
                    "input_update=none, or shifts=0."
                )
            inputs = channel_count(problem.shape, is_complex=stated.rhs.is_complex())
        fit = self.skip_fit(stated, problem, generator, input_channels=inputs, shifts=shifts)
        return _DeepImagePriorRun(stated, fit, guide, average=self.settings.average)

    def _guide(self, stated: Stated, generator: torch.Generator) -> GuidedInput:
        chosen = self.settings
        start = stated.rhs / stated.term.lipschitz
        if chosen.input_update == "autoencode":
            return AutoencodingInput(start, weight=chosen.input_weight, steps=chosen.input_steps)
        if chosen.input_update == "learn":
            return LearntInput(
                start, weight=chosen.input_weight, learning_rate=chosen.input_learning_rate,
                draws=chosen.input_draws, noise=0.5, generator=generator,
            )  # fmt: skip
        return FixedInput()


class _DeepImagePriorRun(Run):
    """Steps on the data term of the output."""

    def __init__(self, stated: Stated, fit: SkipFit, guide: GuidedInput, *, average: float) -> None:
        self.fits = [fit]
        self._fit = fit
        self._guide = guide
        self._average = average
        self.go_on_with(stated)

    def go_on_with(self, stated: Stated) -> None:
        self._stated = stated
        self._mean = RunningMean(self._average)

    def advance(self, iteration: int) -> Estimate:  # noqa: ARG002 - all are alike
        value = 0.0

        def gradient(f: torch.Tensor) -> torch.Tensor:
            nonlocal value
            value, slope = self._stated.data_term(f)
            return slope

        output = self._guide.step(self._fit, gradient)
        return Estimate(image=self._stated.pasted(self._mean(output)), objective=value)

    def completed(self, image: torch.Tensor) -> torch.Tensor:
        whole = self._stated.whole or self._stated
        return whole.pasted(image)
