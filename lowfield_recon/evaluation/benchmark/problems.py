"""The inverse problems that every tool of the solver benchmark is given: same data, maps and mask.

Everything is simulated from fixed seeds, so that the same problem comes out anywhere: an object
with edges, texture and a smooth phase, birdcage coil maps with ``sum_c |c|^2 = 1`` (so that
``||A|| <= 1``), a random sampling mask with a full centre, and complex white noise.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.benchmark.objective import (
    METHODS,
    ComplexArray,
    Problem,
    forward,
)

NOISE_STD = 0.03
"""Standard deviation of the complex noise of one sample; the object's largest magnitude is 1."""

WEIGHTS = {"cg-sense": 0.01, "tv": 0.01, "wavelet": 0.01}
"""Regularisation weight per method; for TV and wavelet near the smallest error to the object."""

ACCELERATION = 4
CENTRE_LINES = 24


@dataclass(frozen=True, slots=True)
class ProblemSize:
    """Image size and number of coils of one simulated acquisition."""

    name: str
    """How it is called on the command line, readout first, e.g. `640x320x15`."""

    image_shape: tuple[int, int, int]
    """Voxels along z, y, x; the readout is x."""

    n_coils: int
    seed: int


SIZES: dict[str, tuple[ProblemSize, ...]] = {
    "full": (
        ProblemSize("256x256x4", (1, 256, 256), 4, 1),
        ProblemSize("640x320x15", (1, 320, 640), 15, 2),
        ProblemSize("128x128x128x1", (128, 128, 128), 1, 3),
    ),
    "small": (
        ProblemSize("64x64x4", (1, 64, 64), 4, 4),
        ProblemSize("32x32x32x1", (32, 32, 32), 1, 5),
    ),
}


@dataclass(frozen=True, slots=True)
class BenchmarkCase:
    """One problem to be solved by every tool: a method on an acquisition."""

    method: str
    size: ProblemSize

    @property
    def name(self) -> str:
        """Name on the command line and in the report, e.g. `tv/256x256x4`."""
        return f"{self.method}/{self.size.name}"

    @property
    def regularization_weight(self) -> float:
        """Weight of the penalty in the objective."""
        return WEIGHTS[self.method]


def select_cases(size: str = "full", patterns: tuple[str, ...] = ()) -> tuple[BenchmarkCase, ...]:
    """List the cases of a size that the user asked for.

    Parameters
    ----------
    size
        `"full"` or `"small"`.
    patterns
        Methods (`tv`), sizes (`256x256x4`) or both (`tv/256x256x4`); empty for all.

    Returns
    -------
        The cases, small acquisitions first.

    Raises
    ------
    UsageError
        If a size or pattern is not known.

    Examples
    --------
    >>> [case.name for case in select_cases("small", ("tv",))]
    ['tv/64x64x4', 'tv/32x32x32x1']
    """
    if size not in SIZES:
        raise UsageError(f"size '{size}' is not known. {nearest_name(size, tuple(SIZES))}")
    cases = [BenchmarkCase(method, entry) for entry in SIZES[size] for method in METHODS]
    known = [*METHODS, *(entry.name for entry in SIZES[size]), *(case.name for case in cases)]
    for pattern in patterns:
        if pattern not in known:
            raise UsageError(f"case '{pattern}' is not known. {nearest_name(pattern, known)}")
    wanted = set(patterns)
    return tuple(
        case for case in cases if not wanted or wanted & {case.method, case.size.name, case.name}
    )


def find_size(name: str) -> ProblemSize:
    """Return the size of a name.

    Parameters
    ----------
    name
        E.g. `"256x256x4"`.

    Returns
    -------
        The size.

    Raises
    ------
    UsageError
        If there is none.

    Examples
    --------
    >>> find_size("256x256x4").image_shape
    (1, 256, 256)
    """
    sizes = {size.name: size for group in SIZES.values() for size in group}
    if name not in sizes:
        raise UsageError(f"size '{name}' is not known. {nearest_name(name, tuple(sizes))}")
    return sizes[name]


def build_problem(size: ProblemSize) -> Problem:
    """Simulate the acquisition of one size.

    Parameters
    ----------
    size
        Image size, coils and seed.

    Returns
    -------
        The problem in complex64, with the object for scoring.

    Examples
    --------
    >>> problem = build_problem(SIZES["small"][0])
    >>> problem.kspace.shape, problem.mask.shape
    ((4, 1, 64, 64), (1, 64, 1))
    """
    generator = np.random.default_rng(size.seed)
    reference = _object(size.image_shape, generator)
    coil_maps = None if size.n_coils == 1 else _coil_maps(size)
    mask = _mask(size.image_shape, generator)
    noise_shape = (2, size.n_coils, *size.image_shape)
    noise = generator.standard_normal(noise_shape) * (NOISE_STD / math.sqrt(2))
    clean = forward(reference, coil_maps, mask)
    kspace = (clean + mask * (noise[0] + 1j * noise[1])).astype(np.complex64)
    return Problem(kspace=kspace, coil_maps=coil_maps, mask=mask, reference=reference)


def write_problem(problem: Problem, folder: Path) -> None:
    """Write a problem once for all tools, as `.npy` files.

    Parameters
    ----------
    problem
        What `build_problem` made.
    folder
        Existing empty folder.
    """
    arrays = {"kspace": problem.kspace, "mask": problem.mask, "reference": problem.reference}
    if problem.coil_maps is not None:
        arrays["coil_maps"] = problem.coil_maps
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def read_problem(folder: Path) -> Problem:
    """Read what `write_problem` wrote.

    Parameters
    ----------
    folder
        The folder it was written to.

    Returns
    -------
        The same problem.
    """

    def load(name: str) -> NDArray[np.generic]:
        array: NDArray[np.generic] = np.load(folder / f"{name}.npy", allow_pickle=False)
        return array

    has_maps = (folder / "coil_maps.npy").exists()
    return Problem(
        kspace=load("kspace").astype(np.complex64, copy=False),
        coil_maps=load("coil_maps").astype(np.complex64, copy=False) if has_maps else None,
        mask=load("mask").astype(np.bool_, copy=False),
        reference=load("reference").astype(np.complex64, copy=False),
    )


def hashes(problem: Problem) -> dict[str, str | None]:
    """Hash k-space, maps and mask, so that two reports can be told to be of the same problem.

    Parameters
    ----------
    problem
        Any problem.

    Returns
    -------
        SHA-256 of the bytes of each array; None for absent maps.
    """

    def digest(array: NDArray[np.generic] | None) -> str | None:
        if array is None:
            return None
        return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

    return {
        "data": digest(problem.kspace),
        "maps": digest(problem.coil_maps),
        "mask": digest(problem.mask),
    }


def _object(shape: tuple[int, int, int], generator: np.random.Generator) -> ComplexArray:
    """Draw overlapping ellipsoids with fine texture and a smooth phase; largest magnitude 1."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))
    head = _ellipsoid(grid, np.zeros(3), np.array([0.85, 0.88, 0.7]))
    brain = _ellipsoid(grid, np.zeros(3), np.array([0.76, 0.8, 0.62]))
    image = 0.9 * head - 0.4 * brain
    for _ in range(24):
        centre = generator.uniform(-0.45, 0.45, 3)
        radii = generator.uniform(0.04, 0.25, 3)
        image += generator.uniform(-0.25, 0.35) * _ellipsoid(grid, centre, radii) * brain
    texture = generator.standard_normal(shape)
    texture = gaussian_filter(texture, sigma=[1.5 if n > 1 else 0 for n in shape], mode="wrap")
    image = np.clip(image + 0.04 * head * texture / texture.std(), 0, None)
    phase = 1.5 * grid[2] * grid[1] + 0.8 * grid[1] ** 2 + 0.6 * grid[0] - 0.7 * grid[2]
    scaled: ComplexArray = (image / image.max() * np.exp(1j * phase)).astype(np.complex64)
    return scaled


def _ellipsoid(
    grid: NDArray[np.float64], centre: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return 1 inside the ellipsoid and 0 outside; along an axis of one voxel it has no extent."""
    distance = np.zeros(grid.shape[1:])
    for position, middle, radius in zip(grid, centre, radii, strict=True):
        if position.shape and np.ptp(position) > 0:
            distance += ((position - middle) / radius) ** 2
    return (distance <= 1).astype(np.float64)


def _coil_maps(size: ProblemSize) -> ComplexArray:
    """Model coils on a ring around the object: magnitude falls off with distance, phase turns."""
    _, n_y, n_x = size.image_shape
    y = np.linspace(-1, 1, n_y)[:, None]
    x = np.linspace(-1, 1, n_x)[None, :]
    maps = []
    for coil in range(size.n_coils):
        angle = 2 * math.pi * coil / size.n_coils
        dy, dx = y - 1.4 * math.sin(angle), x - 1.4 * math.cos(angle)
        maps.append(np.exp(1j * (np.arctan2(dy, dx) - angle)) / (0.3 + dy**2 + dx**2))
    stacked = np.stack(maps)[:, None]
    scale = np.sqrt(np.sum(np.abs(stacked) ** 2, axis=0, keepdims=True))
    normalised: ComplexArray = (stacked / scale).astype(np.complex64)
    return normalised


def _mask(shape: tuple[int, int, int], generator: np.random.Generator) -> NDArray[np.bool_]:
    """Keep a quarter of the phase encodes: the centre, and others at random."""
    n_z, n_y, _ = shape
    k_z, k_y = np.arange(n_z)[:, None] - n_z // 2, np.arange(n_y)[None, :] - n_y // 2
    half = min(CENTRE_LINES, n_y // 5) // 2
    centre = (k_y >= -half) & (k_y < half) & ((n_z == 1) | ((k_z >= -half) & (k_z < half)))
    radius = np.hypot(k_z / n_z, k_y / n_y)
    density = np.ones((n_z, n_y)) if n_z == 1 else np.clip(1 - 1.4 * radius, 0.05, None) ** 3
    density = np.where(centre, 0, density)
    n_random = n_z * n_y // ACCELERATION - int(centre.sum())
    chosen = generator.choice(
        n_z * n_y, n_random, replace=False, p=(density / density.sum()).ravel()
    )
    mask = np.broadcast_to(centre, (n_z, n_y)).copy()
    mask.ravel()[chosen] = True
    return mask[..., None]
