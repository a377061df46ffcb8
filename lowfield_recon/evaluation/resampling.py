"""Any method as a function of the data, and new noise for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.data_fit import measured_samples
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import Reconstructor
from lowfield_recon.reconstructors.weights import noise_level

Method: TypeAlias = Reconstructor[Any] | Callable[[InverseProblem], torch.Tensor]
"""A reconstructor, or a function of a problem that returns its image."""

_SEED_STRIDE = 1_000_003


def image_by(method: Method, problem: InverseProblem, *, seed: int | None = None) -> torch.Tensor:
    """Reconstruct without the reference.

    Parameters
    ----------
    method
        Reconstructor or function.
    problem
        Data and operator.
    seed
        Replaces the seed of a reconstructor's settings; None leaves it.

    Returns
    -------
        Image, shape `problem.shape`.

    Raises
    ------
    UsageError
        If a seed is given for a function.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.ones(1, 1, 1, 4, 4), operator=identity_operator(), image_domain="real"
    ... )
    >>> image_by(lambda p: 2 * p.data, problem).max()
    tensor(2.)
    """
    unseen = replace(problem, reference=None)
    if not isinstance(method, Reconstructor):
        if seed is not None:
            raise UsageError("seed: a function has none; give a reconstructor to vary its seed.")
        return method(unseen)
    if seed is not None:
        method = type(method)(method.settings.model_copy(update={"seed": seed}))
    return method.reconstruct(unseen).image


def known_noise(problem: InverseProblem) -> tuple[float, str]:
    """Return the noise level and where it comes from, refusing that there is none.

    Parameters
    ----------
    problem
        Data and operator.

    Returns
    -------
        Standard deviation of one sample, and `"given"` or `"estimated from ..."`.

    Raises
    ------
    UsageError
        If it is zero.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.ones(1, 1, 1, 4, 4), operator=identity_operator(), image_domain="real",
    ...     noise_std=0.5,
    ... )
    >>> known_noise(problem)
    (0.5, 'given')
    """
    sigma, source = noise_level(problem)
    if sigma <= 0:
        raise UsageError(
            f"noise_std: is 0 ({source}), so that there is no noise to draw; set the problem's "
            "noise_std to the standard deviation of one sample."
        )
    return sigma, source


class NoiseSource:
    """Noise of the measured samples of a problem, one draw for each number.

    Parameters
    ----------
    problem
        Data and operator.
    seed
        Seed of all draws; draw k depends on the seed and k alone.
    """

    def __init__(self, problem: InverseProblem, seed: int) -> None:
        """Find the measured samples."""
        self.measured = measured_samples(problem.operator, problem.data)
        """Bool, shape of the data."""

        self._data = problem.data
        self._seed = seed

    def draw(self, number: int) -> torch.Tensor:
        """Return noise of standard deviation one.

        Parameters
        ----------
        number
            Which draw.

        Returns
        -------
            White Gaussian noise, shape and dtype of the data, zero where nothing is measured.
        """
        generator = torch.Generator().manual_seed(self._seed * _SEED_STRIDE + number)
        noise = torch.randn(self._data.shape, dtype=self._data.dtype, generator=generator)
        return noise.to(self._data.device) * self.measured
