"""sigpy composed to the benchmark's objectives: its operators and solvers, our two proximal maps.

sigpy's own `TotalVariationRecon` is anisotropic and its `L1WaveletRecon` penalises the
approximation band, so neither solves the shared problem as it comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import sigpy
import sigpy.mri

from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem, wavelet_levels
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase
from lowfield_recon.evaluation.benchmark.reflection import reflect, reflected
from lowfield_recon.evaluation.benchmark.tools import Observer, Prepared


class _VectorL1(sigpy.prox.Prox):  # type: ignore[misc]
    """Proximal map of ``w sum_r sqrt(sum_d |g_d(r)|^2)``, the differences along the first axis."""

    def __init__(self, shape: tuple[int, ...], weight: float) -> None:
        self.weight = weight
        super().__init__(shape)

    def _prox(self, alpha: float, input: ComplexArray) -> ComplexArray:
        length = np.linalg.norm(input, axis=0, keepdims=True)
        with np.errstate(divide="ignore"):
            scale = np.maximum(1 - self.weight * alpha / length, 0)
        return np.asarray(input * scale.astype(np.float32))


class _DetailL1(sigpy.prox.Prox):  # type: ignore[misc]
    """Proximal map of ``w sum |details|``; the approximation band passes unchanged."""

    def __init__(
        self, shape: tuple[int, ...], approximation: tuple[slice, ...], weight: float
    ) -> None:
        self.weight = weight
        self.approximation = approximation
        super().__init__(shape)

    def _prox(self, alpha: float, input: ComplexArray) -> ComplexArray:
        shrunk = sigpy.soft_thresh(self.weight * alpha, input)
        shrunk[self.approximation] = input[self.approximation]
        return np.asarray(shrunk)


def prepare(case: BenchmarkCase, problem: Problem, exact_steps: bool = True) -> Prepared:
    """Bring the data into sigpy's layout, `(coils, *image)` without axes of one voxel.

    Parameters
    ----------
    case
        Method and weight.
    problem
        Data, maps and mask.
    exact_steps
        Step sizes from the known operator norm; otherwise from sigpy's power iteration.

    Returns
    -------
        The timed part, and nothing to subtract.
    """
    is_reflected = case.method == "tv"
    given = reflected(problem) if is_reflected else problem
    shape = tuple(n for n in case.size.image_shape if n > 1)
    coils = () if given.coil_maps is None else (len(given.coil_maps),)
    kspace = np.ascontiguousarray(given.kspace.reshape(*coils, *shape))
    maps = None if given.coil_maps is None else given.coil_maps.reshape(*coils, *shape)
    mask = np.broadcast_to(given.mask, given.kspace.shape[1:]).reshape(shape).astype(np.float32)

    def solve(iterations: int, observer: Observer | None) -> Callable[[], ComplexArray]:
        A = _acquisition(shape, maps, mask)
        app = _app(case, A, kspace, iterations, exact_steps)

        def image() -> ComplexArray:
            found = np.asarray(app.x).reshape(case.size.image_shape)
            return reflect(found) if is_reflected else found

        if observer is None:
            app.run()
            return image
        while not app.alg.done():
            app.alg.update()
            if not observer(app.alg.iter, image):
                break
        return image

    return Prepared(solve=solve)


def _acquisition(
    shape: tuple[int, ...], maps: ComplexArray | None, mask: np.ndarray
) -> sigpy.linop.Linop:
    if maps is not None:
        return sigpy.mri.linop.Sense(maps, weights=mask)
    return sigpy.linop.Multiply(shape, mask) * sigpy.linop.FFT(shape)


def _app(
    case: BenchmarkCase,
    A: sigpy.linop.Linop,
    kspace: ComplexArray,
    iterations: int,
    exact_steps: bool,
) -> sigpy.app.LinearLeastSquares:
    weight = case.regularization_weight
    shape = tuple(A.ishape)
    common = {"max_iter": iterations, "tol": 0, "show_pbar": False}
    if case.method == "cg-sense":
        return sigpy.app.LinearLeastSquares(A, kspace, lamda=weight, **common)
    if case.method == "tv":
        G = sigpy.linop.FiniteDifference(shape)
        step = 1 / math.sqrt(1 + 4 * len(shape)) if exact_steps else None
        prox = _VectorL1(tuple(G.oshape), weight)
        return sigpy.app.LinearLeastSquares(
            A, kspace, proxg=prox, G=G, tau=step, sigma=step, **common
        )
    levels = wavelet_levels(case.size.image_shape)
    axes = tuple(range(len(shape)))
    W = sigpy.linop.Wavelet(shape, axes=axes, wave_name="haar", level=levels)
    approximation = tuple(slice(0, n >> levels) for n in shape)
    prox = sigpy.prox.UnitaryTransform(_DetailL1(tuple(W.oshape), approximation, weight), W)
    alpha = 1 if exact_steps else None
    return sigpy.app.LinearLeastSquares(A, kspace, proxg=prox, alpha=alpha, **common)
