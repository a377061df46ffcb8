"""The problem that the patch solvers minimise, its coarse versions, and what they return."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lowfield_recon.solvers.functionals import Apply
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchProblem:
    r"""``1/2 ||A x - y||^2 + sum_k beta/2 ||U P_k x - C a_k||^2 + R(a_k)``, images in planes."""

    regularizer: PatchRegularizer

    rhs: torch.Tensor
    """A^H y, `(planes, y, x)`, real or complex; sides are multiples of the potential's block."""

    gram: Apply
    """x -> A^H A x on `(planes, y, x)`; for a real image its real part."""

    eigenvalues: torch.Tensor
    """Eigenvalues of A^H A, or of a circulant near to it, `(planes or 1, y, x)` in FFT order."""

    is_exact: bool
    """Whether `eigenvalues` are those of A^H A, so that planes are independent."""

    misfit: Callable[[torch.Tensor], float]
    """x -> 1/2 ||A x - y||^2."""

    lipschitz: float
    """Upper bound of the largest eigenvalue of A^H A."""

    is_nonnegative: bool = False
    """Whether x must not be negative (real images only)."""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.rhs.shape[-2], self.rhs.shape[-1]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchSolution:
    """Image with the history of its iteration."""

    image: torch.Tensor
    """x, `(planes, y, x)`."""

    objective: tuple[float, ...]
    """Objective where it was evaluated, the last one at the image."""

    evaluated_at: tuple[int, ...]
    """Iterations (on the full grid) after which it was evaluated."""

    changes: tuple[float, ...]
    """Relative change of the image in each iteration on the full grid; the largest of the planes
    still moving."""

    iterations: int
    """Iterations on the full grid."""

    stopping_reason: str
    """`"tolerance"`, `"iterations"` or what the callback said."""


def coarse_size(size: tuple[int, int], patch: tuple[int, int]) -> tuple[int, int] | None:
    """Return the size of the next coarser grid, or None where patches would not fit it well.

    Parameters
    ----------
    size
        Rows and columns.
    patch
        Rows and columns of a patch.

    Returns
    -------
        Half of the size rounded up to a multiple of 4; None below five patches along a side.

    Examples
    --------
    >>> coarse_size((640, 368), (13, 13)), coarse_size((100, 100), (13, 13))
    ((320, 184), None)
    """
    half = tuple(4 * math.ceil(n / 8) for n in size)
    if any(n < 5 * p for n, p in zip(half, patch, strict=True)):
        return None
    return half[0], half[1]


def coarse_problem(problem: PatchProblem, size: tuple[int, int]) -> PatchProblem:
    r"""Return the problem for images whose high frequencies are zero, on a coarser grid.

    With the interpolation ``x = P c`` (zeros around the spectrum, values kept) and ``s = n_coarse /
    n`` it has ``s P^H A^H A P`` and ``s P^H A^H y``, so that a pixel weighs as much against the
    data as on the full grid.

    Parameters
    ----------
    problem
        Problem on the full grid.
    size
        Even rows and columns, not larger.

    Returns
    -------
        The coarse problem. Its misfit is that of the Gram form and lacks a constant.
    """
    fine = problem.size
    is_complex = problem.rhs.is_complex()
    rhs = resized(problem.rhs, size)
    eigenvalues = cropped_spectrum(problem.eigenvalues, size)

    def gram(c: torch.Tensor) -> torch.Tensor:
        if problem.is_exact:
            result: torch.Tensor = torch.fft.ifft2(eigenvalues * torch.fft.fft2(c))
        else:
            result = resized(problem.gram(resized(c, fine)), size)
        return result if is_complex or not result.is_complex() else result.real

    def misfit(c: torch.Tensor) -> float:
        products = c.conj() * (0.5 * gram(c) - rhs)
        return float(products.real.sum(dtype=torch.float64))

    return PatchProblem(
        regularizer=problem.regularizer,
        rhs=rhs,
        gram=gram,
        eigenvalues=eigenvalues,
        is_exact=problem.is_exact,
        misfit=misfit,
        lipschitz=problem.lipschitz,
        is_nonnegative=problem.is_nonnegative,
    )


def cropped_spectrum(spectrum: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return the middle of a spectrum in FFT order, which must not be smaller than `size`.

    Parameters
    ----------
    spectrum
        Values `(..., y, x)`; an axis of length one is kept.
    size
        Rows and columns to keep.

    Returns
    -------
        Values `(..., *size)`, in FFT order.

    Examples
    --------
    >>> cropped_spectrum(torch.tensor([[0, 1, 2, 3, -4, -3, -2, -1]]), (1, 4))
    tensor([[ 0,  1, -2, -1]])
    """
    for dim, n in zip((-2, -1), size, strict=True):
        full = spectrum.shape[dim]
        if full == 1 or full == n:
            continue
        low = spectrum.narrow(dim, 0, n - n // 2)
        high = spectrum.narrow(dim, full - n // 2, n // 2)
        spectrum = torch.cat((low, high), dim)
    return spectrum


def resized(image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return an image on another grid, by cropping its spectrum or padding it with zeros.

    Parameters
    ----------
    image
        Real or complex, `(..., y, x)`.
    size
        Rows and columns of the result.

    Returns
    -------
        The image `(..., *size)`; its values keep their size.

    Examples
    --------
    >>> resized(torch.ones(1, 4, 4), (8, 8)).mean()
    tensor(1.)
    """
    old = (image.shape[-2], image.shape[-1])
    scale = math.prod(size) / math.prod(old)
    spectrum = torch.fft.fft2(image)
    smaller = (min(old[0], size[0]), min(old[1], size[1]))
    spectrum = cropped_spectrum(spectrum, smaller)
    if smaller != size:
        spectrum = _padded_spectrum(spectrum, size)
    result: torch.Tensor = torch.fft.ifft2(spectrum) * scale
    return result if image.is_complex() else result.real


def with_low_frequencies(image: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """Return an image whose low frequencies are those of a coarse one.

    Parameters
    ----------
    image
        `(..., y, x)`.
    coarse
        The same on a coarser grid.

    Returns
    -------
        The image with the spectrum of `coarse` in the middle of its own.
    """
    size = (image.shape[-2], image.shape[-1])
    own = resized(image, (coarse.shape[-2], coarse.shape[-1]))
    return image + resized(coarse - own, size)


def _padded_spectrum(spectrum: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return a spectrum in FFT order with zeros around it."""
    for dim, n in zip((-2, -1), size, strict=True):
        old = spectrum.shape[dim]
        shape = list(spectrum.shape)
        shape[dim] = n - old
        low = spectrum.narrow(dim, 0, old - old // 2)
        high = spectrum.narrow(dim, old - old // 2, old // 2)
        spectrum = torch.cat((low, spectrum.new_zeros(shape), high), dim)
    return spectrum
