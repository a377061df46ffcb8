"""Scans whose truth is known, to score methods on: simulated ones, and real ones made worse.

References
----------
Schulz J et al. Learning spatially adaptive sparsity level maps for arbitrary convolutional
dictionaries. https://arxiv.org/abs/2602.21707
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.learning.image_set import ImageSet
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.problem import InverseProblem
from lowfield_recon.scan import load_scan
from lowfield_recon.simulation import Recipe, simulate_kspace
from lowfield_recon.simulation.fields import stream
from lowfield_recon.simulation.noise import complex_noise
from lowfield_recon.simulation.pattern import sampling_mask

Kind = Literal["simulated", "recorded"]
View = Literal["magnitude", "real part"]
ItemT = TypeVar("ItemT")

_LARGEST_PHASE_RAD = 3.0
_MULTIPLE = 4
_MOST_ZEROS = 0.02
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPlan:
    """Which scans are made of every image."""

    windows: tuple[float, ...] = (0.5, 0.7)
    """Sampled central part of either axis."""

    snrs: tuple[float, ...] = (6.0, 12.0, 24.0)
    """Simulated scans: mean modulus of the object over the noise of one pixel of a full scan."""

    noise_factors: tuple[float, ...] = (1.5, 2.0, 4.0)
    """Recorded scans: standard deviation of their noise over what it was, by adding noise; > 1."""

    slices: int = 1
    """Middle slices per subject or file."""

    crop: int | None = None
    """Largest size along either axis [pixels]: of images the middle, of recorded scans the middle
    of k-space."""

    seed: int = 0
    """Seed of everything random."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityScan:
    """One scan, made when its problem is asked for."""

    kind: Kind
    """Where it comes from."""

    subject: str
    """Whose image it shows; what is averaged over."""

    image: str
    """Subject and slice in words."""

    window: float
    """Sampled central part of either axis."""

    level: float
    """Signal-to-noise ratio of a simulated scan, noise factor of a recorded one."""

    identity: str
    """Hash of all that the problem is made from."""

    build: Callable[[], InverseProblem]
    """Make the problem with its reference."""

    @property
    def view(self) -> View:
        """What of its images is compared: recorded ones have a reference with noise."""
        return "magnitude" if self.kind == "simulated" else "real part"

    @property
    def setting(self) -> str:
        """Window and noise level in words."""
        word = "snr" if self.kind == "simulated" else "noise x"
        return f"window {self.window:g}, {word} {self.level:g}"


def simulated_scans(images: ImageSet, plan: ScanPlan) -> list[QualityScan]:
    """Simulate single-coil scans of the middle slices.

    ``y = M F (e^{i phi} x) + e`` with a central window M, a smooth random phase phi and noise e,
    each scan with random numbers of its own.

    Parameters
    ----------
    images
        Objects; of complex ones the magnitude counts.
    plan
        Windows, noise levels, slices, crop, seed.

    Returns
    -------
        The scans, by subject, slice, window and noise level.
    """
    scans = []
    for subject in images.subjects:
        for index, image in _middle(images.images[subject], plan.slices):
            truth = _cut(image.abs(), plan.crop)
            content = hashlib.sha256(truth.numpy().tobytes()).hexdigest()
            for window in plan.windows:
                for snr in plan.snrs:
                    words = (_FORMAT, "simulated", subject, index, window, snr, plan.seed, content)
                    scans.append(
                        QualityScan(
                            kind="simulated", subject=subject, image=f"{subject}, slice {index}",
                            window=window, level=snr, identity=_digest(*words),
                            build=partial(_simulated, truth, window, snr, _seed(*words[:-1])),
                        )
                    )  # fmt: skip
    return scans


def recorded_scans(paths: Sequence[Path], plan: ScanPlan) -> list[QualityScan]:
    """Keep only a central window of recorded scans, and add noise.

    Of a recorded scan y of noise sigma nobody knows the truth, and its own reconstruction shares
    its noise with the data, so that scores against it would reward what keeps the noise. Added
    noise n of the same sigma parts the two: the data is ``y + t n``, the reference that of
    ``y - n / t`` with ``t^2 = factor^2 - 1``, and the noise of one says nothing about that of the
    other. The reference holds noise of ``sigma (1 + 1 / t^2)^(1/2)``, which lowers all scores and
    the order of none.

    Parameters
    ----------
    paths
        Complete single-coil scans of 2-D slices.
    plan
        Windows, noise factors, slices, seed.

    Returns
    -------
        The scans, by file, slice, window and noise factor.

    Raises
    ------
    DataError
        If a scan is not of that kind.
    UsageError
        If a noise factor is not above 1.

    References
    ----------
    Pang T et al. Recorrupted-to-recorrupted: unsupervised deep learning for image denoising.
    CVPR 2021. https://doi.org/10.1109/CVPR46437.2021.00208
    """
    if min(plan.noise_factors) <= 1:
        raise UsageError(
            f"noise_factors: expected factors above 1, got {min(plan.noise_factors):g}; without "
            "added noise the reference and the data share theirs."
        )
    scans = []
    for path in paths:
        scan = load_scan(path)
        if scan.header.n_coils > 1:
            raise _unfit(path.name, f"{scan.header.n_coils} coils")
        problems = scan.problems()
        content = sha256_of(path)
        for index, full in _middle(range(len(problems)), plan.slices):
            problem = _complete(problems[full], path.name, plan.crop)
            for window in plan.windows:
                for factor in plan.noise_factors:
                    words = (
                        _FORMAT,
                        "recorded",
                        content,
                        index,
                        plan.crop,
                        window,
                        factor,
                        plan.seed,
                    )
                    scans.append(
                        QualityScan(
                            kind="recorded", subject=path.stem, image=f"{path.stem}, slice {index}",
                            window=window, level=factor, identity=_digest(*words),
                            build=partial(_degraded, problem, window, factor, _seed(*words)),
                        )
                    )  # fmt: skip
    return scans


def _middle(items: Sequence[ItemT], count: int) -> list[tuple[int, ItemT]]:
    """Return the middle ones with their numbers."""
    start = max(0, min(len(items) // 2 - count // 2, len(items) - count))
    return [(i, items[i]) for i in range(start, min(start + count, len(items)))]


def _cut(image: torch.Tensor, crop: int | None) -> torch.Tensor:
    """Cut about the centre to sizes that are short to transform."""
    for dim in (0, 1):
        n = min(image.shape[dim], crop or image.shape[dim])
        image = crop_center(image, n // _MULTIPLE * _MULTIPLE, dim)
    return image.contiguous()


def _digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _seed(*words: object) -> int:
    return int(_digest(*words)[:15], 16)


def _simulated(truth: torch.Tensor, window: float, snr: float, seed: int) -> InverseProblem:
    draws = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    recipe = Recipe(
        seed=seed,
        phase_rad=_LARGEST_PHASE_RAD * float(draws[0]),
        window=(1.0, window, window),
        snr=snr,
    )
    turn = torch.polar(torch.ones(()), (2 * math.pi * draws[1]).float())
    scan = simulate_kspace((turn * truth)[None, None, None], recipe)
    return InverseProblem(
        data=scan.kspace,
        operator=kspace_operator(mask=scan.mask),
        noise_std=float(scan.noise_std),
        reference=scan.image,
    )


def _degraded(full: InverseProblem, window: float, factor: float, seed: int) -> InverseProblem:
    z, y, x = full.data.shape[-3:]
    mask = sampling_mask((z, y, x), Recipe(window=(1.0, window, window)), 0)
    own = full.noise_std or 0.0
    noise = complex_noise(full.data.shape, stream(seed, "noise"))
    ratio = math.sqrt(factor**2 - 1)
    return dataclasses.replace(
        full,
        data=(full.data + ratio * own * noise) * mask,
        operator=kspace_operator(mask=mask),
        noise_std=own * factor,
        image_shape=None,
        reference=centred_ifft(full.data - own / ratio * noise, (-2, -1)),
    )


def _complete(problem: InverseProblem, name: str, crop: int | None) -> InverseProblem:
    """Refuse what the comparison is not made for, and cut what is too large."""
    shape = tuple(problem.data.shape)
    if len(shape) != 5 or shape[:3] != (1, 1, 1):
        raise _unfit(name, f"k-space {shape}")
    missing = float((problem.data == 0).float().mean())
    if missing > _MOST_ZEROS:
        raise DataError(
            f"{name}: {missing:.0%} of its samples are zero; expected a complete scan, since its "
            "own reconstruction is the reference."
        )
    if crop is None:
        return problem
    data = problem.data
    for dim in (-2, -1):
        data = crop_center(data, min(data.shape[dim], crop), dim)
    operator = kspace_operator(mask=torch.ones(data.shape, dtype=torch.bool))
    return InverseProblem(data=data, operator=operator, noise_std=problem.noise_std)


def _unfit(name: str, what: str) -> DataError:
    return DataError(
        f"{name}: {what}; expected slices of one coil, k-space (1, 1, 1, y, x). Give its "
        "reconstructed images instead, which are then scanned by simulation."
    )
