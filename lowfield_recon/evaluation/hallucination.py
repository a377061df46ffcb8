"""What an image holds that the data never said, and how easily it is made to change."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.instability import (
    Instability,
    find_worst_case,
    worst_case_instability,
)
from lowfield_recon.operators import capabilities, operator_norm
from lowfield_recon.problem import InverseProblem
from lowfield_recon.solvers import cg

__all__ = [
    "Instability",
    "NullSpaceCheck",
    "find_worst_case",
    "null_space_check",
    "null_space_component",
    "null_space_fraction",
    "worst_case_instability",
]

_DOUBLE = (torch.complex128, torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NullSpaceCheck:
    """What `null_space_check` found; norms are Euclidean."""

    image_fraction: float
    """Part of the energy of the image that the operator does not see."""

    error_fraction: float
    """Part of the energy of the error that the operator does not see, so that the data could not
    have corrected it."""

    invented: float | None
    """``||P (x - x_ref)|| / ||P x_ref||`` with P the projection on what is not seen: 0 if filled in
    rightly, 1 if left empty; above 1 the method invented more wrong than leaving it empty would
    have left out. None where the reference has no such part."""


def null_space_component(
    problem: InverseProblem,
    image: torch.Tensor,
    *,
    threshold: float = 1e-2,
    iterations: int = 500,
) -> torch.Tensor:
    r"""Return the part of an image that the operator does not see.

    ``P x = d (A^H A + d I)^-1 x`` with ``d = (threshold ||A||)^2``: what A shrinks to much less
    than `threshold` times its norm is kept, what it passes is removed, and at `threshold` half is
    kept. Exact, by whether an eigenvalue is below d, where A^H A is known to be diagonal in Fourier
    or image space; by conjugate gradients otherwise.

    Parameters
    ----------
    problem
        Its operator A; the data is not looked at.
    image
        Image x, shape `problem.shape`.
    threshold
        Gain relative to ||A|| below which A is said not to see, between 0 and 1.
    iterations
        Most conjugate gradient steps.

    Returns
    -------
        The component, shape of the image; complex, or real where both image and domain are.

    Raises
    ------
    UsageError
        If the threshold is not between 0 and 1.
    DataError
        If the image's shape is not the problem's.

    Examples
    --------
    >>> from lowfield_recon.operators import mask_operator
    >>> mask = torch.tensor([[1.0, 0.0]]).reshape(1, 1, 1, 1, 2)
    >>> problem = InverseProblem(
    ...     data=mask, operator=mask_operator(mask), image_domain="real"
    ... )
    >>> null_space_component(problem, torch.full((1, 1, 1, 1, 2), 3.0)).flatten()
    tensor([0., 3.])
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold: expected a number between 0 and 1, got {threshold}.")
    if tuple(image.shape) != problem.shape:
        raise DataError(
            f"image: expected the problem's shape {problem.shape}, got {tuple(image.shape)}."
        )
    with torch.no_grad():
        exact = _exact_component(problem, image, threshold)
        if exact is not None:
            return exact
        gram = problem.operator.gram
        dtype = torch.complex128 if image.dtype in _DOUBLE else torch.complex64
        if problem.image_domain != "complex" and not image.is_complex():
            dtype = image.dtype
        norm = operator_norm(problem.operator, problem.shape, device=image.device).value
        floor = (threshold * norm) ** 2

        def shifted(x: torch.Tensor) -> torch.Tensor:
            (seen,) = gram(x)
            return (seen if x.is_complex() else seen.real) + floor * x

        x = image.to(dtype)
        found = cg(shifted, x, iterations=iterations, tolerance=1e-5).solution
        component: torch.Tensor = floor * found
    return component


def _exact_component(
    problem: InverseProblem, image: torch.Tensor, threshold: float
) -> torch.Tensor | None:
    known = capabilities(problem.operator)
    for eigenvalues, is_fourier in ((known.gram_image, False), (known.gram_fourier, True)):
        if eigenvalues is None:
            continue
        unseen = eigenvalues < threshold**2 * eigenvalues.max()
        if not is_fourier:
            return image * unseen
        axes = [d for d in (-3, -2, -1) if image.shape[d] > 1] or [-1]
        kept: torch.Tensor = torch.fft.ifftn(torch.fft.fftn(image, dim=axes) * unseen, dim=axes)
        is_real = problem.image_domain != "complex" and not image.is_complex()
        return kept.real if is_real else kept
    return None


def null_space_fraction(
    problem: InverseProblem, image: torch.Tensor, *, threshold: float = 1e-2
) -> float:
    """Return the part of an image's energy that the operator does not see.

    ``||P x||^2 / ||x||^2``, see `null_space_component`.

    Parameters
    ----------
    problem
        Its operator A.
    image
        Image, or error of an image, shape `problem.shape`.
    threshold
        Gain relative to ||A|| below which A is said not to see.

    Returns
    -------
        0 (the data determines all of it) to 1 (nothing of it); 0 for a zero image.

    Raises
    ------
    LowfieldReconError
        As `null_space_component`.

    Examples
    --------
    >>> from lowfield_recon.operators import mask_operator
    >>> mask = torch.tensor([[1.0, 0.0]]).reshape(1, 1, 1, 1, 2)
    >>> problem = InverseProblem(data=mask, operator=mask_operator(mask), image_domain="real")
    >>> round(null_space_fraction(problem, torch.ones(1, 1, 1, 1, 2)), 6)
    0.5
    """
    whole = _norm(image)
    if whole == 0:
        return 0.0
    return (_norm(null_space_component(problem, image, threshold=threshold)) / whole) ** 2


def null_space_check(
    problem: InverseProblem, image: torch.Tensor, *, threshold: float = 1e-2
) -> NullSpaceCheck:
    """Judge what an image holds beyond the data, against the problem's reference.

    Parameters
    ----------
    problem
        Operator and reference.
    image
        Image, shape `problem.shape`.
    threshold
        Gain relative to ||A|| below which A is said not to see.

    Returns
    -------
        Unseen parts of image and error, and how right the unseen part is.

    Raises
    ------
    UsageError
        If the problem has no reference.

    Examples
    --------
    >>> from lowfield_recon.operators import mask_operator
    >>> mask = torch.tensor([[1.0, 0.0]]).reshape(1, 1, 1, 1, 2)
    >>> problem = InverseProblem(
    ...     data=mask, operator=mask_operator(mask), image_domain="real",
    ...     reference=torch.ones(1, 1, 1, 1, 2),
    ... )
    >>> null_space_check(problem, mask)
    NullSpaceCheck(image_fraction=0.0, error_fraction=1.0, invented=1.0)
    """
    if problem.reference is None:
        raise UsageError("reference: the problem has none; expected the true image to judge by.")
    reference = problem.reference.to(image.device)
    error = image - reference
    missing = _norm(null_space_component(problem, reference, threshold=threshold))
    wrong = _norm(null_space_component(problem, error, threshold=threshold))
    has_missing = missing > 1e-6 * _norm(reference)
    whole = _norm(error)
    return NullSpaceCheck(
        image_fraction=null_space_fraction(problem, image, threshold=threshold),
        error_fraction=(wrong / whole) ** 2 if whole > 0 else 0.0,
        invented=wrong / missing if has_missing else None,
    )


def _norm(a: torch.Tensor) -> float:
    doubled = a.to(torch.complex128 if a.is_complex() else torch.float64)
    return float(torch.linalg.vector_norm(doubled))
