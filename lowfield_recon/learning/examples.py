"""Training examples: simulated scans of crops, each from its own random numbers.

The physics is that of `lowfield_recon.simulation`; only what is drawn stands here. Sample i of step
t depends on (seed, t, i) and on nothing else: not on the batch size, the order or the number of
processes, and the global random state is neither read nor changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.example_records import (
    Batch,
    CoilNormal,
    Example,
    simulate_example,
    stack_examples,
)
from lowfield_recon.learning.example_settings import ExampleSettings
from lowfield_recon.learning.image_set import ImageSet, load_images
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.simulation import Recipe

__all__ = [
    "Batch",
    "CoilNormal",
    "Example",
    "ExampleSettings",
    "ImageSet",
    "draw_batch",
    "draw_example",
    "load_images",
    "validation_batches",
]

_OBJECT = 0.1
_PURPOSES = ("example", "step", "validation")


@dataclass(frozen=True, slots=True)
class _Draws:
    """Random numbers of one sample; each call takes exactly one."""

    generator: torch.Generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        u = float(torch.rand((), generator=self.generator, dtype=torch.float64))
        return low + (high - low) * u

    def log_uniform(self, bounds: tuple[float, float]) -> float:
        value = math.exp(self.uniform(math.log(bounds[0]), math.log(bounds[1])))
        return min(max(value, bounds[0]), bounds[1])

    def index(self, n: int) -> int:
        return min(int(self.uniform(0, n)), n - 1)

    def seed(self) -> int:
        return int(torch.randint(1 << 62, (), generator=self.generator))


def draw_batch(
    images: ImageSet, settings: ExampleSettings, *, seed: int, step: int, size: int
) -> Batch:
    """Draw the examples of one training step.

    The number of coils is drawn once per step, everything else per example.

    Parameters
    ----------
    images
        Images to train on; subjects are drawn with equal probability, then one of their slices.
    settings
        Ranges.
    seed
        Seed of the training, >= 0.
    step
        Number of the step, >= 0.
    size
        Number of examples, at least 1.

    Returns
    -------
        The examples.

    Raises
    ------
    DataError
        If a slice is smaller than the crop.
    UsageError
        If `size` is below 1.

    Examples
    --------
    >>> images = ImageSet(images={"a": (torch.ones(32, 32),)})
    >>> batch = draw_batch(images, ExampleSettings(crop=(16, 16)), seed=0, step=7, size=2)
    >>> batch.adjoint.shape, batch.noise_std.shape
    (torch.Size([2, 16, 16]), torch.Size([2]))
    """
    if size < 1:
        raise UsageError(f"size: expected at least 1 example, got {size}.")
    return stack_examples(
        [draw_example(images, settings, seed=seed, step=step, index=i) for i in range(size)]
    )


def draw_example(
    images: ImageSet, settings: ExampleSettings, *, seed: int, step: int, index: int
) -> Example:
    """Draw one example of one step; see `draw_batch`.

    Parameters
    ----------
    images
        Images to train on.
    settings
        Ranges.
    seed, step, index
        What it depends on, each >= 0.

    Returns
    -------
        The example.

    Raises
    ------
    DataError
        If the slice is smaller than the crop.
    """
    n_coils = settings.coils[_draws("step", seed, step, 0).index(len(settings.coils))]
    draws = _draws("example", seed, step, index)
    subject = images.subjects[draws.index(len(images.images))]
    slices = images.images[subject]
    image, gamma = slices[draws.index(len(slices))], draws.log_uniform(settings.gamma)
    crop = _contrast(_crop(image, settings, draws, subject), gamma, image.abs().max())
    factor = torch.polar(
        torch.tensor(draws.log_uniform(settings.scale)),
        torch.tensor(settings.global_phase * draws.uniform(0, 2 * math.pi)),
    )
    return simulate_example(factor * crop, _recipe(settings, draws, n_coils))


def validation_batches(
    images: ImageSet,
    settings: ExampleSettings,
    *,
    seed: int,
    snrs: Sequence[float] = (5, 10, 20),
    windows: Sequence[float] = (0.5, 0.7),
    n_coils: int = 1,
    n_subjects: int = 8,
    multiple: int = 2,
) -> list[Batch]:
    """Simulate scans of whole central slices at fixed noise levels and windows.

    Each batch holds the central slice of each subject, about its centre cut to the largest size
    that all have and that is a multiple of a number. Contrast, orientation and intensity stay as
    stored; the phase is drawn as for training; every scan has noise of its own.

    Parameters
    ----------
    images
        Images held out.
    settings
        Ranges, of which the phase and the distance of the coils are used.
    seed
        Seed, >= 0.
    snrs
        Mean modulus of the object over the noise of one pixel of a full acquisition.
    windows
        Sampled central part along both axes, 0 to 1.
    n_coils
        Number of coils.
    n_subjects
        Largest number of subjects, the first by name.
    multiple
        What the sizes are a multiple of.

    Returns
    -------
        One batch for each window and each noise level, named after them.

    Raises
    ------
    UsageError
        If nothing is left to validate on.

    Examples
    --------
    >>> images = ImageSet(images={"a": (torch.ones(33, 32),)})
    >>> batches = validation_batches(images, ExampleSettings(), seed=0)
    >>> len(batches), batches[0].name, batches[0].target.shape
    (6, 'window 0.5, snr 5', torch.Size([1, 32, 32]))
    """
    chosen = [images.images[name] for name in images.subjects[: max(n_subjects, 0)]]
    central = [slices[len(slices) // 2] for slices in chosen]
    size = [min((s.shape[d] for s in central), default=0) // multiple * multiple for d in (0, 1)]
    if min(size) < multiple:
        raise UsageError(
            f"validation: {len(central)} slices whose common size is {size[0]} x {size[1]}; "
            "expected at least one subject."
        )
    central = [crop_center(crop_center(s, size[0], 0), size[1], 1) for s in central]
    batches: list[Batch] = []
    for window in windows:
        for snr in snrs:
            fixed = settings.model_copy(
                update={
                    "snr": (snr, snr),
                    "variance_factor": None,
                    "window": (window, window),
                    "crop": tuple(size),
                }
            )
            examples = []
            for i, image in enumerate(central):
                draws = _draws("validation", seed, len(batches), i)
                angle = torch.tensor(settings.global_phase * draws.uniform(0, 2 * math.pi))
                turned = torch.polar(torch.ones(()), angle) * image
                examples.append(simulate_example(turned, _recipe(fixed, draws, n_coils)))
            batches.append(stack_examples(examples, f"window {window:g}, snr {snr:g}"))
    return batches


def _draws(purpose: Literal["example", "step", "validation"], *numbers: int) -> _Draws:
    """Return the random numbers that belong to a purpose and some numbers."""
    if min(numbers) < 0:
        raise UsageError(f"examples: seed, step and index start at 0, got {numbers}.")
    entropy = [_PURPOSES.index(purpose) + 1, *numbers]
    word = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
    return _Draws(torch.Generator().manual_seed(word >> 1))


def _contrast(crop: torch.Tensor, gamma: float, largest: torch.Tensor) -> torch.Tensor:
    """Return ``m (|x| / m)^gamma`` with the phase or sign of x; m is the slice's largest."""
    if gamma == 1:
        return crop
    return torch.sgn(crop) * largest * (crop.abs() / largest).pow(gamma)


def _crop(
    image: torch.Tensor, settings: ExampleSettings, draws: _Draws, subject: str
) -> torch.Tensor:
    """Cut a piece about a random point of the object, then turn and mirror it at random."""
    turns = settings.rotations * draws.index(4)
    mirrored = [dim for dim in (0, 1) if (draws.uniform() < 0.5) and settings.flips]
    reduction, where = draws.log_uniform(settings.reduction), draws.uniform()
    size = settings.crop
    if turns % 2:
        if image.shape[0] >= size[1] and image.shape[1] >= size[0]:
            size = (size[1], size[0])
        else:  # only the other orientations fit
            turns -= 1
    if image.shape[0] < size[0] or image.shape[1] < size[1]:
        raise DataError(
            f"{subject}: a slice of {image.shape[0]} x {image.shape[1]} pixels is smaller than the "
            f"crop {size[0]} x {size[1]}; choose a smaller crop, or leave the file out."
        )
    reduction = min(reduction, image.shape[0] / size[0], image.shape[1] / size[1])
    modulus = image.abs()
    inside = (modulus > _OBJECT * modulus.max()).flatten().nonzero().flatten()
    centre = divmod(int(inside[int(where * len(inside))]), image.shape[1])
    for dim, n in enumerate(size):
        length, width = image.shape[dim], max(n, int(reduction * n) // 2 * 2)
        start = min(max(centre[dim] - width // 2, 0), length - width)
        image = image.narrow(dim, start, width)
        if settings.fade:
            image = image * _edges(start, width, length, settings.fade, dim)
    return torch.rot90(image, turns).flip(mirrored)


def _edges(start: int, width: int, length: int, fade: int, dim: int) -> torch.Tensor:
    """Return weights along an axis that fall to zero where the crop cuts the slice."""
    ramp = torch.sin(0.5 * math.pi * (torch.arange(fade) + 0.5) / fade).square()
    weights = torch.ones(width)
    if start > 0:
        weights[:fade] *= ramp
    if start + width < length:
        weights[-fade:] *= ramp.flip(0)
    return weights[:, None] if dim == 0 else weights


def _recipe(settings: ExampleSettings, draws: _Draws, n_coils: int) -> Recipe:
    """Draw how the scan is made."""
    noise = draws.uniform()
    snr = variance = None
    if settings.variance_factor is not None:
        low, high = settings.variance_factor
        variance = low + (high - low) * noise
    elif settings.snr is not None:
        low, high = settings.snr
        snr = low * (high / low) ** noise
    part_y, part_x = draws.uniform(*settings.window), draws.uniform(*settings.window)
    is_square = draws.uniform() < settings.p_square
    return Recipe(
        seed=draws.seed(),
        matrix=(1, *settings.crop),
        n_coils=n_coils,
        coil_distance=draws.uniform(*settings.coil_distance),
        phase_rad=draws.uniform(0, settings.phase_rad),
        phase_order=settings.phase_order,
        window=(1.0, part_y, part_y if is_square else part_x),
        snr=snr,
        variance_factor=variance,
        object_threshold=_OBJECT,
    )
