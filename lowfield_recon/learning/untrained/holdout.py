"""Samples that a fit does not see, so that they can say when it is good."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mrpro.operators import IdentityOp

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import capabilities
from lowfield_recon.operators.cartesian import CartesianOp
from lowfield_recon.operators.image import MaskOp
from lowfield_recon.problem import InverseProblem

_CENTRE = 0.08
"""Samples nearer to the centre of k-space than this part of its width are never held out: they
carry most of the energy and say little of the detail."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """A problem in two parts."""

    problem: InverseProblem
    """What the fit sees."""

    error: Callable[[torch.Tensor], float]
    """x -> squared misfit of the held-out samples."""

    n_held_out: int
    """Number of them."""

    unit: str
    """What was held out: `"samples"` or `"lines"`."""


def hold_out(problem: InverseProblem, fraction: float, *, seed: int) -> Split | None:
    """Part a problem into samples to fit and samples to judge by.

    Of k-space that consists of whole lines whole lines are taken, else single samples; none from
    its centre. The mask of pixels says which were observed; else samples that are exactly zero, or
    outside the mask of k-space, are taken for samples that were not acquired.

    Parameters
    ----------
    problem
        Data and operator.
    fraction
        Part of the samples (outside the centre) to hold out, in 0..1.
    seed
        Seed of the choice.

    Returns
    -------
        The parts; None where there is too little to choose from (fewer than 2 samples or lines).

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> y = torch.rand(1, 1, 1, 16, 16) + 0.1
    >>> split = hold_out(
    ...     InverseProblem(data=y, operator=identity_operator(), image_domain="real"), 0.1, seed=0
    ... )
    >>> split.n_held_out, int((split.problem.data == 0).sum())
    (26, 26)
    """
    is_kspace = capabilities(problem.operator).data_domain == "kspace"
    seen = _acquired(problem)
    if is_kspace:
        # A sample that one coil has, all have.
        seen = seen.any(dim=-4, keepdim=True)
    candidates = seen
    unit = "samples"
    if is_kspace:
        outside = _outside_centre(seen)
        candidates = seen & outside
        if _is_lines(seen):
            unit = "lines"
    held = _lines(candidates, fraction, seed) if unit == "lines" else _drawn(
        candidates, fraction, seed
    )  # fmt: skip
    count = int(held.any(dim=-1).sum()) if unit == "lines" else int(held.sum())
    if count == 0 or count == int(seen.any(dim=-1).sum() if unit == "lines" else seen.sum()):
        return None
    kept = ~held
    fitted = dataclasses.replace(
        problem, data=problem.data * kept, operator=_restricted(problem.operator, kept),
        image_shape=None, reference=None,
    )  # fmt: skip
    data, operator = problem.data, problem.operator

    def error(x: torch.Tensor) -> float:
        (predicted,) = operator(x)
        residual = (predicted - data) * held
        return float(residual.abs().square().sum())

    return Split(problem=fitted, error=error, n_held_out=count, unit=unit)


def _acquired(problem: InverseProblem) -> torch.Tensor:
    """Mark the samples that were acquired, as far as operator and data say."""
    operator, seen = problem.operator, problem.data != 0
    if isinstance(operator, MaskOp):
        return operator.mask.expand(problem.data.shape)
    if isinstance(operator, CartesianOp) and operator.mask is not None:
        return seen & operator.mask
    return seen


def _outside_centre(seen: torch.Tensor) -> torch.Tensor:
    """Mark what lies farther out than the centre along any of the axes that vary."""
    outside = torch.zeros_like(seen)
    for axis in (-3, -2) if _is_lines(seen) else (-3, -2, -1):
        n = seen.shape[axis]
        if n > 1:
            distance = (torch.arange(n, device=seen.device) - n // 2).abs() / n
            place = [1] * seen.ndim
            place[axis] = n
            outside = outside | (distance > _CENTRE / 2).reshape(place)
    return outside


def _is_lines(seen: torch.Tensor) -> bool:
    """Return whether readouts were acquired as a whole or not at all, and not all of them."""
    some, whole = seen.any(dim=-1), seen.float().mean(dim=-1) > 0.5
    return bool((some == whole).all()) and not bool(some.all())


def _lines(candidates: torch.Tensor, fraction: float, seed: int) -> torch.Tensor:
    some = candidates.any(dim=-1, keepdim=True)
    return _drawn(some, fraction, seed, least=2) & torch.ones_like(candidates)


def _drawn(candidates: torch.Tensor, fraction: float, seed: int, *, least: int = 1) -> torch.Tensor:
    """Choose part of the true entries of a mask."""
    places = candidates.flatten().nonzero().flatten()
    count = min(max(round(fraction * len(places)), least), max(len(places) - 1, 0))
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))
    held = torch.zeros(candidates.numel(), dtype=torch.bool, device=candidates.device)
    held[places[order[:count].to(places.device)]] = True
    return held.reshape(candidates.shape)


def _restricted(operator: LinearOperator, kept: torch.Tensor) -> LinearOperator:
    """Return the operator of the kept samples, in a form whose Gram stays as simple as it was."""
    if isinstance(operator, MaskOp):
        return MaskOp(operator.mask & kept)
    if isinstance(operator, IdentityOp):
        return MaskOp(kept)
    if isinstance(operator, CartesianOp):
        mask = kept if operator.mask is None else operator.mask & kept
        return CartesianOp(mask=mask, coil_maps=operator.coil_maps, image_shape=operator.image_size)
    return MaskOp(kept) @ operator
