"""Learning a convolutional dictionary from images: pair by pair of images, or all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.dictionaries.statistics import (
    CodeStatistics,
    code_statistics,
    updated_kernels,
)
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.solvers.convolutional_model import filter_spectra, low_pass_response
from lowfield_recon.solvers.sparse_coding import SparseCodingProblem, sparse_codes_admm

_ONLINE_STEPS = 20
_CANDIDATES = 4

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

    forgetting: float = 1.0
    """Online: older statistics count ``(1 - 1/t)^forgetting`` at pair t; 0 forgets nothing."""

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
) -> LearntDictionary:
    r"""Minimise ``sum_i 1/2 ||h_i - D s_i||^2 + weight sum_k ||s_ik||_1`` over codes and kernels.

    ``h_i = x_i - argmin_l (1/2 ||l - x_i||^2 + beta/2 ||G l||^2)`` is the high-pass of an image,
    scaled before to the mean magnitude `image_level` of its pixels above a tenth of the maximum.
    Two real images make one complex problem with the penalty on real and imaginary part, so that a
    pair costs as much as one image; of a complex image both parts count as images. Codes come from
    ADMM; the kernels minimise, with norms of at most one, the exact quadratic function of all codes
    so far, older ones discounted.

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
    kernels = _first_kernels(pairs, options, generator) if initial is None else initial.float()
    if tuple(kernels.shape) != (options.n_kernels, options.kernel_size, options.kernel_size):
        raise UsageError(
            f"initial: expected {options.n_kernels} kernels of {options.kernel_size}x"
            f"{options.kernel_size}, got shape {tuple(kernels.shape)}."
        )
    learn = _online if options.method == "online" else _batch
    kernels, usage, objective = learn(pairs, kernels, options, generator, progress)
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
) -> _Learnt:
    """Update the kernels after every pair."""
    statistics, objective, seen = None, [], 0
    usage = torch.zeros(len(kernels))
    for _ in range(options.passes):
        for index in torch.randperm(len(pairs), generator=generator).tolist():
            found, value = _coded(pairs[index], kernels, options)
            seen += 1
            factor = (1 - 1 / seen) ** options.forgetting
            statistics = found if statistics is None else statistics.faded(factor, found)
            kernels = updated_kernels(
                statistics, kernels, iterations=_ONLINE_STEPS, zero_mean=options.zero_mean
            )
            usage = statistics.usage()
            objective.append(value)
            if progress is not None:
                progress(seen, options.passes * len(pairs), value)
    return kernels, usage, objective


def _batch(
    pairs: Sequence[torch.Tensor],
    kernels: torch.Tensor,
    options: LearningOptions,
    generator: torch.Generator,
    progress: Progress | None,
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
        if progress is not None:
            progress((number + 1) * len(pairs), options.passes * len(pairs), objective[-1])
    return kernels, usage, objective


def _pairs(images: Sequence[torch.Tensor], options: LearningOptions) -> list[torch.Tensor]:
    """Scale and high-pass the images, and put two of a size together into a complex one."""
    singles: dict[tuple[int, int], list[torch.Tensor]] = {}
    pairs = []
    for number, image in enumerate(images):
        prepared = _high_passed(image, options, number)
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


def _high_passed(image: torch.Tensor, options: LearningOptions, number: int) -> torch.Tensor:
    shortest = 2 * options.kernel_size - 1
    if image.ndim != 2 or min(image.shape) < shortest:
        raise DataError(
            f"image {number}: expected (y, x) of at least {shortest}x{shortest} pixels for kernels "
            f"of {options.kernel_size}x{options.kernel_size}, got shape {tuple(image.shape)}."
        )
    peak = float(image.abs().max())
    if not (0 < peak < float("inf")) or not bool(torch.isfinite(image).all()):
        raise DataError(f"image {number}: is zero or not finite; leave it out.")
    x = image.to(torch.complex64 if image.is_complex() else torch.float32)
    magnitude = x.abs()
    x = x * (options.image_level / float(magnitude[magnitude > 0.1 * peak].mean()))
    response = low_pass_response(options.beta, (x.shape[0], x.shape[1])).to(torch.float32)
    high: torch.Tensor = torch.fft.ifft2((1 - response) * torch.fft.fft2(x))
    return high if x.is_complex() else high.real


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


def _first_kernels(
    pairs: Sequence[torch.Tensor], options: LearningOptions, generator: torch.Generator
) -> torch.Tensor:
    """Draw the kernels from patches of the images, the strongest of a few each time."""
    n = options.kernel_size
    kernels: list[torch.Tensor] = []
    while len(kernels) < options.n_kernels:
        candidates = [_patch(pairs, n, generator) for _ in range(_CANDIDATES)]
        patch = max(candidates, key=lambda p: float(p.norm()))
        # The noise keeps a patch without any structure from being zero.
        patch = patch / patch.norm().clamp(min=1e-6) + 1e-3 * torch.randn(n, n, generator=generator)
        if options.zero_mean:
            patch = patch - patch.mean()
        kernels.append(patch / patch.norm())
    return torch.stack(kernels)


def _patch(pairs: Sequence[torch.Tensor], n: int, generator: torch.Generator) -> torch.Tensor:
    image = pairs[int(torch.randint(len(pairs), (1,), generator=generator))]
    rows, columns = (int(size) - n + 1 for size in image.shape)
    i = int(torch.randint(rows, (1,), generator=generator))
    j = int(torch.randint(columns, (1,), generator=generator))
    part = image.real if float(torch.rand(1, generator=generator)) < 0.5 else image.imag
    # The kernel of a convolution is its response to a point, so that patches need no flip.
    patch: torch.Tensor = part[i : i + n, j : j + n]
    return patch
