r"""The iterations of unrolled sparse coding: what they need, and the forward pass.

Codes are scaled so that the threshold is Lambda itself: FISTA runs on ``s / tau``, ADMM on
``rho_k s_k``. Between two iterations only the few codes that are not zero and images are kept;
ADMM keeps its state besides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from lowfield_recon.learning.compact_codes import (
    CompactCodes,
    add_compact,
    lanes,
    pack,
    shrink_to_compact,
    transform_compact,
)
from lowfield_recon.solvers.convolutional_model import FilterSpectra
from lowfield_recon.solvers.sparse_coding import Penalty

Normal = Callable[[torch.Tensor], torch.Tensor]

# As in `lowfield_recon.solvers.sparse_coding.sparse_codes_admm`.
OVER_RELAXATION = 1.8
_POWER_PER_PENALTY = 20.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Penalties:
    """What ADMM needs besides; constants of the differentiation."""

    rho: torch.Tensor
    """``rho_k``, real `(K, planes, 1, 1)`."""

    spread: torch.Tensor
    """``sum_k |d_k|^2 / rho_k``, real `(planes, y, x)`."""

    inverse: torch.Tensor
    """``1 / (1 + g spread)``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unrolling:
    """What the iterations need besides data and weights."""

    filters: torch.Tensor
    """Spectra `(K, 1, y, x)`."""

    conjugate: torch.Tensor
    """Their conjugates, written out."""

    chunk: int
    """Filters that are treated together."""

    normal: Normal
    """A^H A on spectra `(planes, y, x)`."""

    extrapolations: tuple[float, ...]
    """FISTA: weight w of the extrapolation with which each iteration begins; the first is 0."""

    first: int
    """First iteration that is differentiated."""

    penalty: Penalty

    tau: torch.Tensor
    """Steps `(planes, 1, 1)`; not used by ADMM."""

    admm: Penalties | None
    """None means FISTA."""

    @property
    def iterations(self) -> int:
        """Number of iterations T."""
        return len(self.extrapolations)

    def rows(self) -> Iterator[slice]:
        """Yield the chunks of filters."""
        for k in range(0, self.filters.shape[0], self.chunk):
            yield slice(k, k + self.chunk)


def make_plan(
    spectra: FilterSpectra,
    weights: torch.Tensor,
    *,
    eigenvalues: torch.Tensor | None,
    normal: Normal | None,
    norm_squared: float | None,
    solver: str,
    penalty: Penalty,
    extrapolations: tuple[float, ...],
    first: int,
) -> Unrolling:
    """Work out the steps of FISTA or the penalties of ADMM, plane by plane.

    Parameters
    ----------
    spectra
        The dictionary on the grid of the images.
    weights
        Lambda, real `(K, planes, y, x)`.
    eigenvalues, normal, norm_squared, solver, penalty
        See `lowfield_recon.learning.unrolling.unrolled_detail`.
    extrapolations, first
        See `Unrolling`.

    Returns
    -------
        The plan.
    """
    apply, admm = normal or torch.clone, None
    planes, ones = weights.shape[1], weights.new_ones(weights.shape[1], 1, 1)
    bound = ones * spectra.power.max() * (norm_squared or 1.0)
    if eigenvalues is not None:
        g = eigenvalues.to(weights.dtype).expand(weights.shape[1:])
        bound = (g * spectra.power).amax(dim=(-2, -1), keepdim=True)
        apply = g.mul
        if solver == "admm":
            rho = weights.mean(dim=(-2, -1), keepdim=True)
            rho = rho * (spectra.power.mean() / _POWER_PER_PENALTY / rho.mean(dim=0))
            spread = (spectra.values.abs().square() / rho).sum(dim=0)
            admm = Penalties(rho=rho, spread=spread, inverse=1 / (1 + g * spread))
    # Half of what fits, because filters, weights and temporary arrays want their place too; other
    # processors want much at once.
    chunk = max(1, spectra.chunk(planes) // 2)
    return Unrolling(
        filters=spectra.values,
        conjugate=spectra.values.conj().resolve_conj(),
        chunk=chunk if weights.device.type == "cpu" else spectra.values.shape[0],
        normal=apply,
        extrapolations=extrapolations,
        first=first,
        penalty=penalty,
        tau=1 / bound.clamp(min=torch.finfo(bound.dtype).tiny),
        admm=admm,
    )


def forward(
    plan: Unrolling, rhs: torch.Tensor, weights: torch.Tensor, kept: list[torch.Tensor] | None
) -> torch.Tensor:
    """Do the iterations.

    Parameters
    ----------
    plan
        From `make_plan`.
    rhs, weights
        Spectrum of A^H y `(planes, y, x)` and Lambda `(K, planes, y, x)`.
    kept
        Receives what `backward` needs; None keeps nothing.

    Returns
    -------
        Unnormalised spectrum of ``D s_T``.
    """
    with torch.no_grad():
        if plan.admm is None:
            return _fista(plan, rhs, weights, kept)
        return _admm(plan, plan.admm, rhs, weights, kept)


def _fista(
    plan: Unrolling, rhs: torch.Tensor, weights: torch.Tensor, kept: list[torch.Tensor] | None
) -> torch.Tensor:
    rows = tuple(plan.rows())
    image = previous_image = torch.zeros_like(rhs)
    codes: list[CompactCodes | None] = [None] * len(rows)
    previous = list(codes)
    for n, w in enumerate(plan.extrapolations):
        residual = rhs - plan.normal(image + w * (image - previous_image))
        previous_image, image = image, torch.zeros_like(image)
        for i, k in enumerate(rows):
            u = torch.fft.ifft2(plan.conjugate[k] * residual)
            for old, factor in ((codes[i], 1 + w), (previous[i], -w)):
                if old is not None and factor:
                    add_compact(u, old, factor, plan.penalty)
            new = shrink_to_compact(u, weights[k], plan.penalty)
            previous[i], codes[i] = codes[i], new
            if kept is not None and n >= plan.first:
                kept.extend(pack(new, lanes(u, plan.penalty).numel()))
            image += transform_compact(new, plan.filters[k], u, plan.penalty)
        image *= plan.tau
    return image


def _admm(
    plan: Unrolling,
    penalties: Penalties,
    rhs: torch.Tensor,
    weights: torch.Tensor,
    kept: list[torch.Tensor] | None,
) -> torch.Tensor:
    """Iterate on ``a`` and ``v = prox(a)``; their images obey the same recursion."""
    rows = tuple(plan.rows())
    state = rhs.new_zeros(weights.shape)
    image_state = image = torch.zeros_like(rhs)
    codes: list[CompactCodes | None] = [None] * len(rows)
    pixels = rhs.shape[-2] * rhs.shape[-1] * (1 if plan.penalty == "modulus" else 2)
    for n in range(plan.iterations):
        q = penalties.inverse * (rhs - plan.normal(2 * image - image_state))
        image_state = torch.lerp(image_state, image + penalties.spread * q, OVER_RELAXATION)
        image = torch.zeros_like(image)
        for i, k in enumerate(rows):
            a, change, old = state[k], torch.fft.ifft2(plan.conjugate[k] * q), codes[i]
            a.mul_(1 - OVER_RELAXATION).add_(change, alpha=OVER_RELAXATION)
            if old is not None:
                add_compact(a, old, OVER_RELAXATION, plan.penalty)
            codes[i] = new = shrink_to_compact(a, weights[k], plan.penalty)
            if kept is not None and n >= plan.first:
                kept.extend(pack(new, lanes(a, plan.penalty).numel()))
            scaled = new.scaled(1 / penalties.rho[k].flatten(), pixels)
            image += transform_compact(scaled, plan.filters[k], change, plan.penalty)
    return image
