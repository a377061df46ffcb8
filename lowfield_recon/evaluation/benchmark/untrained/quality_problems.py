"""The problems of `benchmark untrained-quality`: degraded photographs, and scans made shorter."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from lowfield_recon.evaluation.benchmark.quality_scans import View
from lowfield_recon.evaluation.benchmark.untrained.quality_images import Photograph, text_mask
from lowfield_recon.files import sha256_of
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.prepare.undersampling import undersampling_mask
from lowfield_recon.problem import InverseProblem
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.problems import Undersampling
from lowfield_recon.simulation.fields import stream
from lowfield_recon.simulation.noise import complex_noise

INPAINTING = {"inpaint-10": 0.1, "inpaint-30": 0.3, "inpaint-50": 0.5}
TEXT, MIXED, MULTI_COIL, LOW_FIELD = "text", "mixed", "brain-4coil", "brain-0055t"
PHOTOGRAPH_TASKS = (*INPAINTING, TEXT, MIXED)
SCAN_TASKS = (MULTI_COIL, LOW_FIELD)

MULTI_COIL_SAMPLE = "brain_4coil_t2w.h5"
LOW_FIELD_SAMPLES = ("brain_0055t_flair.h5", "brain_0055t_t1w.h5", "brain_0055t_t2w.h5")

CALIBRATION_LINES = 24
NOISE_FACTOR = 1.5
"""Noise of the low-field data that are fitted over what it was."""

BLUR_SIGMA, FACTOR, MIXED_NOISE, MIXED_KEPT = 1.5, 2, 0.03, 0.7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityCase:
    """One problem with its truth, made when it is asked for."""

    task: str

    image: str
    """What it shows; averages and intervals are over these."""

    seed: int
    """Of mask, noise and method."""

    identity: str
    """Hash of all that the problem is made from."""

    build: Callable[[], InverseProblem]
    """Make the problem with its reference."""

    view: View = "magnitude"
    """What of a scan's image is compared."""


def photograph_cases(
    images: Sequence[Photograph], task: str, seeds: Sequence[int]
) -> list[QualityCase]:
    """Degrade photographs.

    Parameters
    ----------
    images
        The photographs.
    task
        Of `PHOTOGRAPH_TASKS`.
    seeds
        Seeds of masks and noise.

    Returns
    -------
        The cases, by photograph and seed.
    """
    return [
        QualityCase(
            task=task, image=image.name, seed=seed,
            identity=_digest("photograph", task, seed, image.identity),
            build=partial(degraded_photograph, image.pixels, task, seed),
        )
        for image in images
        for seed in seeds
    ]  # fmt: skip


def degraded_photograph(photograph: torch.Tensor, task: str, seed: int) -> InverseProblem:
    """State the problem of a photograph.

    Parameters
    ----------
    photograph
        The truth, float32 `(1, channels, 1, y, x)`, 0..1.
    task
        Of `PHOTOGRAPH_TASKS`.
    seed
        Of mask and noise.

    Returns
    -------
        The problem with its reference; inpainting has no noise, and each value of each channel is
        kept or not by itself.

    Examples
    --------
    >>> problem = degraded_photograph(torch.rand(1, 3, 1, 32, 32), "inpaint-10", 0)
    >>> int((problem.data != 0).sum()), problem.noise_std
    (307, 0.0)
    """
    generator = torch.Generator().manual_seed(seed)
    if task == MIXED:
        return _mixed(photograph, generator)
    if task == TEXT:
        mask = text_mask((photograph.shape[-2], photograph.shape[-1]), seed)
        mask = mask.expand(photograph.shape).clone()
    else:
        mask = _random_mask(photograph.shape, INPAINTING[task], generator)
    return InverseProblem(
        data=photograph * mask, operator=mask_operator(mask), noise_std=0.0, image_domain="real",
        reference=photograph,
    )  # fmt: skip


def multi_coil_cases(seeds: Sequence[int]) -> list[QualityCase]:
    """Keep one phase encoding in four of the complete 4-coil scan that ships.

    Parameters
    ----------
    seeds
        Seeds of the lines.

    Returns
    -------
        One case per seed; the reference is the reconstruction from all lines.
    """
    content = sha256_of(sample_path(MULTI_COIL_SAMPLE))
    return [
        QualityCase(
            task=MULTI_COIL, image="brain_4coil_t2w", seed=seed,
            identity=_digest(MULTI_COIL, seed, content), build=partial(_multi_coil, seed),
        )
        for seed in seeds
    ]  # fmt: skip


def low_field_cases(
    seeds: Sequence[int],
    *,
    crop: int | None = None,
    samples: Sequence[str] = LOW_FIELD_SAMPLES,
    all_slices: bool = False,
) -> list[QualityCase]:
    """Keep half of the phase encodings of the complete 0.055 T scans that ship.

    Added noise n parts data and reference, as in `quality_scans.recorded_scans`: the data is ``y +
    t n``, the reference that of ``y - n / t``, so that no method is rewarded for keeping noise.

    Parameters
    ----------
    seeds
        Seeds of lines and noise.
    crop
        Middle of k-space to keep, in samples; None for all.
    samples
        Names of the scans.
    all_slices
        All slices of each; otherwise the middle one.

    Returns
    -------
        The cases, by scan, slice and seed.
    """
    cases = []
    for name in samples:
        path = sample_path(name)
        count = len(load_scan(path).problems())
        for index in range(count) if all_slices else [count // 2]:
            for seed in seeds:
                words = (LOW_FIELD, sha256_of(path), index, crop, seed, NOISE_FACTOR)
                cases.append(
                    QualityCase(
                        task=LOW_FIELD, seed=seed, identity=_digest(*words), view="real part",
                        image=f"{path.stem}, slice {index}" if all_slices else path.stem,
                        build=partial(_low_field, name, index, crop, seed),
                    )
                )  # fmt: skip
    return cases


def _multi_coil(seed: int) -> InverseProblem:
    few = Undersampling(acceleration=4, calibration_lines=CALIBRATION_LINES, seed=seed)
    return load_scan(sample_path(MULTI_COIL_SAMPLE)).problems(undersampling=few)[0]


def _low_field(name: str, index: int, crop: int | None, seed: int) -> InverseProblem:
    full = load_scan(sample_path(name)).problems()[index]
    y, own = full.data, full.noise_std or 0.0
    for dim in (-2, -1):
        y = crop_center(y, min(y.shape[dim], crop or y.shape[dim]), dim)
    lines = min(CALIBRATION_LINES, y.shape[-2] // 4)
    shape = tuple(y.shape[-3:])
    mask = undersampling_mask(shape, acceleration=2, calibration_lines=lines, seed=seed)
    noise = complex_noise(y.shape, stream(seed, "noise"))
    ratio = math.sqrt(NOISE_FACTOR**2 - 1)
    return dataclasses.replace(
        full,
        data=(y + ratio * own * noise) * mask,
        operator=kspace_operator(mask=mask),
        noise_std=own * NOISE_FACTOR,
        image_shape=None,
        reference=centred_ifft(y - own / ratio * noise, (-2, -1)),
    )


def _random_mask(shape: Sequence[int], kept: float, generator: torch.Generator) -> torch.Tensor:
    """Keep exactly that part of all values."""
    total = math.prod(shape)
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.randperm(total, generator=generator)[: max(round(kept * total), 1)]] = True
    return mask.reshape(tuple(shape))


def _mixed(photograph: torch.Tensor, generator: torch.Generator) -> InverseProblem:
    shape = tuple(photograph.shape)
    small = (*shape[:-2], *(n // FACTOR for n in shape[-2:]))
    mask = _random_mask(small, MIXED_KEPT, generator)
    reach = math.ceil(3 * BLUR_SIGMA)
    profile = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / BLUR_SIGMA) ** 2)
    kernel = torch.outer(profile, profile)
    reduced = downsample_operator(FACTOR, image_shape=shape) @ blur_operator(
        kernel / kernel.sum(), image_shape=shape
    )
    (clean,) = reduced(photograph)
    noise = torch.randn(clean.shape, generator=generator)
    return InverseProblem(
        data=(clean + MIXED_NOISE * noise) * mask,
        operator=mask_operator(mask) @ reduced,
        noise_std=MIXED_NOISE,
        image_domain="real",
        reference=photograph,
    )


def _digest(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()
