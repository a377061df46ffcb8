"""The one objective function, in numpy and double precision, by which every tool's image is judged.

With ``A = P F C`` (coil maps C, centred orthonormal Fourier transform F, sampling P):

``cg-sense``: ``F(x) = 1/2 ||A x - y||^2 + w/2 ||x||^2``

``tv``: ``F(x) = 1/2 ||A x - y||^2 + w sum_r sqrt(sum_d |x(r + e_d) - x(r)|^2)``, periodic

``wavelet``: ``F(x) = 1/2 ||A x - y||^2 + w sum |detail coefficients|``, orthonormal Haar

It shares no code with the package's own operators and solvers, so that it can tell when they are
wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

ComplexArray = NDArray[np.complexfloating]

METHODS = {
    "cg-sense": "1/2 ||A x - y||^2 + w/2 ||x||^2",
    "tv": "1/2 ||A x - y||^2 + w sum_r sqrt(sum_d |x(r + e_d) - x(r)|^2), periodic, complex",
    "wavelet": "1/2 ||A x - y||^2 + w sum |orthonormal Haar detail coefficients of x|, complex",
}
"""Objective of each method in words, `w` being the regularisation weight."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What was measured, and the object that it came from."""

    kspace: ComplexArray
    """Samples y, complex64 `(coils, k2, k1, k0)`; zero where nothing was sampled."""

    coil_maps: ComplexArray | None
    """Coil maps, complex64 `(coils, z, y, x)`; None for one coil of sensitivity 1."""

    mask: NDArray[np.bool_]
    """Sampled phase encodes, bool `(k2, k1, 1)`."""

    reference: ComplexArray
    """True object, complex64 `(z, y, x)`; for scoring only."""


def forward(
    image: ComplexArray, coil_maps: ComplexArray | None, mask: NDArray[np.bool_]
) -> NDArray[np.complex128]:
    """Apply ``A = P F C`` in double precision.

    Parameters
    ----------
    image
        Image `(z, y, x)`.
    coil_maps
        Coil maps `(coils, z, y, x)`, or None for one coil.
    mask
        Sampled phase encodes, bool `(k2, k1, 1)`.

    Returns
    -------
        k-space, complex128 `(coils, k2, k1, k0)`.

    Examples
    --------
    >>> forward(np.ones((1, 2, 2)), None, np.ones((1, 2, 1), bool)).real.ravel().tolist()
    [0.0, 0.0, 0.0, 2.0]
    """
    axes = (-3, -2, -1)
    double = image.astype(np.complex128)[None]
    coil_images = double if coil_maps is None else coil_maps.astype(np.complex128) * double
    shifted = np.fft.ifftshift(coil_images, axes=axes)
    kspace = scipy.fft.fftn(shifted, axes=axes, norm="ortho", workers=-1, overwrite_x=True)
    result: NDArray[np.complex128] = np.fft.fftshift(kspace, axes=axes) * mask
    return result


def wavelet_levels(shape: tuple[int, ...]) -> int:
    """Return the number of Haar levels, ``floor(log2 N) - 3``; N is the shortest axis beyond one.

    Parameters
    ----------
    shape
        Image shape `(z, y, x)`.

    Returns
    -------
        Number of levels.

    Examples
    --------
    >>> wavelet_levels((1, 256, 256)), wavelet_levels((1, 320, 640))
    (5, 5)
    """
    return int(math.log2(min(n for n in shape if n > 1))) - 3


def objective(method: str, problem: Problem, image: ComplexArray, weight: float) -> float:
    """Evaluate the objective of a method at an image.

    Parameters
    ----------
    method
        `"cg-sense"`, `"tv"` or `"wavelet"`.
    problem
        Data, maps and mask.
    image
        Image `(z, y, x)`, any complex precision.
    weight
        Regularisation weight w.

    Returns
    -------
        ``F(x)``; infinite where the image is not finite.

    Examples
    --------
    >>> from lowfield_recon.evaluation.benchmark.problems import SIZES, build_problem
    >>> problem = build_problem(SIZES["small"][0])
    >>> nothing = np.zeros_like(problem.reference)
    >>> bool(np.isclose(objective("tv", problem, nothing, 1.0),
    ...                 0.5 * np.sum(np.abs(problem.kspace.astype(complex)) ** 2)))
    True
    """
    if not np.isfinite(image).all():
        return math.inf
    residual = forward(image, problem.coil_maps, problem.mask) - problem.kspace
    double = image.astype(np.complex128)
    penalties = {"cg-sense": _half_square, "tv": _total_variation, "wavelet": _haar_details}
    return _half_square(residual) + weight * penalties[method](double)


def nrmse(image: ComplexArray, reference: ComplexArray) -> float:
    """Return ``|| |x| - |x_ref| || / ||x_ref||``, on magnitudes and without a fitted scale.

    Parameters
    ----------
    image
        Image, any shape.
    reference
        True image of the same shape.

    Returns
    -------
        Normalised root-mean-square error.

    Examples
    --------
    >>> nrmse(np.array([1j, 1.0]), np.array([1.0, 1.0]))
    0.0
    """
    truth = np.abs(reference.astype(np.complex128))
    difference = np.abs(image.astype(np.complex128)) - truth
    return float(np.linalg.norm(difference) / np.linalg.norm(truth))


def relative_difference(image: ComplexArray, other: ComplexArray) -> float:
    """Return ``||x - z|| / ||z||`` of two complex images.

    Parameters
    ----------
    image
        Image x.
    other
        Image z of the same shape, not zero.

    Returns
    -------
        Complex normalised root-mean-square difference.

    Examples
    --------
    >>> relative_difference(np.array([2.0 + 0j]), np.array([1.0 + 0j]))
    1.0
    """
    difference = image.astype(np.complex128) - other.astype(np.complex128)
    return float(np.linalg.norm(difference) / np.linalg.norm(other.astype(np.complex128)))


def _half_square(x: NDArray[np.complex128]) -> float:
    return 0.5 * float(np.vdot(x, x).real)


def _total_variation(x: NDArray[np.complex128]) -> float:
    squares = np.zeros(x.shape)
    for axis, n in enumerate(x.shape):
        if n > 1:
            squares += np.abs(np.roll(x, -1, axis=axis) - x) ** 2
    return float(np.sqrt(squares).sum())


def _haar_details(x: NDArray[np.complex128]) -> float:
    axes = [axis for axis, n in enumerate(x.shape) if n > 1]
    total = 0.0
    for _ in range(wavelet_levels(x.shape)):
        bands = [x]
        for axis in axes:
            bands = [half for band in bands for half in _haar_step(band, axis)]
        x = bands[0]
        total += sum(float(np.abs(band).sum()) for band in bands[1:])
    return total


def _haar_step(
    x: NDArray[np.complex128], axis: int
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    even, odd = (x[(slice(None),) * axis + (slice(start, None, 2),)] for start in (0, 1))
    return (even + odd) / math.sqrt(2), (even - odd) / math.sqrt(2)
