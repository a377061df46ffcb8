"""Learning one dictionary with several programs from the same images and the same start."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import torch

from lowfield_recon.dictionaries.first_kernels import first_kernels
from lowfield_recon.dictionaries.high_pass import high_passed
from lowfield_recon.dictionaries.learning import LearningOptions, learn_dictionary
from lowfield_recon.reconstructors import reconstruct
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.solvers.convolutional_model import filter_spectra
from lowfield_recon.solvers.sparse_coding import SparseCodingProblem, sparse_codes_admm

SCANS = ("brain_0055t_flair.h5", "brain_0055t_t1w.h5", "brain_0055t_t2w.h5")
_HELD_OUT_SLICE = 2
_ITERATIONS_UNDERWAY = 40
_ITERATIONS_AT_THE_END = 150

SPORCO_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "as it comes": {},
    "steps of a tenth": {"eta_a": 1.0},
    "steps of a tenth, 30 iterations": {"eta_a": 1.0, "CBPDN": {"MaxMainIter": 30}},
}
"""Options of OnlineConvBPDNDictLearn; its default steps are too long for images of level 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCase:
    """What is learnt."""

    name: str
    start: Literal["patches", "random"]
    n_kernels: int = 16
    kernel_size: int = 9
    weight: float = 0.5
    beta: float = 0.5
    crop: int = 96
    n_train: int = 8
    passes: int = 4

    def options(self, seed: int) -> LearningOptions:
        """Return it as options of ours; what is not named here is our default.

        Parameters
        ----------
        seed
            Seed of the order of the images.

        Returns
        -------
            The options.
        """
        return LearningOptions(
            n_kernels=self.n_kernels, kernel_size=self.kernel_size, weight=self.weight,
            beta=self.beta, passes=self.passes, coding_iterations=20, seed=seed,
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class LearningRun:
    """Kernels that a program had after so many images, and when."""

    tool: str
    settings: str
    n_images: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Wall time since the start [s]."""

    cpu_seconds: list[float] = field(default_factory=list)
    """Processor time since the start [s], which other programs do not lengthen."""

    kernels: list[torch.Tensor] = field(default_factory=list)


class _Clock:
    """Both times since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def note(self, run: LearningRun, n_images: int, kernels: torch.Tensor) -> None:
        run.seconds.append(time.perf_counter() - self._wall)
        run.cpu_seconds.append(time.process_time() - self._cpu)
        run.n_images.append(n_images)
        run.kernels.append(kernels.detach().clone())


def brain_images(case: LearningCase) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return magnitudes of the 0.055 T brains that ship: those to learn from, those held out.

    Parameters
    ----------
    case
        Gives crop and number of images.

    Returns
    -------
        Images `(y, x)`, float32; one slice of each contrast is held out.
    """
    train: list[torch.Tensor] = []
    held_out: list[torch.Tensor] = []
    for scan in SCANS:
        for number, problem in enumerate(load_scan(sample_path(scan)).problems()):
            image = reconstruct(problem, "adjoint").image.abs().reshape(problem.shape[-2:])
            y, x = ((n - case.crop) // 2 for n in image.shape)
            part = image[y : y + case.crop, x : x + case.crop].float().contiguous()
            (held_out if number == _HELD_OUT_SLICE else train).append(part)
    return train[: case.n_train], held_out


def prepared(images: Sequence[torch.Tensor], options: LearningOptions) -> list[torch.Tensor]:
    """Return the images on the scale and without the smooth part, as every program sees them.

    Parameters
    ----------
    images
        Images `(y, x)`.
    options
        Gives level and beta.

    Returns
    -------
        Images `(y, x)`, float32.
    """
    found = (
        high_passed(image, beta=options.beta, image_level=options.image_level) for image in images
    )
    return [image for image in found if image is not None]


def start_kernels(case: LearningCase, images: Sequence[torch.Tensor], seed: int) -> torch.Tensor:
    """Return the kernels that every program starts with.

    Parameters
    ----------
    case
        Patches or white noise.
    images
        Prepared images.
    seed
        Seed.

    Returns
    -------
        `(K, n, n)` of unit norm.
    """
    generator = torch.Generator().manual_seed(seed)
    n = case.kernel_size
    if case.start == "patches":
        pairs = [image.to(torch.complex64) for image in images]
        return first_kernels([p + 1j * p for p in pairs], case.n_kernels, n, generator)
    kernels = torch.randn(case.n_kernels, n, n, generator=generator)
    norms: torch.Tensor = kernels.flatten(1).norm(dim=1)
    return kernels / norms[:, None, None]


def learn_with_ours(
    case: LearningCase, images: Sequence[torch.Tensor], start: torch.Tensor, seed: int
) -> LearningRun:
    """Learn with this package, from images as they are: preparation is timed too.

    Parameters
    ----------
    case, images, start, seed
        What to learn, images before preparation, first kernels, seed of the order.

    Returns
    -------
        The run.
    """
    run, clock = LearningRun(tool="ours", settings="as it comes"), _Clock()
    n_pairs = -(-len(images) // 2)

    def noted(kernels: torch.Tensor) -> None:
        passes, pairs = divmod(len(run.kernels) + 1, n_pairs)
        clock.note(run, passes * len(images) + min(2 * pairs, len(images)), kernels)

    learn_dictionary(images, case.options(seed), initial=start, on_update=noted)
    return run


def learn_with_sporco(
    case: LearningCase,
    images: Sequence[torch.Tensor],
    start: torch.Tensor,
    seed: int,
    settings: str,
) -> LearningRun:
    """Learn with sporco's OnlineConvBPDNDictLearn in float32, image by image.

    Parameters
    ----------
    case, images, start, seed
        What to learn, prepared images, first kernels, seed of the order.
    settings
        One of `SPORCO_SETTINGS`.

    Returns
    -------
        The run; kernels are kept after every second image, as often as ours.
    """
    online: Any = import_module("sporco.dictlrn.onlinecdl").OnlineConvBPDNDictLearn
    options = online.Options({**SPORCO_SETTINGS[settings], "DataType": "float32"})
    run, clock = LearningRun(tool="sporco", settings=settings), _Clock()
    solver = online(start.permute(1, 2, 0).contiguous().numpy(), case.weight, options)
    generator, seen = torch.Generator().manual_seed(seed), 0
    for _ in range(case.passes):
        for index in torch.randperm(len(images), generator=generator).tolist():
            found = solver.solve(images[index].numpy(), dimK=0)
            seen += 1
            if seen % 2 == 0 or seen == case.passes * len(images):
                kernels = torch.from_numpy(found.reshape(*found.shape[:2], -1))
                clock.note(run, seen, kernels.permute(2, 0, 1).float())
    return run


def mean_objective(
    kernels: torch.Tensor,
    images: Sequence[torch.Tensor],
    weight: float,
    *,
    is_final: bool = True,
) -> float:
    """Return ``1/2 ||h - D s||^2 + weight ||s||_1`` at the best codes, per pixel.

    Parameters
    ----------
    kernels
        `(K, n, n)`, unit norm.
    images
        Prepared images of one size; two of them are the parts of one complex problem.
    weight
        Sparsity weight.
    is_final
        False for fewer iterations, whose objective is a little too large.

    Returns
    -------
        Mean over all pixels of all images.
    """
    size = (images[0].shape[0], images[0].shape[1])
    parts = [*images, *([torch.zeros_like(images[0])] if len(images) % 2 else [])]
    spectra, total = filter_spectra(kernels, size), 0.0
    for real, imaginary in zip(parts[::2], parts[1::2], strict=True):
        image = torch.complex(real, imaginary)
        problem = SparseCodingProblem(
            spectra=spectra,
            rhs=torch.fft.fft2(image)[None],
            energy=0.5 * float(image.abs().square().double().sum()),
            weights=torch.full((len(kernels), 1, 1, 1), weight),
            eigenvalues=torch.ones(1, 1, 1),
            penalty="components",
        )
        n_iterations = _ITERATIONS_AT_THE_END if is_final else _ITERATIONS_UNDERWAY
        codes = sparse_codes_admm(problem, iterations=n_iterations).codes
        total += problem.objective(codes)
    return total / (len(images) * images[0].numel())


def first_time(values: Sequence[float], times: Sequence[float], target: float) -> float | None:
    """Return when a falling objective first came to a target.

    Parameters
    ----------
    values, times
        Objective and time of each snapshot.
    target
        Objective to reach.

    Returns
    -------
        Time, or None if it was not reached.

    Examples
    --------
    >>> first_time([3.0, 2.0, 2.5], [1.0, 2.0, 3.0], 2.2)
    2.0
    """
    return next((t for value, t in zip(values, times, strict=True) if value <= target), None)
