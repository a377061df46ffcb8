"""Photographs degraded on purpose, with the truth and what was done to them kept beside."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path, sha256_of
from lowfield_recon.pipeline.masks import read_mask
from lowfield_recon.pipeline.photographs import read_degraded, write_photograph
from lowfield_recon.pipeline.restoration import build_problem, read_kernel
from lowfield_recon.problem import InverseProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """What is done to a photograph: ``y = A x + e``."""

    task: str
    """`"inpaint"`, `"denoise"`, `"deblur"`, `"super-resolve"`, or `"mixed"`: blur, then decimation,
    then missing pixels."""

    noise_std: float = 0.02
    """Standard deviation of the white noise e on the grey scale 0..1."""

    kept_fraction: float = 0.5
    """Part of the pixels that `inpaint` and `mixed` keep, chosen at random; for `mixed`, 1 is no
    mask."""

    per_channel: bool = False
    """Whether each value is kept or not by itself, not all channels of a pixel together."""

    kernel: str | None = "gaussian:1.6"
    """Blur of `deblur` and `mixed`, in the words of `restore --kernel`; for `mixed`, None is no
    blur but the mean of the pixels that become one."""

    factor: int = 2
    """How many times smaller `super-resolve` and `mixed` make the image; for `mixed`, 1 is no
    decimation."""

    @property
    def reduction(self) -> int:
        """How many times smaller the image becomes."""
        return self.factor if self.task in ("super-resolve", "mixed") else 1

    @property
    def blur(self) -> str | None:
        """Blur in words, None where the task has none or it follows from the factor."""
        kernels = {
            "deblur": self.kernel,
            "mixed": self.kernel,
            "super-resolve": self.super_resolution_kernel,
        }
        return kernels.get(self.task)

    super_resolution_kernel: str | None = None
    """Blur of `super-resolve`, in the same words; None: mean of the pixels that become one."""

    seed: int = 0
    """Seed of mask and noise."""


def middle(photograph: torch.Tensor, *, crop: int | None, multiple: int = 1) -> torch.Tensor:
    """Keep the middle of a photograph.

    Parameters
    ----------
    photograph
        Photograph `(1, channels, 1, y, x)`.
    crop
        Largest size along y and x [pixels]; None for no limit.
    multiple
        Number that the sizes become a multiple of.

    Returns
    -------
        The middle, at most `multiple - 1` pixels smaller than it need be.

    Raises
    ------
    DataError
        If nothing would be left.

    Examples
    --------
    >>> middle(torch.zeros(1, 1, 1, 9, 20), crop=16, multiple=2).shape
    torch.Size([1, 1, 1, 8, 16])
    """
    sizes = [min(n, crop or n) // multiple * multiple for n in photograph.shape[-2:]]
    if min(sizes) < 1:
        raise DataError(
            f"image: {tuple(photograph.shape[-2:])} pixels are too few to make it {multiple} times "
            "smaller."
        )
    starts = [(n - size) // 2 for n, size in zip(photograph.shape[-2:], sizes, strict=True)]
    rows, columns = (slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
    return photograph[..., rows, columns]


def degrade(
    photograph: torch.Tensor, degradation: Degradation
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Degrade a photograph.

    Parameters
    ----------
    photograph
        The truth, float32 `(1, channels, 1, y, x)`, grey scale 0..1.
    degradation
        What is done to it.

    Returns
    -------
        Degraded photograph, not clipped, and for `inpaint` and `mixed` the mask of the kept pixels,
        bool `(1, 1 or channels, 1, y, x)`, else None. Pixels that are not kept are 0.

    Raises
    ------
    UsageError
        If the task or kernel does not exist.

    Examples
    --------
    >>> image, mask = degrade(torch.full((1, 1, 1, 32, 32), 0.5), Degradation(task="denoise"))
    >>> bool((image.std() - 0.02).abs() < 0.002), mask
    (True, None)
    """
    generator = torch.Generator().manual_seed(degradation.seed)
    *rest, y, x = photograph.shape
    factor = degradation.reduction
    empty = torch.zeros(*rest, y // factor, x // factor)
    mask = _random_mask(empty.shape, degradation, generator)
    (image,) = stated_problem(empty, mask, degradation).operator(photograph)
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype)
    degraded = image + degradation.noise_std * noise
    return (degraded if mask is None else degraded * mask), mask


def _random_mask(
    shape: Sequence[int], degradation: Degradation, generator: torch.Generator
) -> torch.Tensor | None:
    """Draw which pixels, or values of each channel, of `(1, channels, 1, y, x)` are kept."""
    kept = degradation.kept_fraction
    if degradation.task not in ("inpaint", "mixed") or (degradation.task == "mixed" and kept == 1):
        return None
    size = (1, shape[1] if degradation.per_channel else 1, 1, *shape[-2:])
    total = math.prod(size)
    order = torch.randperm(total, generator=generator)
    mask = torch.zeros(total, dtype=torch.bool)
    mask[order[: max(round(kept * total), 1)]] = True
    return mask.reshape(size)


def stated_problem(
    degraded: torch.Tensor, mask: torch.Tensor | None, degradation: Degradation
) -> InverseProblem:
    """State the problem of undoing what `degrade` does.

    Parameters
    ----------
    degraded
        Degraded photograph.
    mask
        Mask of its kept pixels, or None.
    degradation
        What was done to it.

    Returns
    -------
        The problem, without reference.

    Raises
    ------
    UsageError
        If the task or kernel does not exist.

    Examples
    --------
    >>> small = torch.zeros(1, 1, 1, 16, 16)
    >>> stated_problem(small, None, Degradation(task="mixed", factor=2)).shape
    (1, 1, 1, 32, 32)
    """
    blur, factor = degradation.blur, degradation.reduction
    return build_problem(
        degraded,
        degradation.task,
        mask=mask,
        kernel=None if blur is None else read_kernel(blur),
        factor=factor if factor > 1 else None,
        noise_std=degradation.noise_std,
    )


def degrade_file(
    image: Path, out: Path, degradation: Degradation, *, crop: int | None = None
) -> tuple[Path, Path]:
    """Degrade a photograph's file, with the truth and a description beside the result.

    Parameters
    ----------
    image
        Photograph: PNG, JPEG, TIFF or .npy.
    out
        Degraded photograph to write, `.npy` (all values) or `.png` (8 bit, clipped).
    degradation
        What is done to it.
    crop
        Largest size along y and x [pixels]; the middle is kept.

    Returns
    -------
        Paths of the truth, `NAME-reference.npy`, and of the description, `NAME-degradation.json`.

    Raises
    ------
    DataError
        If the photograph cannot be read.
    UsageError
        If the ending has no writer.
    """
    reference = middle(read_degraded(image), crop=crop, multiple=degradation.reduction)
    degraded, mask = degrade(reference, degradation)
    truth = out.with_name(f"{out.stem}-reference.npy")
    write_photograph(out, degraded)
    write_photograph(truth, reference)
    record: dict[str, Any] = {"task": degradation.task, "noise_std": degradation.noise_std}
    if mask is not None:
        # A picture holds one or three channels; masks of channels are an array.
        ending = ".npy" if degradation.per_channel else ".png"
        mask_path = out.with_name(f"{out.stem}-mask{ending}")
        write_photograph(mask_path, mask.float())
        record |= {"mask": mask_path.name, "mask_sha256": sha256_of(mask_path)}
    if degradation.reduction > 1:
        record["factor"] = degradation.reduction
    if degradation.blur is not None:
        record["kernel"] = degradation.blur
    description = out.with_name(f"{out.stem}-degradation.json")
    record |= {"seed": degradation.seed, "source": {"name": image.name, "sha256": sha256_of(image)}}
    with atomic_path(description) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return truth, description


def degraded_problem(image: Path, description: Path) -> InverseProblem:
    """State the problem that `degrade_file` left behind.

    Parameters
    ----------
    image
        The degraded photograph.
    description
        `NAME-degradation.json`; a mask lies beside it.

    Returns
    -------
        The problem.

    Raises
    ------
    DataError
        If the description is damaged, or its mask is not the one that was used.
    """
    try:
        record = json.loads(description.read_text(encoding="utf-8"))
        mask_path = description.with_name(record["mask"]) if "mask" in record else None
        if mask_path is not None and sha256_of(mask_path) != record["mask_sha256"]:
            raise DataError(f"{mask_path.name}: is not the mask that was used; degrade again.")
        kernel = record.get("kernel")
        return build_problem(
            read_degraded(image),
            record["task"],
            mask=None if mask_path is None else read_mask(mask_path),
            kernel=None if kernel is None else read_kernel(kernel),
            factor=record.get("factor"),
            noise_std=record["noise_std"],
        )
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{description.name}: is not what 'degrade' writes ({error}); degrade again."
        ) from error
