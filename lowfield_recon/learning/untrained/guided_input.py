"""Inputs of a network that follow its output: autoencoding and learnt ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from lowfield_recon.learning.untrained.channels import from_channels, to_channels
from lowfield_recon.learning.untrained.skip_fit import SkipFit

Gradient = Callable[[torch.Tensor], torch.Tensor]

_LARGEST_STEP = 1.0
"""Gradients with respect to a learnt input are cut to this norm."""


class GuidedInput(Protocol):
    """Takes a step of a network and updates what goes into it."""

    def step(self, fit: SkipFit, gradient: Gradient) -> torch.Tensor:
        """Return the output before the step; `gradient` is that of the data term."""
        ...


class FixedInput:
    """The random input of the original method, with fresh noise at every step."""

    def step(self, fit: SkipFit, gradient: Gradient) -> torch.Tensor:
        """Take one step."""
        return fit.step(gradient)


class AutoencodingInput:
    r"""The output becomes the input.

    Steps on ``1/2 ||A f(z) - y||^2 + w/2 ||f(z) - z||^2``, and ``z <- f(z)`` after every `steps` of
    them.

    Parameters
    ----------
    start
        First input, the image of ``A^H y`` in the scale of the fit.
    weight
        w.
    steps
        Steps between updates of the input; 0 never updates it.

    References
    ----------
    Alkhouri I et al. Image reconstruction via autoencoding sequential deep image prior. NeurIPS
    2024. https://doi.org/10.52202/079017-0601
    """

    def __init__(self, start: torch.Tensor, *, weight: float, steps: int) -> None:
        """Begin with the back-projected data."""
        self._image = start
        self._weight = weight
        self._steps = steps
        self._count = 0

    def step(self, fit: SkipFit, gradient: Gradient) -> torch.Tensor:
        """Take one step, and update the input where it is time."""

        def full(f: torch.Tensor) -> torch.Tensor:
            return gradient(f) + self._weight * (f - self._image)

        output = fit.step(full, to_channels(self._image))
        self._count += 1
        if self._steps and self._count % self._steps == 0:
            self._image = fit.output(to_channels(self._image))
        return output


class LearntInput:
    r"""The input is learnt too.

    Steps in network and z on ``1/2 ||A f - y||^2 + w/2 ||f - z||^2``, f the mean of ``f(z + e)``
    over `draws` of ``e ~ U(0, s max |z|)``.

    Parameters
    ----------
    start
        First input, an image.
    weight
        w.
    learning_rate
        Of Adam for z; 0 keeps it.
    draws
        Noise draws of a step.
    noise
        s.
    generator
        Where the noise comes from.

    References
    ----------
    Liang S et al. Analysis of deep image prior and exploiting self-guidance for image
    reconstruction. arXiv:2402.04097
    """

    def __init__(
        self,
        start: torch.Tensor,
        *,
        weight: float,
        learning_rate: float,
        draws: int,
        noise: float,
        generator: torch.Generator,
    ) -> None:
        """Begin with an image."""
        self._shape, self._is_complex = tuple(start.shape), start.is_complex()
        self._z = to_channels(start).clone().contiguous()
        self._weight = weight
        self._draws = draws
        self._noise = noise
        self._generator = generator
        self._learning_rate = learning_rate
        self._optimiser = torch.optim.Adam([self._z], lr=learning_rate or 1.0)

    def step(self, fit: SkipFit, gradient: Gradient) -> torch.Tensor:
        """Take one step of network and input; returns the mean output."""
        reach = self._noise * float(self._z.abs().max())
        inputs = [self._z + reach * self._uniform() for _ in range(self._draws)]
        leaves = [z.requires_grad_(self._learning_rate > 0) for z in inputs]
        image = from_channels(self._z, self._shape, is_complex=self._is_complex)
        mean = fit.step(lambda f: gradient(f) + self._weight * (f - image), *leaves)
        slopes = [leaf.grad for leaf in leaves if leaf.grad is not None]
        if slopes:
            direct = self._weight * (self._z - to_channels(mean))
            self._move(torch.stack(slopes).sum(dim=0) + direct)
        return mean

    def _move(self, slope: torch.Tensor) -> None:
        length = float(torch.linalg.vector_norm(slope))
        self._z.grad = slope * min(1.0, _LARGEST_STEP / max(length, 1e-30))
        self._optimiser.step()

    def _uniform(self) -> torch.Tensor:
        drawn = torch.rand(self._z.shape, generator=self._generator)
        return drawn.to(self._z.device)
