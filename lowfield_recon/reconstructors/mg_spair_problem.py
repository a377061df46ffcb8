"""A problem as `mg-spair` wants it: brightness, norm of the operator and noise in known units."""

from __future__ import annotations

import math

import torch

from lowfield_recon.operators import capabilities, operator_norm
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors.data_term import in_domain
from lowfield_recon.reconstructors.weights import noise_level

_BRIGHTEST_PHOTOGRAPH = 4.0
"""99 % quantile up to which a photograph counts as one on the grey scale 0..1, noise included."""


class ScaledProblem:
    """A problem with images of about 0..1 and an operator of norm at most 1.

    Parameters
    ----------
    problem
        The problem.
    """

    def __init__(self, problem: InverseProblem) -> None:
        """Measure norm, brightness and noise."""
        self._problem = problem
        norm = operator_norm(
            problem.operator, problem.shape, dtype=problem.image_dtype, device=problem.data.device
        ).value
        self._gain = norm if norm > 0 else 1.0
        self.scale = _image_scale(problem, self._gain)
        self.data = problem.data / (self._gain * self.scale)
        sigma, self.noise_source = noise_level(problem)
        self.noise_std = sigma
        self.noise = sigma / (self._gain * self.scale)
        generator = torch.Generator().manual_seed(0)
        probe = torch.rand(problem.shape, generator=generator) + 0.5
        self.samples = int(torch.count_nonzero(self.forward(probe.to(self.start_like()))))

    def start_like(self) -> torch.Tensor:
        """Return an image of zeros."""
        p = self._problem
        return torch.zeros(p.shape, dtype=p.image_dtype, device=p.data.device)

    def start(self) -> torch.Tensor:
        """Return x_0: 0 of complex images, else the constant that explains the data best."""
        zero = self.start_like()
        if zero.is_complex():
            return zero
        ones = self.forward(zero + 1)
        energy = float(ones.abs().square().sum())
        along = float(torch.sum(ones.conj() * self.data).real)
        return zero + (along / energy if energy > 0 else 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return A x."""
        (y,) = self._problem.operator(x)
        return y / self._gain if self._gain != 1 else y

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Return A^H y in the image's domain."""
        (x,) = self._problem.operator.adjoint(y)
        return in_domain(x / self._gain if self._gain != 1 else x, self._problem)

    def to_image(self, x: torch.Tensor) -> torch.Tensor:
        """Return an image in the unit of the data and in its domain."""
        x = x * self.scale
        return x.clamp(min=0) if self._problem.image_domain == "nonnegative" else x


def _image_scale(problem: InverseProblem, gain: float) -> float:
    """Return what counts as 1: 1 for photographs in 0..1, else the 99 % quantile of |A^H y|."""
    if capabilities(problem.operator).data_domain == "image" and not problem.data.is_complex():
        brightest = _quantile(problem.data.abs())
        if 0.1 <= brightest <= _BRIGHTEST_PHOTOGRAPH:
            return 1.0
    (back,) = problem.operator.adjoint(problem.data)
    found = _quantile(back.abs()) / gain**2
    return found if found > torch.finfo(torch.float32).tiny else 1.0


def _quantile(values: torch.Tensor) -> float:
    values = values[values > 0]
    if values.numel() == 0:
        return 0.0
    return float(values.kthvalue(max(1, math.ceil(0.99 * values.numel()))).values)
