"""Denoising with a patch regulariser, as training needs it: converged, and fast on small images."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lowfield_recon.learning.patch_reduced import ReducedProblem, inner_products


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchSolution:
    """Where the iteration stopped."""

    coefficients: torch.Tensor
    """a, `(K, members, planes, groups)`."""

    iterations: torch.Tensor
    """Iterations of each plane, `(planes,)`."""

    converged: torch.Tensor
    """Planes that reached the tolerance, bool, `(planes,)`."""


@torch.no_grad()
def solve_coefficients(
    problem: ReducedProblem,
    *,
    tolerance: float = 1e-4,
    iterations: int = 2000,
    planes_at_once: int | None = None,
) -> PatchSolution:
    """Minimise over the coefficients by proximal gradient steps with inertia, from zero.

    The inertia is that of FISTA; a plane whose step points backwards loses it. A plane stops when
    the relative changes of its image and of its coefficients are both below the tolerance.

    Parameters
    ----------
    problem
        The problem.
    tolerance
        Relative change to stop at.
    iterations
        Most iterations.
    planes_at_once
        Planes that are computed together; None takes one on the CPU, where its coefficients stay
        in the cache, and all of them elsewhere. The result is the same up to rounding.

    Returns
    -------
        The coefficients.

    References
    ----------
    Beck A, Teboulle M. SIAM J Imaging Sci 2009;2:183-202. https://doi.org/10.1137/080716542

    O'Donoghue B, Candes E. Found Comput Math 2015;15:715-732.
    https://doi.org/10.1007/s10208-013-9150-3

    Examples
    --------
    >>> from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings
    >>> from lowfield_recon.learning.patch_reduced import reduced_problem
    >>> prior = PatchPrior(PatchPriorSettings(patch=3, atoms=4, free_atoms=4))
    >>> found = solve_coefficients(reduced_problem(torch.eye(8)[None], prior.regularizer()))
    >>> bool(found.converged), found.coefficients.shape
    (True, torch.Size([4, 1, 1, 64]))
    """
    n_planes = problem.noisy.shape[0]
    if planes_at_once is None:
        planes_at_once = 1 if problem.noisy.device.type == "cpu" else n_planes
    starts = range(0, n_planes, planes_at_once)
    parts = [
        _solve(problem.only(slice(start, start + planes_at_once)), tolerance, iterations)
        for start in starts
    ]
    return PatchSolution(
        coefficients=torch.cat([part.coefficients for part in parts], dim=2),
        iterations=torch.cat([part.iterations for part in parts]),
        converged=torch.cat([part.converged for part in parts]),
    )


class _State:
    """Planes that still iterate: coefficients, their channels, the image, the inertia's clock."""

    __slots__ = ("channels", "clock", "coefficients", "image", "previous", "previous_channels")

    def __init__(self, problem: ReducedProblem) -> None:
        self.coefficients = problem.zeros()
        self.channels = problem.channels(self.coefficients)
        self.previous = self.coefficients
        self.previous_channels = self.channels
        self.image = problem.noisy
        self.clock = torch.zeros(problem.noisy.shape[0], dtype=self.channels.dtype)
        self.clock = self.clock.to(self.channels.device)

    def keep(self, planes: torch.Tensor) -> None:
        """Forget all planes but these."""
        for name in ("coefficients", "channels", "previous", "previous_channels"):
            setattr(self, name, getattr(self, name)[:, :, planes])
        self.image, self.clock = self.image[planes], self.clock[planes]


def _solve(problem: ReducedProblem, tolerance: float, iterations: int) -> PatchSolution:
    """Iterate on a batch; planes leave it when they have converged."""
    n_planes = problem.noisy.shape[0]
    result = problem.zeros()
    counts = torch.full((n_planes,), iterations)
    converged = torch.zeros(n_planes, dtype=torch.bool)
    left = torch.arange(n_planes)
    state = _State(problem)
    for iteration in range(1, iterations + 1):
        done = _step(problem, state) < tolerance
        if not bool(done.any()):
            continue
        done = done.cpu()
        result[:, :, left[done]] = state.coefficients[:, :, done]
        counts[left[done]] = iteration
        converged[left[done]] = True
        left = left[~done]
        if not left.numel():
            break
        state.keep(~done)
        problem = problem.only(~done)
    if left.numel():
        result[:, :, left] = state.coefficients
    return PatchSolution(coefficients=result, iterations=counts, converged=converged)


def _step(problem: ReducedProblem, state: _State) -> torch.Tensor:
    """Do one step in place and return the larger of the relative changes of each plane."""
    inertia = (state.clock / (state.clock + 3))[:, None]
    start = torch.lerp(state.previous, state.coefficients, 1 + inertia)
    channels = torch.lerp(state.previous_channels, state.channels, 1 + inertia)
    spectrum = problem.spectrum(channels, problem.noisy)
    new = problem.shrink(problem.descend(start, problem.residual(channels, spectrum)))
    change = new - state.coefficients
    backwards = inner_products(start.sub_(new), change) > 0
    state.clock = torch.where(backwards, 0.0, state.clock + 1)
    moved = inner_products(change, change) / inner_products(new, new).clamp(
        min=torch.finfo(new.dtype).tiny
    )
    step = torch.view_as_real(spectrum - state.image).square().sum(dim=(-3, -2, -1))
    size = torch.view_as_real(spectrum).square().sum(dim=(-3, -2, -1))
    moved = torch.maximum(moved, step / size.clamp(min=torch.finfo(new.dtype).tiny))
    state.previous, state.coefficients = state.coefficients, new
    state.previous_channels, state.channels = state.channels, problem.channels(new)
    state.image = spectrum
    return moved.sqrt()
