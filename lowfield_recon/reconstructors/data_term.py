"""The data term of a problem as the solvers want it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lowfield_recon.operators import capabilities, operator_norm
from lowfield_recon.operators.circulant import circulant_gram
from lowfield_recon.problem import InverseProblem
from lowfield_recon.solvers import LeastSquares
from lowfield_recon.solvers.functionals import inner, norm, squared_modulus


@dataclass(frozen=True, slots=True, eq=False)
class DataTerm:
    """``1/2 ||A x - y||^2`` for data divided by `scale`."""

    smooth: LeastSquares
    """Value, gradient and Gram."""

    misfit: Callable[[torch.Tensor], float]
    """x -> 1/2 ||A x - y||^2 from the residual itself: exact where the Gram form loses digits, but
    it costs an application of A."""

    scale: float
    """The data was divided by this; multiply the solution by it."""

    lipschitz: float
    """Upper bound (or safe estimate) of the largest eigenvalue of A^H A."""

    fourier: torch.Tensor | None
    """Eigenvalues of A^H A in FFT order where it is diagonal in Fourier space, else None."""

    pixels: torch.Tensor | None
    """Diagonal of A^H A where it is diagonal in image space, else None."""


def data_term(problem: InverseProblem) -> DataTerm:
    """Build the data term of a problem.

    Real and nonnegative images see the real part of the Gram, whose Fourier eigenvalues are
    ``(g(k) + g(-k)) / 2``.

    Parameters
    ----------
    problem
        Data and operator.

    Returns
    -------
        The data term, scaled so that ``max |A^H y| = 1``.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> y = torch.full((1, 1, 1, 2, 2), 4.0)
    >>> term = data_term(InverseProblem(data=y, operator=identity_operator(), image_domain="real"))
    >>> term.scale, term.lipschitz
    (4.0, 1.0)
    """
    operator = problem.operator
    gram_operator = operator.gram
    (back,) = operator.adjoint(problem.data)
    rhs = in_domain(back, problem)
    scale = _largest_modulus(rhs) or 1.0
    rhs = rhs / scale

    def gram(x: torch.Tensor) -> torch.Tensor:
        (result,) = gram_operator(x)
        return result if x.is_complex() or not result.is_complex() else result.real

    def misfit(x: torch.Tensor) -> float:
        (predicted,) = operator(x)
        residual = predicted - problem.data / scale
        return 0.5 * inner(residual, residual)

    energy = norm(problem.data / scale) ** 2
    known = capabilities(operator)
    largest = operator_norm(
        operator, problem.shape, dtype=problem.image_dtype, device=problem.data.device
    )
    return DataTerm(
        smooth=LeastSquares(gram, rhs, 0.5 * energy),
        misfit=misfit,
        scale=scale,
        lipschitz=max(largest.value**2, torch.finfo(torch.float32).tiny),
        fourier=_prepared(known.gram_fourier, problem, symmetric=True),
        pixels=_prepared(known.gram_image, problem, symmetric=False),
    )


def preconditioner_eigenvalues(problem: InverseProblem, term: DataTerm) -> torch.Tensor:
    """Return the eigenvalues of a circulant near to ``A^H A``: exact ones where they are known.

    Parameters
    ----------
    problem
        Data and operator.
    term
        Its data term.

    Returns
    -------
        Real tensor in FFT order, broadcastable to the image.
    """
    if term.fourier is not None:
        return term.fourier
    near = circulant_gram(problem.operator, problem.shape)
    prepared = _prepared(near, problem, symmetric=True)
    if prepared is None:
        return torch.full((1, 1, 1), term.lipschitz, device=problem.data.device)
    return prepared


def in_domain(x: torch.Tensor, problem: InverseProblem) -> torch.Tensor:
    """Return `x` with the dtype of the problem's image: the real part where images are real.

    Parameters
    ----------
    x
        Image.
    problem
        Problem with the domain.

    Returns
    -------
        The image; values are not clipped.
    """
    if problem.image_domain != "complex" and x.is_complex():
        x = x.real
    return x.to(problem.image_dtype)


def _largest_modulus(x: torch.Tensor) -> float:
    """Return ``max |x|``, also where its square overflows or vanishes."""
    square = float(squared_modulus(x).max())
    limits = torch.finfo(x.dtype)
    if limits.tiny < square < limits.max:
        return math.sqrt(square)
    parts = torch.view_as_real(x) if x.is_complex() else x
    peak = float(parts.abs().max())
    if peak < limits.tiny:
        return 0.0
    return peak * math.sqrt(float(squared_modulus(x / peak).max()))


def _prepared(
    values: torch.Tensor | None, problem: InverseProblem, *, symmetric: bool
) -> torch.Tensor | None:
    if values is None:
        return None
    values = values.to(device=problem.data.device, dtype=problem.image_dtype.to_real())
    if symmetric and problem.image_domain != "complex":
        axes = (-3, -2, -1)
        mirrored = torch.roll(torch.flip(values, axes), [1, 1, 1], axes)
        values = 0.5 * (values + mirrored)
    return values
