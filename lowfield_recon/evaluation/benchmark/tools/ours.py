"""Our own reconstructors, called as a user calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lowfield_recon.evaluation.benchmark.objective import ComplexArray, Problem, wavelet_levels
from lowfield_recon.evaluation.benchmark.problems import BenchmarkCase
from lowfield_recon.evaluation.benchmark.tools import Observer, Prepared
from lowfield_recon.operators import kspace_operator
from lowfield_recon.problem import InverseProblem
from lowfield_recon.reconstructors import reconstruct


def prepare(
    case: BenchmarkCase,
    problem: Problem,
    exact_steps: bool = True,  # noqa: ARG001 - its operators know their norm
    *,
    dtype: torch.dtype = torch.complex64,
    tolerance: float = 0.0,
    budget: float | None = None,
) -> Prepared:
    """Bring the data into the package's layout.

    Parameters
    ----------
    case
        Method and weight.
    problem
        Data, maps and mask.
    exact_steps
        Of no effect here.
    dtype
        Precision of the reconstruction.
    tolerance
        Stopping tolerance; 0 runs all iterations.
    budget
        Time after which it stops [s]; None for no limit.

    Returns
    -------
        The timed part, and nothing to subtract.
    """
    data = torch.from_numpy(problem.kspace).to(dtype)[None]
    mask = torch.from_numpy(problem.mask)[None, None]
    maps = (
        None if problem.coil_maps is None else torch.from_numpy(problem.coil_maps).to(dtype)[None]
    )
    settings: dict[str, Any] = {} if budget is None else {"budget": budget}
    if case.method == "wavelet":
        settings |= {"wavelet": "haar", "levels": wavelet_levels(case.size.image_shape)}

    def solve(iterations: int, _observer: Observer | None) -> Callable[[], ComplexArray]:
        operator = kspace_operator(mask=mask, coil_maps=maps)
        result = reconstruct(
            InverseProblem(data=data, operator=operator),
            case.method,
            regularization_weight=case.regularization_weight,
            iterations=iterations,
            tolerance=tolerance,
            **settings,
        )
        return lambda: np.asarray(result.image[0, 0])

    return Prepared(solve=solve)
