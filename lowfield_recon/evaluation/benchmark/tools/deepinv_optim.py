"""deepinv composed to the benchmark's objectives: its physics and solvers, our two priors.

deepinv's own `TVPrior` and `WaveletPrior` penalise real and imaginary part apart. The weight is
part of the priors here and `lambda_reg` is 1: the conjugate proximal map of deepinv 0.5.0 is exact
only then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem, wavelet_levels
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase
from lowfield_recon.evaluation.benchmark.tools import Observer, Prepared


def prepare(
    case: BenchmarkCase,
    problem: Problem,
    exact_steps: bool = True,  # noqa: ARG001 - deepinv has no rule of its own
) -> Prepared:
    """Bring the data into deepinv's layout: real tensors `(1, 2, [coils,] *image)`.

    Parameters
    ----------
    case
        Method and weight.
    problem
        Data, maps and mask.
    exact_steps
        Of no effect: step sizes are always given.

    Returns
    -------
        The timed part, and nothing to subtract.
    """
    from deepinv.physics import MRI, MultiCoilMRI

    shape = tuple(n for n in case.size.image_shape if n > 1)
    is_volume = len(shape) == 3
    full_mask = np.broadcast_to(problem.mask, case.size.image_shape).reshape(shape)
    mask = torch.from_numpy(full_mask.astype(np.float32))
    coils = () if problem.coil_maps is None else (len(problem.coil_maps),)
    kspace = _to_channels(torch.from_numpy(problem.kspace.reshape(*coils, *shape)))
    maps = None
    if problem.coil_maps is not None:
        maps = torch.from_numpy(problem.coil_maps.reshape(*coils, *shape))[None]

    def solve(iterations: int, observer: Observer | None) -> Callable[[], ComplexArray]:
        with torch.no_grad():
            if maps is None:
                given = mask.expand(1, 2, *shape)
                physics = MRI(mask=given, img_size=shape, three_d=is_volume)
            else:
                physics = MultiCoilMRI(
                    mask=mask[None, None], coil_maps=maps, img_size=shape, three_d=is_volume
                )
            if case.method == "cg-sense":
                image = _cg_sense(case, physics, kspace, iterations)
            else:
                image = _run(
                    _model(case, iterations),
                    physics,
                    kspace,
                    observer,
                    lambda x: _to_image(x, case),
                )
        return lambda: _to_image(image, case)

    return Prepared(solve=solve)


def _cg_sense(
    case: BenchmarkCase, physics: Any, kspace: torch.Tensor, iterations: int
) -> torch.Tensor:
    weight = case.regularization_weight
    image: torch.Tensor = physics.prox_l2(
        z=0, y=kspace, gamma=1 / weight, solver="CG", max_iter=iterations, tol=0
    )
    return image


def _model(case: BenchmarkCase, iterations: int) -> Any:
    from deepinv.optim import FISTA, PDCP
    from deepinv.optim.data_fidelity import L2

    weight = case.regularization_weight
    n_axes = sum(n > 1 for n in case.size.image_shape)
    if case.method == "wavelet":
        prior = _detail_prior(n_axes, wavelet_levels(case.size.image_shape), weight)
        return FISTA(data_fidelity=L2(), prior=prior, stepsize=1.0, lambda_reg=1.0,
                     max_iter=iterations, early_stop=False)  # fmt: skip
    step = 1 / math.sqrt(4 * n_axes)
    return PDCP(K=_differences, K_adjoint=_differences_adjoint, data_fidelity=L2(),
                prior=_vector_prior(weight), stepsize=step, stepsize_dual=step, lambda_reg=1.0,
                beta=1.0, g_first=True, max_iter=iterations, early_stop=False,
                custom_init=_start_of_pdcp)  # fmt: skip


def _run(
    model: Any,
    physics: Any,
    kspace: torch.Tensor,
    observer: Observer | None,
    to_image: Callable[[torch.Tensor], ComplexArray],
) -> torch.Tensor:
    """Run the model; an observer looks at the end of each of its iterations."""
    loop = model.fixed_point
    if observer is not None:
        iterate = loop.single_iteration

        def iterate_and_show(state: Any, iteration: int, y: torch.Tensor, physics: Any) -> Any:
            new = iterate(state, iteration, y, physics)
            if not observer(iteration + 1, lambda: to_image(new["est"][0])):
                loop.max_iter = 0
            return new

        loop.single_iteration = iterate_and_show
    image: torch.Tensor = model(kspace, physics)
    return image


def _start_of_pdcp(kspace: torch.Tensor, physics: Any) -> dict[str, tuple[torch.Tensor, ...]]:
    start = torch.zeros_like(physics.A_adjoint(kspace))
    return {"est": (start, start, torch.zeros_like(_differences(start)))}


def _differences(x: torch.Tensor) -> torch.Tensor:
    """Periodic forward differences of `(1, 2, *image)`, stacked along a new last axis."""
    return torch.stack([torch.roll(x, -1, axis) - x for axis in range(2, x.ndim)], dim=-1)


def _differences_adjoint(g: torch.Tensor) -> torch.Tensor:
    parts = [torch.roll(g[..., d], 1, d + 2) - g[..., d] for d in range(g.shape[-1])]
    return torch.stack(parts).sum(0)


def _shrink(x: torch.Tensor, dim: tuple[int, ...], threshold: float) -> torch.Tensor:
    length = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    shrunk: torch.Tensor = x * (1 - threshold / length.clamp(min=1e-20)).clamp(min=0)
    return shrunk


def _vector_prior(weight: float) -> Any:
    """Return ``w sum_r sqrt(sum_d |g_d(r)|^2)`` as a deepinv prior; axis 1 is (real, imaginary)."""
    from deepinv.optim.prior import Prior

    class VectorPrior(Prior):  # type: ignore[misc]
        def prox(self, x: torch.Tensor, *_settings: Any, gamma: float = 1.0) -> torch.Tensor:
            return _shrink(x, (1, -1), float(gamma) * weight)

    return VectorPrior()


def _detail_prior(n_axes: int, levels: int, weight: float) -> Any:
    """Return ``w sum |details|`` as a deepinv prior on its own wavelet transform."""
    from deepinv.models import WaveletDenoiser
    from deepinv.optim.prior import Prior

    transform = WaveletDenoiser(level=levels, wv="haar", wvdim=n_axes)

    class DetailPrior(Prior):  # type: ignore[misc]
        def prox(self, x: torch.Tensor, *_settings: Any, gamma: float = 1.0) -> torch.Tensor:
            coefficients = transform.dwt(x)
            threshold = float(gamma) * weight
            for level, bands in enumerate(coefficients[1:], start=1):
                if isinstance(bands, dict):
                    coefficients[level] = {
                        key: _shrink(band, (1,), threshold) for key, band in bands.items()
                    }
                else:
                    coefficients[level] = [_shrink(band, (1,), threshold) for band in bands]
            image: torch.Tensor = transform.iwt(coefficients)
            return image

    return DetailPrior()


def _to_channels(x: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(x).movedim(-1, 0)[None].contiguous()


def _to_image(x: torch.Tensor, case: BenchmarkCase) -> ComplexArray:
    image = torch.view_as_complex(x[0].movedim(0, -1).contiguous())
    array: ComplexArray = image.reshape(case.size.image_shape).numpy()
    return array
