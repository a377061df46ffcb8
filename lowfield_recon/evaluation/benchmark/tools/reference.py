"""The optimum of each objective, by double-precision solvers that share no code with the package.

``cg-sense``: conjugate gradients on ``(A^H A + w I) x = A^H y``.

``wavelet``: accelerated proximal gradients with restarts (Beck and Teboulle,
https://doi.org/10.1137/080716542; O'Donoghue and Candès,
https://doi.org/10.1007/s10208-013-9150-3).

``tv``: ADMM (Boyd et al., https://doi.org/10.1561/2200000016) with an inner conjugate gradient
that is preconditioned by the circulant part of its matrix.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem, wavelet_levels
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase

LinearMap = Callable[[torch.Tensor], torch.Tensor]


class _Normal:
    """``A^H A`` and ``A^H y`` in complex128; only the undersampled axes are transformed.

    The readout is sampled fully, and shifts of the Fourier transform's centre commute with the
    mask, so ``A^H A = C^H F^H M F C`` with the uncentred F along the phase encodes.
    """

    def __init__(self, problem: Problem) -> None:
        maps = problem.coil_maps
        self.maps = None if maps is None else torch.from_numpy(maps.astype(np.complex128))
        n_z = problem.mask.shape[0]
        self.dim = (-2,) if n_z == 1 else (-3, -2)
        self.mask = torch.from_numpy(np.fft.ifftshift(problem.mask).astype(np.float64))
        axes = (-3, -2, -1)
        shifted = np.fft.ifftshift(problem.kspace.astype(np.complex128), axes=axes)
        coil_images = np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)
        self.rhs = self.combine(torch.from_numpy(coil_images))
        self.sampled_fraction = float(problem.mask.mean())

    def combine(self, coil_images: torch.Tensor) -> torch.Tensor:
        return coil_images[0] if self.maps is None else (self.maps.conj() * coil_images).sum(0)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        coil_images = x[None] if self.maps is None else self.maps * x
        spectrum = torch.fft.fftn(coil_images, dim=self.dim).mul_(self.mask)
        return self.combine(torch.fft.ifftn(spectrum, dim=self.dim))


def solve_double(tool: str, case: BenchmarkCase, problem: Problem, seconds: float) -> ComplexArray:
    """Solve a case in double precision, by this module or by the package's own reconstructors.

    Parameters
    ----------
    tool
        `"reference"` or `"ours"`.
    case
        Method and weight.
    problem
        Data, maps and mask.
    seconds
        Time after which it stops [s].

    Returns
    -------
        Image, complex128 `(z, y, x)`.
    """
    if tool == "reference":
        return solve_reference(case, problem, seconds=seconds)
    from lowfield_recon.evaluation.benchmark.tools.ours import prepare

    prepared = prepare(case, problem, dtype=torch.complex128, tolerance=1e-9, budget=seconds)
    return prepared.solve(5000, None)()


def solve_reference(
    case: BenchmarkCase,
    problem: Problem,
    *,
    iterations: int = 5000,
    tolerance: float = 1e-7,
    seconds: float = math.inf,
) -> ComplexArray:
    """Solve a case in double precision until the image stands still.

    Parameters
    ----------
    case
        Method and weight.
    problem
        Data, maps and mask.
    iterations
        Largest number of iterations.
    tolerance
        Relative change of the image per iteration below which it stops.
    seconds
        Time after which it stops [s].

    Returns
    -------
        Image, complex128 `(z, y, x)`.
    """
    normal = _Normal(problem)
    solvers = {"cg-sense": _cg_sense, "tv": _tv, "wavelet": _wavelet}
    stop = _Stop(tolerance, time.monotonic() + seconds)
    with torch.no_grad():
        image = solvers[case.method](case, normal, iterations, stop)
    array: ComplexArray = image.numpy()
    return array


class _Stop:
    """Tells when to end: the image stands still three times in a row, or time is up."""

    def __init__(self, tolerance: float, deadline: float) -> None:
        self.tolerance = tolerance
        self.deadline = deadline
        self.still = 0

    def __call__(self, new: torch.Tensor, old: torch.Tensor) -> bool:
        change = torch.linalg.vector_norm(new - old) <= self.tolerance * torch.linalg.vector_norm(
            new
        )
        self.still = self.still + 1 if bool(change) else 0
        return self.still >= 3 or time.monotonic() > self.deadline


def _cg_sense(case: BenchmarkCase, normal: _Normal, iterations: int, stop: _Stop) -> torch.Tensor:
    weight = case.regularization_weight
    x = torch.zeros_like(normal.rhs)
    for _ in range(iterations // 10):
        old = x
        x = _cg(lambda v: normal(v) + weight * v, normal.rhs, x, 10, lambda r: r)
        if stop(x, old):
            break
    return x


def _cg(
    matrix: LinearMap, rhs: torch.Tensor, x: torch.Tensor, iterations: int, precondition: LinearMap
) -> torch.Tensor:
    residual = rhs - matrix(x)
    direction = z = precondition(residual)
    rz = torch.vdot(residual.ravel(), z.ravel()).real
    for _ in range(iterations):
        if float(rz) < 1e-28:
            break
        product = matrix(direction)
        step = rz / torch.vdot(direction.ravel(), product.ravel()).real
        x = x + step * direction
        residual = residual - step * product
        z = precondition(residual)
        rz, previous = torch.vdot(residual.ravel(), z.ravel()).real, rz
        direction = z + (rz / previous) * direction
    return x


def _tv(case: BenchmarkCase, normal: _Normal, iterations: int, stop: _Stop) -> torch.Tensor:
    weight = case.regularization_weight
    axes = [axis for axis, n in enumerate(case.size.image_shape) if n > 1]
    rho = 0.3 if normal.maps is None else 0.6
    x = normal.rhs
    d = _differences(x, axes)
    u = torch.zeros_like(d)
    laplacian = _laplacian(case.size.image_shape)
    data_term = normal.mask if normal.maps is None else normal.sampled_fraction
    inverse = 1 / (data_term + rho * laplacian + 1e-12)

    def matrix(v: torch.Tensor) -> torch.Tensor:
        return normal(v) + rho * _differences_adjoint(_differences(v, axes), axes)

    def precondition(r: torch.Tensor) -> torch.Tensor:
        filtered: torch.Tensor = torch.fft.ifftn(torch.fft.fftn(r) * inverse)
        return filtered

    for _ in range(iterations):
        old = x
        rhs = normal.rhs + rho * _differences_adjoint(d - u, axes)
        x = _cg(matrix, rhs, x, 1 if normal.maps is None else 2, precondition)
        g = 1.6 * _differences(x, axes) - 0.6 * d + u
        length = torch.linalg.vector_norm(g, dim=0, keepdim=True)
        d = g * (1 - weight / rho / length.clamp(min=1e-300)).clamp(min=0)
        u = g - d
        if stop(x, old):
            break
    return x


def _laplacian(shape: tuple[int, ...]) -> torch.Tensor:
    """Return ``D^H D`` of the periodic differences in Fourier space."""
    total = torch.zeros(1, dtype=torch.float64)
    for axis, n in enumerate(shape):
        cosine = torch.cos(2 * math.pi * torch.fft.fftfreq(n, dtype=torch.float64))
        total = total + (2 - 2 * cosine).reshape([-1 if axis == other else 1 for other in range(3)])
    return total


def _differences(x: torch.Tensor, axes: list[int]) -> torch.Tensor:
    return torch.stack([torch.roll(x, -1, axis) - x for axis in axes])


def _differences_adjoint(g: torch.Tensor, axes: list[int]) -> torch.Tensor:
    return torch.stack(
        [torch.roll(part, 1, axis) - part for part, axis in zip(g, axes, strict=True)]
    ).sum(0)


def _wavelet(case: BenchmarkCase, normal: _Normal, iterations: int, stop: _Stop) -> torch.Tensor:
    levels = wavelet_levels(case.size.image_shape)
    axes = [axis for axis, n in enumerate(case.size.image_shape) if n > 1]
    x = z = torch.zeros_like(normal.rhs)
    t = 1.0
    for _ in range(iterations):
        old = x
        moved = z - (normal(z) - normal.rhs)
        x = _shrink_details(moved, axes, levels, case.regularization_weight)
        if float(torch.vdot((z - x).ravel(), (x - old).ravel()).real) > 0:
            t = 1.0
        t, previous = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
        z = x + (previous - 1) / t * (x - old)
        if stop(x, old):
            break
    return x


def _shrink_details(
    x: torch.Tensor, axes: list[int], levels: int, threshold: float
) -> torch.Tensor:
    """Apply the proximal map of ``threshold * sum |Haar details|``, one level calling the next."""
    if levels == 0:
        return x
    bands = [x]
    for axis in axes:
        bands = [half for band in bands for half in _split(band, axis)]
    approximation = _shrink_details(bands[0], axes, levels - 1, threshold)
    details = [
        band * (1 - threshold / band.abs().clamp(min=1e-300)).clamp(min=0) for band in bands[1:]
    ]
    bands = [approximation, *details]
    for axis in reversed(axes):
        bands = [_join(low, high, axis) for low, high in zip(bands[::2], bands[1::2], strict=True)]
    return bands[0]


def _split(x: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    even, odd = x.unflatten(axis, (-1, 2)).unbind(axis + 1)  # type: ignore[no-untyped-call]
    return (even + odd) / math.sqrt(2), (even - odd) / math.sqrt(2)


def _join(low: torch.Tensor, high: torch.Tensor, axis: int) -> torch.Tensor:
    pair = torch.stack([low + high, low - high], dim=axis + 1) / math.sqrt(2)
    return pair.flatten(axis, axis + 1)
