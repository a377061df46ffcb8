"""Learning a convolutional dictionary from images: pair by pair of images, or all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.dictionaries.first_kernels import first_kernels
from lowfield_recon.dictionaries.high_pass import high_passed
from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.dictionaries.statistics import (
    CodeStatistics,
    code_statistics,
    updated_kernels,
)
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.solvers.convolutional_model import filter_spectra
from lowfield_recon.solvers.sparse_coding import SparseCodingProblem, sparse_codes_admm

_ONLINE_STEPS = 20
_VANISHED = 1e-3

Progress = Callable[[int, int, float | None], None]
"""Called as `progress(done, total, objective)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOptions:
    """How a dictionary is learnt."""

    n_kernels: int
    """Number of kernels K."""

    kernel_size: int
    """Odd width n of the n×n kernels [pixels]."""

    weight: float
    """Sparsity weight λ, for images scaled to `image_level`."""

    beta: float
    """Weight of the differences in the low-pass that is taken off first."""

    method: Literal["online", "batch"] = "online"
    """Update the kernels after every pair of images, or after each pass over all."""

    passes: int = 2
    """Passes over the images."""

    coding_iterations: int = 40
    """ADMM iterations for the codes of a pair of images."""

    forgetting: float = 8.0
    """Online: older statistics count ``(1 - 1/t)^forgetting`` at pair t, so that about the last
    ``t / (1 + forgetting)`` pairs decide; 0 forgets nothing. Codes of early kernels mislead."""

    momentum: float = 0.7
    """Online: part of its last change that a kernel goes on, at least 0 and below 1."""

    zero_mean: bool = False
    """Whether kernels must sum to zero."""

    image_level: float = 10.0
    """Images are scaled so that their pixels above a tenth of the maximum have this mean magnitude,
    which fixes the meaning of λ."""

    seed: int = 0
    """Seed of the first kernels and of the order of the images."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        size = self.kernel_size
        if self.n_kernels < 1 or size < 1 or size % 2 == 0:
            raise UsageError(
                f"kernels: expected at least one, of odd size, got {self.n_kernels} of {size}x"
                f"{size}; kernels of even size have no centre tap."
            )
        if not (self.weight > 0 and self.beta >= 0 and self.image_level > 0):
            raise UsageError(
                f"learning: expected weight > 0, beta >= 0 and image_level > 0, got "
                f"{self.weight:g}, {self.beta:g} and {self.image_level:g}."
            )
        if self.passes < 1 or self.coding_iterations < 1 or self.forgetting < 0:
            raise UsageError("learning: passes and coding_iterations start at 1, forgetting at 0.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"learning: expected 0 <= momentum < 1, got {self.momentum:g}.")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LearntDictionary:
    """Kernels, ordered by falling use, and how they came about."""

    dictionary: Dictionary
    objective: tuple[float, ...]
    """Mean objective per pixel of each pair (online) or pass (batch) at the kernels that it met."""

    usage: torch.Tensor
    """Energy of the codes of each kernel, `(K,)`, falling."""


def learn_dictionary(
    images: Sequence[torch.Tensor],
    options: LearningOptions,
    *,
    name: str = "unnamed",
    initial: torch.Tensor | None = None,
    progress: Progress | None = None,
    on_update: Callable[[torch.Tensor], None] | None = None,
) -> LearntDictionary:
    r"""Minimise ``sum_i 1/2 ||h_i - D s_i||^2 + weight sum_k ||s_ik||_1`` over codes and kernels.

    ``h_i = x_i - argmin_l (1/2 ||l - x_i||^2 + beta/2 ||G l||^2)`` is the high-pass of an image,
    scaled before to the mean magnitude `image_level` of its pixels above a tenth of the maximum.
    Two real images make one complex problem with the penalty on real and imaginary part, so that a
    pair costs as much as one image; of a complex image both parts count as images. Codes come from
    ADMM; the kernels minimise, with norms of at most one, the exact quadratic function of all codes
    so far, older ones discounted, and go on a part of their last change: alternation between exact
    minimisers alone creeps, because codes are made for the kernels that they were found with.

    Parameters
    ----------
    images
        Real or complex `(y, x)`, any sizes from 2 n - 1 pixels; magnitudes count as they are.
    options
        How to learn.
    name
        Name of the dictionary.
    initial
        Start `(K, n, n)`; None draws patches of the images.
    progress
        Called after each pair.
    on_update
        Called with the kernels after each update of them.

    Returns
    -------
        The dictionary.

    Raises
    ------
    UsageError
        If options or start do not fit.
    DataError
        If an image is too small, not finite, zero, or not two-dimensional.

    References
    ----------
    Liu J, Garcia-Cardona C, Wohlberg B, Yin W. SIAM J Imaging Sci 2018;11:1589-1628.
    https://doi.org/10.1137/17M1145689
    Mairal J, Bach F, Ponce J, Sapiro G. Online dictionary learning for sparse coding.
    https://doi.org/10.1145/1553374.1553463

    Examples
    --------
    >>> image = torch.rand(24, 24, generator=torch.Generator().manual_seed(0))
    >>> options = LearningOptions(n_kernels=4, kernel_size=5, weight=0.5, beta=0.5, passes=1)
    >>> learn_dictionary([image], options).dictionary.kernels.shape
    torch.Size([4, 5, 5])
    """
    pairs = _pairs(images, options)
    generator = torch.Generator().manual_seed(options.seed)
    if initial is None:
        n = options.kernel_size
        kernels = first_kernels(pairs, options.n_kernels, n, generator, zero_mean=options.zero_mean)
    else:
        kernels = initial.float()
    if tuple(kernels.shape) != (options.n_kernels, options.kernel_size, options.kernel_size):
        raise UsageError(
            f"initial: expected {options.n_kernels} kernels of {options.kernel_size}x"
            f"{options.kernel_size}, got shape {tuple(kernels.shape)}."
        )
    learn = _online if options.method == "online" else _batch
    kernels, usage, objective = learn(pairs, kernels, options, generator, progress, on_update)
    order_of_use = torch.argsort(usage, descending=True)
    return LearntDictionary(
        dictionary=Dictionary(kernels=kernels[order_of_use], name=name),
        objective=tuple(objective),
        usage=usage[order_of_use],
    )


_Learnt = tuple[torch.Tensor, torch.Tensor, list[float]]


def _online(
    pairs: Sequence[torch.Tensor],
    kernels: torch.Tensor,
    options: LearningOptions,
    generator: torch.Generator,
    progress: Progress | None,
    on_update: Callable[[torch.Tensor], None] | None,
) -> _Learnt:
    """Update the kernels after every pair."""
    statistics, objective, seen = None, [], 0
    usage, velocity = torch.zeros(len(kernels)), torch.zeros_like(kernels)
    for _ in range(options.passes):
        for index in torch.randperm(len(pairs), generator=generator).tolist():
            found, value = _coded(pairs[index], kernels, options)
            seen += 1
            factor = (1 - 1 / seen) ** options.forgetting
            statistics = found if statistics is None else statistics.faded(factor, found)
            best = updated_kernels(
                statistics, kernels, iterations=_ONLINE_STEPS, zero_mean=options.zero_mean
            )
            if options.momentum > 0:
                velocity = best - kernels + options.momentum * velocity
                best = _unit(kernels + velocity, best)
            kernels = best
            usage = statistics.usage()
            objective.append(value)
            if on_update is not None:
                on_update(kernels)
            if progress is not None:
                progress(seen, options.passes * len(pairs), value)
    return kernels, usage, objective


def _unit(kernels: torch.Tensor, instead: torch.Tensor) -> torch.Tensor:
    """Normalise kernels; those that vanish are replaced."""
    norms = kernels.flatten(1).norm(dim=1)[:, None, None]
    return torch.where(norms > _VANISHED, kernels / norms.clamp(min=_VANISHED), instead)


def _batch(
    pairs: Sequence[torch.Tensor],
    kernels: torch.Tensor,
    options: LearningOptions,
    generator: torch.Generator,
    progress: Progress | None,
    on_update: Callable[[torch.Tensor], None] | None,
) -> _Learnt:
    """Code all pairs, then update the kernels: alternating minimisation."""
    del generator  # the order of the pairs does not matter here
    usage, objective = torch.zeros(len(kernels)), []
    for number in range(options.passes):
        total, value = _coded(pairs[0], kernels, options)
        for done, pair in enumerate(pairs[1:], start=1):
            found, more = _coded(pair, kernels, options)
            total, value = total.faded(1.0, found), value + more
            if progress is not None:
                progress(number * len(pairs) + done, options.passes * len(pairs), more)
        kernels = updated_kernels(total, kernels, zero_mean=options.zero_mean)
        usage = total.usage()
        objective.append(value / len(pairs))
        if on_update is not None:
            on_update(kernels)
        if progress is not None:
            progress((number + 1) * len(pairs), options.passes * len(pairs), objective[-1])
    return kernels, usage, objective


def _pairs(images: Sequence[torch.Tensor], options: LearningOptions) -> list[torch.Tensor]:
    """Scale and high-pass the images, and put two of a size together into a complex one."""
    singles: dict[tuple[int, int], list[torch.Tensor]] = {}
    pairs = []
    for number, image in enumerate(images):
        shortest = 2 * options.kernel_size - 1
        if image.ndim != 2 or min(image.shape) < shortest:
            raise DataError(
                f"image {number}: expected (y, x) of at least {shortest}x{shortest} pixels for "
                f"kernels of {options.kernel_size}x{options.kernel_size}, got shape "
                f"{tuple(image.shape)}."
            )
        prepared = high_passed(image, beta=options.beta, image_level=options.image_level)
        if prepared is None:
            raise DataError(f"image {number}: is zero or not finite; leave it out.")
        if prepared.is_complex():
            pairs.append(prepared)
            continue
        waiting = singles.setdefault((prepared.shape[0], prepared.shape[1]), [])
        waiting.append(prepared)
        if len(waiting) == 2:
            pairs.append(torch.complex(waiting[0], waiting[1]))
            waiting.clear()
    pairs += [image.to(torch.complex64) for waiting in singles.values() for image in waiting]
    if not pairs:
        raise DataError("images: there are none to learn from; give at least one.")
    return pairs


def _coded(
    pair: torch.Tensor, kernels: torch.Tensor, options: LearningOptions
) -> tuple[CodeStatistics, float]:
    """Find the codes of a pair; return their statistics and the objective per pixel."""
    size = (pair.shape[0], pair.shape[1])
    spectra = filter_spectra(kernels, size)
    problem = SparseCodingProblem(
        spectra=spectra,
        rhs=torch.fft.fft2(pair)[None],
        energy=0.5 * float(pair.abs().square().double().sum()),
        weights=torch.full((kernels.shape[0], 1, 1, 1), float(options.weight)),
        eigenvalues=torch.ones(1, 1, 1),
        penalty="components",
    )
    codes = sparse_codes_admm(problem, iterations=options.coding_iterations).codes
    statistics = code_statistics(codes[:, 0], pair, (options.kernel_size, options.kernel_size))
    norm = options.weight * float(torch.view_as_real(codes).abs().double().sum())
    return statistics, (statistics.misfit(kernels) + norm) / (2 * pair.numel())
