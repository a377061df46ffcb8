"""The published iteration of NCPR and CPR, as its authors run it: the yardstick of our solver.

Every pass over the image is a direct convolution with circular boundary: 200 atoms there, 200
atoms back, the Gram matrix of the dictionary between them, and one kernel for the quadratic. It
shares with our solver only the numbers of the model, none of the code.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
https://arxiv.org/abs/2412.13070
Pock T, Sabach S. Inertial proximal alternating linearized minimization (iPALM) for nonconvex and
nonsmooth problems. https://arxiv.org/abs/1702.02505
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from lowfield_recon.errors import DataError
from lowfield_recon.solvers.patch_potentials import GroupPotential, Potential, PowerPotential
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

ImageMap = Callable[[torch.Tensor], torch.Tensor]
"""A map between images `(y, x)`."""

LookAt = Callable[[int, torch.Tensor], str | None]
"""Called as `look(iteration, image)` after each iteration; a returned text stops it."""

MOST_ITERATIONS = 10_000
"""As many as the authors allow."""

_SAFETY = 1.01
_TINY = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublishedResult:
    """What the published iteration found."""

    image: torch.Tensor
    """Last iterate, real `(y, x)`."""

    iterations: int
    """Iterations done."""

    changes: tuple[float, ...]
    """``||x - x_prev|| / ||x_prev||`` of each iteration, which the tolerance is compared with."""

    seconds: tuple[float, ...]
    """Time of each iteration [s], without the callback's."""

    stopping_reason: str
    """`"tolerance"`, `"iterations"` or what the callback said."""


def run_published_iteration(
    regularizer: PatchRegularizer,
    rhs: torch.Tensor,
    *,
    gram: ImageMap | None = None,
    norm: float = 1.0,
    nonnegative: bool = False,
    published_step: bool = False,
    tolerance: float = 1e-4,
    iterations: int = MOST_ITERATIONS,
    look: LookAt | None = None,
) -> PublishedResult:
    r"""Minimise ``1/2 ||H x - y||^2 + R_D(x)`` by iPALM with inertia ``m = (k - 1) / (k + 2)``.

    ``a^ = a + m (a - a_prev);  a <- T(a^ - beta (D^T D a^ - D^T P x))``, then ``x^ = x + m (x -
    x_prev);  x <- x^ - 1/L [H^T H x^ - H^T y + beta (sum_k P_k^T P^ P_k x^ - sum_k P_k^T D a_k)]``
    and ``x <- max(x, 0)`` where that is asked for, with ``L = 1.01 (beta L_P + ||H||^2)``.

    Parameters
    ----------
    regularizer
        The model, in the precision to compute with.
    rhs
        ``H^T y``, real `(y, x)`, where it starts too.
    gram
        ``x -> H^T H x``; None is the identity of denoising.
    norm
        Upper bound of ``||H||``.
    nonnegative
        Whether ``x >= 0``.
    published_step
        Take ``L = 1.01 beta L_P``, the step of the authors' denoising pass.
    tolerance
        Relative change of x to stop at.
    iterations
        Most iterations.
    look
        Called after each iteration.

    Returns
    -------
        The image and how the iteration went.

    Raises
    ------
    DataError
        If the image is not real and two-dimensional, is smaller than half the kernels, or does not
        fit the blocks of the potential.

    References
    ----------
    https://arxiv.org/abs/2412.13070, https://arxiv.org/abs/1702.02505

    Examples
    --------
    >>> from lowfield_recon.solvers.patch_potentials import make_potential
    >>> model = PatchRegularizer(
    ...     basis=torch.tensor([[[0.0, 1.0, -1.0]]]) / 2**0.5, factors=torch.ones(1, 1) * 0.9,
    ...     scales=torch.tensor([0.1]), beta=1.0, potential=make_potential("power", order=2.0),
    ... )
    >>> flat = torch.full((4, 6), 0.5)
    >>> run_published_iteration(model, flat).iterations
    1
    """
    _check(regularizer, rhs)
    layers = DirectLayers(regularizer)
    beta, potential = regularizer.beta, regularizer.potential
    scales = regularizer.scales
    quadratic = _SAFETY * beta * penalty_norm(regularizer, (rhs.shape[0], rhs.shape[1]))
    lipschitz = quadratic if published_step else quadratic + _SAFETY * norm**2
    x = x_previous = rhs
    a = a_previous = rhs.new_zeros((scales.shape[0], *rhs.shape))
    changes: list[float] = []
    seconds: list[float] = []
    reason = "iterations"
    for k in range(1, iterations + 1):
        start = time.perf_counter()
        m = (k - 1) / (k + 2)
        a_hat = a + m * (a - a_previous)
        v = a_hat - beta * (layers.combine(a_hat) - layers.analyse(x))
        a_previous, a = a, published_prox(potential, v, scales)
        x_hat = x + m * (x - x_previous)
        fidelity = (x_hat if gram is None else gram(x_hat)) - rhs
        gradient = fidelity + beta * (layers.penalise(x_hat) - layers.synthesise(a))
        x_previous, x = x, x_hat - gradient / lipschitz
        if nonnegative:
            x = x.clamp(min=0)
        changes.append(relative_change(x, x_previous))
        seconds.append(time.perf_counter() - start)
        said = None if look is None else look(k, x)
        if changes[-1] <= tolerance or said is not None:
            reason = said or "tolerance"
            break
    return PublishedResult(
        image=x,
        iterations=len(changes),
        changes=tuple(changes),
        seconds=tuple(seconds),
        stopping_reason=reason,
    )


def relative_change(x: torch.Tensor, x_previous: torch.Tensor) -> float:
    """Return ``||x - x_prev|| / ||x_prev||``, by which the published iteration stops.

    Parameters
    ----------
    x
        Image.
    x_previous
        Image one iteration before.

    Returns
    -------
        The change; 0 where both are zero.

    Examples
    --------
    >>> relative_change(torch.tensor([1.5]), torch.tensor([1.0]))
    0.5
    """
    change = float(torch.linalg.vector_norm(x - x_previous))
    size = float(torch.linalg.vector_norm(x_previous))
    return 0.0 if change == 0 else change / max(size, torch.finfo(x.dtype).tiny)


class DirectLayers:
    """The convolutions of the iteration, circular, each by `conv2d`, which correlates.

    Parameters
    ----------
    regularizer
        The model, whose precision and device they take.
    """

    def __init__(self, regularizer: PatchRegularizer) -> None:
        atoms = regularizer.dictionary
        rows = atoms.flatten(1)
        self._atoms = atoms[:, None]
        self._flipped = atoms.flip(-1, -2)[None]
        self._gram = (rows @ rows.mT)[:, :, None, None]
        self._penalty = penalty_kernel(regularizer).to(atoms)[None, None]

    def analyse(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``D^T P x``, `(K, y, x)`, of an image `(y, x)`."""
        return _circular(x[None], self._atoms)

    def combine(self, a: torch.Tensor) -> torch.Tensor:
        """Return ``D^T D a`` of coefficients `(K, y, x)`."""
        return functional.conv2d(a[None], self._gram)[0]

    def synthesise(self, a: torch.Tensor) -> torch.Tensor:
        """Return ``sum_k P_k^T D a_k``, `(y, x)`, of coefficients `(K, y, x)`."""
        return _circular(a, self._flipped)[0]

    def penalise(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``sum_k P_k^T P^ P_k x`` of an image `(y, x)`."""
        return _circular(x[None], self._penalty)[0]


def penalty_kernel(regularizer: PatchRegularizer) -> torch.Tensor:
    """Return the kernel h_P of ``sum_k P_k^T P^ P_k``, ``h[d] = sum of P^[s, t] over t - s = d``.

    Parameters
    ----------
    regularizer
        The model; ``P^ = U^T U``.

    Returns
    -------
        Kernel of side twice the patch's less one, float64; its middle is trace(P^).
    """
    basis = regularizer.basis.double()
    ny, nx = basis.shape[1:]
    rows = basis.flatten(1)
    projector = (rows.mT @ rows).reshape(ny, nx, ny, nx)
    kernel = basis.new_zeros(2 * ny - 1, 2 * nx - 1)
    for y in range(ny):
        for x in range(nx):
            top, left = ny - 1 - y, nx - 1 - x
            kernel[top : top + ny, left : left + nx] += projector[y, x]
    return kernel


def penalty_norm(regularizer: PatchRegularizer, size: tuple[int, int]) -> float:
    """Return ``L_P = max |FFT2(h_P)|`` on the grid of an image.

    Parameters
    ----------
    regularizer
        The model.
    size
        Rows and columns of the image.

    Returns
    -------
        Norm of ``sum_k P_k^T P^ P_k``.
    """
    kernel = penalty_kernel(regularizer)
    rows, columns = (
        (torch.arange(n, device=kernel.device) - n // 2) % m
        for n, m in zip(kernel.shape, size, strict=True)
    )
    wrapped = kernel.new_zeros(size)
    places = (rows[:, None].expand(kernel.shape), columns.expand(kernel.shape))
    wrapped.index_put_(places, kernel, accumulate=True)
    return float(torch.fft.fft2(wrapped).abs().max())


def published_prox(potential: Potential, v: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Apply T as the authors write it.

    ``v |v|^g / (lambda^g + |v|^g)`` of every coefficient (`power`), or ``v max(1 - t / (n + 1e-8),
    0)`` with the norm n of each block of pixels (`group`).

    Parameters
    ----------
    potential
        Which, with its order or block.
    v
        Coefficients `(K, y, x)`.
    scales
        lambda or t of each atom, `(K,)`.

    Returns
    -------
        ``T(v)``.

    Raises
    ------
    DataError
        If the potential is none of the two.

    Examples
    --------
    >>> v = torch.full((1, 1, 1), 0.5)
    >>> published_prox(PowerPotential(order=1.8), v, torch.tensor([0.5]))
    tensor([[[0.2500]]])
    """
    per_atom = scales[:, None, None]
    if isinstance(potential, PowerPotential):
        power = v.abs() ** potential.order
        return v * power / (per_atom**potential.order + power)
    if not isinstance(potential, GroupPotential):
        raise DataError(f"potential '{potential.name}': expected 'power' or 'group'.")
    side = potential.block
    norm = (functional.avg_pool2d(v.square(), side) * side**2).sqrt()
    factor = (1 - per_atom / (norm + _TINY)).clamp(min=0)
    return v * factor.repeat_interleave(side, -1).repeat_interleave(side, -2)


def _circular(x: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Correlate `(channels, y, x)` with kernels of odd side, with circular boundary."""
    y, x_side = (n // 2 for n in kernels.shape[-2:])
    padded = functional.pad(x[None], (x_side, x_side, y, y), mode="circular")
    return functional.conv2d(padded, kernels)[0]


def _check(regularizer: PatchRegularizer, rhs: torch.Tensor) -> None:
    if rhs.ndim != 2 or rhs.is_complex():
        raise DataError(f"image: expected real (y, x), got {rhs.dtype} {tuple(rhs.shape)}.")
    least = max(regularizer.basis.shape[1:]) - 1
    block = regularizer.potential.block
    if min(rhs.shape) < least:
        raise DataError(
            f"image: {tuple(rhs.shape)} is smaller than {least} pixels, half of the kernels."
        )
    if any(n % block for n in rhs.shape):
        raise DataError(
            f"image: {tuple(rhs.shape)} does not divide into blocks of {block} pixels; crop it."
        )
