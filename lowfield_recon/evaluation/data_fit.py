"""How well an image explains the data: the residual in units of the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.problem import InverseProblem

_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFit:
    """What `data_fit` found."""

    consistency: float | None
    """``||A x - y|| / (sqrt(m) noise_std)``; None where the noise level is unknown or zero. The
    true image has 1 within about ``1 / (2 sqrt(m))``; an image fitted to the data somewhat less,
    as it follows some of the noise; more than 1 means that data was altered or left out."""

    relative_residual: float
    """``||A x - y|| / ||y||`` over the measured samples."""

    n_samples: int
    """Number m of measured values, complex ones counted once."""

    z_score: float | None
    """Standard deviations by which the squared residual exceeds that of the true image; None where
    the noise level is unknown or zero."""


def measured_samples(operator: LinearOperator, data: torch.Tensor) -> torch.Tensor:
    """Return which entries of the data an operator reaches at all.

    Unmeasured entries are those that stay exactly zero for a random image: left out by a mask, or
    of a coil that sees nothing.

    Parameters
    ----------
    operator
        Operator A.
    data
        Samples y.

    Returns
    -------
        Bool, shape of the data.

    Raises
    ------
    DataError
        If the operator reaches none.

    Examples
    --------
    >>> from lowfield_recon.operators import kspace_operator
    >>> mask = torch.tensor([True, False, True, True]).reshape(1, 1, 1, 4, 1)
    >>> y = torch.zeros(1, 1, 1, 4, 4, dtype=torch.complex64)
    >>> int(measured_samples(kspace_operator(mask=mask), y).sum())
    12
    """
    generator = torch.Generator().manual_seed(_SEED)
    from lowfield_recon.operators.capabilities import image_shape_of

    shape = image_shape_of(operator, data)
    probe = torch.randn(shape, generator=generator, dtype=data.dtype).to(data.device)
    with torch.no_grad():
        (reached,) = operator(probe)
    measured: torch.Tensor = (reached != 0).expand(data.shape)
    if not bool(measured.any()):
        raise DataError("operator: gives zero for every image; expected measured samples.")
    return measured


def data_fit(problem: InverseProblem, image: torch.Tensor) -> DataFit:
    """Compare an image with the data that it is to explain.

    ``||A x - y||^2 / noise_std^2`` of the true image is chi-square distributed (of complex samples
    half a chi-square of 2 m degrees of freedom): its mean is m, its variance m for complex samples
    and 2 m for real ones. Low values do not prove an image right: what A does not see is not
    judged.

    Parameters
    ----------
    problem
        Data, operator and noise level.
    image
        Image x, shape `problem.shape`, in the unit of the data.

    Returns
    -------
        The residual in units of the noise and of the data.

    Raises
    ------
    DataError
        If the image's shape is not the problem's.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.full((1, 1, 1, 4, 4), 3.0), operator=identity_operator(), noise_std=0.5,
    ...     image_domain="real",
    ... )
    >>> fit = data_fit(problem, torch.full((1, 1, 1, 4, 4), 2.5))
    >>> round(fit.consistency, 6), round(fit.relative_residual, 6), fit.n_samples
    (1.0, 0.166667, 16)
    """
    if tuple(image.shape) != problem.shape:
        raise DataError(
            f"image: expected the problem's shape {problem.shape}, got {tuple(image.shape)}."
        )
    measured = measured_samples(problem.operator, problem.data)
    with torch.no_grad():
        (predicted,) = problem.operator(image.to(problem.data.device))
    residual = float(_norm((predicted - problem.data)[measured]))
    norm = float(_norm(problem.data[measured]))
    n_samples = int(measured.sum())
    consistency = z_score = None
    if problem.noise_std:
        consistency = residual / (math.sqrt(n_samples) * problem.noise_std)
        spread = math.sqrt((1 if problem.data.is_complex() else 2) / n_samples)
        z_score = (consistency**2 - 1) / spread
    return DataFit(
        consistency=consistency,
        relative_residual=residual / norm if norm > 0 else math.inf if residual > 0 else 0.0,
        n_samples=n_samples,
        z_score=z_score,
    )


def data_consistency(problem: InverseProblem, image: torch.Tensor) -> float:
    """Return ``||A x - y|| / (sqrt(m) noise_std)``, or ``||A x - y|| / ||y||`` without noise level.

    Parameters
    ----------
    problem
        Data, operator and noise level.
    image
        Image x, shape `problem.shape`, in the unit of the data.

    Returns
    -------
        About 1 for the true image, see `DataFit.consistency`; where `problem.noise_std` is None or
        0 the relative residual, 0 for the true image.

    Raises
    ------
    DataError
        As `data_fit`.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> ones = torch.ones(1, 1, 1, 4, 4)
    >>> problem = InverseProblem(data=ones, operator=identity_operator(), image_domain="real")
    >>> data_consistency(problem, 0.75 * ones)
    0.25
    """
    fit = data_fit(problem, image)
    return fit.relative_residual if fit.consistency is None else fit.consistency


def _norm(values: torch.Tensor) -> torch.Tensor:
    doubled = values.to(torch.complex128 if values.is_complex() else torch.float64)
    norm: torch.Tensor = torch.linalg.vector_norm(doubled)
    return norm
