"""Neural gradient regularizer."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.untrained.channels import RunningMean
from lowfield_recon.learning.untrained.gradient_fields import (
    FieldModel,
    FreeFields,
    PotentialFields,
)
from lowfield_recon.learning.untrained.loop import Estimate
from lowfield_recon.learning.untrained.skip_fit import SkipFit
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors.ngr_splitting import ImageUpdate, Splitting
from lowfield_recon.reconstructors.untrained import Run, UntrainedReconstructor
from lowfield_recon.reconstructors.untrained_problem import Stated, UntrainedSettings
from lowfield_recon.solvers.gradient_fit import FieldData, GradientFit

_LEAST_STRENGTH = 0.02
"""Strength w where there is hardly any noise, relative to the largest eigenvalue of A^H A."""

_STRENGTH_PER_VARIANCE = {"real": 1000.0, "complex": 250.0}
"""Strength per variance of the noise of a real component relative to the brightest value, measured
on photographs with noise of 3 and 10 % and on a 0.055 T and a 4-coil scan."""

_GRADIENT_WEIGHT = {"photograph": 2.5, "scan": 10.0}
"""Weight of the differences in the networks' loss, measured on the same."""

_FINAL_STEPS = 50


class NeuralGradientSettings(UntrainedSettings):
    """Settings of `ngr`."""

    iterations: int = Field(default=1600, ge=1, description="most iterations")
    channels: int = Field(default=32, ge=1, description="channels of each network")
    shifts: int | None = Field(
        default=None, ge=0, le=32,
        description="most pixels by which the image moves against the networks' grids at each "
        "step (of several, the first and every third one stays); None: 1 of potential where pixels "
        "are known without noise, else 0, which is faster at first",
    )  # fmt: skip
    regularization_weight: float | None = Field(
        default=None, gt=0, allow_inf_nan=False,
        description="w of 1/2 ||A x - y||^2 + w/2 sum_d ||D_d x - F_d||^2; None: from the noise",
    )  # fmt: skip
    fields: Literal["potential", "shared", "separate"] = Field(
        default="potential",
        description="potential: gradient of an image that networks put out; shared: one network "
        "puts out all directions; separate: a network for each direction (published)",
    )
    members: int = Field(default=3, ge=1, le=16, description="networks that potential averages")
    gradient_weight: float | None = Field(
        default=None, ge=0, allow_inf_nan=False,
        description="of potential: weight of the differences beside the data in the networks' "
        "loss; None: 2.5 for photographs, 10 for scans",
    )  # fmt: skip
    update: Literal["exact", "splitting"] = Field(
        default="exact",
        description="image step: exact, or the published splitting with a growing penalty (masks)",
    )
    boundary: Literal["periodic", "neumann"] | None = Field(
        default=None, description="of the differences; None: neumann for photographs"
    )
    stack_axis: Literal["none", "channels", "slices", "frames"] = Field(
        default="none", description="third direction of the gradient: axis -4, -3 or -5"
    )
    stack_weight: float = Field(
        default=0.1, gt=0, allow_inf_nan=False, description="its weight; y and x have 1"
    )
    solver_steps: int = Field(
        default=10, ge=1, description="conjugate gradient steps of an image step"
    )


class NeuralGradient(UntrainedReconstructor[NeuralGradientSettings]):
    r"""``argmin_x,W 1/2 ||A x - y||^2 + w/2 sum_d l_d ||D_d x - F_d(W)||^2``, F from a network.

    Network and image take turns: a step of Adam, then the image exactly (a division in Fourier
    space, or warm-started conjugate gradients). Pixels that were observed without noise are kept as
    they are. The result is the mean of the last images that a rule chooses without the truth.

    By default the field is the gradient of an image that the network puts out, and the data enter
    its loss too. Where pixels are known without noise, image and input move together by a pixel or
    none under two networks of three at every step: these cannot learn pixels by where their coarse
    grids begin, over-fit later, and learn more slowly at first.

    Free fields, as published (`fields=shared` or `separate`), have no loss at any image that fits
    the data, follow the harmonic continuation at first, and need thousands of iterations.

    References
    ----------
    Xu S et al. Neural gradient regularizer. arXiv:2308.16612
    """

    name = "ngr"
    summary = "neural gradient regularizer: gradients from networks fitted to this measurement"
    settings_type = NeuralGradientSettings

    def begin(self, stated: Stated, problem: InverseProblem) -> Run:
        """Draw the networks."""
        return _NeuralGradientRun(self, stated, problem)

    def strength(self, stated: Stated, problem: InverseProblem) -> float:
        """Return w."""
        chosen = self.settings.regularization_weight
        if chosen is not None:
            return chosen
        level = (problem.noise_std or 0.0) / stated.peak
        kind = "real"
        if problem.data.is_complex():
            kind, level = "complex", level / 2**0.5
        return max(_LEAST_STRENGTH * stated.term.lipschitz, _STRENGTH_PER_VARIANCE[kind] * level**2)

    def gradient_weight(self, stated: Stated) -> float:
        """Return k of the networks' loss."""
        if self.settings.gradient_weight is not None:
            return self.settings.gradient_weight
        return _GRADIENT_WEIGHT["photograph" if stated.is_photograph else "scan"]

    def shifts(self, stated: Stated) -> int:
        """Return by how many pixels the image moves at most."""
        if self.settings.shifts is not None:
            return self.settings.shifts
        return int(self.settings.fields == "potential" and stated.observed is not None)

    def boundary(self, stated: Stated) -> str:
        """Return how differences end."""
        if self.settings.update == "splitting":
            return "periodic"
        if self.settings.boundary is not None:
            return self.settings.boundary
        return "neumann" if stated.is_photograph else "periodic"

    def _axes(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return axes and weights of the differences."""
        third = {"none": None, "channels": -4, "slices": -3, "frames": -5}[self.settings.stack_axis]
        axes, weights = [-2, -1], [1.0, 1.0]
        if third is not None:
            if len(shape) < -third or shape[third] < 2:
                raise UsageError(
                    f"stack_axis={self.settings.stack_axis}: the image {tuple(shape)} has no such "
                    "axis of two or more; leave it out."
                )
            axes.append(third)
            weights.append(self.settings.stack_weight)
        return tuple(axes), tuple(weights)

    def solver(self, stated: Stated, problem: InverseProblem, strength: float) -> GradientFit:
        """Return the linear system of the image step."""
        axes, weights = self._axes(problem.shape)
        data = FieldData(
            rhs=stated.rhs,
            gram=stated.gram,
            eigenvalues=stated.eigenvalues,
            is_exact=stated.term.fourier is not None,
            observed=stated.observed,
        )
        return GradientFit(
            data,
            axes=axes,
            weights=weights,
            strength=strength,
            periodic=self.boundary(stated) == "periodic",
            iterations=self.settings.solver_steps,
        )

    def model(self, stated: Stated, problem: InverseProblem, solver: GradientFit) -> FieldModel:
        """Return new networks."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        axes, weights = self._axes(problem.shape)

        moved, members = self.shifts(stated), self.settings.members

        def network(images: int, *, sigmoid: bool | None, shifts: int = moved) -> SkipFit:
            return self.skip_fit(
                stated, problem, generator, images=images, sigmoid=sigmoid, shifts=shifts
            )

        if self.settings.fields == "shared":
            return FreeFields([network(len(axes), sigmoid=False)], solver, weights)
        if self.settings.fields == "separate":
            return FreeFields([network(1, sigmoid=False) for _ in axes], solver, weights)

        fits = [
            # Of several networks every third stays: it learns sooner, and errs elsewhere.
            network(1, sigmoid=None, shifts=moved if number % 3 or members == 1 else 0)
            for number in range(members)
        ]
        return PotentialFields(fits, solver, stated.data_term, weight=self.gradient_weight(stated))

    def update(
        self, stated: Stated, problem: InverseProblem, solver: GradientFit
    ) -> ImageUpdate | Splitting:
        """Return the image step."""
        if self.settings.update == "exact":
            return ImageUpdate(solver, stated.rhs)
        if stated.observed is None:
            raise UsageError(
                "update=splitting: expected noise-free observed pixels (a mask, no noise level); "
                "use update=exact."
            )
        if self.settings.boundary == "neumann":
            raise UsageError(
                "boundary=neumann: update=splitting knows periodic differences only; leave "
                "boundary out or use update=exact."
            )
        axes, weights = self._axes(problem.shape)
        generator = torch.Generator().manual_seed(self.settings.seed + 1)
        return Splitting(stated.rhs, stated.observed, axes, weights, generator=generator)


class _NeuralGradientRun(Run):
    """A step of the networks, then the image that fits data and fields."""

    def __init__(self, method: NeuralGradient, stated: Stated, problem: InverseProblem) -> None:
        self._method = method
        self._problem = problem
        self._stated = stated
        self._strength = method.strength(stated, problem)
        solver = method.solver(stated, problem, self._strength)
        self._model = method.model(stated, problem, solver)
        self.fits = self._model.fits
        self._update = method.update(stated, problem, solver)
        self._x = self._update.start
        self._mean = RunningMean(method.settings.average)

    def go_on_with(self, stated: Stated) -> None:
        self._stated = stated
        solver = self._method.solver(stated, self._problem, self._strength)
        self._model.use(solver, stated.data_term)
        self._update = self._method.update(stated, self._problem, solver)
        self._mean = RunningMean(self._method.settings.average)

    def advance(self, iteration: int) -> Estimate:  # noqa: ARG002 - all are alike
        fields, objective = self._model.step(self._x)
        self._x = self._update(fields, self._x)
        return Estimate(image=self._stated.pasted(self._mean(self._x)), objective=objective)

    def completed(self, image: torch.Tensor) -> torch.Tensor:
        whole = self._stated.whole or self._stated
        solver = self._method.solver(whole, self._problem, self._strength)
        return solver(solver.differences(image), whole.pasted(image), iterations=_FINAL_STEPS)

    def resolved(self) -> dict[str, Any]:
        return {
            "regularization_weight": self._strength,
            "boundary": self._method.boundary(self._stated),
            "gradient_weight": self._method.gradient_weight(self._stated),
            "shifts": self._method.shifts(self._stated),
        }
